//! The metadata service of a virtual machine (IMDS, version 2), which knows the role of the machine.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Keys, keys};
use crate::http::{HttpClient, HttpFailure, Refusal, Reply};
use crate::variables::{SetupError, Variables};
use crate::{ErrorKind, Operation};

/// Longest wait for a service of the machine itself.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(5);
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// The role of the virtual machine.
#[derive(Debug, Clone)]
pub(in crate::service::s3) struct Instance {
    endpoint: String,
    /// Whether the user named the endpoint. If not, the service may well not exist.
    is_given: bool,
    /// Whether the service has given keys, so that it does exist. Shared by clones.
    has_served: Arc<AtomicBool>,
}

impl Instance {
    pub fn from_variables(variables: &Variables) -> Result<Self, SetupError> {
        let given = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let is_given = given.is_some();
        let is_ipv6 = variables
            .get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
            .is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let endpoint = given.unwrap_or_else(|| {
            let address = if is_ipv6 {
                "http://[fd00:ec2::254]"
            } else {
                "http://169.254.169.254"
            };
            address.to_owned()
        });
        if url::Url::parse(&endpoint).is_err() {
            return Err(SetupError::new(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL",
            ));
        }
        Ok(Self::at(endpoint, is_given))
    }

    pub(super) fn at(endpoint: String, is_given: bool) -> Self {
        Self {
            endpoint,
            is_given,
            has_served: Arc::default(),
        }
    }

    pub async fn load(&self, http: &HttpClient) -> Result<Keys, HttpFailure> {
        let token = self.token(http).await.map_err(|failure| {
            let is_there = self.is_given || self.has_served.load(Ordering::Relaxed);
            if is_there || failure.kind != ErrorKind::Temporary {
                return failure;
            }
            // Most likely there is no such service, and asking for hours would hide that no keys are given.
            HttpFailure {
                kind: ErrorKind::Unauthenticated,
                retry_after: None,
                source: Box::new(NoInstance(failure.source)),
            }
        })?;
        http.hide(&token);
        let roles = self.ask(http, ROLES, &token).await?;
        let no_role = || {
            HttpFailure::new(
                ErrorKind::Unauthenticated,
                "no role is attached to this machine",
            )
        };
        if roles.status == StatusCode::NOT_FOUND {
            return Err(no_role());
        }
        accepted(http, &roles)?;
        let text = String::from_utf8_lossy(&roles.body);
        let role = text.lines().next().unwrap_or_default().trim();
        if role.is_empty() {
            return Err(no_role());
        }
        let document = self.ask(http, &format!("{ROLES}{role}"), &token).await?;
        let keys = read_document(http, &document)?;
        self.has_served.store(true, Ordering::Relaxed);
        Ok(keys)
    }

    async fn token(&self, http: &HttpClient) -> Result<SecretString, HttpFailure> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(self.url("latest/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        let reply = get(http, finish(request, Bytes::new())?).await?;
        accepted(http, &reply)?;
        let text = String::from_utf8_lossy(&reply.body);
        Ok(SecretString::from(text.trim()))
    }

    async fn ask(
        &self,
        http: &HttpClient,
        path: &str,
        token: &SecretString,
    ) -> Result<Reply, HttpFailure> {
        let request = Request::builder()
            .uri(self.url(path))
            .header("x-aws-ec2-metadata-token", token.expose_secret());
        get(http, finish(request, Bytes::new())?).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.endpoint.trim_end_matches('/'))
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the role of the virtual machine, asked at {},",
            self.endpoint
        )
    }
}

/// Nothing was configured, and this is no virtual machine of Amazon's, or it may not be asked from here.
#[derive(Debug, thiserror::Error)]
#[error(
    "no credentials are configured and no metadata service answers; \
     set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or on a virtual machine allow its metadata service a hop limit of 2"
)]
struct NoInstance(#[source] Box<dyn std::error::Error + Send + Sync>);

fn finish(request: http::request::Builder, body: Bytes) -> Result<Request<Bytes>, HttpFailure> {
    request.body(body).map_err(|_| {
        HttpFailure::new(
            ErrorKind::Unauthenticated,
            "the request for credentials cannot be made",
        )
    })
}

/// One request to a service of this machine, which answers at once or never.
pub(super) async fn get(http: &HttpClient, request: Request<Bytes>) -> Result<Reply, HttpFailure> {
    let answer = http.send(Operation::Authenticate, request);
    tokio::time::timeout(MACHINE_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_| {
            Err(HttpFailure::new(
                ErrorKind::Temporary,
                format!("no answer within {} seconds", MACHINE_TIMEOUT.as_secs()),
            ))
        })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    code: Option<String>,
    message: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// What a container endpoint says when it refuses.
#[derive(Deserialize)]
struct Reason {
    code: Option<String>,
    message: Option<String>,
}

/// The keys in the JSON of a metadata service or container endpoint.
pub(super) fn read_document(http: &HttpClient, reply: &Reply) -> Result<Keys, HttpFailure> {
    accepted(http, reply)?;
    let document: Document = serde_json::from_slice(&reply.body).map_err(|_| {
        HttpFailure::new(
            ErrorKind::Unauthenticated,
            "the answer is not a document with credentials",
        )
    })?;
    if let Some(code) = document.code.as_deref().filter(|&code| code != "Success") {
        let refusal = Refusal::new(http, reply, Some(code), document.message.as_deref());
        return Err(refusal.into_failure(ErrorKind::Unauthenticated, reply));
    }
    keys(
        document.access_key_id.unwrap_or_default(),
        document.secret_access_key.unwrap_or_default(),
        document.token,
        document.expiration.as_deref(),
    )
}

fn accepted(http: &HttpClient, reply: &Reply) -> Result<(), HttpFailure> {
    if reply.status.is_success() {
        return Ok(());
    }
    let reason: Option<Reason> = serde_json::from_slice(&reply.body).ok();
    let kind = if reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS {
        ErrorKind::Temporary
    } else {
        ErrorKind::Unauthenticated
    };
    let (code, message) = reason.map_or((None, None), |reason| (reason.code, reason.message));
    Err(Refusal::new(http, reply, code.as_deref(), message.as_deref()).into_failure(kind, reply))
}
