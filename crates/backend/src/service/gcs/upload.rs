//! Storing an object: in one request, or in pieces when it is large. Never over one that exists, and with a checksum
//! that the service verifies and whose result is verified here.

mod resumable;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, header};
use md5::{Digest, Md5};
use serde_json::json;

use crate::http::{HttpFailure, Reply};
use crate::service::gcs::answers::{About, Object, accept, parse};
use crate::service::gcs::api::{Api, request};
use crate::{ErrorKind, Operation};

/// Larger objects are sent in pieces. Packs of the usual size stay below, for they need half the requests this way.
pub(super) const RESUMABLE_ABOVE_BYTES: usize = 32 * 1024 * 1024;
/// From here on a checksum would keep other tasks waiting.
const LARGE_BYTES: usize = 256 * 1024;
const CONTENT_TYPE: &str = "application/octet-stream";
const JSON: &str = "application/json; charset=UTF-8";

/// Stores an object durably.
pub(super) async fn upload(
    api: &Api,
    key: &str,
    storage_class: Option<&str>,
    data: Bytes,
) -> Result<(), HttpFailure> {
    let checksum = checksum(data.clone()).await?;
    let mut metadata = json!({
        "name": key,
        "contentType": CONTENT_TYPE,
        "md5Hash": checksum,
    });
    if let Some(class) = storage_class {
        metadata["storageClass"] = class.into();
    }
    let metadata = metadata.to_string();
    let length = data.len();
    let stored = if length > RESUMABLE_ABOVE_BYTES {
        resumable::upload(api, &metadata, data).await?
    } else {
        whole(api, &metadata, &data).await?
    };
    let is_ours = stored.name == key;
    if is_ours && stored.size == length as u64 && stored.md5_hash.as_ref() == Some(&checksum) {
        return Ok(());
    }
    let failure = HttpFailure::new(
        ErrorKind::Temporary,
        format!(
            "{} bytes with the checksum {} were stored where {length} with {checksum} were sent",
            stored.size,
            stored.md5_hash.as_deref().unwrap_or("none"),
        ),
    );
    if is_ours {
        discard(api, key, &stored).await;
    }
    Err(failure)
}

/// Removes exactly the version that this upload made. That it stays is no worse than the failure that is reported.
async fn discard(api: &Api, key: &str, stored: &Object) {
    let Some(generation) = &stored.generation else {
        return;
    };
    let is_number = generation.bytes().all(|byte| byte.is_ascii_digit());
    let url = format!("{}?generation={generation}", api.object_url(key));
    if is_number && let Ok(request) = request(Method::DELETE, &url, &[], Bytes::new()) {
        let result = api.send(Operation::Write, request).await;
        let is_removed = result.is_ok_and(|reply| reply.status.is_success());
        tracing::warn!(key, is_removed, "an upload arrived damaged");
    }
}

async fn checksum(data: Bytes) -> Result<String, HttpFailure> {
    let digest = |data: Bytes| STANDARD.encode(Md5::digest(&data));
    if data.len() < LARGE_BYTES {
        return Ok(digest(data));
    }
    let task = tokio::task::spawn_blocking(move || digest(data));
    task.await.map_err(|error| {
        HttpFailure::new(
            ErrorKind::Permanent,
            format!("the checksum could not be computed: {error}"),
        )
    })
}

async fn whole(api: &Api, metadata: &str, data: &Bytes) -> Result<Object, HttpFailure> {
    let boundary = format!("{:032x}", rand::random::<u128>());
    let mut body = BytesMut::with_capacity(data.len() + metadata.len() + 300);
    body.put(
        format!(
            "--{boundary}\r\nContent-Type: {JSON}\r\n\r\n{metadata}\r\n\
             --{boundary}\r\nContent-Type: {CONTENT_TYPE}\r\n\r\n"
        )
        .as_bytes(),
    );
    body.put(&data[..]);
    body.put(format!("\r\n--{boundary}--\r\n").as_bytes());
    let kind = format!("multipart/related; boundary={boundary}");
    let request = request(
        Method::POST,
        &api.upload_url("multipart"),
        &[(header::CONTENT_TYPE, &kind)],
        body.freeze(),
    )?;
    let reply = api.send(Operation::Write, request).await?;
    stored(api, reply)
}

fn stored(api: &Api, reply: Reply) -> Result<Object, HttpFailure> {
    let reply = accept(&api.http, About::Bucket, reply)?;
    parse(&api.http, "storage#object", &reply)
}
