//! Where an Azure container is.

use std::fmt;

use url::Url;

use crate::service::azure::credential::Credential;
use crate::service::keys::clean_prefix;
use crate::variables::{SetupError, Variables};

const PUBLIC_CLOUD: &str = "core.windows.net";
const TIERS: [&str; 4] = ["Hot", "Cool", "Cold", "Archive"];

/// A repository in a container of Azure Blob Storage.
#[derive(Clone)]
pub struct AzureOptions {
    pub(super) account: String,
    /// The account's address, without a slash at the end.
    pub(super) endpoint: String,
    pub(super) container: String,
    pub(super) prefix: String,
    pub(super) credential: Credential,
    /// `Hot`, `Cool`, `Cold` or `Archive`, for packs of data only; the account's own when absent.
    pub access_tier: Option<String>,
    /// Most requests at once.
    pub connections: Option<usize>,
}

impl AzureOptions {
    /// From what follows `azure:` in restic's repository string: `CONTAINER:/PREFIX`.
    ///
    /// The account is `AZURE_ACCOUNT_NAME`, at `AZURE_ENDPOINT_SUFFIX` or at the URL `AZURE_ENDPOINT`. Who we are is
    /// said by the first of `AZURE_ACCOUNT_KEY`, `AZURE_ACCOUNT_SAS`, `AZURE_CLIENT_SECRET` and
    /// `AZURE_FEDERATED_TOKEN_FILE` that is set (the last two with `AZURE_CLIENT_ID`, `AZURE_TENANT_ID` and perhaps
    /// `AZURE_AUTHORITY_HOST`), or else by the managed identity that `IDENTITY_ENDPOINT` with `IDENTITY_HEADER`,
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST` or the machine gives; no other is tried when it fails.
    pub fn parse(text: &str, variables: &Variables) -> Result<Self, SetupError> {
        let (container, prefix) = text.split_once(':').unwrap_or((text, ""));
        if container.is_empty() || container.contains('/') {
            return Err(
                SetupError::new("the name of the Azure container is missing or malformed")
                    .with_hint("Write it as `azure:CONTAINER:/FOLDER`."),
            );
        }
        let account = account(variables)?;
        Ok(Self {
            endpoint: endpoint(&account, variables)?,
            account,
            container: container.to_owned(),
            prefix: clean_prefix(prefix),
            credential: Credential::choose(variables)?,
            access_tier: None,
            connections: None,
        })
    }

    /// The tier as the service spells it.
    pub(super) fn tier(&self) -> Result<Option<&'static str>, SetupError> {
        let Some(text) = &self.access_tier else {
            return Ok(None);
        };
        let tier = TIERS.iter().find(|tier| tier.eq_ignore_ascii_case(text));
        tier.copied().map(Some).ok_or_else(|| {
            SetupError::new(format!("there is no access tier `{text}`"))
                .with_hint(format!("The tiers are {}.", TIERS.join(", ")))
        })
    }
}

fn account(variables: &Variables) -> Result<String, SetupError> {
    let account = variables.get("AZURE_ACCOUNT_NAME").ok_or_else(|| {
        SetupError::new("the Azure account is not named")
            .with_hint("Set AZURE_ACCOUNT_NAME in the Secret or the environment.")
    })?;
    let account = account.trim();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if account.bytes().all(is_name) {
        Ok(account.to_owned())
    } else {
        Err(
            SetupError::new("AZURE_ACCOUNT_NAME is no name of an account")
                .with_hint("It is the first part of ACCOUNT.blob.core.windows.net."),
        )
    }
}

fn endpoint(account: &str, variables: &Variables) -> Result<String, SetupError> {
    let text = variables.get("AZURE_ENDPOINT").unwrap_or_else(|| {
        let suffix = variables
            .get("AZURE_ENDPOINT_SUFFIX")
            .unwrap_or_else(|| PUBLIC_CLOUD.to_owned());
        format!("https://{account}.blob.{}", suffix.trim())
    });
    let text = text.trim().trim_end_matches('/');
    let is_good = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if !is_good {
        return Err(SetupError::new("the address of the Azure account is malformed").with_hint(
            "AZURE_ENDPOINT is a URL as https://host:port/account, AZURE_ENDPOINT_SUFFIX a name as core.windows.net.",
        ));
    }
    Ok(text.to_owned())
}

impl fmt::Display for AzureOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "azure:{}:/{}", self.container, self.prefix)
    }
}

impl fmt::Debug for AzureOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AzureOptions")
            .field("location", &self.to_string())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
