//! Azure Blob Storage: block blobs, each written as a whole and never over another.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>

mod batch;
mod client;
mod credential;
mod failure;
mod list;
mod options;
mod sign;
#[cfg(test)]
mod tests;
mod token;
mod upload;

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, StatusCode};
use url::Url;

use crate::http::{HttpFailure, HttpOptions, Reply, exact_range};
use crate::service::keys::{key, kind_prefix};
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

use batch::Outcome;
use client::{Client, Draft};
use credential::Credential;
use upload::Sizes;

pub use options::AzureOptions;

/// As many as restic uses.
const CONNECTIONS: usize = 5;
/// As many objects as the service lists at once.
const PAGE: usize = 5000;

/// A repository in a container of Azure Blob Storage.
pub struct AzureBackend {
    options: AzureOptions,
    client: Client,
    /// Of data, for packs.
    tier: Option<&'static str>,
    sizes: Sizes,
    page_size: usize,
    lacks_batches: AtomicBool,
}

impl AzureBackend {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: AzureOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        Ok(Self {
            client: Client::new(&options, http)?,
            tier: options.tier()?,
            sizes: Sizes::USUAL,
            page_size: PAGE,
            lacks_batches: AtomicBool::new(false),
            options,
        })
    }

    fn key(&self, handle: &Handle) -> String {
        key(&self.options.prefix, handle)
    }

    fn error(&self, failure: HttpFailure, operation: Operation, handle: &Handle) -> BackendError {
        failure.into_error(operation, handle.to_string(), self.location())
    }

    async fn call(
        &self,
        operation: Operation,
        handle: &Handle,
        draft: Draft<'_>,
    ) -> Result<Reply, BackendError> {
        let result = self.client.send(operation, &draft).await;
        result.map_err(|failure| self.error(failure, operation, handle))
    }

    /// Whether the container is there, as far as these credentials may know. Only a listing says yes.
    async fn look_at_container(&self, operation: Operation) -> Result<(), HttpFailure> {
        let draft = Draft::container(Method::GET, "&comp=list&maxresults=1");
        let reply = self.client.send(operation, &draft).await?;
        list::page(&reply, FileKind::Config, "").map(drop)
    }

    async fn make_container(&self) -> Result<(), HttpFailure> {
        match self.look_at_container(Operation::Create).await {
            Err(failure) if failure.kind == ErrorKind::PlaceNotFound => {}
            // A signature for single objects tells nothing of the container, and may still be all that is needed.
            Err(failure)
                if failure.kind == ErrorKind::PermissionDenied
                    && matches!(self.options.credential, Credential::Sas(_)) =>
            {
                return Ok(());
            }
            result => return result,
        }
        let draft = Draft::container(Method::PUT, "");
        match self.client.send(Operation::Create, &draft).await {
            // Somebody else was faster.
            Err(failure) if failure.kind == ErrorKind::AlreadyExists => Ok(()),
            result => result.map(drop),
        }
    }

    /// A refused HEAD request has no words: a code in a header at most, which a front may drop, and never the detail
    /// that tells a wrong key from a wrong clock.
    async fn explain(
        &self,
        handle: &Handle,
        status: StatusCode,
        wordless: HttpFailure,
    ) -> HttpFailure {
        let is_refusal = |kind| {
            matches!(
                kind,
                ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::ClockSkew
            )
        };
        let is_absence = wordless.kind == ErrorKind::NotFound
            || (wordless.kind == ErrorKind::Temporary && status == StatusCode::NOT_FOUND);
        if is_absence {
            return match self.look_at_container(Operation::Stat).await {
                // It is the service that answers, and so it was the service that missed the object.
                Ok(()) => HttpFailure {
                    kind: ErrorKind::NotFound,
                    ..wordless
                },
                Err(failure)
                    if matches!(
                        failure.kind,
                        ErrorKind::PlaceNotFound | ErrorKind::Temporary
                    ) =>
                {
                    failure
                }
                // Who may not ask has only the code to go by, if there was one.
                Err(_) => wordless,
            };
        }
        if !is_refusal(wordless.kind) {
            return wordless;
        }
        let key = self.key(handle);
        let draft = Draft::blob(Method::GET, &key).header("x-ms-range", "bytes=0-0");
        match self.client.send(Operation::Stat, &draft).await {
            Err(failure) if is_refusal(failure.kind) => failure,
            _ => wordless,
        }
    }

    async fn size(&self, handle: &Handle) -> Result<u64, HttpFailure> {
        let key = self.key(handle);
        let draft = Draft::blob(Method::HEAD, &key);
        let reply = self.client.exchange(Operation::Stat, &draft).await?;
        let status = reply.status;
        let reply = match self.client.accept(&draft, reply) {
            Ok(reply) => reply,
            Err(failure) => return Err(self.explain(handle, status, failure).await),
        };
        reply
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| {
                let words = "the server does not tell the size";
                HttpFailure::new(ErrorKind::Temporary, words)
            })
    }

    async fn remove_batch(&self, handles: Vec<Handle>) -> Vec<(Handle, BackendError)> {
        if handles.len() < 2 || self.lacks_batches.load(Ordering::Relaxed) {
            return self.remove_singly(handles).await;
        }
        let keys: Vec<String> = handles.iter().map(|handle| self.key(handle)).collect();
        let failure = match batch::remove(&self.client, &keys).await {
            Ok(Some(outcome)) => return self.take_stock(handles, outcome).await,
            Ok(None) => {
                self.lacks_batches.store(true, Ordering::Relaxed);
                return self.remove_singly(handles).await;
            }
            Err(failure) => failure,
        };
        // One failure of the request is one of each object in it; only its words can be repeated.
        let words = words_of(&*failure.source);
        let each = handles.into_iter().map(|handle| {
            let mut again = HttpFailure::new(failure.kind, words.clone());
            again.retry_after = failure.retry_after;
            let error = self.error(again, Operation::Remove, &handle);
            (handle, error)
        });
        each.collect()
    }

    /// What the answer does not tell of is removed singly.
    async fn take_stock(
        &self,
        handles: Vec<Handle>,
        outcome: Outcome,
    ) -> Vec<(Handle, BackendError)> {
        let mut failures = Vec::new();
        let mut untold = Vec::new();
        for (handle, result) in handles.into_iter().zip(outcome) {
            match result {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    let error = self.error(failure, Operation::Remove, &handle);
                    failures.push((handle, error));
                }
                None => untold.push(handle),
            }
        }
        failures.extend(self.remove_singly(untold).await);
        failures
    }

    async fn remove_singly(&self, handles: Vec<Handle>) -> Vec<(Handle, BackendError)> {
        futures::stream::iter(handles)
            .map(|handle| async move {
                let result = self.remove(&handle).await;
                result.err().map(|error| (handle, error))
            })
            .buffer_unordered(self.connections())
            .filter_map(std::future::ready)
            .collect()
            .await
    }
}

