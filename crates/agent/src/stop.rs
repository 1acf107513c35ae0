//! Why a run has to stop before its work is done: its deadline, or a request from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Cancels the work at the deadline or when the caller does, and remembers which it was.
#[derive(Debug)]
pub struct Stop {
    cancel: CancellationToken,
    token: CancellationToken,
    is_late: Arc<AtomicBool>,
    _timer: Option<AbortOnDropHandle<()>>,
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
            cancel: cancel.clone(),
            token,
            is_late,
            _timer: timer,
        }
    }

    /// The token that the work obeys.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The caller's token, which the deadline does not cancel.
    pub const fn cancel(&self) -> &CancellationToken {
        &self.cancel
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
        assert!(other.is_late() && !other.cancel().is_cancelled());
        let third = Stop::new(&cancel, None);
        cancel.cancel();
        third.expire();
        assert!(third.is_interrupted());
    }
}
