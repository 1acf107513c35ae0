//! Removing a repository with everything in it, for a Repository that is deleted with `wipeOut`.
//!
//! Only the objects of restic's layout are removed, and only those of a repository that the Secret's password opens:
//! whatever else lies under the prefix stays. Kill it at any moment and run it again: the config goes last but for
//! the keys, so that the password can be proved until nothing of value is left.

use std::sync::Arc;
use std::time::Duration;

use api::v1beta1::RepositoryRef;
use backend::{Backend, BackendError, FileKind, Handle, RetryOptions};
use repository::lock::{Lock, LockError, LockKind, LockOptions};
use repository::{OpenError, OpenOptions, Repository};

use super::PodAgent;
use super::settings;
use crate::storage::{Storage, StorageError};

/// How long somebody else's lock is waited for.
const LOCK_PATIENCE: Duration = Duration::from_mins(30);
/// How many objects are removed by one call.
const BATCH: usize = 1000;

/// What is to be removed.
#[derive(Debug, Clone)]
pub struct WipeOut {
    /// Name of the Repository in the Pod's namespace.
    pub repository: String,
}

/// Why a repository is not, or not wholly, removed. Running it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum WipeOutError {
    /// The Repository or its Secret is unusable.
    #[error("cannot find out what to remove")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The settings give no storage.
    #[error("cannot reach the repository")]
    Storage(#[source] StorageError),
    /// The storage failed.
    #[error("cannot {action} the repository's objects")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// There is data without a config: nobody can tell whose it is.
    #[error(
        "there is no repository at {location}, but {count} objects of one: they are left alone, for nobody can tell \
         whose they are; remove them by hand"
    )]
    NoConfig {
        /// The place.
        location: String,
        /// How many objects.
        count: usize,
    },
    /// The password does not open it.
    #[error("the Secret does not open the repository, so it is left alone")]
    Open(#[source] OpenError),
    /// Somebody works with it.
    #[error("the repository is in use")]
    Lock(#[source] LockError),
    /// The agent was asked to stop.
    #[error("stopped before all was removed")]
    Stopped,
}

/// Removes the repository.
pub async fn run(agent: &PodAgent, wipe_out: &WipeOut) -> Result<(), WipeOutError> {
    let reference = RepositoryRef {
        name: wipe_out.repository.clone(),
        namespace: None,
    };
    let opened = settings::open(agent, &reference, &agent.cancel)
        .await
        .map_err(|error| WipeOutError::Settings(Box::new(error)))?;
    let me = agent
        .owner(&agent.cancel)
        .await
        .map_err(|error| WipeOutError::Settings(Box::new(error)))?;
    let storage =
        Storage::new(&opened.settings, RetryOptions::default()).map_err(WipeOutError::Storage)?;
    let backend = storage.backend;
    let exists = Repository::exists(backend.as_ref()).await;
    match exists {
        Ok(true) => {}
        Ok(false) => return remove_rest(backend.as_ref()).await,
        // A bucket that does not exist holds nothing.
        Err(error) if error.kind == backend::ErrorKind::PlaceNotFound => return Ok(()),
        Err(source) => {
            return Err(WipeOutError::Backend {
                action: "find",
                source,
            });
        }
    }
    let options = OpenOptions::default();
    let repository = Repository::open(Arc::clone(&backend), opened.settings.password(), &options)
        .await
        .map_err(WipeOutError::Open)?;
    let lock_options = LockOptions {
        retry_for: LOCK_PATIENCE,
        hostname: me.to_string(),
        username: agent.identity.username.clone(),
        judge: Some(Arc::new(super::owner::PodJudge {
            agent: agent.clone(),
            me,
        })),
    };
    let lock = tokio::select! {
        lock = Lock::acquire(&repository, LockKind::Exclusive, &lock_options) => lock.map_err(WipeOutError::Lock)?,
        () = agent.cancel.cancelled() => return Err(WipeOutError::Stopped),
    };
    let removed = tokio::select! {
        removed = remove_all(backend.as_ref(), &lock) => removed,
        () = agent.cancel.cancelled() => Err(WipeOutError::Stopped),
        () = lock.lost().cancelled() => Err(WipeOutError::Lock(LockError::Lost)),
    };
    if let Err(error) = lock.release().await {
        tracing::warn!(%error, "cannot release the lock");
    }
    removed?;
    remove_rest(backend.as_ref()).await
}

/// Everything that needs the config to be told ours, then the config.
async fn remove_all(backend: &dyn Backend, lock: &Lock) -> Result<(), WipeOutError> {
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        lock.ensure_held().map_err(WipeOutError::Lock)?;
        remove_kind(backend, kind).await?;
    }
    lock.ensure_held().map_err(WipeOutError::Lock)?;
    backend
        .remove(&Handle::config())
        .await
        .map_err(|source| WipeOutError::Backend {
            action: "remove",
            source,
        })
}

/// What is worth nothing without a config, where nothing else is left.
async fn remove_rest(backend: &dyn Backend) -> Result<(), WipeOutError> {
    let mut count = 0;
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        count += list(backend, kind).await?.len();
    }
    if count > 0 {
        return Err(WipeOutError::NoConfig {
            location: backend.location(),
            count,
        });
    }
    remove_kind(backend, FileKind::Lock).await?;
    remove_kind(backend, FileKind::Key).await
}

async fn remove_kind(backend: &dyn Backend, kind: FileKind) -> Result<(), WipeOutError> {
    let handles = list(backend, kind).await?;
    for batch in handles.chunks(BATCH) {
        if let Some((_, source)) = backend.remove_many(batch).await.into_iter().next() {
            return Err(WipeOutError::Backend {
                action: "remove",
                source,
            });
        }
    }
    tracing::info!(kind = kind.folder(), count = handles.len(), "removed");
    Ok(())
}

async fn list(backend: &dyn Backend, kind: FileKind) -> Result<Vec<Handle>, WipeOutError> {
    let files = match backend.list(kind).await {
        Ok(files) => files,
        Err(error) if error.kind == backend::ErrorKind::PlaceNotFound => Vec::new(),
        Err(source) => {
            return Err(WipeOutError::Backend {
                action: "list",
                source,
            });
        }
    };
    Ok(files
        .into_iter()
        .map(|file| Handle::new(kind, file.name))
        .collect())
}
