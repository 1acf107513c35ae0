//! When the next session of a schedule is due; ticks that were missed are caught up by one session.

use api::schedule::Schedule;
use jiff::{Timestamp, tz::TimeZone};

/// What the scheduler does with one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A session is due now; it covers every tick that was missed. `now` is the new `last`.
    Now,
    /// Look again at this moment.
    At(Timestamp),
    /// The schedule never fires again.
    Never,
}

/// What is due at `now`, when `last` is the moment that was acted on last (or the schedule was first seen).
pub fn due(schedule: &Schedule, last: Timestamp, now: Timestamp, zone: &TimeZone) -> Due {
    match schedule.next_after(last, zone) {
        None => Due::Never,
        Some(tick) if tick > now => Due::At(tick),
        Some(_) => Due::Now,
    }
}

/// How many missed ticks are looked at one by one.
const MOST_TICKS: usize = 10_000;

/// The newest tick between `last` and `now`, after which the session that covers them all is named. Asked again
/// after a crash, the answer is the same until the next tick.
pub fn newest(schedule: &Schedule, last: Timestamp, now: Timestamp, zone: &TimeZone) -> Timestamp {
    let mut newest = last;
    for _ in 0..MOST_TICKS {
        match schedule.next_after(newest, zone) {
            Some(tick) if tick <= now => newest = tick,
            _ => return newest,
        }
    }
    now
}

/// What a configuration remembers of its ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory<'a> {
    /// [`crate::labels::LAST_TICK`].
    pub last: Option<&'a str>,
    /// [`crate::labels::LAST_SCHEDULE`].
    pub schedule: Option<&'a str>,
    /// When the configuration was made.
    pub created: Timestamp,
    /// Whether it was worked on before.
    pub is_known: bool,
}

/// From when on ticks count. A new configuration starts at its creation. One that was paused, whose schedule
/// changed, or whose memory was lost starts now: what happened before is not caught up.
pub fn anchor(memory: Memory<'_>, schedule: &str, now: Timestamp) -> Timestamp {
    let last = memory.last.and_then(|text| text.parse::<Timestamp>().ok());
    match last {
        Some(last) if memory.schedule == Some(schedule) => last,
        None if memory.last.is_none() && !memory.is_known => memory.created,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn missed_ticks_are_caught_up_once() {
        let schedule = Schedule::parse("0 * * * *").unwrap();
        let last = at("2026-01-01T00:00:00Z");
        assert_eq!(
            due(&schedule, last, at("2026-01-01T00:59:59Z"), &TimeZone::UTC),
            Due::At(at("2026-01-01T01:00:00Z"))
        );
        assert_eq!(
            due(&schedule, last, at("2026-01-01T01:00:00Z"), &TimeZone::UTC),
            Due::Now
        );
        assert_eq!(
            due(&schedule, last, at("2026-01-03T05:30:00Z"), &TimeZone::UTC),
            Due::Now
        );
    }

    #[test]
    fn a_session_is_named_after_the_newest_tick_that_it_covers() {
        let zone = TimeZone::UTC;
        let hourly = Schedule::parse("0 * * * *").unwrap();
        let last = at("2026-01-01T00:00:00Z");
        assert_eq!(
            newest(&hourly, last, at("2026-01-03T05:30:00Z"), &zone),
            at("2026-01-03T05:00:00Z")
        );
        let every = Schedule::parse("@every 7m").unwrap();
        assert_eq!(
            newest(&every, last, at("2026-01-01T00:20:00Z"), &zone),
            at("2026-01-01T00:14:00Z")
        );
        let second = Schedule::parse("@every 1s").unwrap();
        let late = at("2026-02-01T00:00:00Z");
        assert_eq!(newest(&second, last, late, &zone), late);
    }

    #[test]
    fn ticks_count_from_the_creation_and_not_from_before_a_pause_or_a_change() {
        let (created, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-09T00:00:00Z"));
        let new = Memory {
            last: None,
            schedule: None,
            created,
            is_known: false,
        };
        assert_eq!(anchor(new, "@daily", now), created);
        let used = Memory {
            last: Some("2026-01-08T00:00:00Z"),
            schedule: Some("@daily"),
            is_known: true,
            ..new
        };
        assert_eq!(anchor(used, "@daily", now), at("2026-01-08T00:00:00Z"));
        assert_eq!(anchor(used, "@hourly", now), now, "another schedule");
        let paused = Memory {
            last: Some(crate::labels::PAUSED),
            ..used
        };
        assert_eq!(anchor(paused, "@daily", now), now);
        let forgotten = Memory {
            last: None,
            schedule: None,
            ..used
        };
        assert_eq!(anchor(forgotten, "@daily", now), now);
    }
}
