//! What a refusal of B2 means. Codes: <https://www.backblaze.com/docs/cloud-storage-integration-checklist>

use http::StatusCode;

use super::answers::Trouble;
use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};

/// What was asked for, where the same code means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Authorization,
    Call,
    /// Deleting one version of a file.
    Deletion,
    Upload,
    Download,
}

/// The answer, if it is a success.
pub(super) fn accept(
    http: &HttpClient,
    request: Request,
    reply: Reply,
) -> Result<Reply, HttpFailure> {
    if reply.status.is_success() {
        return Ok(reply);
    }
    let trouble = Trouble::of(&reply);
    let code = trouble.code.as_deref().unwrap_or_default();
    let message = trouble.message.as_deref().unwrap_or_default();
    let (kind, advice) = meaning(request, reply.status, code, message);
    let refusal = Refusal::new(http, &reply, trouble.code.as_deref(), Some(message));
    let failure = refusal.into_failure(kind, &reply);
    Err(match advice {
        None => failure,
        Some(advice) => HttpFailure {
            source: format!("{}; {advice}", failure.source).into(),
            ..failure
        },
    })
}

/// Whether a new token may help. Answers to `HEAD` have no code.
pub(super) fn is_stale_token(reply: &Reply) -> bool {
    let is_stale = |code: &str| {
        matches!(
            code,
            "bad_auth_token" | "expired_auth_token" | "auth_token_expired"
        )
    };
    reply.status == StatusCode::UNAUTHORIZED
        && Trouble::of(reply).code.as_deref().is_none_or(is_stale)
}

/// The kind of a refusal and what to do about it.
pub(super) fn meaning(
    request: Request,
    status: StatusCode,
    code: &str,
    message: &str,
) -> (ErrorKind, Option<&'static str>) {
    // Only where a file was asked for may something be called absent: it counts as an answer, and may lead to creation.
    let is_on_file = matches!(request, Request::Download | Request::Deletion);
    match (code, status.as_u16()) {
        ("storage_cap_exceeded", _) => (ErrorKind::NoSpace, Some(STORAGE_CAP)),
        ("cap_exceeded", _) if request == Request::Upload => {
            (ErrorKind::NoSpace, Some(STORAGE_CAP))
        }
        ("transaction_cap_exceeded" | "download_cap_exceeded" | "cap_exceeded", _) => {
            (ErrorKind::Permanent, Some(DAILY_CAP))
        }
        ("access_denied", _) => (ErrorKind::PermissionDenied, Some(PROTECTED)),
        ("unsupported", 401) => (ErrorKind::Permanent, None),
        (_, 401) if request == Request::Authorization => {
            (ErrorKind::Unauthenticated, Some(UNKNOWN_KEY))
        }
        // The address is given up, and the next attempt takes another.
        ("bad_auth_token" | "expired_auth_token" | "missing_auth_token", 401)
            if request == Request::Upload =>
        {
            (ErrorKind::Temporary, None)
        }
        ("" | "bad_auth_token" | "expired_auth_token" | "missing_auth_token", 401) => {
            (ErrorKind::Unauthenticated, None)
        }
        (_, 401) => (ErrorKind::PermissionDenied, None),
        ("bad_bucket_id" | "invalid_bucket_id", _) => (ErrorKind::PlaceNotFound, None),
        ("file_not_present" | "no_such_file", _) if is_on_file => (ErrorKind::NotFound, None),
        ("duplicate_bucket_name", _) => (ErrorKind::AlreadyExists, None),
        ("too_many_requests" | "service_error" | "auth_token_limit", _) => {
            (ErrorKind::Temporary, None)
        }
        ("bad_request", 400) if message.contains("did not match data received") => {
            (ErrorKind::Temporary, None)
        }
        (_, 404) if request == Request::Download && message.starts_with("Bucket") => {
            (ErrorKind::PlaceNotFound, None)
        }
        (_, 404) if request == Request::Download => (ErrorKind::NotFound, None),
        ("not_found", 404) if is_on_file => (ErrorKind::NotFound, None),
        (_, 404 | 410) => (ErrorKind::Permanent, Some(NOT_B2)),
        (_, 416) => (ErrorKind::TooShort, None),
        _ => (kind_of_status(status), None),
    }
}

const STORAGE_CAP: &str =
    "the account's cap for storage is reached; raise it under Caps & Alerts of the account";
const DAILY_CAP: &str = "a daily cap of the account is reached; raise it under Caps & Alerts of the account, or wait until midnight UTC";
const PROTECTED: &str =
    "the key is not allowed this, or a retention period or legal hold protects the file";
const UNKNOWN_KEY: &str =
    "key id and key do not belong together, or the key was deleted or expired";
const NOT_B2: &str = "this address does not speak the API of B2";
