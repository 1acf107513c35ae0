//! What a refusing answer means.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>

use http::StatusCode;
use quick_xml::de::from_reader;
use serde::Deserialize;

use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Told {
    code: Option<String>,
    message: Option<String>,
    authentication_error_detail: Option<String>,
}

/// The failure that an answer tells of. Its code is in a header too, for answers without a body.
pub(super) fn of(http: &HttpClient, reply: &Reply) -> HttpFailure {
    let told: Told = from_reader(without_mark(&reply.body)).unwrap_or_default();
    let code = told
        .code
        .or_else(|| reply.header("x-ms-error-code").map(str::to_owned));
    let detail = told.authentication_error_detail.unwrap_or_default();
    let mut words = told.message.unwrap_or_default();
    // The message ends with the number of the request and the time, which help only its maker.
    if let Some(end) = words.find("\nRequestId") {
        words.truncate(end);
    }
    let known = code.as_deref().unwrap_or_default();
    let kind = kind_of(reply, known, &words, &detail);
    if is_harmless(&detail) {
        words = format!("{words} {detail}");
    }
    if let Some(advice) = advice(known) {
        words = format!("{words} {advice}");
    }
    Refusal::new(http, reply, code.as_deref(), Some(&words)).into_failure(kind, reply)
}

/// The service begins its documents with a byte order mark.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

fn kind_of(reply: &Reply, code: &str, message: &str, detail: &str) -> ErrorKind {
    match code {
        // Azurite's word for a wrong signature; the service itself means rules of the network by it.
        "AuthorizationFailure" if message.contains("failed to authenticate") => {
            ErrorKind::Unauthenticated
        }
        "BlobNotFound" | "ResourceNotFound" => ErrorKind::NotFound,
        "ContainerNotFound" => ErrorKind::PlaceNotFound,
        "BlobAlreadyExists"
        | "ContainerAlreadyExists"
        | "ConditionNotMet"
        | "UnauthorizedBlobOverwrite" => ErrorKind::AlreadyExists,
        "InvalidRange" => ErrorKind::TooShort,
        "AuthenticationFailed" if is_about_time(detail) => ErrorKind::ClockSkew,
        "AuthenticationFailed"
        | "InvalidAuthenticationInfo"
        | "NoAuthenticationInformation"
        | "ExpiredAuthenticationToken"
        | "InvalidAuthenticationToken" => ErrorKind::Unauthenticated,
        _ if code.starts_with("Authorization")
            || code.starts_with("BlobImmutable")
            || code.starts_with("ContainerImmutable") =>
        {
            ErrorKind::PermissionDenied
        }
        "InsufficientAccountPermissions"
        | "AccountIsDisabled"
        | "ContainerDisabled"
        | "KeyBasedAuthenticationNotPermitted"
        | "PublicAccessNotPermitted"
        | "LeaseIdMissing"
        | "SnapshotsPresent" => ErrorKind::PermissionDenied,
        // What was sent did not arrive as it was, or somebody else's blocks came in between.
        "Md5Mismatch"
        | "Crc64Mismatch"
        | "InvalidBlockList"
        | "IncompleteBody"
        | "ServerBusy"
        | "OperationTimedOut"
        | "InternalError"
        | "AccountBeingCreated"
        | "ContainerBeingDeleted"
        | "PendingCopyOperation" => ErrorKind::Temporary,
        // Whoever says so without a word of the service's knows nothing of objects and containers: a gateway that has
        // lost the way to it, for one.
        _ if is_wordless(reply, code) => ErrorKind::Temporary,
        _ => match (kind_of_status(reply.status), reply.status.as_u16()) {
            (ErrorKind::Permanent, 412) => ErrorKind::AlreadyExists,
            (ErrorKind::Permanent, 416) => ErrorKind::TooShort,
            (kind, _) => kind,
        },
    }
}

fn is_wordless(reply: &Reply, code: &str) -> bool {
    let is_absence = matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::GONE);
    is_absence && code.is_empty()
}

/// A signature that is refused because of the date of the request, not because of an expiry that we were given.
fn is_about_time(detail: &str) -> bool {
    let detail = detail.to_lowercase();
    detail.contains("date header") || detail.contains("request date")
}

/// Details about times and names help; those about signatures could hold one.
fn is_harmless(detail: &str) -> bool {
    const HARMLESS: [&str; 5] = [
        "Signature not valid in the specified time frame",
        "Request date header",
        "Lifetime validation failed",
        "Issuer validation failed",
        "Audience validation failed",
    ];
    HARMLESS.iter().any(|start| detail.starts_with(start))
}

/// What to do, where the service's own words leave it open.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "BlobArchived" | "BlobBeingRehydrated" => {
            "The object is in the archive tier: set its tier to Hot, and come back when that is done, hours later."
        }
        "BlobImmutableDueToPolicy" | "ContainerImmutableDueToPolicy" => {
            "A retention policy of the container keeps the object until its time is over."
        }
        "BlobImmutableDueToLegalHold" => {
            "Somebody has put a legal hold on the object, and must lift it first."
        }
        "LeaseIdMissing" => {
            "Somebody holds a lease on the object; break the lease, or wait for its end."
        }
        "SnapshotsPresent" => {
            "Somebody has made snapshots of the blob, which must be deleted first."
        }
        "AuthorizationFailure" => {
            "Do the firewall rules of the account let this address in, and does the SAS cover what is done?"
        }
        "AuthorizationPermissionMismatch" => {
            "The identity needs the role `Storage Blob Data Contributor`, or the SAS the permissions `racwdl`."
        }
        "KeyBasedAuthenticationNotPermitted" => {
            "The account allows no keys: use a workload identity, a managed identity or an application."
        }
        _ => return None,
    })
}
