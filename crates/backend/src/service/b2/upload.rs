//! Uploads: addresses that are used by one upload at a time, and large files in parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::json;
use sha1::{Digest, Sha1};
use tokio::time::Instant;

use super::account::{Account, Session, request};
use super::answers::{Done, LARGE_FILE_SHA1, Page, Part, UploadAddress, Version, parse};
use super::failure::{self, accept};
use crate::http::HttpFailure;
use crate::{ErrorKind, Operation};

const CONTENT_TYPE: &str = "application/octet-stream";
const CONTENT_SHA1: HeaderName = HeaderName::from_static("x-bz-content-sha1");
const FILE_NAME: HeaderName = HeaderName::from_static("x-bz-file-name");
const PART_NUMBER: HeaderName = HeaderName::from_static("x-bz-part-number");
/// Whatever is not unreserved in a URL, but for the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');
/// Far above any pack, and far below what one request may carry.
const LARGE_FILE_BYTES: u64 = 200_000_000;
/// Marks large files that we started.
const MARK: &str = "stash";
/// Addresses expire after a day.
const LONGEST_USE: Duration = Duration::from_hours(20);
/// No upload of ours takes this long; an older unfinished file was left by a crash.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);

/// A name as B2 takes it in headers and paths.
pub(super) fn encode(name: &str) -> String {
    utf8_percent_encode(name, ENCODED).to_string()
}

/// Whether an object goes in parts. A file in parts has at least two.
pub(super) fn is_large(bytes: u64, part_bytes: u64, limit: Option<u64>) -> bool {
    let default = LARGE_FILE_BYTES.max(part_bytes.saturating_mul(2));
    bytes > limit.unwrap_or(default).max(part_bytes)
}

/// The SHA-1 in hex, computed where it does not hold up other requests.
pub(super) async fn digest(data: Bytes) -> Result<String, HttpFailure> {
    tokio::task::spawn_blocking(move || hex::encode(Sha1::digest(&data)))
        .await
        .map_err(|_| HttpFailure::new(ErrorKind::Permanent, "the digest was not computed"))
}

/// A version that was just uploaded.
pub(super) struct Stored {
    pub file_id: String,
    pub sha1: String,
    pub bytes: u64,
}

/// The addresses that are free.
#[derive(Default)]
pub(super) struct Uploads {
    free: parking_lot::Mutex<Vec<Free>>,
    has_swept: AtomicBool,
}

struct Free {
    bucket_id: String,
    since: Instant,
    address: UploadAddress,
}

impl Uploads {
    /// Uploads a new version. Nothing is stored that differs from `data`.
    pub async fn store(
        &self,
        account: &Account,
        key: &str,
        data: Bytes,
    ) -> Result<Stored, HttpFailure> {
        let session = account.session().await?;
        let bucket_id = account.bucket_id(Operation::Write).await?;
        let sha1 = digest(data.clone()).await?;
        let bytes = data.len() as u64;
        let part_bytes = session.part_bytes;
        let version = if is_large(bytes, part_bytes, account.options.large_file_bytes) {
            let upload = LargeUpload {
                account,
                bucket_id: &bucket_id,
                key,
                sha1: &sha1,
            };
            let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
            upload
                .run(
                    data,
                    part_bytes,
                    !self.has_swept.swap(true, Ordering::Relaxed),
                )
                .await?
        } else {
            self.store_at_once(account, &bucket_id, key, (data, &sha1))
                .await?
        };
        let is_ours = version.file_name == key
            && version.content_length == Some(bytes)
            && version.sha1().is_none_or(|stored| stored == sha1);
        match version.file_id {
            Some(file_id) if is_ours => Ok(Stored {
                file_id,
                sha1,
                bytes,
            }),
            _ => Err(HttpFailure::new(
                ErrorKind::Temporary,
                "the server acknowledges another file than was sent",
            )),
        }
    }

    async fn store_at_once(
        &self,
        account: &Account,
        bucket_id: &str,
        key: &str,
        (data, sha1): (Bytes, &str),
    ) -> Result<Version, HttpFailure> {
        let free = match self.take(bucket_id) {
            Some(free) => free,
            None => {
                let wish = json!({"bucketId": bucket_id});
                let call = ("b2_get_upload_url", "writeFiles");
                let address: UploadAddress = account.call(Operation::Write, call, wish).await?;
                account.http.hide(&address.authorization_token);
                Free {
                    bucket_id: bucket_id.to_owned(),
                    since: Instant::now(),
                    address,
                }
            }
        };
        let headers = [
            (FILE_NAME, encode(key)),
            (CONTENT_SHA1, sha1.to_owned()),
            (header::CONTENT_TYPE, CONTENT_TYPE.to_owned()),
        ];
        // After a failure the address is dropped: the server behind it is busy, or the token has expired.
        let version = upload(account, &free.address, headers, data).await?;
        self.free.lock().push(free);
        Ok(version)
    }

    fn take(&self, bucket_id: &str) -> Option<Free> {
        let mut free = self.free.lock();
        // A bucket of the same name that was made anew has another id.
        free.retain(|one| one.bucket_id == bucket_id && one.since.elapsed() < LONGEST_USE);
        free.pop()
    }
}

