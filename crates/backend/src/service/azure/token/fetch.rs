//! How each source is asked for a token, and what its answers mean.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};
use crate::service::azure::credential::{Application, Credential, Machine};
use crate::{ErrorKind, Operation};

const AUDIENCE: &str = "https://storage.azure.com";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longest wait for a service of the machine itself, which answers at once or never.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(5);
/// The life of a token that does not tell it.
const UNTOLD_LIFE: Duration = Duration::from_mins(10);
/// No token lives longer.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// A token, and how long it is good for from now on.
pub(super) struct Grant {
    pub token: SecretString,
    pub life: Duration,
}

/// A source that gives no token.
#[derive(Debug, thiserror::Error)]
#[error("no token for {whom}")]
struct Untold {
    whom: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

/// Nothing was configured, and this is no machine of Azure's, or it may not be asked from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "neither AZURE_ACCOUNT_KEY, AZURE_ACCOUNT_SAS nor an application is configured, \
     and no service of this machine knows its identity"
)]
struct NoMachine(#[source] Box<dyn Error + Send + Sync>);

/// Asks the source, which may have served before.
pub(super) async fn fetch(
    http: &HttpClient,
    machine: &HttpClient,
    credential: &Credential,
    has_served: bool,
) -> Result<Grant, HttpFailure> {
    match credential {
        Credential::ClientSecret { place, secret } => {
            let proof = [("client_secret", secret.expose_secret())];
            of_application(http, place, &proof).await
        }
        Credential::Federated { place, token_file } => {
            let assertion = read_token(token_file).await?;
            http.hide(&assertion);
            let proof = [
                ("client_assertion_type", ASSERTION),
                ("client_assertion", assertion.expose_secret()),
            ];
            of_application(http, place, &proof).await
        }
        Credential::Machine(place) => of_machine(machine, place, has_served).await,
        Credential::Key(_) | Credential::Sas(_) => Err(HttpFailure::new(
            ErrorKind::Permanent,
            "this credential needs no token",
        )),
    }
}

/// The token that Kubernetes keeps fresh in a file.
async fn read_token(file: &Path) -> Result<SecretString, HttpFailure> {
    let fail = |kind, reason: String| {
        HttpFailure::new(
            kind,
            format!(
                "the token of the workload identity in {} {reason}",
                file.display()
            ),
        )
    };
    match tokio::fs::read_to_string(file).await {
        Ok(text) if text.trim().is_empty() => {
            Err(fail(ErrorKind::Unauthenticated, "is empty".to_owned()))
        }
        Ok(text) => Ok(SecretString::from(text.trim())),
        Err(error) => {
            let kind = match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => ErrorKind::Temporary,
                _ => ErrorKind::Unauthenticated,
            };
            Err(fail(kind, format!("cannot be read: {error}")))
        }
    }
}

async fn of_application(
    http: &HttpClient,
    place: &Application,
    proof: &[(&str, &str)],
) -> Result<Grant, HttpFailure> {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &place.client_id)
        .append_pair("scope", &format!("{AUDIENCE}/.default"))
        .extend_pairs(proof)
        .finish();
    let request = Request::post(&place.token_url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(body));
    let fail = |failure| untold(format!("the application {}", place.client_id), failure);
    let request = made(request).map_err(fail)?;
    let reply = http
        .send(Operation::Authenticate, request)
        .await
        .map_err(fail)?;
    granted(http, &reply).map_err(fail)
}

async fn of_machine(
    http: &HttpClient,
    place: &Machine,
    has_served: bool,
) -> Result<Grant, HttpFailure> {
    let request = Request::get(question(place));
    let request = match &place.header {
        Some(secret) => request.header("x-identity-header", secret.expose_secret()),
        None => request.header("metadata", "true"),
    };
    let whom = match &place.client_id {
        Some(client_id) => format!("the managed identity {client_id}"),
        None => "the managed identity of this machine".to_owned(),
    };
    let fail = |failure| untold(whom.clone(), failure);
    let request = made(request.body(Bytes::new())).map_err(fail)?;
    let answer = http.send(Operation::Authenticate, request);
    let answer = tokio::time::timeout(MACHINE_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| {
            let words = format!("no answer within {} seconds", MACHINE_TIMEOUT.as_secs());
            Err(HttpFailure::new(ErrorKind::Temporary, words))
        });
    let reply = answer.map_err(|failure| {
        if place.is_given || has_served {
            return fail(failure);
        }
        // Most likely there is no such service, and asking for hours would hide that nothing is configured.
        HttpFailure {
            kind: ErrorKind::Unauthenticated,
            retry_after: None,
            source: Box::new(NoMachine(failure.source)),
        }
    })?;
    granted(http, &reply).map_err(fail)
}

/// The address with everything that is asked.
fn question(place: &Machine) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("resource", &format!("{AUDIENCE}/"));
    if let Some(client_id) = &place.client_id {
        query.append_pair("client_id", client_id);
    }
    format!("{}&{}", place.url, query.finish())
}

fn made(request: Result<Request<Bytes>, http::Error>) -> Result<Request<Bytes>, HttpFailure> {
    request.map_err(|_| {
        HttpFailure::new(
            ErrorKind::Permanent,
            "the address or the secret cannot be sent",
        )
    })
}

fn untold(whom: String, failure: HttpFailure) -> HttpFailure {
    HttpFailure {
        source: Box::new(Untold {
            whom,
            source: failure.source,
        }),
        ..failure
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds, as a number or as text.
    expires_in: Option<Value>,
    /// Seconds since 1970, as a number or as text; App Service tells only this.
    expires_on: Option<Value>,
}

#[derive(Deserialize, Default)]
struct Refused {
    error: Option<Value>,
    error_description: Option<String>,
    message: Option<String>,
}

fn granted(http: &HttpClient, reply: &Reply) -> Result<Grant, HttpFailure> {
    if !reply.status.is_success() {
        return Err(refused(http, reply));
    }
    let no_token = || HttpFailure::new(ErrorKind::Permanent, "the answer is no token");
    let granted: Granted = serde_json::from_slice(&reply.body).map_err(|_| no_token())?;
    if granted.access_token.is_empty() {
        return Err(no_token());
    }
    let life = granted.expires_in.as_ref().and_then(seconds).or_else(|| {
        let end = granted.expires_on.as_ref().and_then(seconds)?;
        let now = u64::try_from(Timestamp::now().as_second()).ok()?;
        Some(end.saturating_sub(now))
    });
    Ok(Grant {
        token: SecretString::from(granted.access_token),
        life: life
            .map_or(UNTOLD_LIFE, Duration::from_secs)
            .min(LONGEST_LIFE),
    })
}

fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_u64(),
    }
}

fn refused(http: &HttpClient, reply: &Reply) -> HttpFailure {
    let told: Refused = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = told.error.as_ref().and_then(Value::as_str);
    let message = told.error_description.or(told.message);
    // The words go on with numbers and times that help only their maker.
    let message = message.as_deref().and_then(|text| text.lines().next());
    let is_updating = reply.status == StatusCode::GONE
        || (reply.status == StatusCode::NOT_FOUND
            && reply
                .header("server")
                .is_some_and(|name| name.starts_with("IMDS")));
    let is_passing = code == Some("temporarily_unavailable")
        || is_updating
        || kind_of_status(reply.status) == ErrorKind::Temporary;
    let kind = if is_passing {
        ErrorKind::Temporary
    } else {
        // Whatever is wrong with the request, it is who we say we are.
        ErrorKind::Unauthenticated
    };
    Refusal::new(http, reply, code, message).into_failure(kind, reply)
}

#[cfg(test)]
mod tests;
