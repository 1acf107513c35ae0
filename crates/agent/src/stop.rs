//! Why a run has to stop before its work is done: its deadline, or a request from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Cancels the work at the deadline or when the caller does, and remembers which it was.
#[derive(Debug)]
pub struct Stop {
    token: CancellationToken,
    is_late: Arc<AtomicBool>,
    _timer: Option<AbortOnDropHandle<()>>,
}

/// A token that outlives the deadline for a while.
#[derive(Debug)]
pub struct Grace {
    token: CancellationToken,
    _timer: AbortOnDropHandle<()>,
}

impl Grace {
    /// One that nobody shortens.
    pub fn lasting(grace: Duration) -> Self {
        let token = CancellationToken::new();
        let ends = token.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            ends.cancel();
        });
        Self {
            token,
            _timer: AbortOnDropHandle::new(timer),
        }
    }

    /// The token.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Stop {
    /// Watches `cancel` and, if there is one, the time left until the deadline.
    pub fn new(cancel: &CancellationToken, left: Option<Duration>) -> Self {
        let token = cancel.child_token();
        let is_late = Arc::new(AtomicBool::new(false));
        let timer = left.map(|left| {
            let (token, is_late) = (token.clone(), Arc::clone(&is_late));
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(left).await;
                is_late.store(true, Ordering::Release);
                token.cancel();
            }))
        });
        Self {
            token,
            is_late,
            _timer: timer,
        }
    }

    /// The token that the work obeys.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// For what puts things right at the end: cancelled when the caller asks to stop, or this long after the deadline.
    /// What began after the deadline has all of that time, whoever asks to stop.
    pub fn with_grace(&self, grace: Duration) -> Grace {
        let token = CancellationToken::new();
        let (stopped, ends) = (self.token.clone(), token.clone());
        let is_late = Arc::clone(&self.is_late);
        let timer = tokio::spawn(async move {
            stopped.cancelled().await;
            if is_late.load(Ordering::Acquire) {
                tokio::time::sleep(grace).await;
            }
            ends.cancel();
        });
        Grace {
            token,
            _timer: AbortOnDropHandle::new(timer),
        }
    }

    /// Says that the deadline has passed, for those who learn of it otherwise than by the time.
    pub fn expire(&self) {
        if !self.token.is_cancelled() {
            self.is_late.store(true, Ordering::Release);
            self.token.cancel();
        }
    }

    /// Whether the deadline has passed.
    pub fn is_late(&self) -> bool {
        self.is_late.load(Ordering::Acquire)
    }

    /// Whether the caller asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.token.is_cancelled() && !self.is_late()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_told_from_an_interruption() {
        let cancel = CancellationToken::new();
        let late = Stop::new(&cancel, Some(Duration::from_mins(1)));
        let other = Stop::new(&cancel, None);
        late.token().cancelled().await;
        assert!(late.is_late() && !late.is_interrupted());
        assert!(!other.token().is_cancelled());
        other.expire();
        assert!(other.is_late() && !cancel.is_cancelled());
        let third = Stop::new(&cancel, None);
        cancel.cancel();
        third.expire();
        assert!(third.is_interrupted());
    }

    #[tokio::test(start_paused = true)]
    async fn what_puts_things_right_has_a_while_after_the_deadline_and_none_after_an_interruption()
    {
        let cancel = CancellationToken::new();
        let stop = Stop::new(&cancel, Some(Duration::from_mins(1)));
        let began = tokio::time::Instant::now();
        let grace = stop.with_grace(Duration::from_secs(20));
        stop.token().cancelled().await;
        cancel.cancel();
        grace.token().cancelled().await;
        assert_eq!(began.elapsed().as_secs(), 80);
        let cancel = CancellationToken::new();
        let stop = Stop::new(&cancel, Some(Duration::from_mins(1)));
        let grace = stop.with_grace(Duration::from_secs(20));
        assert!(!grace.token().is_cancelled());
        cancel.cancel();
        grace.token().cancelled().await;
        assert_eq!(began.elapsed().as_secs(), 80);
    }
}
