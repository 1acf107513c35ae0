//! The engine as a session uses it: open or create, save, keep and remove, check, count, restore.
//!
//! Every step takes the lock it needs for as long as it needs it, and gives it back also when it fails.

mod advice;
mod choice;
mod landing;
mod maintenance;
mod restore;
mod save;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use api::arguments::ArgumentError;
use api::secret::BackendSettings;
use archive::filter::{ExcludeError, PatternError, SizeError};
use archive::restore::RestoreError;
use archive::save::BackupError;
use backend::{BackendError, CacheOptions, ErrorKind, RetryOptions};
use repository::check::CheckFailure;
use repository::forget::{ForgetError, PolicyError};
use repository::lock::{Lock, LockError, LockKind, LockOptions};
use repository::prune::PruneError;
use repository::snapshot::FindError;
use repository::{CreateOptions, LoadError, OpenError, OpenOptions, Repository};

use crate::stop::Stop;
use crate::storage::{Storage, StorageError};
use crate::{CachePlace, Identity};

pub use restore::RestoredTotals;
pub use save::SaveRequest;

/// How long a session waits for somebody else's lock before it fails. Its own deadline may end it earlier.
const LOCK_PATIENCE: Duration = Duration::from_mins(30);
/// How long a single attempt to take a lock is waited for; it takes a fraction of a second.
const LOCK_ATTEMPT: Duration = Duration::from_secs(2);

