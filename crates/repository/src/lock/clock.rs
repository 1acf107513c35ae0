//! The time of day, which locks carry and are judged by.

use std::fmt::Debug;

use jiff::Timestamp;

/// Where the time of day comes from.
pub trait Clock: Debug + Send + Sync {
    /// The moment.
    fn now(&self) -> Timestamp;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
