//! Object storage for repositories: one trait, one module per service.
//!
//! A backend stores opaque, immutable objects under a [`Handle`] (a kind and a name).
//! It knows the layout of a repository's folders, but nothing of blobs, keys or encryption.

mod bandwidth;
mod cache;
pub mod doctor;
mod error;
mod handle;
mod http;
mod limit;
mod local;
mod meter;
mod metered;
pub mod probe;
mod read_only;
mod retry;
mod service;
pub mod storage;
mod variables;

pub use crate::http::{ClientCertificate, HttpOptions};
pub use bandwidth::Bandwidth;
pub use cache::{
    Cache, CacheCleanup, CacheError, CacheOptions, Warn, default_cache_folder, remove_old_caches,
};
pub use error::{BackendError, ErrorKind, Operation};
pub use handle::{FileInfo, FileKind, Handle};
pub use limit::ConnectionLimit;
pub use local::LocalBackend;
pub use meter::{Count, Meter};
pub use metered::Metered;
pub use read_only::{ReadOnly, ReadOnlyExcept};
pub use retry::{Notify, Retry, RetryNotice, RetryOptions};
pub use service::{
    AzureBackend, AzureOptions, B2Backend, B2Options, GcsBackend, GcsOptions, RestBackend,
    RestOptions, SwiftBackend, SwiftOptions,
};
pub use service::{BucketLookup, Retention, RetentionMode, S3Backend, S3Options, ServerEncryption};
pub use variables::{SetupError, Variables};

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

/// Where the objects of one repository live.
///
/// Every method may be called concurrently. An object is immutable: it is written once as a whole,
/// becomes visible at once as a whole, and is only ever removed.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// A name of the place for people, without any credential.
    fn location(&self) -> String;

    /// How many requests may usefully be under way at once.
    fn connections(&self) -> usize;

    /// Makes the place ready for a new repository (folders, bucket). Existing parts are left alone.
    async fn create(&self) -> Result<(), BackendError>;

    /// Size and name of one object; [`ErrorKind::NotFound`] when it is absent.
    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError>;

    /// All objects of a kind in no particular order. Unfinished writes and foreign files are not listed.
    /// Where kinds have folders of their own, a missing one is [`ErrorKind::NotFound`] rather than an empty list,
    /// except that of locks.
    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError>;

    /// The whole object.
    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError>;

    /// Exactly `length` bytes from `offset`; [`ErrorKind::TooShort`] when the object ends before.
    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError>;

    /// Stores a new object durably; visible in full or not at all.
    /// [`ErrorKind::AlreadyExists`] when an object of this name exists (where the store can tell).
    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError>;

    /// Removes an object. Removing an absent object is not an error.
    async fn remove(&self, handle: &Handle) -> Result<(), BackendError>;

    /// Removes many objects, where the store can with few requests. Returns what could not be removed and why.
    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        futures::stream::iter(handles.to_vec())
            .map(|handle| async move {
                let result = self.remove(&handle).await;
                result.err().map(|error| (handle, error))
            })
            .buffer_unordered(self.connections().max(1))
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    /// Scheme, host and port of the server; nothing for a folder.
    fn endpoint(&self) -> Option<String> {
        None
    }
}