#[async_trait]
impl Backend for AzureBackend {
    fn location(&self) -> String {
        self.options.to_string()
    }

    fn connections(&self) -> usize {
        self.options.connections.unwrap_or(CONNECTIONS)
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.make_container().await.map_err(|failure| {
            let object = format!("the container {}", self.options.container);
            failure.into_error(Operation::Create, object, self.location())
        })
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        match self.size(handle).await {
            Ok(size_bytes) => Ok(FileInfo {
                name: handle.name().to_owned(),
                size_bytes,
            }),
            Err(failure) => Err(self.error(failure, Operation::Stat, handle)),
        }
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let prefix = kind_prefix(&self.options.prefix, kind);
        let result = list::list(&self.client, kind, &prefix, self.page_size).await;
        result.map_err(|failure| {
            let object = format!("{} objects", kind.word());
            failure.into_error(Operation::List, object, self.location())
        })
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let key = self.key(handle);
        let draft = Draft::blob(Method::GET, &key);
        let reply = self.call(Operation::Read, handle, draft).await?;
        Ok(reply.body)
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let fail = |failure| self.error(failure, Operation::Read, handle);
        if length == 0 {
            let size = self.stat(handle).await?.size_bytes;
            return if offset > size {
                let words = format!("it has {size} bytes");
                Err(fail(HttpFailure::new(ErrorKind::TooShort, words)))
            } else {
                Ok(Bytes::new())
            };
        }
        let key = self.key(handle);
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        let draft = Draft::blob(Method::GET, &key).header("x-ms-range", range);
        let reply = self.call(Operation::Read, handle, draft).await?;
        exact_range(reply, offset, length).map_err(fail)
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let key = self.key(handle);
        let tier = self.tier.filter(|_| !handle.is_metadata());
        let result = upload::upload(&self.client, &key, tier, (data, self.sizes)).await;
        result.map_err(|failure| self.error(failure, Operation::Write, handle))
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        let key = self.key(handle);
        let draft = Draft::blob(Method::DELETE, &key);
        match self.call(Operation::Remove, handle, draft).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let batches: Vec<Vec<Handle>> = handles
            .chunks(batch::LIMIT)
            .map(<[Handle]>::to_vec)
            .collect();
        futures::stream::iter(batches)
            .map(|batch| self.remove_batch(batch))
            .buffer_unordered(self.connections())
            .concat()
            .await
    }

    fn endpoint(&self) -> Option<String> {
        let url = Url::parse(&self.options.endpoint).ok()?;
        Some(url.origin().ascii_serialization())
    }
}

/// An error with its reasons in one line.
fn words_of(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        words = format!("{words}: {source}");
        next = source.source();
    }
    words
}

impl fmt::Debug for AzureBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AzureBackend")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
