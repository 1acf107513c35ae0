//! One request to a token endpoint and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::http::{HttpClient, HttpFailure, Reply, kind_of_status};
use crate::{ErrorKind, Operation};

/// What every request for a token shares.
pub(super) struct Endpoint<'a> {
    pub http: &'a HttpClient,
    /// Who is asked, for messages.
    pub name: String,
}

/// A token and how long it is good for.
pub(super) struct Grant {
    pub token: SecretString,
    pub lifetime: Duration,
}

/// Where an answer does not say how long.
const LIFETIME_SECONDS: u64 = 3600;

#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl<'a> Endpoint<'a> {
    pub fn new(http: &'a HttpClient, url: &Url) -> Self {
        Self {
            http,
            name: url.origin().ascii_serialization(),
        }
    }

    /// Posts a form and takes the token from the answer.
    pub async fn grant(
        &self,
        url: &Url,
        authorization: Option<&SecretString>,
        form: &[(&str, &str)],
    ) -> Result<Grant, HttpFailure> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut request = Request::post(url.as_str()).header(
            header::CONTENT_TYPE,
            "application/x-www-form-urlencoded;charset=UTF-8",
        );
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, self.sensitive(authorization)?);
        }
        let request = request.body(Bytes::from(body));
        let reply = self.send(request).await?;
        self.granted(&reply)
    }

    /// Success, or what the refusal means.
    pub async fn send(
        &self,
        request: Result<Request<Bytes>, http::Error>,
    ) -> Result<Reply, HttpFailure> {
        let request = request.map_err(|error| {
            self.failure(
                ErrorKind::Permanent,
                format!("the request cannot be made: {error}"),
            )
        })?;
        match self.http.send(Operation::Authenticate, request).await {
            Ok(reply) if reply.status.is_success() => Ok(reply),
            Ok(reply) => Err(self.refused(&reply)),
            Err(failure) => Err(HttpFailure {
                kind: failure.kind,
                retry_after: failure.retry_after,
                source: self.words(&failure.source.to_string()).into(),
            }),
        }
    }

    pub fn granted(&self, reply: &Reply) -> Result<Grant, HttpFailure> {
        // The parser's own words could repeat the token.
        let granted: Granted = serde_json::from_slice(&reply.body).map_err(|_| {
            self.failure(ErrorKind::Temporary, "the answer is not one with a token")
        })?;
        let token = granted
            .access_token
            .filter(|token| !token.is_empty())
            .map(SecretString::from)
            .ok_or_else(|| self.failure(ErrorKind::Temporary, "the answer has no token"))?;
        Ok(Grant {
            token,
            lifetime: Duration::from_secs(granted.expires_in.unwrap_or(LIFETIME_SECONDS)),
        })
    }

    pub fn sensitive(&self, secret: &SecretString) -> Result<HeaderValue, HttpFailure> {
        let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| {
            self.failure(
                ErrorKind::Permanent,
                "the credentials hold characters that no header can have",
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    pub fn failure(&self, kind: ErrorKind, reason: impl AsRef<str>) -> HttpFailure {
        HttpFailure::new(kind, self.words(reason.as_ref()))
    }

    fn words(&self, reason: &str) -> String {
        format!("no token from {}: {reason}", self.name)
    }

    fn refused(&self, reply: &Reply) -> HttpFailure {
        let (code, message) = refusal_words(&reply.body);
        let mut kind = kind_of_refusal(reply.status, &code, &message);
        let mut reason = format!("it answered {}", reply.status.as_u16());
        for (open, text, close) in [(" (", &code, ")"), (": ", &message, "")] {
            let text = self.http.presentable(text);
            if !text.is_empty() {
                reason.push_str(&format!("{open}{text}{close}"));
            }
        }
        if is_about_clocks(&code, &message) {
            kind = ErrorKind::ClockSkew;
            reason.push_str(&skew(reply));
        }
        HttpFailure {
            retry_after: reply.retry_after(),
            ..self.failure(kind, reason)
        }
    }
}

/// An absent token endpoint or account must never look like an absent object.
fn kind_of_refusal(status: StatusCode, code: &str, message: &str) -> ErrorKind {
    match status.as_u16() {
        _ if kind_of_status(status) == ErrorKind::Temporary => ErrorKind::Temporary,
        _ if matches!(
            code,
            "temporarily_unavailable" | "server_error" | "internal_failure"
        ) =>
        {
            ErrorKind::Temporary
        }
        403 if is_busy(code, message) => ErrorKind::Temporary,
        403 => ErrorKind::PermissionDenied,
        400 | 401 => ErrorKind::Unauthenticated,
        _ => ErrorKind::Permanent,
    }
}

fn is_busy(code: &str, message: &str) -> bool {
    matches!(code, "rateLimitExceeded" | "userRateLimitExceeded") || message.contains("rate limit")
}

/// "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp
/// values in the JWT claim."
fn is_about_clocks(code: &str, message: &str) -> bool {
    let has = |word: &str| {
        message
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .any(|found| found == word)
    };
    code == "invalid_grant"
        && (message.contains("reasonable timeframe") || (has("iat") && has("exp")))
}

/// What the server's clock says.
pub(super) fn server_time(reply: &Reply) -> Option<Timestamp> {
    let text = reply.header("date")?;
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

fn skew(reply: &Reply) -> String {
    let Some(theirs) = server_time(reply) else {
        return String::new();
    };
    let seconds = Timestamp::now().as_second() - theirs.as_second();
    let way = if seconds < 0 { "behind" } else { "ahead of" };
    format!(
        " (the clock of this machine is {} s {way} that of the server)",
        seconds.abs()
    )
}

/// OAuth says `{"error": "code", "error_description": "words"}`, Google's other services
/// `{"error": {"status": "CODE", "message": "words"}}`.
fn refusal_words(body: &[u8]) -> (String, String) {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &value["error"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if error.is_object() {
        (text(&error["status"]), text(&error["message"]))
    } else {
        (text(error), text(&value["error_description"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_about_the_times_of_the_assertion_mean_the_clock() {
        let google = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                      Check your iat and exp values in the JWT claim.";
        assert!(is_about_clocks("invalid_grant", google));
        assert!(!is_about_clocks("invalid_grant", "Invalid JWT Signature."));
        assert!(!is_about_clocks("invalid_client", google));
        assert!(!is_about_clocks(
            "invalid_grant",
            "expected another iat-like expression"
        ));
    }

    #[test]
    fn no_refusal_of_a_token_means_that_an_object_is_absent() {
        for status in 400..600 {
            let status = StatusCode::from_u16(status).unwrap();
            let kind = kind_of_refusal(status, "", "");
            assert!(
                !matches!(kind, ErrorKind::NotFound | ErrorKind::PlaceNotFound),
                "{status}"
            );
        }
        let kind = |status| kind_of_refusal(StatusCode::from_u16(status).unwrap(), "", "");
        assert_eq!(kind(400), ErrorKind::Unauthenticated);
        assert_eq!(kind(403), ErrorKind::PermissionDenied);
        assert_eq!(kind(503), ErrorKind::Temporary);
        assert_eq!(kind(404), ErrorKind::Permanent);
    }

    #[test]
    fn both_forms_of_refusals_are_read() {
        let oauth = br#"{"error":"invalid_grant","error_description":"Bad Request"}"#;
        assert_eq!(
            refusal_words(oauth),
            ("invalid_grant".into(), "Bad Request".into())
        );
        let google = br#"{"error":{"code":403,"message":"denied","status":"PERMISSION_DENIED"}}"#;
        assert_eq!(
            refusal_words(google),
            ("PERMISSION_DENIED".into(), "denied".into())
        );
        assert_eq!(refusal_words(b"<html>"), (String::new(), String::new()));
    }
}
