//! Backblaze B2 through its own API. <https://www.backblaze.com/apidocs>
//!
//! B2 keeps versions: uploading a name again adds one, and hiding a name frees nothing. Here a name has one version.
//! A write looks for the name first, and afterwards for what a simultaneous write or a lost answer left; a removal
//! deletes every version. The store cannot refuse a second upload by itself.

mod account;
mod answers;
mod failure;
mod options;
#[cfg(test)]
mod tests;
mod upload;
mod versions;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, StatusCode, header};
use serde_json::json;

use crate::http::{HttpClient, HttpFailure, HttpOptions, Reply};
use crate::service::keys;
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

use account::Account;
use answers::{Page, Version};
use failure::accept;
use upload::{Stored, Uploads};
use versions::{PAGE, Search, settle};

pub use options::B2Options;

/// As many as restic uses.
const CONNECTIONS: usize = 5;

/// A repository in a bucket of Backblaze B2.
pub struct B2Backend {
    account: Arc<Account>,
    uploads: Uploads,
}

impl B2Backend {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: B2Options, http: &HttpOptions) -> Result<Self, SetupError> {
        Ok(Self {
            account: Arc::new(Account::new(options, HttpClient::new(http)?)),
            uploads: Uploads::default(),
        })
    }

    fn key(&self, handle: &Handle) -> String {
        keys::key(&self.account.options.prefix, handle)
    }

    fn error(&self, failure: HttpFailure, operation: Operation, handle: &Handle) -> BackendError {
        failure.into_error(operation, handle.to_string(), self.location())
    }

    /// The newest version that is not hidden.
    async fn newest(
        &self,
        operation: Operation,
        key: &str,
    ) -> Result<Option<Version>, HttpFailure> {
        let wish = json!({
            "bucketId": self.account.bucket_id(operation).await?,
            "prefix": key, "startFileName": key, "maxFileCount": 1,
        });
        let call = ("b2_list_file_names", "listFiles");
        let page: Page = self.account.call(operation, call, wish).await?;
        Ok(page.files.into_iter().find(|file| file.file_name == key))
    }

    /// Whether the name is taken. A `HEAD` is ten times cheaper than a listing, but refuses without words.
    async fn is_taken(&self, key: &str) -> Result<bool, HttpFailure> {
        if self.account.session().await?.can("readFiles") {
            let reply = self
                .download(Operation::Write, (Method::HEAD, None), key)
                .await?;
            if reply.status.is_success() {
                return Ok(true);
            }
            if reply.status == StatusCode::NOT_FOUND {
                return Ok(false);
            }
            if reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS {
                accept(&self.account.http, failure::Request::Download, reply)?;
            }
        }
        Ok(self.newest(Operation::Write, key).await?.is_some())
    }

    async fn download(
        &self,
        operation: Operation,
        (method, range): (Method, Option<String>),
        key: &str,
    ) -> Result<Reply, HttpFailure> {
        // Tells first whether the bucket exists and the key is for it.
        self.account.bucket_id(operation).await?;
        let bucket = &self.account.options.bucket;
        let make = |session: &account::Session| {
            let url = session.download_address(bucket, key);
            let mut request = account::request(method.clone(), &url, &session.token, Bytes::new())?;
            if let Some(range) = range.as_deref().and_then(|range| range.parse().ok()) {
                request.headers_mut().insert(header::RANGE, range);
            }
            Ok(request)
        };
        self.account.authorized(operation, "readFiles", make).await
    }

    async fn content(&self, range: Option<String>, key: &str) -> Result<Reply, HttpFailure> {
        match self.content_once(range.clone(), key).await {
            Err(failure) if failure.kind == ErrorKind::NotFound => {
                // An absent bucket must not pass for an absent object, and a download does not tell them apart for
                // sure.
                match self.newest(Operation::Read, key).await {
                    Ok(None) => return Err(failure),
                    // Written in between.
                    Ok(Some(_)) => {}
                    Err(other) if other.kind == ErrorKind::PermissionDenied => return Err(failure),
                    Err(other) => return Err(other),
                }
            }
            result => return result,
        }
        match self.content_once(range, key).await {
            Err(failure) if failure.kind == ErrorKind::NotFound => Err(HttpFailure {
                kind: ErrorKind::Temporary,
                ..failure
            }),
            result => result,
        }
    }

    async fn content_once(&self, range: Option<String>, key: &str) -> Result<Reply, HttpFailure> {
        let reply = self
            .download(Operation::Read, (Method::GET, range), key)
            .await?;
        let reply = accept(&self.account.http, failure::Request::Download, reply)?;
        if reply.header("x-bz-file-id").is_none() {
            let words = "the answer is not a file of B2";
            return Err(HttpFailure::new(ErrorKind::Temporary, words));
        }
        Ok(reply)
    }

    /// Leaves one version of the name that was just uploaded. Fails when the name was taken in the meantime.
    async fn settle(&self, handle: &Handle, key: &str, stored: &Stored) -> Result<(), HttpFailure> {
        let is_unique = handle.kind() == FileKind::Config;
        if !self.account.session().await?.can("listFiles") {
            return Ok(());
        }
        let versions = match self.account.versions(Operation::Write, key).await {
            Ok(versions) => versions,
            Err(failure) if is_unique => return Err(failure),
            Err(failure) => {
                // The object is stored; a second version of it would go with it when it is removed.
                tracing::debug!(reason = %failure.source, "could not look for other versions");
                return Ok(());
            }
        };
        let settlement = settle(&versions, stored, is_unique);
        for index in settlement.superfluous {
            let Some(version) = versions.get(index) else {
                continue;
            };
            tracing::debug!(name = key, "deleting a version that is superfluous");
            let deleted = self.account.delete_version(Operation::Write, version).await;
            if let Err(failure) = deleted {
                tracing::warn!(name = key, reason = %failure.source, "could not delete a superfluous version");
                break;
            }
        }
        if settlement.has_lost {
            return Err(taken("another upload of this name was faster"));
        }
        Ok(())
    }

    async fn write_key(&self, handle: &Handle, key: &str, data: Bytes) -> Result<(), HttpFailure> {
        if self.is_taken(key).await? {
            return Err(taken("a file of this name exists"));
        }
        let stored = self.uploads.store(&self.account, key, data).await?;
        self.settle(handle, key, &stored).await
    }

    async fn remove_key(&self, key: &str) -> Result<(), HttpFailure> {
        // A name without versions would hide that the key may not delete.
        self.account.session().await?.check("deleteFiles")?;
        let versions = self.account.versions(Operation::Remove, key).await?;
        self.account.delete_versions(&versions).await
    }

    async fn list_prefix(&self, kind: FileKind) -> Result<Vec<FileInfo>, HttpFailure> {
        let prefix = keys::kind_prefix(&self.account.options.prefix, kind);
        let bucket_id = self.account.bucket_id(Operation::List).await?;
        let mut found = Vec::new();
        let mut start = prefix.clone();
        loop {
            let wish = json!({
                "bucketId": bucket_id, "prefix": prefix, "startFileName": start, "maxFileCount": PAGE,
            });
            let call = ("b2_list_file_names", "listFiles");
            let page: Page = self.account.call(Operation::List, call, wish).await?;
            for file in page.files {
                let rest = file.file_name.strip_prefix(&prefix);
                let Some(name) = rest.and_then(|rest| keys::name_of(kind, rest)) else {
                    tracing::trace!(name = file.file_name, "skipped a file that is no object");
                    continue;
                };
                found.push(FileInfo {
                    name: name.to_owned(),
                    size_bytes: size_of(&file)?,
                });
            }
            match page.next_file_name {
                None => return Ok(found),
                Some(next) if next > start => start = next,
                Some(_) => {
                    return Err(HttpFailure::new(
                        ErrorKind::Temporary,
                        "the pages of the listing do not advance",
                    ));
                }
            }
        }
    }
}

