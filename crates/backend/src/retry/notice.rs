//! What the user is told about calls that are tried again.

use std::sync::Arc;
use std::time::Duration;

use crate::{BackendError, Operation};

/// Receives the news of calls that are tried again. Called from within the call: it must not block.
pub type Notify = Arc<dyn Fn(&RetryNotice<'_>) + Send + Sync>;

/// A turn in a call that is tried again.
#[derive(Debug, Clone, Copy)]
pub enum RetryNotice<'a> {
    /// An attempt failed, and the next one follows after a pause.
    Waiting {
        /// Why it failed.
        error: &'a BackendError,
        /// Its number, counted from 1.
        attempt: u32,
        /// The time until the next one.
        pause: Duration,
    },
    /// A call that had failed before is done.
    Healed {
        /// What was being done.
        operation: Operation,
        /// On what.
        object: &'a str,
        /// How many attempts failed.
        failures: u32,
        /// Time since the first failure.
        after: Duration,
    },
    /// Time is over.
    GivenUp {
        /// The last failure.
        error: &'a BackendError,
        /// How many attempts failed.
        failures: u32,
    },
}

/// What is added to the last failure of a call when time is over.
#[derive(Debug, thiserror::Error)]
#[error("given up after {failures} attempts within {} seconds", .after.as_secs())]
pub(super) struct GivenUp {
    pub failures: u32,
    pub after: Duration,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}
