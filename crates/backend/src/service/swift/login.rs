//! From credentials to a token and the address of the object store.
//!
//! <https://docs.openstack.org/api-ref/identity/v3/>, and for version 1
//! <https://docs.openstack.org/swift/latest/overview_auth.html>.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};
use crate::service::swift::catalogue::{Service, object_store};
use crate::service::swift::form::{Form, Identity, Named, Scope, User};
use crate::service::swift::options::SwiftOptions;
use crate::{ErrorKind, Operation};

/// A token and where it is used.
pub(super) struct Login {
    pub token: SecretString,
    /// The account's address, without a slash at the end.
    pub storage_url: String,
    /// How long the token lives from now; nothing when that is not known.
    pub life: Option<Duration>,
}

/// Gets a token.
pub(super) async fn login(http: &HttpClient, options: &SwiftOptions) -> Result<Login, HttpFailure> {
    let login = match &options.form {
        Form::Token { storage_url, token } => Login {
            token: token.clone(),
            storage_url: storage_url.clone(),
            life: None,
        },
        Form::Version1 { url, user, key } => version_1(http, (url, user, key)).await?,
        Form::Version2 {
            url,
            username,
            password,
            tenant,
        } => {
            let mut auth = json!({"passwordCredentials": {"username": username, "password": password.expose_secret()}});
            match tenant {
                Some(Named::Id(id)) => auth["tenantId"] = json!(id),
                Some(Named::Name(name)) => auth["tenantName"] = json!(name),
                None => {}
            }
            version_2(http, url, &json!({"auth": auth}), options).await?
        }
        Form::Version3 {
            url,
            identity,
            scope,
        } => {
            let mut auth = json!({"identity": proof(identity)});
            match scope {
                Scope::Own => {}
                Scope::Project { name, domain } => {
                    auth["scope"] = json!({"project": in_domain(name, domain.as_ref())});
                }
                Scope::Trust(id) => auth["scope"] = json!({"OS-TRUST:trust": {"id": id}}),
            }
            version_3(http, url, &json!({"auth": auth}), options).await?
        }
    };
    http.hide(&login.token);
    let is_good = Url::parse(&login.storage_url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_good {
        return Err(unusable("the address of the object store is no URL"));
    }
    Ok(Login {
        storage_url: login.storage_url.trim_end_matches('/').to_owned(),
        ..login
    })
}

async fn version_1(
    http: &HttpClient,
    (url, user, key): (&str, &str, &SecretString),
) -> Result<Login, HttpFailure> {
    let request = Request::get(url)
        .header("x-auth-user", user)
        .header("x-auth-key", key.expose_secret())
        .body(Bytes::new());
    let reply = ask(http, request).await?;
    let (token, storage_url) = reply
        .header("x-auth-token")
        .zip(reply.header("x-storage-url"))
        .ok_or_else(|| unusable("it holds no token and no address"))?;
    let life = reply
        .header("x-auth-token-expires")
        .and_then(|text| text.parse().ok());
    Ok(Login {
        token: SecretString::from(token.to_owned()),
        storage_url: storage_url.to_owned(),
        life: life.map(Duration::from_secs),
    })
}

#[derive(Deserialize)]
struct Granted2 {
    access: Access2,
}

#[derive(Deserialize)]
struct Access2 {
    token: Token2,
    #[serde(rename = "serviceCatalog", default)]
    catalogue: Vec<Service>,
}

#[derive(Deserialize)]
struct Token2 {
    id: String,
    issued_at: Option<String>,
    expires: Option<String>,
}

async fn version_2(
    http: &HttpClient,
    url: &str,
    body: &Value,
    options: &SwiftOptions,
) -> Result<Login, HttpFailure> {
    let reply = ask(http, post(&format!("{url}/tokens"), body)).await?;
    let Granted2 { access } = parse(&reply)?;
    Ok(Login {
        storage_url: object_store(&access.catalogue, options)?,
        token: SecretString::from(access.token.id),
        life: life(&reply, access.token.issued_at, access.token.expires),
    })
}

#[derive(Deserialize)]
struct Granted3 {
    token: Token3,
}

#[derive(Deserialize)]
struct Token3 {
    issued_at: Option<String>,
    expires_at: Option<String>,
    #[serde(default)]
    catalog: Vec<Service>,
}

async fn version_3(
    http: &HttpClient,
    url: &str,
    body: &Value,
    options: &SwiftOptions,
) -> Result<Login, HttpFailure> {
    let reply = ask(http, post(&format!("{url}/auth/tokens"), body)).await?;
    let token = reply
        .header("x-subject-token")
        .ok_or_else(|| unusable("it holds no token"))?;
    let Granted3 { token: granted } = parse(&reply)?;
    Ok(Login {
        token: SecretString::from(token.to_owned()),
        storage_url: object_store(&granted.catalog, options)?,
        life: life(&reply, granted.issued_at, granted.expires_at),
    })
}

fn proof(identity: &Identity) -> Value {
    match identity {
        Identity::Password { user, password } => {
            let mut user = user_of(user);
            user["password"] = json!(password.expose_secret());
            json!({"methods": ["password"], "password": {"user": user}})
        }
        Identity::Application { name, user, secret } => {
            let mut credential = match name {
                Named::Id(id) => json!({"id": id}),
                Named::Name(name) => json!({"name": name}),
            };
            credential["secret"] = json!(secret.expose_secret());
            if let Some(user) = user {
                credential["user"] = user_of(user);
            }
            json!({"methods": ["application_credential"], "application_credential": credential})
        }
    }
}

fn user_of(user: &User) -> Value {
    in_domain(&user.name, user.domain.as_ref())
}

/// An id needs no domain. A name is of Keystone's own domain where none is given.
fn in_domain(named: &Named, domain: Option<&Named>) -> Value {
    let domain = match domain {
        Some(Named::Id(id)) => json!({"id": id}),
        Some(Named::Name(name)) => json!({"name": name}),
        None => json!({"id": "default"}),
    };
    match named {
        Named::Id(id) => json!({"id": id}),
        Named::Name(name) => json!({"name": name, "domain": domain}),
    }
}

fn post(url: &str, body: &Value) -> Result<Request<Bytes>, http::Error> {
    Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Bytes::from(body.to_string()))
}

