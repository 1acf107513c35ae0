//! An opened repository: the key is known, the config is read, single files can be loaded and saved.
//!
//! Blobs need the index and belong to [`crate::indexed`].

mod files;
mod open;

use std::collections::HashSet;
use std::sync::Arc;

use backend::{Backend, BackendError, Cache, CacheOptions, FileKind, Handle};
use secrecy::SecretString;

use crate::compression::Compression;
use crate::config::Config;
use crate::crypto::MasterKey;
use crate::id::{Id, KeyId, PackId};
use crate::index;
use crate::indexed::IndexedRepository;
use crate::key::ScryptParams;

pub(crate) use files::write as write_file;

/// Size at which a pack is full unless the options say otherwise; restic's.
const DEFAULT_PACK_BYTES: u32 = 16 << 20;

/// How to create a repository.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// Fixed scrypt parameters instead of calibrated ones; for tests.
    pub scrypt: Option<ScryptParams>,
    /// Take this chunker polynomial (as `init --copy-chunker-params`) instead of a fresh one.
    pub chunker_polynomial: Option<u64>,
    /// Format version to write, 1 or 2; absent means 2.
    pub version: Option<u32>,
    /// How new data is compressed.
    pub compression: Compression,
}

/// How to open a repository.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Try this key first, by id or by a unique prefix of it.
    pub key_hint: Option<String>,
    /// How new data is compressed. Version 1 repositories are never compressed.
    pub compression: Compression,
    /// Size in bytes at which a pack is uploaded; absent means 16 MiB. Between 4 MiB and 128 MiB.
    pub pack_size_bytes: Option<u32>,
    /// Where what is read often is kept on disk; nowhere when absent. A cache that cannot be used is told to its
    /// `warn` and done without.
    pub cache: Option<CacheOptions>,
}

/// Why a repository cannot be opened or created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The config object is absent: nothing was ever initialised here.
    #[error("there is no repository at {location}")]
    NoRepository {
        /// The place.
        location: String,
    },
    /// The config object exists already.
    #[error("a repository exists already at {location}")]
    Exists {
        /// The place.
        location: String,
    },
    /// Data is there, the config is not: it was lost, and creating a new one would lose the data for good.
    #[error(
        "the repository at {location} has data but no config file; bring the file `config` back from a copy"
    )]
    ConfigMissing {
        /// The place.
        location: String,
    },
    /// No key file opens with this password.
    #[error("wrong password, or no key found, for the repository at {location}")]
    WrongPassword {
        /// The place.
        location: String,
    },
    /// A key file is damaged or asks for the impossible, and no other key opens.
    #[error("cannot use key {key} of the repository at {location}")]
    DamagedKey {
        /// The place.
        location: String,
        /// The key file.
        key: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The config is damaged or of an unknown version.
    #[error("the config of the repository at {location} is unusable")]
    DamagedConfig {
        /// The place.
        location: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The storage failed; this never means that there is no repository.
    #[error("cannot open the repository at {location}")]
    Storage {
        /// The place.
        location: String,
        /// Why.
        #[source]
        source: BackendError,
    },
}

/// A repository file that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The storage failed.
    #[error("cannot load {object}")]
    Storage {
        /// What was being loaded.
        object: String,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// The content is not what its name or its format says.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// What was being loaded.
        object: String,
        /// What does not fit.
        reason: String,
    },
    /// A blob that no index file names.
    #[error("{object} is not in the index: the repository is damaged, run `check`")]
    NotInIndex {
        /// The blob.
        object: String,
    },
}

/// A repository file that cannot be stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot save {object}")]
pub struct SaveError {
    /// What was being saved.
    pub object: String,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// An opened repository. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    /// The cache itself where there is one.
    backend: Arc<dyn Backend>,
    cache: Option<Arc<Cache>>,
    config: Config,
    key: MasterKey,
    key_id: KeyId,
    options: OpenOptions,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Repository")
            .field("location", &self.backend.location())
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Whether a repository is here, answered by the config object alone (decision 6 of the design).
    pub async fn exists(backend: &dyn Backend) -> Result<bool, BackendError> {
        match backend.stat(&Handle::config()).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a repository; fails with [`OpenError::Exists`] rather than touching an existing one.
    pub async fn create(
        backend: Arc<dyn Backend>,
        password: &SecretString,
        options: &CreateOptions,
    ) -> Result<Self, OpenError> {
        open::create(backend, password, options).await
    }

    /// Opens an existing repository. Key files are tried one after the other, the hinted one first; a
    /// damaged one does not hide a good one.
    pub async fn open(
        backend: Arc<dyn Backend>,
        password: &SecretString,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        open::open(backend, password, options).await
    }

    /// The same repository, with everything read from where it is stored.
    #[must_use]
    pub fn past_cache(&self) -> Self {
        let Some(cache) = self.cache() else {
            return self.clone();
        };
        let inner = Inner {
            backend: Arc::clone(cache.storage()),
            cache: None,
            config: self.inner.config.clone(),
            key: self.inner.key.clone(),
            key_id: self.inner.key_id,
            options: OpenOptions {
                cache: None,
                ..self.inner.options.clone()
            },
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The storage.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    /// The place, for people.
    pub fn location(&self) -> String {
        self.inner.backend.location()
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The master key as restic's `cat masterkey` shows it. Whoever has it can read everything.
    pub fn master_key_json(&self) -> zeroize::Zeroizing<Vec<u8>> {
        self.inner.key.to_json()
    }

    /// The key file that opened the repository.
    pub fn key_id(&self) -> KeyId {
        self.inner.key_id
    }

    /// The options it was opened with.
    pub fn options(&self) -> &OpenOptions {
        &self.inner.options
    }

    /// The cache, for what only a repository can tell it.
    pub(crate) fn cache(&self) -> Option<&Arc<Cache>> {
        self.inner.cache.as_ref()
    }

    /// Size in bytes at which a pack is full: the option, or restic's default.
    pub(crate) fn pack_size_bytes(&self) -> u32 {
        self.options().pack_size_bytes.unwrap_or(DEFAULT_PACK_BYTES)
    }

    /// The master key.
    pub(crate) fn key(&self) -> &MasterKey {
        &self.inner.key
    }

    /// Ids and sizes of all files of a kind. A name that is no id is left out and logged.
    pub async fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>, BackendError> {
        files::list(self, kind).await
    }

    /// The decrypted, decompressed content of an unpacked file (index, snapshot, lock), its hash verified.
    /// A read whose hash does not fit is repeated once before it counts as damage.
    pub async fn load_unpacked(&self, kind: FileKind, id: &Id) -> Result<Vec<u8>, LoadError> {
        files::load_unpacked(self, kind, id).await
    }

    /// Encrypts (and in version 2 compresses) and stores an unpacked file; its id is the hash of the stored bytes.
    pub async fn save_unpacked(&self, kind: FileKind, data: &[u8]) -> Result<Id, SaveError> {
        files::save_unpacked(self, kind, data).await
    }

    /// Reads every index file.
    pub async fn load_index(&self) -> Result<IndexedRepository, LoadError> {
        let index = index::load(self).await?;
        if let Some(cache) = self.cache() {
            let packs: HashSet<String> = index.packs().iter().map(PackId::to_hex).collect();
            cache
                .retain(FileKind::Pack, move |name| packs.contains(name))
                .await;
        }
        Ok(IndexedRepository::new(self.clone(), index))
    }
}

/// Runs CPU-bound work off the asynchronous threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and will not poll this task again.
            Err(_) => std::future::pending().await,
        },
    }
}

/// An error and its causes in one line, for reports that keep text only.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
