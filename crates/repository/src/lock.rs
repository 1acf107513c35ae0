//! restic's lock protocol (`docs/format.md`, locks).
//!
//! Owns the lock files of a repository: taking, refreshing, releasing, listing and removing them. What needs
//! which lock is left to the callers, as is the decision to stop when a lock is lost.

mod acquire;
mod clock;
mod file;
mod hold;
mod judge;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use backend::{BackendError, FileKind, Handle};
use futures::StreamExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::id::LockId;
use crate::repository::{LoadError, Repository, SaveError};
use crate::time::Time;

pub use self::clock::{Clock, SystemClock};
pub use self::file::LockFile;
use self::hold::Held;
pub use self::judge::Judge;

/// What a lock keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// For readers and writers of new data; keeps out exclusive locks only.
    Shared,
    /// For whoever removes; keeps out every other lock.
    Exclusive,
}

/// Who takes a lock, and how patiently.
#[derive(Debug, Clone, Default)]
pub struct LockOptions {
    /// How long to try again while others hold a conflicting lock; zero fails at once (`--retry-lock`).
    pub retry_for: Duration,
    /// The name of this machine as written into the lock file; others on the same machine recognise dead
    /// holders by it. Empty means the name that the system has.
    pub hostname: String,
    /// The name of the user as written into the lock file.
    pub username: String,
    /// Who can prove that the holder of another lock is gone, where age and processes prove nothing.
    pub judge: Option<Arc<dyn Judge>>,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds a conflicting lock.
    #[error(
        "the repository is already locked{} by PID {pid} on {hostname} by {username} since {since} (lock {})",
        if *.exclusive { " exclusively" } else { "" },
        .lock.short()
    )]
    Locked {
        /// Whether the other lock is exclusive.
        exclusive: bool,
        /// The machine of its holder.
        hostname: String,
        /// The user of its holder.
        username: String,
        /// The process of its holder.
        pid: i64,
        /// When it was taken or last refreshed.
        since: Time,
        /// The other lock.
        lock: LockId,
    },
    /// A lock file cannot be read, so nobody knows whether it conflicts.
    #[error("lock {} is invalid", .lock.short())]
    Invalid {
        /// The lock file.
        lock: LockId,
        /// Why.
        #[source]
        source: Box<LoadError>,
    },
    /// The lock was held, but may count as stale by now or was removed by others: the work must stop.
    #[error("the lock on the repository was lost")]
    Lost,
    /// The lock file cannot be written.
    #[error("cannot lock the repository")]
    Save {
        /// Why.
        #[source]
        source: SaveError,
    },
    /// The storage failed.
    #[error("cannot {action} the locks of the repository")]
    Storage {
        /// `list`, `read` or `remove`.
        action: &'static str,
        /// Why.
        #[source]
        source: BackendError,
    },
}

/// Which locks to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnlockScope {
    /// Those that restic's rule calls stale: not refreshed for 30 minutes, or of a dead process of this machine.
    Stale,
    /// All of them, unreadable ones too. Whoever holds one loses it.
    All,
}

/// A lock that is held and refreshed in the background.
///
/// End it with [`Lock::release`]. Dropping it only stops the refresh: the file stays until it is stale.
#[derive(Debug)]
pub struct Lock {
    held: Arc<Held>,
    kind: LockKind,
    stop: CancellationToken,
    keeper: Option<JoinHandle<()>>,
}

impl Lock {
    /// Takes a lock, removing those in its way that are stale or whose holder is gone. Must be called within a tokio runtime.
    pub async fn acquire(
        repository: &Repository,
        kind: LockKind,
        options: &LockOptions,
    ) -> Result<Self, LockError> {
        Self::acquire_with_clock(repository, kind, options, Arc::new(SystemClock)).await
    }

