//! The token service: a web identity for keys, and other keys for a role.

use std::fmt;

use bytes::Bytes;
use http::{Method, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Keys, keys, read_secret_file};
use crate::http::{HttpClient, HttpFailure, Refusal, Reply};
use crate::service::s3::address::{DEFAULT_REGION, is_harmless};
use crate::service::s3::sign;
use crate::variables::{SetupError, Variables};
use crate::{ErrorKind, Operation};

const VERSION: &str = "2011-06-15";

/// Where the token service is.
#[derive(Debug, Clone)]
pub(in crate::service::s3) struct StsPlace {
    url: String,
    region: String,
}

impl StsPlace {
    /// `AWS_ENDPOINT_URL_STS`, or else Amazon's service of the region.
    pub fn from_variables(variables: &Variables, region: Option<&str>) -> Self {
        let is_global = variables
            .get("AWS_STS_REGIONAL_ENDPOINTS")
            .is_some_and(|text| text.eq_ignore_ascii_case("legacy"));
        let region = region.filter(|region| is_harmless(region));
        let url = variables
            .get("AWS_ENDPOINT_URL_STS")
            .or_else(|| variables.get("AWS_ENDPOINT_URL"))
            .unwrap_or_else(|| amazon(region.filter(|_| !is_global)));
        Self {
            url,
            region: region.unwrap_or(DEFAULT_REGION).to_owned(),
        }
    }

    /// Sends a form; the answer's keys.
    async fn ask(
        &self,
        http: &HttpClient,
        form: &[(&str, &str)],
        signed_with: Option<&Keys>,
    ) -> Result<Keys, HttpFailure> {
        let mut body = String::new();
        for (name, value) in form {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(name);
            body.push('=');
            body.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        let url = format!("{}/", self.url.trim_end_matches('/'));
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(
                header::CONTENT_TYPE,
                "application/x-www-form-urlencoded; charset=utf-8",
            )
            .body(Bytes::from(body))
            .map_err(|_| {
                HttpFailure::new(
                    ErrorKind::Permanent,
                    "the address of the token service is malformed",
                )
            })?;
        if let Some(keys) = signed_with {
            let hash = sign::sha256(request.body());
            request = sign::sign(request, keys, ("sts", &self.region), &hash).await?;
        }
        let reply = http.send(Operation::Authenticate, request).await?;
        read_answer(http, &reply)
    }
}

fn amazon(region: Option<&str>) -> String {
    match region {
        None => "https://sts.amazonaws.com".to_owned(),
        Some(region) if region.starts_with("cn-") => {
            format!("https://sts.{region}.amazonaws.com.cn")
        }
        Some(region) => format!("https://sts.{region}.amazonaws.com"),
    }
}

/// A token of the cluster or another issuer that stands for a role.
#[derive(Debug, Clone)]
pub(in crate::service::s3) struct WebIdentity {
    role_arn: String,
    token_file: String,
    session_name: String,
    sts: StsPlace,
}

impl WebIdentity {
    pub fn from_variables(
        variables: &Variables,
        sts: &StsPlace,
    ) -> Result<Option<Self>, SetupError> {
        let Some(token_file) = variables.get("AWS_WEB_IDENTITY_TOKEN_FILE") else {
            return Ok(None);
        };
        let role_arn = variables.get("AWS_ROLE_ARN").ok_or_else(|| {
            SetupError::new("a web identity has no role: AWS_ROLE_ARN is missing")
                .with_hint("Set AWS_ROLE_ARN, or remove AWS_WEB_IDENTITY_TOKEN_FILE.")
        })?;
        Ok(Some(Self {
            role_arn,
            token_file,
            session_name: session_name(variables.get("AWS_ROLE_SESSION_NAME")),
            sts: sts.clone(),
        }))
    }

