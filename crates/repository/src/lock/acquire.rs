//! Taking a lock: look, write, wait, look again.
//!
//! Two processes that write at the same time both see the other in the second look, and both step back.

use std::collections::HashSet;
use std::time::Duration;

use backend::BackendError;
use futures::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::clock::Clock;
use super::file::{self, LockFile};
use super::{LockError, LockOptions, handle, list_names};
use crate::id::LockId;
use crate::repository::{LoadError, Repository};

/// How long another process's write may take to show in our listing.
pub(super) const SETTLE_TIME: Duration = Duration::from_millis(200);
/// Waits before a lock file that cannot be read is looked at again: it may still be on its way.
const UNREADABLE_RETRIES: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
];
/// The first and the longest wait for others to release their lock; each wait is twice the one before.
const RETRY_START: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// How often a listing may turn out outdated before that counts as a failure.
const LISTINGS_MAX: usize = 100;

/// A lock file just written. Dropped before it is [kept](Pending::keep), it is removed in the background, so
/// that a cancelled attempt leaves nothing behind.
#[derive(Debug)]
pub(super) struct Pending {
    repository: Repository,
    id: Option<LockId>,
    /// The time in the file.
    pub(super) written_at: Timestamp,
    /// A moment not later than the time in the file.
    pub(super) started_at: Instant,
}

impl Pending {
    async fn write(
        repository: &Repository,
        lock: &LockFile,
        clock: &dyn Clock,
    ) -> Result<Self, LockError> {
        let (written_at, started_at) = (clock.now(), Instant::now());
        let id = lock
            .save(repository, written_at)
            .await
            .map_err(|source| LockError::Save { source })?;
        Ok(Self {
            repository: repository.clone(),
            id: Some(id),
            written_at,
            started_at,
        })
    }

    /// The file from now on belongs to the caller.
    pub(super) fn keep(mut self) -> (Repository, Option<LockId>) {
        (self.repository.clone(), self.id.take())
    }

    async fn remove(mut self) {
        if let Some(id) = self.id.take() {
            discard(&self.repository, id).await;
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            let repository = self.repository.clone();
            runtime.spawn(async move { discard(&repository, id).await });
        }
    }
}

async fn discard(repository: &Repository, id: LockId) {
    if let Err(error) = repository.backend().remove(&handle(id)).await {
        tracing::warn!(lock = %id, %error, "could not remove a lock file that is not needed");
    }
}

/// Takes the lock, trying again for as long as the options say while others hold a conflicting one.
pub(super) async fn acquire(
    repository: &Repository,
    lock: &LockFile,
    options: &LockOptions,
    clock: &dyn Clock,
) -> Result<Pending, LockError> {
    let deadline = Instant::now() + options.retry_for;
    let mut wait = RETRY_START.min(options.retry_for);
    loop {
        let now = Instant::now();
        match try_once(repository, lock, options, clock).await {
            Err(error @ LockError::Locked { .. }) if now < deadline => {
                tracing::info!(%error, "waiting for the lock");
                // Two that stepped back from each other must not meet again each time.
                let jitter = wait.mul_f64(rand::random_range(0.0..0.2));
                sleep((wait + jitter).min(deadline.saturating_duration_since(Instant::now())))
                    .await;
                wait = (wait * 2).min(RETRY_MAX);
            }
            result => return result,
        }
    }
}

async fn try_once(
    repository: &Repository,
    lock: &LockFile,
    options: &LockOptions,
    clock: &dyn Clock,
) -> Result<Pending, LockError> {
    check_others(repository, lock, None, options, clock).await?;
    let pending = Pending::write(repository, lock, clock).await?;
    sleep(SETTLE_TIME).await;
    match check_others(repository, lock, pending.id, options, clock).await {
        Ok(()) => Ok(pending),
        Err(error) => {
            pending.remove().await;
            Err(error)
        }
    }
}

/// What one look at the other locks showed.
enum Look {
    Free,
    Conflict(LockId, LockFile),
    Unreadable(LockId, LoadError),
    /// A lock went away while we looked. It may have been refreshed into a file that our listing lacks.
    Outdated,
}

