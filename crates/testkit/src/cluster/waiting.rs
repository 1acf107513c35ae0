//! Waiting for what a cluster will do, by asking again and again.

use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(200);

/// Asks until the answer is yes; fails the test after the given time.
pub fn wait_until(description: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    wait_for(description, patience, || is_so().then_some(()));
}

/// Asks until there is an answer, and returns it; fails the test after the given time.
pub fn wait_for<T>(description: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "not within {patience:?}: {description}"
        );
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_comes_later_is_waited_for() {
        let mut asked = 0;
        let answer = wait_for("the third answer", Duration::from_mins(1), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(answer, 3);
    }

    #[test]
    #[should_panic(expected = "not within 0ns: a miracle")]
    fn what_never_comes_fails_the_test() {
        wait_until("a miracle", Duration::ZERO, || false);
    }
}
