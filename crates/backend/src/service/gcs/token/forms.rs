//! The ways to a token, one function for each.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure};

use super::assertion::assertion;
use super::credentials::{
    AuthorizedUser, ExternalAccount, Format, Impersonation, ServiceAccount, Subject,
};
use super::exchange::{Endpoint, Grant, server_time};
use super::{Clients, read_file};

/// Objects and buckets, but not who may reach them.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// What impersonation needs; the rights are those of the identity anyway.
const WIDE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

pub(super) async fn of_service_account(
    http: &HttpClient,
    account: &ServiceAccount,
) -> Result<Grant, HttpFailure> {
    let endpoint = Endpoint::new(http, &account.token_uri);
    let signed = assertion(account, SCOPE, Timestamp::now().as_second())
        .map_err(|reason| HttpFailure::new(ErrorKind::Permanent, reason))?;
    http.hide(&signed);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", signed.expose_secret()),
    ];
    endpoint.grant(&account.token_uri, None, &form).await
}

pub(super) async fn of_user(
    http: &HttpClient,
    user: &AuthorizedUser,
) -> Result<Grant, HttpFailure> {
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", user.client_id.as_str()),
        ("client_secret", user.client_secret.expose_secret()),
        ("refresh_token", user.refresh_token.expose_secret()),
    ];
    let endpoint = Endpoint::new(http, &user.token_uri);
    endpoint.grant(&user.token_uri, None, &form).await
}

/// <https://google.aip.dev/auth/4117>
pub(super) async fn of_external(
    clients: &Clients,
    account: &ExternalAccount,
) -> Result<Grant, HttpFailure> {
    let http = &clients.http;
    let subject = subject_token(clients, account).await?;
    http.hide(&subject);
    let scope = match account.impersonation {
        Some(_) => WIDE_SCOPE,
        None => SCOPE,
    };
    let mut form = vec![
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        (
            "requested_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("audience", account.audience.as_str()),
        ("scope", scope),
        ("subject_token_type", account.subject_token_type.as_str()),
        ("subject_token", subject.expose_secret()),
    ];
    let authorization = account.client.as_ref().map(|(id, secret)| {
        let pair = STANDARD.encode(format!("{id}:{}", secret.expose_secret()));
        SecretString::from(format!("Basic {pair}"))
    });
    let project = account
        .user_project
        .as_ref()
        .filter(|_| authorization.is_none());
    let options = project.map(|project| json!({"userProject": project}).to_string());
    if let Some(options) = &options {
        form.push(("options", options));
    }
    if let Some(authorization) = &authorization {
        http.hide(authorization);
    }
    let endpoint = Endpoint::new(http, &account.token_url);
    let grant = endpoint
        .grant(&account.token_url, authorization.as_ref(), &form)
        .await?;
    match &account.impersonation {
        None => Ok(grant),
        Some(wish) => impersonated(http, wish, &grant).await,
    }
}

async fn subject_token(
    clients: &Clients,
    account: &ExternalAccount,
) -> Result<SecretString, HttpFailure> {
    let (text, place) = match &account.subject {
        Subject::File(path) => (read_file(path.as_ref()).await?, path.clone()),
        Subject::Url { url, headers } => {
            // Such servers are of the machine or the cluster, and no proxy leads there.
            let http = match url.scheme() {
                "http" => &clients.direct,
                _ => &clients.http,
            };
            let endpoint = Endpoint::new(http, url);
            let mut request = Request::get(url.as_str());
            for (name, value) in headers {
                request = request.header(name, endpoint.sensitive(value)?);
            }
            let reply = endpoint.send(request.body(Bytes::new())).await?;
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            (SecretString::from(text), endpoint.name)
        }
    };
    let token = match &account.format {
        Format::Text => Some(text.expose_secret().trim().to_owned()),
        Format::Json(field) => serde_json::from_str::<Value>(text.expose_secret())
            .ok()
            .and_then(|value| Some(value.get(field)?.as_str()?.trim().to_owned())),
    };
    token
        .filter(|token| !token.is_empty())
        .map(SecretString::from)
        .ok_or_else(|| {
            HttpFailure::new(
                ErrorKind::Permanent,
                format!("{place} holds no token in the form that the credentials name"),
            )
        })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: Timestamp,
}

async fn impersonated(
    http: &HttpClient,
    wish: &Impersonation,
    own: &Grant,
) -> Result<Grant, HttpFailure> {
    http.hide(&own.token);
    let endpoint = Endpoint::new(http, &wish.url);
    let bearer = SecretString::from(format!("Bearer {}", own.token.expose_secret()));
    let body = json!({"scope": [SCOPE], "lifetime": format!("{}s", wish.lifetime_seconds)});
    let request = Request::post(wish.url.as_str())
        .header(header::AUTHORIZATION, endpoint.sensitive(&bearer)?)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(body.to_string()));
    let reply = endpoint.send(request).await?;
    let answer: Impersonated = serde_json::from_slice(&reply.body).map_err(|_| {
        endpoint.failure(ErrorKind::Temporary, "the answer is not one with a token")
    })?;
    // By the clock of those who say when it ends.
    let now = server_time(&reply).unwrap_or_else(Timestamp::now);
    let seconds = answer.expire_time.as_second() - now.as_second();
    Ok(Grant {
        token: SecretString::from(answer.access_token),
        lifetime: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
    })
}

/// <https://cloud.google.com/compute/docs/access/authenticate-workloads>
pub(super) async fn of_metadata(http: &HttpClient, host: &str) -> Result<Grant, HttpFailure> {
    let endpoint = Endpoint {
        http,
        name: format!("the metadata server {host}"),
    };
    let path = "computeMetadata/v1/instance/service-accounts/default/token";
    let url = Url::parse(&format!("http://{host}/{path}"))
        .map_err(|_| endpoint.failure(ErrorKind::Permanent, "this is not the name of a host"))?;
    let request = Request::get(url.as_str())
        .header("Metadata-Flavor", "Google")
        .body(Bytes::new());
    let reply = endpoint.send(request).await?;
    if reply.header("metadata-flavor") != Some("Google") {
        return Err(endpoint.failure(
            ErrorKind::Permanent,
            "what answers there is not Google's metadata server",
        ));
    }
    endpoint.granted(&reply)
}