    /// The file is read each time: its owner replaces it.
    pub async fn load(&self, http: &HttpClient) -> Result<Keys, HttpFailure> {
        let token = read_secret_file(&self.token_file, "the token file").await?;
        http.hide(&token);
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", VERSION),
            ("RoleArn", &self.role_arn),
            ("RoleSessionName", &self.session_name),
            ("WebIdentityToken", token.expose_secret()),
        ];
        self.sts.ask(http, &form, None).await
    }
}

impl fmt::Display for WebIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the web identity for the role {} (token file {})",
            self.role_arn, self.token_file
        )
    }
}

/// A role that is taken on with the keys of another source.
#[derive(Debug, Clone)]
pub(in crate::service::s3) struct AssumeRole {
    role_arn: String,
    session_name: String,
    external_id: Option<SecretString>,
    policy: Option<String>,
    sts: StsPlace,
}

impl AssumeRole {
    /// restic's variables.
    pub fn from_variables(variables: &Variables, sts: &StsPlace) -> Option<Self> {
        let named = |name: &str| variables.get(&format!("RESTIC_AWS_ASSUME_ROLE_{name}"));
        let role_arn = named("ARN")?;
        let mut sts = sts.clone();
        if let Some(region) = named("REGION").filter(|region| is_harmless(region)) {
            sts = StsPlace::from_variables(variables, Some(&region));
        }
        if let Some(url) = named("STS_ENDPOINT") {
            sts.url = url;
        }
        Some(Self {
            role_arn,
            session_name: session_name(named("SESSION_NAME")),
            external_id: named("EXTERNAL_ID").map(SecretString::from),
            policy: named("POLICY"),
            sts,
        })
    }

    pub async fn take_on(&self, http: &HttpClient, keys: &Keys) -> Result<Keys, HttpFailure> {
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("Version", VERSION),
            ("RoleArn", self.role_arn.as_str()),
            ("RoleSessionName", &self.session_name),
        ];
        if let Some(id) = &self.external_id {
            http.hide(id);
            form.push(("ExternalId", id.expose_secret()));
        }
        if let Some(policy) = &self.policy {
            form.push(("Policy", policy));
        }
        self.sts.ask(http, &form, Some(keys)).await
    }
}

impl fmt::Display for AssumeRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the role {}", self.role_arn)
    }
}

fn session_name(given: Option<String>) -> String {
    given.unwrap_or_else(|| "stash".to_owned())
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "AssumeRoleWithWebIdentityResult", alias = "AssumeRoleResult")]
    result: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    credentials: Given,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(rename = "Error")]
    error: Reason,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reason {
    code: Option<String>,
    message: Option<String>,
}

fn read_answer(http: &HttpClient, reply: &Reply) -> Result<Keys, HttpFailure> {
    let text = String::from_utf8_lossy(&reply.body);
    if reply.status.is_success() {
        let answer: Answer = quick_xml::de::from_str(&text).map_err(|_| {
            HttpFailure::new(
                ErrorKind::Unauthenticated,
                "the answer is not one of a token service",
            )
        })?;
        let given = answer.result.credentials;
        return keys(
            given.access_key_id,
            given.secret_access_key,
            given.session_token,
            given.expiration.as_deref(),
        );
    }
    let reason = quick_xml::de::from_str::<Refused>(&text).ok();
    let (code, message) = reason.map_or((None, None), |refused| {
        (refused.error.code, refused.error.message)
    });
    let kind = kind_of(reply, code.as_deref());
    Err(Refusal::new(http, reply, code.as_deref(), message.as_deref()).into_failure(kind, reply))
}

fn kind_of(reply: &Reply, code: Option<&str>) -> ErrorKind {
    match code {
        Some("AccessDenied") => ErrorKind::PermissionDenied,
        Some("RequestTimeTooSkewed" | "RequestExpired") => ErrorKind::ClockSkew,
        Some("IDPCommunicationError" | "Throttling" | "ServiceUnavailable" | "InternalFailure") => {
            ErrorKind::Temporary
        }
        _ if reply.status.is_server_error() || reply.status.as_u16() == 429 => ErrorKind::Temporary,
        _ => ErrorKind::Unauthenticated,
    }
}
