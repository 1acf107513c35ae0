//! Who we are: one way is chosen from what is configured, and no other is tried when it fails.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::variables::{SetupError, Variables};

const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com";
/// Where a virtual machine asks who it is.
const MACHINE: &str = "http://169.254.169.254";

/// The one way in which we say who we are.
#[derive(Clone)]
pub(super) enum Credential {
    /// A key of the account, in base64.
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
    /// A managed identity, asked from the machine.
    Machine(Machine),
}

/// An application of Entra.
#[derive(Clone)]
pub(super) struct Application {
    /// The address that gives tokens.
    pub token_url: String,
    pub client_id: String,
}

/// A service of the machine that knows its identity.
#[derive(Clone)]
pub(super) struct Machine {
    /// With the version of the interface in its query.
    pub url: String,
    /// The secret of App Service; a virtual machine has none.
    pub header: Option<SecretString>,
    /// One of several identities.
    pub client_id: Option<String>,
    /// Whether the service was named. If not, it may well not exist.
    pub is_given: bool,
}

impl Credential {
    /// Key, SAS, secret, federated token, machine: the first that is configured.
    pub fn choose(variables: &Variables) -> Result<Self, SetupError> {
        if let Some(key) = variables.secret("AZURE_ACCOUNT_KEY") {
            return account_key(&key);
        }
        if let Some(sas) = variables.secret("AZURE_ACCOUNT_SAS") {
            return shared_access_signature(&sas);
        }
        if variables
            .get("AZURE_FORCE_CLI_CREDENTIAL")
            .is_some_and(|text| is_true(&text))
        {
            return Err(SetupError::new(
                "AZURE_FORCE_CLI_CREDENTIAL asks for the login of the Azure command line, which is not used",
            )
            .with_hint(
                "Give a key, a SAS, or an application with AZURE_CLIENT_ID and AZURE_TENANT_ID.",
            ));
        }
        if let Some(secret) = variables.secret("AZURE_CLIENT_SECRET") {
            return Ok(Self::ClientSecret {
                place: Application::new(variables)?,
                secret: SecretString::from(secret.expose_secret().trim()),
            });
        }
        if let Some(file) = variables.get("AZURE_FEDERATED_TOKEN_FILE") {
            return Ok(Self::Federated {
                place: Application::new(variables)?,
                token_file: PathBuf::from(file),
            });
        }
        Machine::new(variables).map(Self::Machine)
    }

    /// What must never be shown, in every spelling.
    pub fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Key(secret) | Self::ClientSecret { secret, .. } => vec![secret.clone()],
            Self::Sas(sas) => {
                let text = sas.expose_secret();
                let signature = text.split('&').find_map(|part| part.strip_prefix("sig="));
                let spellings = signature.into_iter().flat_map(|signature| {
                    let decoded = percent_decode_str(signature).decode_utf8_lossy();
                    [
                        SecretString::from(signature),
                        SecretString::from(decoded.as_ref()),
                    ]
                });
                std::iter::once(sas.clone()).chain(spellings).collect()
            }
            Self::Machine(machine) => machine.header.iter().cloned().collect(),
            Self::Federated { .. } => Vec::new(),
        }
    }
}

fn account_key(key: &SecretString) -> Result<Credential, SetupError> {
    let key = key.expose_secret().trim();
    match STANDARD.decode(key) {
        Ok(_) => Ok(Credential::Key(SecretString::from(key))),
        Err(_) => Err(SetupError::new("AZURE_ACCOUNT_KEY is not base64")
            .with_hint("Copy the key of the account again, whole.")),
    }
}

fn shared_access_signature(sas: &SecretString) -> Result<Credential, SetupError> {
    let sas = sas.expose_secret().trim().trim_start_matches('?');
    let has_signature = sas.split('&').any(|part| part.starts_with("sig="));
    let is_query = sas.bytes().all(|byte| byte.is_ascii_graphic());
    if has_signature && is_query {
        return Ok(Credential::Sas(SecretString::from(sas)));
    }
    Err(
        SetupError::new("AZURE_ACCOUNT_SAS is no shared access signature")
            .with_hint("Copy it again, from `sv=` to the end; the part `sig=` must be in it."),
    )
}

/// As restic reads a switch.
fn is_true(text: &str) -> bool {
    matches!(
        text,
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "yes" | "on"
    )
}

impl Application {
    fn new(variables: &Variables) -> Result<Self, SetupError> {
        let needed = |name: &str| {
            variables
                .get(name)
                .map(|text| text.trim().to_owned())
                .ok_or_else(|| {
                    SetupError::new(format!("{name} is not set")).with_hint(
                        "An application is named by AZURE_CLIENT_ID and AZURE_TENANT_ID together.",
                    )
                })
        };
        let client_id = needed("AZURE_CLIENT_ID")?;
        let tenant = needed("AZURE_TENANT_ID")?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !tenant.bytes().all(is_name) {
            return Err(SetupError::new(
                "AZURE_TENANT_ID is neither the id nor the domain of a tenant",
            )
            .with_hint("It looks like 72f988bf-86f1-41af-91ab-2d7cd011db47."));
        }
        let authority = variables
            .get("AZURE_AUTHORITY_HOST")
            .unwrap_or_else(|| PUBLIC_AUTHORITY.to_owned());
        let authority = checked(&authority, "AZURE_AUTHORITY_HOST")?;
        Ok(Self {
            token_url: format!("{authority}/{tenant}/oauth2/v2.0/token"),
            client_id,
        })
    }
}

impl Machine {
    fn new(variables: &Variables) -> Result<Self, SetupError> {
        let client_id = variables
            .get("AZURE_CLIENT_ID")
            .map(|text| text.trim().to_owned());
        if let Some(endpoint) = variables.get("IDENTITY_ENDPOINT") {
            let endpoint = checked(&endpoint, "IDENTITY_ENDPOINT")?;
            let header = variables.secret("IDENTITY_HEADER").ok_or_else(|| {
                SetupError::new("IDENTITY_ENDPOINT is set, but IDENTITY_HEADER is not").with_hint(
                    "The identity of Azure Arc is not used: give a key, a SAS or an application.",
                )
            })?;
            return Ok(Self {
                url: format!("{endpoint}?api-version=2019-08-01"),
                header: Some(header),
                client_id,
                is_given: true,
            });
        }
        let given = variables.get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let is_given = given.is_some();
        let host = given.unwrap_or_else(|| MACHINE.to_owned());
        let host = checked(&host, "AZURE_POD_IDENTITY_AUTHORITY_HOST")?;
        Ok(Self {
            url: format!("{host}/metadata/identity/oauth2/token?api-version=2018-02-01"),
            header: None,
            client_id,
            is_given,
        })
    }
}

/// An address without a slash at its end.
fn checked(text: &str, name: &str) -> Result<String, SetupError> {
    let text = text.trim().trim_end_matches('/');
    let is_good = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none()
    });
    if is_good {
        Ok(text.to_owned())
    } else {
        Err(SetupError::new(format!("{name} is not a URL"))
            .with_hint(format!("{name} looks like {PUBLIC_AUTHORITY}.")))
    }
}