/// Why a step of a session failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There are no settings.
    #[error("{0}")]
    Settings(String),
    /// The settings give no storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An earlier session stored here, and now nothing is there.
    #[error(
        "the repository at {location} is gone although earlier sessions used it; is its volume mounted? It is not \
         created again by itself; if it was removed on purpose, `stash -r {location} init` makes a new one"
    )]
    Vanished {
        /// The place.
        location: String,
    },
    /// Whether the repository exists cannot be found out, so it is not created either.
    #[error("cannot find out whether the repository exists{advice}")]
    Exists {
        /// What to do.
        advice: String,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// The repository cannot be opened or created.
    #[error("cannot use the repository{advice}")]
    Open {
        /// What to do.
        advice: String,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The index cannot be read.
    #[error("cannot read the index")]
    Index(#[source] LoadError),
    /// The repository is locked by somebody else, or the lock was lost.
    #[error("cannot {step}")]
    Lock {
        /// What the lock was for.
        step: &'static str,
        /// Why.
        #[source]
        source: LockError,
    },
    /// The target's `args` cannot be obeyed.
    #[error("{0}")]
    Arguments(String),
    /// An exclude pattern is malformed.
    #[error("the exclude patterns are unusable")]
    Exclude(#[source] ExcludeError),
    /// An include or exclude pattern of a restore is malformed.
    #[error("the patterns of the rule are unusable")]
    Pattern(#[source] PatternError),
    /// A size is malformed.
    #[error("the size limit is unusable")]
    Size(#[source] SizeError),
    /// The backup failed.
    #[error("cannot back up {path}")]
    Backup {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: BackupError,
    },
    /// The retention policy cannot be applied.
    #[error("the retention policy is refused")]
    Policy(#[source] PolicyError),
    /// Snapshots could not be removed.
    #[error("cannot remove snapshots")]
    Forget(#[source] ForgetError),
    /// Some snapshots could not be removed.
    #[error("cannot remove {count} snapshots, the first is {first}")]
    ForgetSome {
        /// How many.
        count: usize,
        /// The first.
        first: String,
        /// Why that one stays.
        #[source]
        source: BackendError,
    },
    /// Unused data could not be removed.
    #[error("cannot prune the repository")]
    Prune(#[source] PruneError),
    /// The check could not be carried out.
    #[error("cannot check the repository")]
    Check(#[source] CheckFailure),
    /// Snapshots cannot be read.
    #[error("cannot read the snapshots")]
    Snapshots(#[source] LoadError),
    /// A rule names a snapshot that does not exist.
    #[error("cannot find what to restore; name other snapshots in spec.target.rules")]
    Find(#[source] FindError),
    /// The host was never backed up here.
    #[error("the repository has no snapshot of host {host}{}; name what it has in sourceHost and paths of spec.target.rules", .path.as_ref().map(|path| format!(" and path {path}")).unwrap_or_default())]
    NoSnapshot {
        /// The host.
        host: String,
        /// The path.
        path: Option<String>,
    },
    /// Something of a snapshot would be written into the container and be lost with it.
    #[error(
        "snapshot {snapshot} holds {paths}, which no volume is mounted for (there are {volumes}), so that it would be \
         lost with this container; mount the volume where it was when it was backed up (spec.target.volumeMounts), or \
         leave out what is not needed by exclude in spec.target.rules"
    )]
    Outside {
        /// The snapshot.
        snapshot: String,
        /// What lies there.
        paths: String,
        /// Where volumes are mounted.
        volumes: String,
    },
    /// Several workloads stored as this host.
    #[error(
        "the repository has snapshots of host {host} from several sources ({sources}), and nothing says which is meant; \
         name their ids in snapshots of spec.target.rules, or give each its own Repository"
    )]
    Ambiguous {
        /// The host.
        host: String,
        /// Whose they are.
        sources: String,
    },
    /// The restore failed.
    #[error("cannot restore snapshot {snapshot}")]
    Restore {
        /// The snapshot.
        snapshot: String,
        /// Why.
        #[source]
        source: RestoreError,
    },
    /// The work was stopped.
    #[error("the work was stopped before it was complete")]
    Stopped,
}

impl EngineError {
    fn open(source: OpenError, settings: &BackendSettings) -> Self {
        Self::Open {
            advice: advice::advice(&source, settings),
            source,
        }
    }

    /// All mistakes in a target's `args`.
    pub fn arguments(errors: &[ArgumentError]) -> Self {
        Self::Arguments(
            errors
                .iter()
                .map(|error| format!("target.args: {error}"))
                .collect::<Vec<_>>()
                .join("; "),
        )
    }
}

/// An opened repository and in whose name it is used.
#[derive(Debug)]
pub struct Engine {
    repository: Repository,
    storage: Storage,
    lock_options: LockOptions,
}

impl Engine {
    /// Opens the repository, or creates it when its config object is absent; tells whether it did.
    ///
    /// A repository that earlier sessions used (`was_used`) is never created again: its volume may not be mounted.
    pub async fn open_or_create(
        settings: &BackendSettings,
        identity: &Identity,
        was_used: bool,
        stop: &Stop,
    ) -> Result<(Self, bool), EngineError> {
        let storage = storage(settings, identity)?;
        let existing = async { Ok(Repository::exists(storage.backend.as_ref()).await) };
        match until_stopped(stop, existing).await? {
            Ok(true) => {
                let opening = Self::open_at(storage, settings, identity);
                return Ok((until_stopped(stop, opening).await?, false));
            }
            Ok(false) => {}
            // The bucket of a repository that nobody has used yet may be made with it.
            Err(error) if error.kind == ErrorKind::PlaceNotFound && !was_used => {}
            Err(source) => {
                return Err(EngineError::Exists {
                    advice: advice::advice(&source, settings),
                    source,
                });
            }
        }
        if was_used {
            return Err(EngineError::Vanished {
                location: storage.backend.location(),
            });
        }
        // Not to be stopped halfway: a key without its config would be in the way of the next attempt.
        match Repository::create(
            Arc::clone(&storage.backend),
            settings.password(),
            &CreateOptions::default(),
        )
        .await
        {
            Ok(repository) => Ok((Self::new(repository, storage, identity), true)),
            // Somebody else was faster.
            Err(OpenError::Exists { .. }) => {
                Ok((Self::open_at(storage, settings, identity).await?, false))
            }
            Err(source) => Err(EngineError::open(source, settings)),
        }
    }

    /// Opens an existing repository.
    pub async fn open(
        settings: &BackendSettings,
        identity: &Identity,
        stop: &Stop,
    ) -> Result<Self, EngineError> {
        let storage = storage(settings, identity)?;
        until_stopped(stop, Self::open_at(storage, settings, identity)).await
    }

    async fn open_at(
        storage: Storage,
        settings: &BackendSettings,
        identity: &Identity,
    ) -> Result<Self, EngineError> {
        let options = OpenOptions {
            cache: storage.cache.clone(),
            ..OpenOptions::default()
        };
        let backend = Arc::clone(&storage.backend);
        let repository = Repository::open(backend, settings.password(), &options)
            .await
            .map_err(|source| EngineError::open(source, settings))?;
        Ok(Self::new(repository, storage, identity))
    }

    fn new(repository: Repository, storage: Storage, identity: &Identity) -> Self {
        Self {
            repository,
            storage,
            lock_options: LockOptions {
                retry_for: LOCK_PATIENCE,
                hostname: identity.machine.clone(),
                username: identity.username.clone(),
                judge: identity.judge.clone(),
            },
        }
    }

    /// What the storage cost so far, in words.
    pub fn cost(&self) -> Option<String> {
        self.storage.cost()
    }

    /// The place, for people.
    pub fn location(&self) -> String {
        self.repository.location()
    }

    /// Runs a step under a lock. Waiting for the lock ends with the session.
    async fn with_lock<T>(
        &self,
        kind: LockKind,
        step: &'static str,
        stop: &Stop,
        work: impl AsyncFnOnce(&Lock) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let failed = |source| EngineError::Lock { step, source };
        let mut acquiring =
            std::pin::pin!(Lock::acquire(&self.repository, kind, &self.lock_options));
        let lock = tokio::select! {
            lock = &mut acquiring => lock.map_err(failed)?,
            () = stop.token().cancelled() => {
                // An attempt under way may have written its file, which only its end takes away.
                if let Ok(Ok(lock)) = tokio::time::timeout(LOCK_ATTEMPT, acquiring).await {
                    let released = lock.release().await;
                    tracing::debug!(?released, "gave back a lock that came too late");
                }
                return Err(EngineError::Stopped);
            }
        };
        let result = work(&lock).await;
        let is_lost = lock.lost().is_cancelled();
        let released = lock.release().await;
        let value = result?;
        if is_lost {
            return Err(failed(LockError::Lost));
        }
        if let Err(error) = released {
            // The work is done and whole; the lock file becomes stale by itself.
            tracing::warn!(%error, "cannot release a lock");
        }
        Ok(value)
    }
}

fn storage(settings: &BackendSettings, identity: &Identity) -> Result<Storage, StorageError> {
    let mut storage = Storage::new(settings, RetryOptions::default())?;
    let folder = match &identity.cache {
        CachePlace::OfUser => return Ok(storage),
        CachePlace::Folder(folder) => Some(folder.clone()),
        CachePlace::None => None,
    };
    // Folders need no cache.
    if storage.folder.is_none() {
        storage.cache = folder.map(|folder| CacheOptions { folder, warn: None });
    }
    Ok(storage)
}

/// Work that leaves nothing behind when it is dropped halfway ends with the session.
async fn until_stopped<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::select! {
        result = work => result,
        () = stop.token().cancelled() => Err(EngineError::Stopped),
    }
}

/// A token that is cancelled when the session stops or its lock is lost.
fn work_token(
    stop: &Stop,
    lock: &Lock,
) -> (
    tokio_util::sync::CancellationToken,
    tokio_util::task::AbortOnDropHandle<()>,
) {
    let token = stop.token().child_token();
    let (lost, cancelled) = (lock.lost().clone(), token.clone());
    let watch = tokio::spawn(async move {
        lost.cancelled().await;
        cancelled.cancel();
    });
    (token, tokio_util::task::AbortOnDropHandle::new(watch))
}
