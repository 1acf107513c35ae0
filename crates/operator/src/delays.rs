//! How long an object waits after a failed pass: twice as long each time, with jitter, until a pass succeeds.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use rand::RngExt;

const FIRST: Duration = Duration::from_secs(1);
/// Trouble is looked at again at least so often, so that nothing waits long after its cause has gone.
const LAST: Duration = Duration::from_mins(1);

/// Failures in a row of each object, by a key such as `BackupConfiguration/demo/home`.
#[derive(Debug, Default)]
pub struct Delays {
    failures: Mutex<HashMap<String, u32>>,
}

impl Delays {
    /// Nothing has failed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a failure and tells how long to wait: between half of the delay and all of it.
    pub fn after_failure(&self, key: &str) -> Duration {
        let failures = {
            let mut all = self
                .failures
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let failures = all.entry(key.to_owned()).or_default();
            *failures = failures.saturating_add(1);
            *failures
        };
        let full = delay(failures);
        full / 2 + rand::rng().random_range(Duration::ZERO..=full / 2)
    }

    /// Notes that a pass succeeded, or that the object is gone.
    pub fn forget(&self, key: &str) {
        let mut all = self
            .failures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.remove(key);
    }
}

/// The longest wait after so many failures in a row.
fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_waits_longer_after_each_failure_and_not_after_a_success() {
        let delays = Delays::new();
        for limit in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = delays.after_failure("a");
            let limit = Duration::from_secs(limit);
            assert!(wait >= limit / 2 && wait <= limit, "{wait:?} of {limit:?}");
        }
        assert!(delays.after_failure("b") <= FIRST);
        delays.forget("a");
        assert!(delays.after_failure("a") <= FIRST);
    }
}