fn size_of(version: &Version) -> Result<u64, HttpFailure> {
    version
        .content_length
        .ok_or_else(|| HttpFailure::new(ErrorKind::Temporary, "the server does not tell the size"))
}

fn taken(words: &str) -> HttpFailure {
    HttpFailure::new(ErrorKind::AlreadyExists, words)
}

#[async_trait]
impl Backend for B2Backend {
    fn location(&self) -> String {
        self.account.options.to_string()
    }

    fn connections(&self) -> usize {
        self.account.options.connections.unwrap_or(CONNECTIONS)
    }

    async fn create(&self) -> Result<(), BackendError> {
        let result = match self.account.bucket_id(Operation::Create).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == ErrorKind::PlaceNotFound => {
                self.account.create_bucket().await
            }
            Err(failure) => Err(failure),
        };
        let bucket = &self.account.options.bucket;
        result.map_err(|failure| {
            failure.into_error(
                Operation::Create,
                format!("bucket {bucket}"),
                self.location(),
            )
        })
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let found = self.newest(Operation::Stat, &self.key(handle)).await;
        let absent = || HttpFailure::new(ErrorKind::NotFound, "the bucket lists no such file");
        let size = found.and_then(|version| size_of(&version.ok_or_else(absent)?));
        match size {
            Ok(size_bytes) => Ok(FileInfo {
                name: handle.name().to_owned(),
                size_bytes,
            }),
            Err(failure) => Err(self.error(failure, Operation::Stat, handle)),
        }
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let object = format!("{} objects", kind.word());
        self.list_prefix(kind)
            .await
            .map_err(|failure| failure.into_error(Operation::List, object, self.location()))
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        match self.content(None, &self.key(handle)).await {
            Ok(reply) => Ok(reply.body),
            Err(failure) => Err(self.error(failure, Operation::Read, handle)),
        }
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        if length == 0 {
            let size = self.stat(handle).await?.size_bytes;
            let too_short = HttpFailure::new(ErrorKind::TooShort, format!("it has {size} bytes"));
            return if offset > size {
                Err(self.error(too_short, Operation::Read, handle))
            } else {
                Ok(Bytes::new())
            };
        }
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        self.content(Some(range), &self.key(handle))
            .await
            .and_then(|reply| crate::http::exact_range(reply, offset, length))
            .map_err(|failure| self.error(failure, Operation::Read, handle))
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        self.write_key(handle, &self.key(handle), data)
            .await
            .map_err(|failure| self.error(failure, Operation::Write, handle))
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.remove_key(&self.key(handle))
            .await
            .map_err(|failure| self.error(failure, Operation::Remove, handle))
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let by_key: BTreeMap<String, Handle> = handles
            .iter()
            .map(|handle| (self.key(handle), handle.clone()))
            .collect();
        let found = Search::new(self.account.clone(), by_key.keys().cloned()).into_stream();
        let removals = found.map(|(key, versions)| async move {
            let result = match versions {
                Ok(versions) => self.account.delete_versions(&versions).await,
                Err(failure) => Err(failure),
            };
            (key, result)
        });
        removals
            .buffer_unordered(self.connections().max(1))
            .filter_map(|(key, result)| {
                let failed = result.err().zip(by_key.get(&key).cloned());
                std::future::ready(failed.map(|(failure, handle)| {
                    let error = self.error(failure, Operation::Remove, &handle);
                    (handle, error)
                }))
            })
            .collect()
            .await
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.account.options.endpoint.origin().ascii_serialization())
    }
}

impl fmt::Debug for B2Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("B2Backend")
            .field(&self.location())
            .finish()
    }
}
