//! Tokens of Entra: for an application, or for the identity of the machine.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded;

use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};
use crate::service::azure::options::{Application, Credential};
use crate::{ErrorKind, Operation};

const AUDIENCE: &str = "https://storage.azure.com";
/// A token is renewed so long before it expires, or a quarter of its life if that is shorter.
const AHEAD: Duration = Duration::from_mins(5);

/// The token in use, if the credential is one that needs tokens.
#[derive(Default)]
pub(super) struct Tokens {
    current: Mutex<Option<Token>>,
}

struct Token {
    text: SecretString,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds, as a number or as text.
    expires_in: serde_json::Value,
}

#[derive(Deserialize)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

impl Tokens {
    /// A valid token; another one than `refused`. One caller renews it, the others wait.
    pub async fn get(
        &self,
        http: &HttpClient,
        credential: &Credential,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, HttpFailure> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref()
            && token.renew_at > Instant::now()
            && refused.is_none_or(|refused| refused.expose_secret() != token.text.expose_secret())
        {
            return Ok(token.text.clone());
        }
        let granted = fetch(http, credential).await?;
        let text = SecretString::from(granted.access_token);
        http.hide(&text);
        let seconds = match &granted.expires_in {
            serde_json::Value::String(text) => text.parse().unwrap_or(0),
            number => number.as_u64().unwrap_or(0),
        };
        let life = Duration::from_secs(seconds.min(86_400));
        let renew_at = Instant::now() + life - AHEAD.min(life / 4);
        *current = Some(Token {
            text: text.clone(),
            renew_at,
        });
        Ok(text)
    }
}

async fn fetch(http: &HttpClient, credential: &Credential) -> Result<Granted, HttpFailure> {
    match credential {
        Credential::ClientSecret { place, secret } => {
            let proof = [("client_secret", secret.expose_secret())];
            of_application(http, place, &proof).await
        }
        Credential::Federated { place, token_file } => {
            let assertion = tokio::fs::read_to_string(token_file)
                .await
                .map_err(|error| {
                    HttpFailure::new(
                        ErrorKind::Unauthenticated,
                        format!(
                            "the token of the workload identity in {} cannot be read: {error}",
                            token_file.display()
                        ),
                    )
                })?;
            http.hide(&SecretString::from(assertion.trim().to_owned()));
            let proof = [
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", assertion.trim()),
            ];
            of_application(http, place, &proof).await
        }
        Credential::Machine {
            url,
            header,
            client_id,
        } => {
            let mut address = format!("{url}&resource={}", encoded(&format!("{AUDIENCE}/")));
            if let Some(client_id) = client_id {
                address.push_str(&format!("&client_id={}", encoded(client_id)));
            }
            let request = Request::get(address);
            let request = match header {
                Some(secret) => request.header("x-identity-header", secret.expose_secret()),
                None => request.header("metadata", "true"),
            };
            ask(
                http,
                request.body(Bytes::new()),
                "the identity of this machine",
            )
            .await
        }
        Credential::Key(_) | Credential::Sas(_) => Err(HttpFailure::new(
            ErrorKind::Permanent,
            "this credential needs no token",
        )),
    }
}

async fn of_application(
    http: &HttpClient,
    place: &Application,
    proof: &[(&str, &str)],
) -> Result<Granted, HttpFailure> {
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &place.client_id)
        .append_pair("scope", &format!("{AUDIENCE}/.default"))
        .extend_pairs(proof)
        .finish();
    let request = Request::builder()
        .method(Method::POST)
        .uri(&place.token_url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(body));
    ask(http, request, "the application in Entra").await
}

async fn ask(
    http: &HttpClient,
    request: Result<Request<Bytes>, http::Error>,
    whom: &'static str,
) -> Result<Granted, HttpFailure> {
    let request = request.map_err(|_| {
        HttpFailure::new(
            ErrorKind::Permanent,
            "the address that gives tokens is malformed",
        )
    })?;
    let failed = |failure: HttpFailure| HttpFailure {
        source: format!("no token for {whom}: {}", failure.source).into(),
        ..failure
    };
    let reply = http
        .send(Operation::Authenticate, request)
        .await
        .map_err(failed)?;
    if !reply.status.is_success() {
        return Err(failed(refusal(http, &reply)));
    }
    serde_json::from_slice(&reply.body).map_err(|_| {
        failed(HttpFailure::new(
            ErrorKind::Permanent,
            "the answer is no token",
        ))
    })
}

fn refusal(http: &HttpClient, reply: &Reply) -> HttpFailure {
    let told: Option<Refused> = serde_json::from_slice(&reply.body).ok();
    let (code, message) = told.map_or((None, None), |told| (told.error, told.error_description));
    let kind = match kind_of_status(reply.status) {
        ErrorKind::Temporary => ErrorKind::Temporary,
        // Whatever is wrong with the request, it is who we say we are.
        _ => ErrorKind::Unauthenticated,
    };
    Refusal::new(http, reply, code.as_deref(), message.as_deref()).into_failure(kind, reply)
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
