//! What the service answers: errors and listings.

use quick_xml::de::from_reader;
use serde::Deserialize;

use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};
use crate::service::keys::name_of;
use crate::{ErrorKind, FileInfo, FileKind};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Told {
    code: Option<String>,
    message: Option<String>,
    authentication_error_detail: Option<String>,
}

/// What a refusing answer means. The code is in a header too, for answers without a body.
pub(super) fn failure(http: &HttpClient, reply: &Reply) -> HttpFailure {
    let body = without_mark(&reply.body);
    let told: Told = from_reader(body).unwrap_or_default();
    let code = told
        .code
        .or_else(|| reply.header("x-ms-error-code").map(str::to_owned));
    let detail = told.authentication_error_detail.unwrap_or_default();
    let kind = {
        let told = (told.message.as_deref().unwrap_or_default(), detail.as_str());
        kind_of(reply, code.as_deref().unwrap_or_default(), told)
    };
    let mut message = told.message.unwrap_or_default();
    // The message ends with the number of the request and the time, which help only its maker.
    if let Some(end) = message.find("\nRequestId") {
        message.truncate(end);
    }
    if matches!(
        code.as_deref(),
        Some("BlobArchived" | "BlobBeingRehydrated")
    ) {
        message.push_str(" The object is in the archive tier: change its tier to Hot and wait for the copy back.");
    }
    Refusal::new(http, reply, code.as_deref(), Some(&message)).into_failure(kind, reply)
}

fn kind_of(reply: &Reply, code: &str, (message, detail): (&str, &str)) -> ErrorKind {
    match code {
        // Azurite's word for a wrong signature; the service itself means rules of the network by it.
        "AuthorizationFailure" if message.contains("failed to authenticate") => {
            ErrorKind::Unauthenticated
        }
        "BlobNotFound" | "ResourceNotFound" => ErrorKind::NotFound,
        "ContainerNotFound" => ErrorKind::PlaceNotFound,
        "BlobAlreadyExists" | "ConditionNotMet" | "UnauthorizedBlobOverwrite" => {
            ErrorKind::AlreadyExists
        }
        "InvalidRange" => ErrorKind::TooShort,
        "AuthenticationFailed" if is_about_time(detail) => ErrorKind::ClockSkew,
        "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation" => {
            ErrorKind::Unauthenticated
        }
        "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "AuthorizationProtocolMismatch"
        | "AuthorizationResourceTypeMismatch"
        | "AuthorizationServiceMismatch"
        | "AuthorizationSourceIPMismatch"
        | "InsufficientAccountPermissions"
        | "AccountIsDisabled"
        | "BlobImmutableDueToPolicy"
        | "LeaseIdMissing"
        | "SnapshotsPresent" => ErrorKind::PermissionDenied,
        "Md5Mismatch"
        | "ServerBusy"
        | "OperationTimedOut"
        | "InternalError"
        | "ContainerBeingDeleted" => ErrorKind::Temporary,
        _ => match kind_of_status(reply.status) {
            ErrorKind::Permanent if reply.status.as_u16() == 412 => ErrorKind::AlreadyExists,
            ErrorKind::Permanent if reply.status.as_u16() == 416 => ErrorKind::TooShort,
            kind => kind,
        },
    }
}

/// A signature that is refused because of the date of the request, not because of an expiry that we were given.
fn is_about_time(detail: &str) -> bool {
    let detail = detail.to_lowercase();
    detail.contains("date header") || detail.contains("request date")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Enumeration {
    blobs: Blobs,
    next_marker: Option<String>,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: String,
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    content_length: u64,
}

/// A page of a listing: the objects of this kind below the prefix, and where the next page begins.
pub(super) fn page(
    reply: &Reply,
    kind: FileKind,
    prefix: &str,
) -> Result<(Vec<FileInfo>, Option<String>), HttpFailure> {
    let found: Enumeration = from_reader(without_mark(&reply.body)).map_err(|error| {
        HttpFailure::new(
            ErrorKind::Temporary,
            format!("this is not a listing of Azure: {error}"),
        )
    })?;
    let infos = found.blobs.blobs.iter().filter_map(|blob| {
        let name = name_of(kind, blob.name.strip_prefix(prefix)?)?;
        Some(FileInfo {
            name: name.to_owned(),
            size_bytes: blob.properties.content_length,
        })
    });
    Ok((
        infos.collect(),
        found.next_marker.filter(|marker| !marker.is_empty()),
    ))
}

/// The service begins its documents with a byte order mark.
fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}
