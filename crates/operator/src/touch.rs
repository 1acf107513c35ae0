//! Since when the API server is heard of: an agent that could not reach it, because it was away, was not silent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// How often the API server is asked for its version.
const PAUSE: Duration = Duration::from_secs(10);
/// What is waited for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may be away without being missed: agents repeat what they could not write more often than they are
/// given up.
const GAP: SignedDuration = SignedDuration::from_secs(60);

/// When the API server was heard of.
#[derive(Debug, Default)]
pub struct Touch {
    heard: Mutex<Option<Heard>>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    since: Timestamp,
    last: Timestamp,
}

impl Touch {
    /// Since when it is heard of without a longer gap; since now, when nothing was heard for long.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heard.filter(|it| now.duration_since(it.last) <= GAP);
        heard.map_or(now, |heard| heard.since)
    }

    /// It has answered.
    fn note(&self, now: Timestamp) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = heard.filter(|it| now.duration_since(it.last) <= GAP);
        *heard = Some(Heard {
            since: before.map_or(now, |it| it.since),
            last: now,
        });
    }
}

/// Asks the API server until told to stop.
pub async fn keep(context: &Context, stop: &CancellationToken) {
    let client = context.client();
    loop {
        let asked = tokio::time::timeout(ANSWER, client.apiserver_version());
        if let Ok(Ok(_)) = asked.await {
            context.touch.note(Timestamp::now());
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_absence_begins_anew_and_a_short_one_does_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let touch = Touch::default();
        assert_eq!(touch.since(at(50)), at(50));
        for second in [100, 110, 160, 220] {
            touch.note(at(second));
            assert_eq!(touch.since(at(second + 5)), at(100));
        }
        assert_eq!(touch.since(at(590)), at(590));
        touch.note(at(600));
        assert_eq!(touch.since(at(610)), at(600));
    }
}
