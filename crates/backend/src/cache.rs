//! A cache on this machine's disk, in restic's layout and shared with it: snapshots, index files, and the packs
//! whose parts are read again and again because they hold trees.
//!
//! It is never needed and never believed: whatever it holds is verified against its name before it is used, what
//! is damaged is fetched anew, and a cache that cannot be written is done without. Which packs hold trees only the
//! repository knows; it asks for those by [`Cache::read_tree_range`].

mod folder;
mod place;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Backend, BackendError, FileInfo, FileKind, Handle};
use folder::CacheFolder;

pub use place::{CacheCleanup, default_cache_folder, remove_old_caches};

/// Receives a sentence for the user.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Where the cache is.
#[derive(Clone)]
pub struct CacheOptions {
    /// The folder that holds the caches of all repositories; created when missing.
    pub folder: PathBuf,
    /// Told once when the cache cannot be written any more. Must not block.
    pub warn: Option<Warn>,
}

impl fmt::Debug for CacheOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CacheOptions")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the cache in {}", .folder.display())]
pub struct CacheError {
    /// The folder of the cache.
    pub folder: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Keeps on disk what is read again.
#[derive(Debug)]
pub struct Cache {
    inner: Arc<dyn Backend>,
    folder: Arc<CacheFolder>,
    options: CacheOptions,
    is_full: AtomicBool,
    /// Packs that are being fetched, so that each is fetched once.
    fetching: Mutex<HashMap<Handle, Arc<tokio::sync::Mutex<()>>>>,
}

impl Cache {
    /// The storage behind the cache.
    pub fn storage(&self) -> &Arc<dyn Backend> {
        &self.inner
    }

    /// The cache of one repository, by the id in its config.
    pub async fn open(
        inner: Arc<dyn Backend>,
        options: CacheOptions,
        repository_id: &str,
    ) -> Result<Self, CacheError> {
        let (folder, id) = (options.folder.clone(), repository_id.to_owned());
        let opened = blocking(move || CacheFolder::open(&folder, &id)).await;
        match opened.unwrap_or_else(|| Err(io::Error::other("the program is ending"))) {
            Ok(folder) => Ok(Self {
                inner,
                folder: Arc::new(folder),
                options,
                is_full: AtomicBool::new(false),
                fetching: Mutex::default(),
            }),
            Err(source) => Err(CacheError {
                folder: options.folder,
                source,
            }),
        }
    }

    /// What is cached.
    pub fn inner(&self) -> &Arc<dyn Backend> {
        &self.inner
    }

    /// As [`Backend::read_range`] of a pack that holds trees: the whole pack is fetched once and kept.
    pub async fn read_tree_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        if let Some(data) = self.cached_range(handle, offset, length).await {
            return Ok(data);
        }
        let gate = Arc::clone(self.fetching.lock().entry(handle.clone()).or_default());
        let turn = gate.lock().await;
        // Somebody else may have fetched it while we waited for our turn.
        let cached = self.cached_range(handle, offset, length).await;
        let fetched = match cached {
            Some(data) => Some(data),
            None => self.fetch_for(handle, offset, length).await,
        };
        drop(turn);
        self.fetching.lock().remove(handle);
        match fetched {
            Some(data) => Ok(data),
            None => self.inner.read_range(handle, offset, length).await,
        }
    }

    /// Keeps an object that was stored just now.
    pub async fn keep(&self, handle: &Handle, data: Bytes) {
        if self.is_full.load(Ordering::Relaxed) {
            return;
        }
        let (folder, target) = (Arc::clone(&self.folder), handle.clone());
        let saved = blocking(move || folder.save(&target, &data)).await;
        if let Some(Err(error)) = saved
            && !self.is_full.swap(true, Ordering::Relaxed)
        {
            let folder = self.options.folder.display();
            tracing::warn!(%folder, %error, "the cache cannot be written");
            if let Some(warn) = &self.options.warn {
                warn(&format!(
                    "The cache in {folder} cannot be written: {error}; going on without adding to it"
                ));
            }
        }
    }

