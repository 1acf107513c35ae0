//! What the store's refusals mean.

use http::StatusCode;

use super::answer::ErrorBody;
use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};

/// The failure that a refusing answer stands for.
pub(super) fn refused(http: &HttpClient, reply: &Reply, said: Option<&ErrorBody>) -> HttpFailure {
    let code = said.and_then(|said| said.code.as_deref());
    let message = said.and_then(|said| said.message.as_deref());
    let kind = kind_of(reply.status, code, message);
    let advice = advice(reply, code, message, said);
    let message = match (message, advice) {
        (Some(message), Some(advice)) => {
            Some(format!("{}; {advice}", message.trim_end_matches('.')))
        }
        (Some(message), None) => Some(message.to_owned()),
        (None, advice) => advice,
    };
    Refusal::new(http, reply, code, message.as_deref()).into_failure(kind, reply)
}

/// Codes of Amazon, MinIO, Ceph and Garage; everything else by its status.
pub(super) fn kind_of(status: StatusCode, code: Option<&str>, message: Option<&str>) -> ErrorKind {
    match code.unwrap_or_default() {
        "NoSuchKey" | "NoSuchVersion" | "NoSuchObject" => ErrorKind::NotFound,
        "NoSuchBucket" => ErrorKind::PlaceNotFound,
        "PreconditionFailed" => ErrorKind::AlreadyExists,
        "InvalidRange" => ErrorKind::TooShort,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "InvalidTokenId"
        | "TokenRefreshRequired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "MissingSecurityHeader"
        | "CredentialsNotSupported"
        | "NotSignedUp"
        | "AuthorizationHeaderMalformed" => ErrorKind::Unauthenticated,
        "AccessDenied" if is_garage_not_knowing_us(message) => ErrorKind::Unauthenticated,
        "AccessDenied"
        | "AccountProblem"
        | "AllAccessDisabled"
        | "UnauthorizedAccess"
        | "InvalidPayer"
        | "KMS.DisabledException"
        | "BucketAlreadyExists" => ErrorKind::PermissionDenied,
        "RequestTimeTooSkewed" | "RequestExpired" => ErrorKind::ClockSkew,
        "QuotaExceeded"
        | "InsufficientCapacity"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "ServiceQuotaExceeded" => ErrorKind::NoSpace,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "InternalError"
        | "RequestTimeout"
        | "RequestTimedOut"
        | "OperationAborted"
        | "ConditionalRequestConflict"
        | "TooManyRequests"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "TemporaryRedirect"
        | "IncompleteBody"
        | "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "XMinioServerNotInitialized"
        | "Busy" => ErrorKind::Temporary,
        "InvalidObjectState" => ErrorKind::Permanent,
        _ if is_locked(message) => ErrorKind::PermissionDenied,
        _ if status == StatusCode::PRECONDITION_FAILED => ErrorKind::AlreadyExists,
        _ if status == StatusCode::RANGE_NOT_SATISFIABLE => ErrorKind::TooShort,
        // A refusal in the body of a success: nothing is known to have been done.
        _ if status.is_success() => ErrorKind::Temporary,
        // No word of the store's that anything is missing: a gateway that has lost the way to it, for one.
        _ if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) => ErrorKind::Temporary,
        _ => kind_of_status(status),
    }
}

/// Garage has one code for keys that it does not know and for operations that they may not do.
fn is_garage_not_knowing_us(message: Option<&str>) -> bool {
    message.is_some_and(|message| {
        message.starts_with("Forbidden: Invalid signature")
            || message.starts_with("Forbidden: No such key")
    })
}

/// MinIO and Ceph have no code of their own for a locked object.
fn is_locked(message: Option<&str>) -> bool {
    message.is_some_and(|message| {
        let message = message.to_ascii_lowercase();
        ["worm protected", "object lock and cannot", "by object lock"]
            .iter()
            .any(|words| message.contains(words))
    })
}

/// What to do, where the store's own words do not tell.
fn advice(
    reply: &Reply,
    code: Option<&str>,
    message: Option<&str>,
    said: Option<&ErrorBody>,
) -> Option<String> {
    let text = match code.unwrap_or_default() {
        "InvalidObjectState" => {
            "the object lies in an archive; restore it to a readable storage class first"
        }
        "InvalidRequest" if message.is_some_and(|text| text.contains("Object Lock Config")) => {
            "the bucket was made without object lock, so that nothing in it can be retained"
        }
        "BucketAlreadyExists" => "the name is taken by somebody else; choose another one",
        _ if is_locked(message) => "it is protected by object lock until its retention ends",
        _ if reply.status.is_redirection() => {
            let target = said
                .and_then(|said| said.endpoint.clone())
                .or_else(|| host_of(reply.header("location")?));
            return Some(match target {
                Some(host) => format!("the server sends to {host}; use that as the endpoint"),
                None => "the server sends elsewhere; is this the endpoint of S3?".to_owned(),
            });
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// The rest of a location may hold a signature.
fn host_of(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    Some(url.origin().ascii_serialization())
}