/// Sends contents to an address.
async fn upload<T: DeserializeOwned>(
    account: &Account,
    address: &UploadAddress,
    headers: impl IntoIterator<Item = (HeaderName, String)>,
    data: Bytes,
) -> Result<T, HttpFailure> {
    let token = &address.authorization_token;
    let mut request = request(Method::POST, &address.upload_url, token, data)?;
    for (name, value) in headers {
        let value = HeaderValue::try_from(value)
            .map_err(|_| HttpFailure::new(ErrorKind::Permanent, "the name cannot be sent"))?;
        request.headers_mut().insert(name, value);
    }
    let reply = account.http.send(Operation::Write, request).await?;
    let reply = accept(&account.http, failure::Request::Upload, reply)
        .inspect_err(|failure| account.forget_bucket(failure))?;
    parse(&reply, ErrorKind::Temporary)
}

/// One file in parts.
struct LargeUpload<'a> {
    account: &'a Account,
    bucket_id: &'a str,
    key: &'a str,
    sha1: &'a str,
}

impl LargeUpload<'_> {
    async fn run(
        &self,
        data: Bytes,
        part_bytes: usize,
        is_first: bool,
    ) -> Result<Version, HttpFailure> {
        let wish = json!({
            "bucketId": self.bucket_id, "fileName": self.key, "contentType": CONTENT_TYPE,
            "fileInfo": {LARGE_FILE_SHA1: self.sha1, MARK: "1"},
        });
        let started: Version = self.call("b2_start_large_file", wish).await?;
        let Some(file_id) = started.file_id.as_deref() else {
            return Err(HttpFailure::new(
                ErrorKind::Temporary,
                "the server started a large file without an id",
            ));
        };
        if is_first && self.account.session().await?.can("listFiles") {
            self.sweep(started.upload_timestamp).await;
        }
        let digests = match self.send_parts(file_id, data, part_bytes).await {
            Ok(digests) => digests,
            Err(failure) => {
                self.cancel(file_id).await;
                return Err(failure);
            }
        };
        // Not cancelled when this fails: the file may be finished and only the answer lost.
        let wish = json!({"fileId": file_id, "partSha1Array": digests});
        self.call("b2_finish_large_file", wish).await
    }

    async fn send_parts(
        &self,
        file_id: &str,
        mut data: Bytes,
        part_bytes: usize,
    ) -> Result<Vec<String>, HttpFailure> {
        let wish = json!({"fileId": file_id});
        let address: UploadAddress = self.call("b2_get_upload_part_url", wish).await?;
        self.account.http.hide(&address.authorization_token);
        let mut digests = Vec::new();
        while !data.is_empty() {
            let part = data.split_to(part_bytes.min(data.len()));
            let sha1 = digest(part.clone()).await?;
            let number = digests.len() + 1;
            let headers = [
                (PART_NUMBER, number.to_string()),
                (CONTENT_SHA1, sha1.clone()),
            ];
            let stored: Part = upload(self.account, &address, headers, part).await?;
            if stored.content_sha1 != sha1 {
                let words = format!("the server acknowledges another part {number} than was sent");
                return Err(HttpFailure::new(ErrorKind::Temporary, words));
            }
            digests.push(sha1);
        }
        Ok(digests)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        name: &str,
        wish: serde_json::Value,
    ) -> Result<T, HttpFailure> {
        let call = (name, "writeFiles");
        self.account.call(Operation::Write, call, wish).await
    }

    /// Frees the parts. What cannot be cancelled now is when somebody sweeps.
    async fn cancel(&self, file_id: &str) {
        let wish = json!({"fileId": file_id});
        if let Err(failure) = self.call::<Done>("b2_cancel_large_file", wish).await {
            tracing::debug!(reason = %failure.source, "could not cancel a large file");
        }
    }

    /// Cancels what crashed uploads of ours left in this repository. `now` is the server's time in milliseconds.
    async fn sweep(&self, now: u64) {
        let root = self.account.options.root();
        let wish = json!({"bucketId": self.bucket_id, "namePrefix": root, "maxFileCount": 100});
        let call = ("b2_list_unfinished_large_files", "listFiles");
        let page: Page = match self.account.call(Operation::Write, call, wish).await {
            Ok(page) => page,
            Err(failure) => {
                tracing::debug!(reason = %failure.source, "could not list unfinished large files");
                return;
            }
        };
        let limit = u64::try_from(ABANDONED_AFTER.as_millis()).unwrap_or(u64::MAX);
        for file in page.files {
            let age = now.saturating_sub(file.upload_timestamp);
            if file.file_info.contains_key(MARK)
                && age > limit
                && let Some(file_id) = &file.file_id
            {
                self.cancel(file_id).await;
            }
        }
    }
}

impl Session {
    /// Where an object is read.
    pub fn download_address(&self, bucket: &str, key: &str) -> String {
        format!("{}/file/{bucket}/{}", self.download_url, encode(key))
    }
}