async fn ask(
    http: &HttpClient,
    request: Result<Request<Bytes>, http::Error>,
) -> Result<Reply, HttpFailure> {
    // The error of a header would hold its value.
    let request = request.map_err(|_| {
        HttpFailure::new(
            ErrorKind::Permanent,
            "the request for a token cannot be made; is there a line break in the user or the key?",
        )
    })?;
    let reply = http
        .send(Operation::Authenticate, request)
        .await
        .map_err(|failure| HttpFailure {
            source: format!("no token: {}", failure.source).into(),
            ..failure
        })?;
    if reply.status.is_success() {
        return Ok(reply);
    }
    let (kind, told) = match reply.status.as_u16() {
        403 => (ErrorKind::Unauthenticated, None),
        404 | 405 | 410 => (
            ErrorKind::Permanent,
            Some("nobody gives tokens at this address; is the version at its end right?"),
        ),
        498 => (ErrorKind::Temporary, Some("too many requests")),
        _ => (kind_of_status(reply.status), None),
    };
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let told = answer["error"]["message"].as_str().or(told);
    Err(Refusal::new(http, &reply, None, told).into_failure(kind, &reply))
}

/// An error of the parser may repeat a value of the answer, which holds the token in version 2.
fn parse<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Result<T, HttpFailure> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        unusable(&format!(
            "it is not what Keystone says (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

fn unusable(reason: &str) -> HttpFailure {
    HttpFailure::new(
        ErrorKind::Permanent,
        format!("the answer with the token is unusable: {reason}"),
    )
}

/// How long a token lives by the clock of the server: ours may differ. What cannot be read is not known.
fn life(reply: &Reply, issued: Option<String>, end: Option<String>) -> Option<Duration> {
    let date = || {
        let date = jiff::fmt::rfc2822::parse(reply.header("date")?).ok()?;
        Some(date.timestamp())
    };
    let issued = issued.and_then(|text| moment(&text)).or_else(date)?;
    let seconds = moment(&end?)?.as_second() - issued.as_second();
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Version 2 of Keystone gives the beginning of a token without a zone.
fn moment(text: &str) -> Option<Timestamp> {
    let with_zone = || format!("{text}Z").parse();
    text.parse().or_else(|_| with_zone()).ok()
}
