//! The forms of Google's credentials files. <https://google.aip.dev/auth/4110>
//!
//! Nothing of their text is ever repeated in a message.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const UNIVERSE: &str = "googleapis.com";

/// What a credentials file says.
#[derive(Clone)]
pub(in crate::service::gcs) enum Credentials {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(Box<ExternalAccount>),
}

/// A key of a service account.
#[derive(Clone)]
pub(in crate::service::gcs) struct ServiceAccount {
    pub email: String,
    pub key_id: Option<String>,
    /// PEM of an RSA key.
    pub private_key: SecretString,
    pub token_uri: Url,
}

/// What a person's login left.
#[derive(Clone)]
pub(in crate::service::gcs) struct AuthorizedUser {
    pub client_id: String,
    pub client_secret: SecretString,
    pub refresh_token: SecretString,
    pub token_uri: Url,
}

/// An identity of somebody else's, exchanged for one of Google's.
#[derive(Clone)]
pub(in crate::service::gcs) struct ExternalAccount {
    pub audience: String,
    pub subject_token_type: String,
    pub token_url: Url,
    pub subject: Subject,
    pub format: Format,
    /// Whose token is asked for with the exchanged one.
    pub impersonation: Option<Impersonation>,
    /// Id and secret, for the token service.
    pub client: Option<(String, SecretString)>,
    pub user_project: Option<String>,
}

/// Where the other identity's token is.
#[derive(Clone)]
pub(in crate::service::gcs) enum Subject {
    File(String),
    Url {
        url: Url,
        headers: Vec<(String, SecretString)>,
    },
}

/// How it is written there.
#[derive(Clone)]
pub(in crate::service::gcs) enum Format {
    Text,
    /// The name of the field.
    Json(String),
}

#[derive(Clone)]
pub(in crate::service::gcs) struct Impersonation {
    pub url: Url,
    pub lifetime_seconds: u64,
}

impl Credentials {
    /// What is wrong is said in words that follow the name of the file or variable.
    pub fn parse(text: &SecretString) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text.expose_secret()).map_err(|error| {
            format!(
                "is not JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        let Value::Object(map) = value else {
            return Err("is not a JSON object".to_owned());
        };
        let fields = Fields(&map);
        if let Some(universe) = fields.optional("universe_domain")?
            && universe != UNIVERSE
        {
            return Err(format!(
                "is for another cloud than {UNIVERSE} (field `universe_domain`)"
            ));
        }
        match fields.text("type")?.as_str() {
            "service_account" => Ok(Self::ServiceAccount(ServiceAccount {
                email: fields.text("client_email")?,
                key_id: fields.optional("private_key_id")?,
                private_key: fields.secret("private_key")?,
                token_uri: fields.optional_url("token_uri")?,
            })),
            "authorized_user" => Ok(Self::AuthorizedUser(AuthorizedUser {
                client_id: fields.text("client_id")?,
                client_secret: fields.secret("client_secret")?,
                refresh_token: fields.secret("refresh_token")?,
                token_uri: fields.optional_url("token_uri")?,
            })),
            "external_account" => Ok(Self::ExternalAccount(Box::new(external(&fields)?))),
            kind => Err(format!(
                "holds credentials of the type {:?}, which are not supported; service_account, \
                 external_account and authorized_user are",
                kind.chars().take(40).collect::<String>()
            )),
        }
    }

    /// What must never be shown.
    pub fn secrets(&self) -> Vec<&SecretString> {
        match self {
            Self::ServiceAccount(account) => vec![&account.private_key],
            Self::AuthorizedUser(user) => vec![&user.client_secret, &user.refresh_token],
            Self::ExternalAccount(account) => {
                let client = account.client.iter().map(|(_, secret)| secret);
                let headers: &[(String, SecretString)] = match &account.subject {
                    Subject::Url { headers, .. } => headers,
                    Subject::File(_) => &[],
                };
                // Short ones are flags such as `Metadata: True`, and words of any message.
                let headers = headers.iter().map(|(_, value)| value);
                let headers = headers.filter(|value| value.expose_secret().len() >= 16);
                client.chain(headers).collect()
            }
        }
    }
}

fn external(fields: &Fields<'_>) -> Result<ExternalAccount, String> {
    let source = fields.object("credential_source")?;
    let subject = if source.0.contains_key("environment_id") {
        return Err("takes its identity from AWS, which is not supported".to_owned());
    } else if let Some(file) = source.optional("file")? {
        Subject::File(file)
    } else if let Some(text) = source.optional("url")? {
        let headers = match source.0.get("headers") {
            None => Vec::new(),
            Some(_) => source.object("headers")?.all()?,
        };
        let url = Url::parse(&text).map_err(|_| unusable("credential_source.url"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(unusable("credential_source.url"));
        }
        Subject::Url { url, headers }
    } else {
        return Err("takes its identity neither from a file nor from a URL".to_owned());
    };
    let impersonation = match fields.optional("service_account_impersonation_url")? {
        None => None,
        Some(text) => Some(Impersonation {
            url: secure_url(&text, "service_account_impersonation_url")?,
            lifetime_seconds: fields
                .0
                .get("service_account_impersonation")
                .and_then(|options| options.get("token_lifetime_seconds")?.as_u64())
                .unwrap_or(3600),
        }),
    };
    let client = match fields.optional("client_id")? {
        None => None,
        Some(id) => Some((id, fields.secret("client_secret")?)),
    };
    Ok(ExternalAccount {
        audience: fields.text("audience")?,
        subject_token_type: fields.text("subject_token_type")?,
        token_url: secure_url(&fields.text("token_url")?, "token_url")?,
        subject,
        format: format(&source)?,
        impersonation,
        client,
        user_project: fields.optional("workforce_pool_user_project")?,
    })
}

fn format(source: &Fields<'_>) -> Result<Format, String> {
    if source.0.get("format").is_none_or(Value::is_null) {
        return Ok(Format::Text);
    }
    let format = source.object("format")?;
    match format.optional("type")?.as_deref() {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json(format.text("subject_token_field_name")?)),
        Some(_) => Err(unusable("credential_source.format.type")),
    }
}

/// Tokens and assertions travel encrypted, except within this machine.
fn secure_url(text: &str, field: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| unusable(field))?;
    let is_here = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => return Err(unusable(field)),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(format!("has no https:// address in its field `{field}`")),
    }
}

fn unusable(field: &str) -> String {
    format!("has nothing usable in its field `{field}`")
}

/// Fields by name, with messages that never show a value.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn optional(&self, name: &str) -> Result<Option<String>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(unusable(name)),
        }
    }

    fn text(&self, name: &str) -> Result<String, String> {
        self.optional(name)?
            .ok_or_else(|| format!("has no field `{name}`"))
    }

    fn secret(&self, name: &str) -> Result<SecretString, String> {
        self.text(name).map(SecretString::from)
    }

    fn optional_url(&self, name: &str) -> Result<Url, String> {
        let text = self.optional(name)?;
        secure_url(text.as_deref().unwrap_or(TOKEN_URI), name)
    }

    fn object(&self, name: &str) -> Result<Fields<'a>, String> {
        match self.0.get(name) {
            Some(Value::Object(map)) => Ok(Fields(map)),
            _ => Err(unusable(name)),
        }
    }

    fn all(&self) -> Result<Vec<(String, SecretString)>, String> {
        self.0
            .keys()
            .map(|name| Ok((name.clone(), self.secret(name)?)))
            .collect()
    }
}