    /// Drops what the repository does not have any more.
    pub async fn retain(&self, kind: FileKind, is_known: impl Fn(&str) -> bool + Send + 'static) {
        let folder = Arc::clone(&self.folder);
        if let Some(Err(error)) = blocking(move || folder.retain(kind, is_known)).await {
            tracing::debug!(%kind, %error, "could not clean the cache");
        }
    }

    /// The whole pack from the store into the cache, and the part that was asked for. Nothing when the pack cannot
    /// be had or is not what its name says: then the plain way tells what is wrong.
    async fn fetch_for(&self, handle: &Handle, offset: u64, length: u64) -> Option<Bytes> {
        let data = self.inner.read(handle).await.ok()?;
        let (data, is_whole) = verified(handle, data).await?;
        if !is_whole {
            return None;
        }
        let start = usize::try_from(offset).ok()?;
        let end = usize::try_from(offset.checked_add(length)?).ok()?;
        let part = (end <= data.len()).then(|| data.slice(start..end))?;
        self.keep(handle, data).await;
        Some(part)
    }

    async fn cached(&self, handle: &Handle) -> Option<Bytes> {
        let (folder, target) = (Arc::clone(&self.folder), handle.clone());
        blocking(move || folder.load(&target)).await?
    }

    async fn cached_range(&self, handle: &Handle, offset: u64, length: u64) -> Option<Bytes> {
        let (folder, target) = (Arc::clone(&self.folder), handle.clone());
        blocking(move || folder.load_range(&target, offset, length)).await?
    }

    /// Drops an object, for example one that turned out to be damaged.
    pub async fn forget(&self, handle: &Handle) {
        let (folder, target) = (Arc::clone(&self.folder), handle.clone());
        blocking(move || folder.remove(&target)).await;
    }
}

/// The data again, and whether its hash is its name.
async fn verified(handle: &Handle, data: Bytes) -> Option<(Bytes, bool)> {
    let name = handle.name().to_owned();
    blocking(move || {
        let is_whole = folder::is_named_by_content(&name, &data);
        (data, is_whole)
    })
    .await
}

/// Runs what reads and writes files away from the asynchronous threads; nothing when the program is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// The kinds that are kept whole. Config, keys and locks are always asked for anew.
const fn is_kept(kind: FileKind) -> bool {
    matches!(kind, FileKind::Snapshot | FileKind::Index)
}

#[async_trait]
impl Backend for Cache {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.inner.create().await
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        self.inner.stat(handle).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let found = self.inner.list(kind).await?;
        if is_kept(kind) || kind == FileKind::Pack {
            let names: HashSet<String> = found.iter().map(|info| info.name.clone()).collect();
            self.retain(kind, move |name| names.contains(name)).await;
        }
        Ok(found)
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        if !is_kept(handle.kind()) {
            return self.inner.read(handle).await;
        }
        if let Some(data) = self.cached(handle).await {
            return Ok(data);
        }
        let data = self.inner.read(handle).await?;
        // What is damaged goes to the caller, who says so, and is not kept.
        self.keep(handle, data.clone()).await;
        Ok(data)
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        self.inner.read_range(handle, offset, length).await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        if !is_kept(handle.kind()) {
            return self.inner.write(handle, data).await;
        }
        self.inner.write(handle, data.clone()).await?;
        self.keep(handle, data).await;
        Ok(())
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.forget(handle).await;
        self.inner.remove(handle).await
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let (folder, targets) = (Arc::clone(&self.folder), handles.to_vec());
        blocking(move || targets.iter().for_each(|handle| folder.remove(handle))).await;
        self.inner.remove_many(handles).await
    }

    fn endpoint(&self) -> Option<String> {
        self.inner.endpoint()
    }
}