/// Fails when a lock of somebody else stands against ours. Those that do and are stale, or whose holder is gone,
/// are removed: that is also how their holder, should it have slept, learns that it must stop.
async fn check_others(
    repository: &Repository,
    lock: &LockFile,
    own: Option<LockId>,
    options: &LockOptions,
    clock: &dyn Clock,
) -> Result<(), LockError> {
    let mut harmless: HashSet<LockId> = own.into_iter().collect();
    let mut waits = UNREADABLE_RETRIES.into_iter();
    for _ in 0..LISTINGS_MAX {
        match look(repository, lock, &mut harmless).await {
            Ok(Look::Free) => return Ok(()),
            Ok(Look::Outdated) => {}
            Ok(Look::Conflict(id, other)) if other.is_stale_here(clock.now()) => {
                remove_dead(repository, id, other, "stale").await?;
            }
            Ok(Look::Conflict(id, other)) if is_holder_gone(options, &other).await => {
                remove_dead(repository, id, other, "its holder is gone").await?;
            }
            Ok(Look::Conflict(id, other)) => return Err(other.into_conflict(id)),
            Ok(Look::Unreadable(id, error)) => match (waits.next(), is_worth_waiting(&error)) {
                (Some(wait), true) => sleep(wait).await,
                _ => return Err(unreadable(id, error)),
            },
            Err(LockError::Storage { action, source }) if source.is_temporary() => {
                match waits.next() {
                    Some(wait) => sleep(wait).await,
                    None => return Err(LockError::Storage { action, source }),
                }
            }
            Err(error) => return Err(error),
        }
    }
    let never_settled = BackendError {
        kind: backend::ErrorKind::Temporary,
        operation: backend::Operation::List,
        object: "lock files".to_owned(),
        location: repository.location(),
        retry_after: None,
        source: Some("the locks changed in every listing".into()),
    };
    Err(LockError::Storage {
        action: "list",
        source: never_settled,
    })
}

/// Looks at all locks but those known to be harmless, to which it adds: a valid lock stays what it is.
async fn look(
    repository: &Repository,
    lock: &LockFile,
    harmless: &mut HashSet<LockId>,
) -> Result<Look, LockError> {
    let names = list_names(repository).await?;
    // An empty file is what an interrupted upload leaves on some stores; restic ignores it too.
    let unknown: Vec<LockId> = names
        .into_iter()
        .filter(|(id, bytes)| *bytes > 0 && !harmless.contains(id))
        .map(|(id, _)| id)
        .collect();
    let loads = unknown
        .into_iter()
        .map(async |id| (id, file::load(repository, id).await));
    let mut loaded =
        futures::stream::iter(loads).buffer_unordered(repository.backend().connections().max(1));
    let mut seen = Look::Free;
    while let Some((id, result)) = loaded.next().await {
        match result {
            Ok(other) if lock.conflicts_with(&other) => return Ok(Look::Conflict(id, other)),
            Ok(_) => {
                harmless.insert(id);
            }
            Err(error) if file::is_absent(&error) => {
                if matches!(seen, Look::Free) {
                    seen = Look::Outdated;
                }
            }
            Err(error) => seen = Look::Unreadable(id, error),
        }
    }
    Ok(seen)
}

/// Whether somebody can prove that nobody holds this lock any more.
async fn is_holder_gone(options: &LockOptions, other: &LockFile) -> bool {
    match &options.judge {
        Some(judge) => judge.is_gone(&other.hostname).await,
        None => false,
    }
}

async fn remove_dead(
    repository: &Repository,
    id: LockId,
    dead: LockFile,
    why: &'static str,
) -> Result<(), LockError> {
    match repository.backend().remove(&handle(id)).await {
        Ok(()) => {
            tracing::info!(lock = %id, hostname = dead.hostname, pid = dead.pid, time = %dead.time, why, "removed a lock");
            Ok(())
        }
        Err(error) => {
            tracing::warn!(lock = %id, why, %error, "could not remove a lock");
            Err(dead.into_conflict(id))
        }
    }
}

fn is_worth_waiting(error: &LoadError) -> bool {
    match error {
        LoadError::Storage { source, .. } => source.is_temporary(),
        _ => true,
    }
}

fn unreadable(lock: LockId, error: LoadError) -> LockError {
    match error {
        LoadError::Storage { source, .. } => LockError::Storage {
            action: "read",
            source,
        },
        source => LockError::Invalid {
            lock,
            source: Box::new(source),
        },
    }
}
