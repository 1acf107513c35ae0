//! The attempts of one call: their number, their pauses and their end.

use std::error::Error;
use std::time::Duration;

use futures::future::BoxFuture;
use rand::RngExt as _;
use tokio::time::Instant;

use crate::retry::notice::GivenUp;
use crate::retry::{Retry, RetryNotice};
use crate::{BackendError, Operation};

pub(super) struct Attempts<'a> {
    retry: &'a Retry,
    failures: u32,
    first_failure: Option<Instant>,
    /// What failed last.
    last: Option<(Operation, String)>,
}

impl<'a> Attempts<'a> {
    pub fn new(retry: &'a Retry) -> Self {
        Self {
            retry,
            failures: 0,
            first_failure: None,
            last: None,
        }
    }

    /// Repeats an operation until it succeeds, fails for good or time is over.
    pub async fn until_done<'b, T>(
        &mut self,
        attempt: impl Fn() -> BoxFuture<'b, Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => self.pause(error).await?,
            }
        }
    }

    /// A part of the call is done: the time limit counts anew from the next failure.
    pub fn got_on(&mut self) {
        self.first_failure = None;
    }

    /// Waits for the time of the next attempt; gives the error back when there is none.
    pub async fn pause(&mut self, error: BackendError) -> Result<(), BackendError> {
        if !error.is_temporary() {
            return Err(error);
        }
        self.failures += 1;
        let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
        let options = &self.retry.options;
        let left = options.limit.saturating_sub(first_failure.elapsed());
        let jitter = self.jitter();
        let pause = match error.retry_after {
            // Somebody else may have been told the same, so that all do not come back at the same moment. A store that
            // asks for less than the pause of our own, or for none, is not hurried.
            Some(asked) => (asked + jitter.min(asked / 4)).max(jitter.min(left)),
            None => jitter.min(left),
        };
        if left.is_zero() || pause > left {
            return Err(self.give_up(error, first_failure.elapsed()));
        }
        if self.failures == 1 {
            tracing::warn!(
                operation = ?error.operation, object = error.object, location = error.location,
                reason = reason(&error), "the storage failed; trying again"
            );
        }
        self.notify(&RetryNotice::Waiting {
            error: &error,
            attempt: self.failures,
            pause,
        });
        self.last = Some((error.operation, error.object));
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Tells that the call is done, if it had failed before.
    pub fn done(self) {
        let Some(((operation, object), first_failure)) = self.last.as_ref().zip(self.first_failure)
        else {
            return;
        };
        let (failures, after) = (self.failures, first_failure.elapsed());
        tracing::info!(
            ?operation,
            object,
            failures,
            ?after,
            "the storage is back, the call is done"
        );
        self.notify(&RetryNotice::Healed {
            operation: *operation,
            object,
            failures,
            after,
        });
    }

    fn give_up(&self, mut error: BackendError, after: Duration) -> BackendError {
        if self.failures > 1 {
            error.source = Some(Box::new(GivenUp {
                failures: self.failures,
                after,
                source: error.source.take(),
            }));
        }
        tracing::warn!(
            operation = ?error.operation, object = error.object, location = error.location,
            failures = self.failures, "the storage failed for too long; giving up"
        );
        self.notify(&RetryNotice::GivenUp {
            error: &error,
            failures: self.failures,
        });
        error
    }

    fn notify(&self, notice: &RetryNotice<'_>) {
        if let Some(notify) = &self.retry.options.notify {
            notify(notice);
        }
    }

    /// Anything up to a limit that doubles with each failure: calls that failed together come back apart.
    fn jitter(&self) -> Duration {
        let options = &self.retry.options;
        let doublings = self.failures.saturating_sub(1).min(16);
        let longest = options
            .first_pause
            .saturating_mul(1 << doublings)
            .min(options.longest_pause);
        let share: f64 = self.retry.random.lock().random();
        longest.mul_f64(share)
    }
}

/// The causes of a failure in one line.
fn reason(error: &BackendError) -> String {
    let mut next = error.source.as_deref().map(|source| source as &dyn Error);
    let mut parts = Vec::new();
    while let Some(source) = next {
        parts.push(source.to_string());
        next = source.source();
    }
    parts.join(": ")
}
