//! Where an Azure container is, and who we are there.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::service::keys::clean_prefix;
use crate::variables::{SetupError, Variables};

const PUBLIC_CLOUD: &str = "core.windows.net";
const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";
/// Where a virtual machine asks who it is.
const MACHINE: &str = "http://169.254.169.254";

/// A repository in a container of Azure Blob Storage.
#[derive(Clone)]
pub struct AzureOptions {
    pub(super) account: String,
    /// The account's address, without a slash at the end.
    pub(super) endpoint: String,
    pub(super) container: String,
    pub(super) prefix: String,
    pub(super) credential: Credential,
    /// `Hot`, `Cool`, `Cold` or `Archive`, for packs only; the account's own when absent.
    pub access_tier: Option<String>,
    /// Most requests at once.
    pub connections: Option<usize>,
}

/// The one way in which we say who we are.
#[derive(Clone)]
pub(super) enum Credential {
    /// A key of the account, decoded.
    Key(SecretString),
    /// A shared access signature, without `?`.
    Sas(SecretString),
    /// An application with a secret.
    ClientSecret {
        place: Application,
        secret: SecretString,
    },
    /// An application that trusts a token in a file (workload identity).
    Federated {
        place: Application,
        token_file: PathBuf,
    },
    /// The identity of the machine.
    Machine {
        url: String,
        header: Option<SecretString>,
        client_id: Option<String>,
    },
}

/// An application of Entra.
#[derive(Clone)]
pub(super) struct Application {
    /// The address that gives tokens.
    pub token_url: String,
    pub client_id: String,
}

impl AzureOptions {
    /// From what follows `azure:` in restic's repository string: `CONTAINER:/PREFIX`.
    ///
    /// The account is `AZURE_ACCOUNT_NAME`, at `AZURE_ENDPOINT_SUFFIX` or at the URL `AZURE_ENDPOINT`. Who we are is
    /// said by the first of `AZURE_ACCOUNT_KEY`, `AZURE_ACCOUNT_SAS`, `AZURE_CLIENT_SECRET` and
    /// `AZURE_FEDERATED_TOKEN_FILE` that is set (the last two with `AZURE_CLIENT_ID` and `AZURE_TENANT_ID`), or else
    /// by the identity of the machine; no other is tried when it fails.
    pub fn parse(text: &str, variables: &Variables) -> Result<Self, SetupError> {
        let (container, prefix) = text.split_once(':').unwrap_or((text, ""));
        if container.is_empty() || container.contains('/') {
            return Err(
                SetupError::new("the name of the Azure container is missing or malformed")
                    .with_hint("Write it as `azure:CONTAINER:/FOLDER`."),
            );
        }
        let account = variables.get("AZURE_ACCOUNT_NAME").ok_or_else(|| {
            SetupError::new("the Azure account is not named")
                .with_hint("Set AZURE_ACCOUNT_NAME in the Secret or the environment.")
        })?;
        if variables.has("AZURE_FORCE_CLI_CREDENTIAL") {
            return Err(SetupError::new("AZURE_FORCE_CLI_CREDENTIAL asks for the login of the Azure command line, which is not used")
                .with_hint("Give a key, a SAS, or an application with AZURE_CLIENT_ID and AZURE_TENANT_ID."));
        }
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
}

fn endpoint(account: &str, variables: &Variables) -> Result<String, SetupError> {
    let text = variables.get("AZURE_ENDPOINT").unwrap_or_else(|| {
        let suffix = variables
            .get("AZURE_ENDPOINT_SUFFIX")
            .unwrap_or_else(|| PUBLIC_CLOUD.to_owned());
        format!("https://{account}.blob.{suffix}")
    });
    let is_good = Url::parse(&text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none()
    });
    if !is_good {
        return Err(SetupError::new("the address of the Azure account is malformed").with_hint(
            "AZURE_ENDPOINT is a URL as https://host:port/account, AZURE_ENDPOINT_SUFFIX a name as core.windows.net.",
        ));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

impl Credential {
    fn choose(variables: &Variables) -> Result<Self, SetupError> {
        if let Some(key) = variables.secret("AZURE_ACCOUNT_KEY") {
            return match STANDARD.decode(key.expose_secret().trim()) {
                Ok(_) => Ok(Self::Key(SecretString::from(
                    key.expose_secret().trim().to_owned(),
                ))),
                Err(_) => Err(SetupError::new("AZURE_ACCOUNT_KEY is not base64")
                    .with_hint("Copy the key of the account again, whole.")),
            };
        }
        if let Some(sas) = variables.secret("AZURE_ACCOUNT_SAS") {
            let sas = sas.expose_secret().trim().trim_start_matches('?');
            return if sas.contains("sig=") {
                Ok(Self::Sas(SecretString::from(sas.to_owned())))
            } else {
                Err(SetupError::new("AZURE_ACCOUNT_SAS holds no signature")
                    .with_hint("Copy the shared access signature again, from `sv=` to the end."))
            };
        }
        let client_id = variables.get("AZURE_CLIENT_ID");
        if let Some(secret) = variables.secret("AZURE_CLIENT_SECRET") {
            return Ok(Self::ClientSecret {
                place: Application::new(variables, client_id)?,
                secret,
            });
        }
        if let Some(file) = variables.get("AZURE_FEDERATED_TOKEN_FILE") {
            let place = Application::new(variables, client_id)?;
            return Ok(Self::Federated {
                place,
                token_file: PathBuf::from(file),
            });
        }
        Ok(
            match (
                variables.get("IDENTITY_ENDPOINT"),
                variables.secret("IDENTITY_HEADER"),
            ) {
                (Some(endpoint), Some(header)) => Self::Machine {
                    url: format!("{endpoint}?api-version=2019-08-01"),
                    header: Some(header),
                    client_id,
                },
                _ => {
                    let host = variables.get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
                    let host = host.unwrap_or_else(|| MACHINE.to_owned());
                    Self::Machine {
                        url: format!(
                            "{}/metadata/identity/oauth2/token?api-version=2018-02-01",
                            host.trim_end_matches('/')
                        ),
                        header: None,
                        client_id,
                    }
                }
            },
        )
    }
}

impl Application {
    fn new(variables: &Variables, client_id: Option<String>) -> Result<Self, SetupError> {
        let missing = |name: &str| {
            SetupError::new(format!("{name} is not set")).with_hint(
                "An application is named by AZURE_CLIENT_ID and AZURE_TENANT_ID together.",
            )
        };
        let client_id = client_id.ok_or_else(|| missing("AZURE_CLIENT_ID"))?;
        let tenant = variables
            .get("AZURE_TENANT_ID")
            .ok_or_else(|| missing("AZURE_TENANT_ID"))?;
        let authority = variables.get("AZURE_AUTHORITY_HOST");
        let authority = authority.unwrap_or_else(|| PUBLIC_AUTHORITY.to_owned());
        Ok(Self {
            token_url: format!(
                "{}/{tenant}/oauth2/v2.0/token",
                authority.trim_end_matches('/')
            ),
            client_id,
        })
    }
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
