//! How long an object waits after a failed pass: twice as long each time, with jitter, until a pass succeeds.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand::RngExt;

const FIRST: Duration = Duration::from_secs(1);
/// Trouble is looked at again at least so often, so that nothing waits long after its cause has gone.
const LAST: Duration = Duration::from_mins(1);

/// Nobody forgets what has gone while it failed: this long after its last failure it does not come again.
const GONE: Duration = Duration::from_hours(1);

/// Failures in a row of each object, by a key that no other object has or had.
#[derive(Debug, Default)]
pub struct Delays {
    failures: Mutex<HashMap<String, Failures>>,
    holds: Mutex<HashMap<String, Hold>>,
}

/// How long one failure of many is waited after.
#[derive(Debug, Clone)]
struct Hold {
    occurrence: String,
    until: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    number: u32,
    last: Instant,
}

impl Delays {
    /// Nothing has failed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a failure and tells how long to wait: between half of the delay and all of it.
    pub fn after_failure(&self, key: &str) -> Duration {
        let failures = self.count(key, Instant::now());
        let full = delay(failures);
        let wait = full / 2 + rand::rng().random_range(Duration::ZERO..=full / 2);
        let milliseconds = wait.as_millis();
        tracing::debug!(key, failures, milliseconds, "waits after a failure");
        wait
    }

    /// Notes a failure that is seen again and again, and tells how long is left to wait after it. `occurrence` tells it
    /// from the failures before and after it.
    pub fn left_after(&self, key: &str, occurrence: &str) -> Duration {
        let now = Instant::now();
        let holds = || {
            self.holds
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let known = holds().get(key).cloned();
        if let Some(hold) = known.filter(|hold| hold.occurrence == occurrence) {
            return hold.until.saturating_duration_since(now);
        }
        let wait = self.after_failure(key);
        let mut all = holds();
        all.retain(|_, hold| now.saturating_duration_since(hold.until) < GONE);
        let hold = Hold {
            occurrence: occurrence.to_owned(),
            until: now + wait,
        };
        all.insert(key.to_owned(), hold);
        wait
    }

    /// Whether a failure was noted by [`Self::left_after`] already.
    pub fn has_noted(&self, key: &str, occurrence: &str) -> bool {
        let all = self
            .holds
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        all.get(key)
            .is_some_and(|hold| hold.occurrence == occurrence)
    }

    fn count(&self, key: &str, now: Instant) -> u32 {
        let mut all = self
            .failures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(failures) = all.get_mut(key) {
            failures.number = failures.number.saturating_add(1);
            failures.last = now;
            return failures.number;
        }
        all.retain(|_, failures| now.duration_since(failures.last) < GONE);
        let first = Failures {
            number: 1,
            last: now,
        };
        all.insert(key.to_owned(), first);
        1
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
    fn the_same_failure_is_counted_once_however_often_it_is_seen() {
        let delays = Delays::new();
        let first = delays.left_after("data", "job 1");
        assert!(first <= FIRST && !first.is_zero());
        assert!(delays.left_after("data", "job 1") <= first);
        let second = delays.left_after("data", "job 2");
        assert!(
            (FIRST / 2..=FIRST * 2).contains(&second) && second >= FIRST,
            "{second:?}"
        );
        let third = delays.left_after("data", "job 3");
        assert!(third >= FIRST * 2, "{third:?}");
    }

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

    #[test]
    fn what_has_gone_while_it_failed_is_forgotten() {
        let delays = Delays::new();
        let start = Instant::now();
        assert_eq!(delays.count("gone", start), 1);
        assert_eq!(delays.count("here", start), 1);
        assert_eq!(delays.count("here", start + GONE), 2);
        assert_eq!(delays.count("new", start + GONE), 1);
        let all = delays.failures.lock().unwrap();
        let mut keys: Vec<_> = all.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["here", "new"]);
    }
}
