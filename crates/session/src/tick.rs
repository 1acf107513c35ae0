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
}
