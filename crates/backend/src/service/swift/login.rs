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

use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};
use crate::service::swift::options::{Form, Identity, Named, Project, SwiftOptions, User};
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
            project,
        } => {
            let mut auth = json!({"identity": proof(identity)});
            if let Some(project) = project {
                auth["scope"] = json!({"project": project_of(project)});
            }
            version_3(http, url, &json!({"auth": auth}), options).await?
        }
    };
    http.hide(&login.token);
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
    expires: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Granted3 {
    token: Token3,
}

#[derive(Deserialize)]
struct Token3 {
    expires_at: Option<Timestamp>,
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Value>,
}

async fn version_2(
    http: &HttpClient,
    url: &str,
    body: &Value,
    options: &SwiftOptions,
) -> Result<Login, HttpFailure> {
    let reply = ask(http, post(&format!("{url}/tokens"), body)).await?;
    let granted: Granted2 =
        serde_json::from_slice(&reply.body).map_err(|error| unusable(&error.to_string()))?;
    let address = format!("{}URL", options.interface);
    Ok(Login {
        storage_url: object_store(&granted.access.catalogue, options, |endpoint| {
            endpoint[&address].as_str()
        })?,
        token: SecretString::from(granted.access.token.id),
        life: granted.access.token.expires.map(until),
    })
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
    let token = SecretString::from(token.to_owned());
    let granted: Granted3 =
        serde_json::from_slice(&reply.body).map_err(|error| unusable(&error.to_string()))?;
    let of_interface = |endpoint: &'_ Value| endpoint["interface"] == options.interface.as_str();
    Ok(Login {
        token,
        storage_url: object_store(&granted.token.catalog, options, |endpoint| {
            endpoint["url"].as_str().filter(|_| of_interface(endpoint))
        })?,
        life: granted.token.expires_at.map(until),
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
    match &user.name {
        Named::Id(id) => json!({"id": id}),
        Named::Name(name) => json!({"name": name, "domain": domain_of(user.domain.as_ref())}),
    }
}

fn project_of(project: &Project) -> Value {
    match &project.name {
        Named::Id(id) => json!({"id": id}),
        Named::Name(name) => json!({"name": name, "domain": domain_of(project.domain.as_ref())}),
    }
}

/// Keystone's own domain where none is named.
fn domain_of(domain: Option<&Named>) -> Value {
    match domain {
        Some(Named::Id(id)) => json!({"id": id}),
        Some(Named::Name(name)) => json!({"name": name}),
        None => json!({"id": "default"}),
    }
}

/// The address of the object store in the region that is asked for, or the first.
fn object_store<'a>(
    catalogue: &'a [Service],
    options: &SwiftOptions,
    address: impl Fn(&'a Value) -> Option<&'a str>,
) -> Result<String, HttpFailure> {
    let endpoints: Vec<(&str, &str)> = catalogue
        .iter()
        .filter(|service| service.kind == "object-store")
        .flat_map(|service| &service.endpoints)
        .filter_map(|endpoint| {
            let region = endpoint["region"]
                .as_str()
                .or_else(|| endpoint["region_id"].as_str());
            Some((region.unwrap_or_default(), address(endpoint)?))
        })
        .collect();
    let wanted = options.region.as_deref();
    let found = endpoints
        .iter()
        .find(|(region, _)| wanted.is_none_or(|wanted| wanted == *region));
    if let Some((_, url)) = found {
        return Ok((*url).to_owned());
    }
    let regions: Vec<&str> = endpoints.iter().map(|(region, _)| *region).collect();
    let reason = match (regions.as_slice(), wanted) {
        ([], _) => format!(
            "the catalogue names no {} address of an object store for this project; are project and OS_INTERFACE right?",
            options.interface
        ),
        (regions, wanted) => format!(
            "the catalogue has no object store in the region {}, only in {}",
            wanted.unwrap_or_default(),
            regions.join(", ")
        ),
    };
    Err(HttpFailure::new(ErrorKind::Permanent, reason))
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
    let request = request.map_err(|_| {
        HttpFailure::new(
            ErrorKind::Permanent,
            "the request for a token cannot be made",
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
    let kind = match kind_of_status(reply.status) {
        ErrorKind::PermissionDenied => ErrorKind::Unauthenticated,
        ErrorKind::NotFound => ErrorKind::Permanent,
        kind => kind,
    };
    let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    Err(
        Refusal::new(http, &reply, None, told["error"]["message"].as_str())
            .into_failure(kind, &reply),
    )
}

fn unusable(reason: &str) -> HttpFailure {
    HttpFailure::new(
        ErrorKind::Permanent,
        format!("the answer with the token is unusable: {reason}"),
    )
}

fn until(end: Timestamp) -> Duration {
    let seconds = end.as_second() - Timestamp::now().as_second();
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
