//! Holding a lock: refreshing it in the background, and finding out in time that it is lost.
//!
//! A refresh writes a new file, then removes the old one. It goes through only if the old file is there
//! before and after the new one was written: others remove a lock they call stale, and a holder that slept
//! through that must not go on.

use std::sync::{Arc, Once};
use std::time::Duration;

use backend::{BackendError, ErrorKind};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::acquire::{Pending, SETTLE_TIME};
use super::clock::Clock;
use super::file::{LockFile, STALE_AFTER};
use super::{LockError, handle};
use crate::id::LockId;
use crate::repository::{Repository, SaveError};

/// Age at which a lock is refreshed.
const REFRESH_AFTER: Duration = Duration::from_mins(5);
/// Wait after a refresh that failed.
const REFRESH_RETRY: Duration = Duration::from_secs(30);
/// Age at which a lock that could not be refreshed is given up: well before others call it stale, because
/// their clocks may differ. The same margin as restic's.
const LOST_AFTER: Duration = STALE_AFTER.saturating_sub(Duration::from_secs(450));
/// How often the age is looked at. Timers stand still while the machine sleeps, the time of day does not.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a refresh under way may still take when the lock is released, or when it is overdue.
const PATIENCE: Duration = Duration::from_mins(1);

/// The state of a held lock, shared by its owner and the task that refreshes it.
#[derive(Debug)]
pub(super) struct Held {
    repository: Repository,
    template: LockFile,
    clock: Arc<dyn Clock>,
    lost: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file that stands for the lock.
    current: Option<LockId>,
    /// Files of earlier refreshes that could not be removed yet.
    leftovers: Vec<LockId>,
    /// The time in the current file, by the time of day and by the timer.
    refreshed_at: (Timestamp, Instant),
}

#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error("the lock file was removed by somebody else")]
    Removed,
    #[error("cannot look at the lock file: {0}")]
    Stat(BackendError),
    #[error("cannot write the new lock file: {0}")]
    Save(SaveError),
    #[error("the storage did not answer in time")]
    TimedOut,
}

impl Held {
    pub(super) fn new(pending: Pending, template: LockFile, clock: Arc<dyn Clock>) -> Self {
        let refreshed_at = (pending.written_at, pending.started_at);
        let (repository, current) = pending.keep();
        let state = Mutex::new(State {
            current,
            leftovers: Vec::new(),
            refreshed_at,
        });
        Self {
            repository,
            template,
            clock,
            lost: CancellationToken::new(),
            state,
        }
    }

    pub(super) fn id(&self) -> LockId {
        self.state
            .lock()
            .current
            .expect("a lock that was acquired has a file")
    }

    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    pub(super) fn is_sound(&self) -> bool {
        !self.lost.is_cancelled() && self.age() < LOST_AFTER
    }

    /// Looks for the lock file, which a forced unlock or whoever called the lock stale has removed.
    pub(super) async fn ensure_held(&self) -> Result<(), LockError> {
        let started = Instant::now();
        loop {
            if self.lost.is_cancelled() {
                return Err(LockError::Lost);
            }
            if self.age() >= LOST_AFTER {
                // The refresh that is due now decides; there is none any more if the lock was dropped.
                if started.elapsed() >= 2 * PATIENCE {
                    return Err(LockError::Lost);
                }
                tokio::select! {
                    () = self.lost.cancelled() => {}
                    () = sleep(POLL_INTERVAL) => {}
                }
                continue;
            }
            let id = self.id();
            match self.ensure_exists(id).await {
                Ok(()) if self.is_sound() => return Ok(()),
                Ok(()) => {}
                // A refresh has replaced the file meanwhile.
                Err(_) if self.id() != id => {}
                Err(RefreshError::Stat(source)) => {
                    return Err(LockError::Storage {
                        action: "read",
                        source,
                    });
                }
                Err(error) => {
                    tracing::error!(%error, lock = %id, "lost the lock on the repository");
                    self.lost.cancel();
                }
            }
        }
    }