    /// As [`Lock::acquire`], with a clock of the caller's.
    pub async fn acquire_with_clock(
        repository: &Repository,
        kind: LockKind,
        options: &LockOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LockError> {
        hold::survive_liveness_probes();
        let template = LockFile::of_this_process(kind, options);
        let pending = acquire::acquire(repository, &template, options, clock.as_ref()).await?;
        let held = Arc::new(Held::new(pending, template, clock));
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(hold::keep(Arc::clone(&held), stop.clone()));
        Ok(Self {
            held,
            kind,
            stop,
            keeper: Some(keeper),
        })
    }

    /// Whether it is shared or exclusive.
    pub fn kind(&self) -> LockKind {
        self.kind
    }

    /// The file that stands for the lock at this moment; every refresh makes a new one.
    pub fn id(&self) -> LockId {
        self.held.id()
    }

    /// Cancelled when the lock could not be refreshed for so long that others may soon call it stale, or when
    /// others removed it: the work must stop.
    pub fn lost(&self) -> &CancellationToken {
        self.held.lost()
    }

    /// Fails when the lock is lost, or is about to be because the machine slept. To be asked right before each
    /// step that cannot be undone; costs nothing.
    pub fn ensure_held(&self) -> Result<(), LockError> {
        if self.held.is_sound() {
            Ok(())
        } else {
            Err(LockError::Lost)
        }
    }

    /// A handle for those who write under this lock, which does not keep it held.
    pub fn watch(&self) -> LockWatch {
        LockWatch {
            held: Arc::clone(&self.held),
        }
    }

    /// Ends the refresh and removes the lock file. A file that is gone already is no error.
    pub async fn release(mut self) -> Result<(), LockError> {
        self.stop.cancel();
        if let Some(keeper) = self.keeper.take()
            && let Err(error) = keeper.await
        {
            tracing::warn!(%error, "the refresh of the lock did not end well");
        }
        self.held
            .remove_files()
            .await
            .map_err(|source| LockError::Storage {
                action: "remove",
                source,
            })
    }
}

/// Tells those who write under a lock whether it is still held. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LockWatch {
    held: Arc<Held>,
}

impl LockWatch {
    /// As [`Lock::lost`].
    pub fn lost(&self) -> &CancellationToken {
        self.held.lost()
    }

    /// Fails unless the lock file is in the storage at this moment and is not about to count as stale. To be
    /// asked right before writing what others rely on; costs one request.
    ///
    /// After the machine slept it waits, a minute or two at most, for the refresh that tells whether the lock
    /// survived. A lock that was released or whose file others removed is [`LockError::Lost`] from then on.
    pub async fn ensure_held(&self) -> Result<(), LockError> {
        self.held.ensure_held().await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.keeper.is_some() {
            tracing::warn!(lock = %self.id(), "a lock was abandoned; its file stays until it is stale");
        }
    }
}

/// All locks, each with its content or the reason why it cannot be read. A lock that vanishes meanwhile is
/// left out.
pub async fn list(
    repository: &Repository,
) -> Result<Vec<(LockId, Result<LockFile, LoadError>)>, LockError> {
    let names = list_names(repository).await?;
    let loads = names
        .into_iter()
        .map(async |(id, _)| (id, file::load(repository, id).await));
    let connections = repository.backend().connections().max(1);
    let loaded: Vec<_> = futures::stream::iter(loads)
        .buffer_unordered(connections)
        .collect()
        .await;
    Ok(loaded
        .into_iter()
        .filter(|(_, result)| !result.as_ref().is_err_and(file::is_absent))
        .collect())
}

/// Removes locks; the ids of those removed.
pub async fn unlock(repository: &Repository, scope: UnlockScope) -> Result<Vec<LockId>, LockError> {
    let doomed: Vec<LockId> = match scope {
        UnlockScope::All => list_names(repository)
            .await?
            .into_iter()
            .map(|(id, _)| id)
            .collect(),
        UnlockScope::Stale => {
            let now = SystemClock.now();
            let locks = list(repository).await?.into_iter();
            locks
                .filter_map(|(id, lock)| lock.ok()?.is_stale_here(now).then_some(id))
                .collect()
        }
    };
    for id in &doomed {
        remove(repository, *id).await?;
    }
    Ok(doomed)
}

/// Removes one lock, for callers that know its holder to be gone. An absent one is no error.
pub async fn remove(repository: &Repository, id: LockId) -> Result<(), LockError> {
    let removed = repository.backend().remove(&handle(id)).await;
    removed.map_err(|source| LockError::Storage {
        action: "remove",
        source,
    })
}

fn handle(id: LockId) -> Handle {
    Handle::new(FileKind::Lock, id.to_hex())
}

/// Ids and sizes.
async fn list_names(repository: &Repository) -> Result<Vec<(LockId, u64)>, LockError> {
    let names = repository.list(FileKind::Lock).await;
    let names = names.map_err(|source| LockError::Storage {
        action: "list",
        source,
    })?;
    Ok(names
        .into_iter()
        .map(|(id, size_bytes)| (LockId(id), size_bytes))
        .collect())
}