    /// Time since the last refresh; the longer of both clocks', for either may stand still or be set back.
    fn age(&self) -> Duration {
        let (written_at, started_at) = self.state.lock().refreshed_at;
        let by_day =
            Duration::try_from(self.clock.now().duration_since(written_at)).unwrap_or_default();
        by_day.max(started_at.elapsed())
    }

    async fn refresh(&self) -> Result<(), RefreshError> {
        let old = self.id();
        self.ensure_exists(old).await?;
        let refreshed_at = (self.clock.now(), Instant::now());
        let new = self
            .template
            .save(&self.repository, refreshed_at.0)
            .await
            .map_err(RefreshError::Save)?;
        // Until the old file is known to be there still, the new one is what has to be cleaned up.
        self.state.lock().leftovers.push(new);
        sleep(SETTLE_TIME).await;
        if let Err(error) = self.ensure_exists(old).await {
            let _ = self.remove_leftovers().await;
            return Err(error);
        }
        {
            let mut state = self.state.lock();
            state.current = Some(new);
            state.refreshed_at = refreshed_at;
            state.leftovers.retain(|id| *id != new);
            state.leftovers.push(old);
        }
        if let Err(error) = self.remove_leftovers().await {
            tracing::warn!(lock = %old, %error, "could not remove the lock file that was replaced");
        }
        Ok(())
    }

    async fn ensure_exists(&self, id: LockId) -> Result<(), RefreshError> {
        match self.repository.backend().stat(&handle(id)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Err(RefreshError::Removed),
            Err(error) => Err(RefreshError::Stat(error)),
        }
    }

    async fn remove_leftovers(&self) -> Result<(), BackendError> {
        let leftovers = self.state.lock().leftovers.clone();
        for id in leftovers {
            self.repository.backend().remove(&handle(id)).await?;
            self.state.lock().leftovers.retain(|other| *other != id);
        }
        Ok(())
    }

    /// Removes every file of this lock.
    pub(super) async fn remove_files(&self) -> Result<(), BackendError> {
        let current = self.repository.backend().remove(&handle(self.id())).await;
        let leftovers = self.remove_leftovers().await;
        current.and(leftovers)
    }
}

/// Refreshes the lock until it is stopped or lost.
pub(super) async fn keep(held: Arc<Held>, stop: CancellationToken) {
    let mut poll = interval(POLL_INTERVAL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_at_age = REFRESH_AFTER;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = poll.tick() => {}
        }
        let age = held.age();
        if age < next_at_age {
            continue;
        }
        let patience = LOST_AFTER
            .checked_sub(age)
            .unwrap_or_default()
            .max(PATIENCE);
        let refresh = async {
            timeout(patience, held.refresh())
                .await
                .unwrap_or(Err(RefreshError::TimedOut))
        };
        let stopped = async {
            stop.cancelled().await;
            sleep(PATIENCE).await;
        };
        let result = tokio::select! {
            biased;
            result = refresh => result,
            () = stopped => return,
        };
        match result {
            Ok(()) => next_at_age = REFRESH_AFTER,
            Err(error) => {
                let is_final = matches!(error, RefreshError::Removed | RefreshError::TimedOut)
                    || age >= LOST_AFTER;
                if is_final {
                    tracing::error!(%error, lock = %held.id(), "lost the lock on the repository");
                    held.lost.cancel();
                    return;
                }
                tracing::warn!(%error, lock = %held.id(), "could not refresh the lock; trying again");
                // Not beyond the limit, where the last attempt is due.
                next_at_age = (held.age() + REFRESH_RETRY).min(LOST_AFTER);
            }
        }
    }
}

/// restic finds out whether the holder of a lock is alive by sending it a hangup signal. A holder must survive
/// that, so from the first lock on this process no longer ends when it is hung up.
pub(super) fn survive_liveness_probes() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        use tokio::signal::unix::{SignalKind, signal};
        // The handler stays for the life of the process, though nobody listens.
        if let Err(error) = signal(SignalKind::hangup()) {
            tracing::warn!(%error, "cannot ignore hangups; another restic's `unlock` may end this process");
        }
    });
}
