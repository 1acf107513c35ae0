//! Who may hold a Lease (coordination.k8s.io): the rule of Kubernetes' own leader election.
//!
//! A holder is believed until its lease has not been renewed for its duration, counted by the observer's own clock
//! from the moment it saw the last change; clocks of two machines are never compared.

use std::time::Duration;

use jiff::Timestamp;

/// How long a lease is good without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often a holder renews.
pub const RENEW: Duration = Duration::from_secs(5);
/// How often others look.
pub const RETRY: Duration = Duration::from_secs(2);

/// What is written in a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; nobody when absent or empty.
    pub holder: Option<String>,
    /// When the holder renewed it last, by the holder's clock.
    pub renewed: Option<Timestamp>,
    /// How long it is good.
    pub duration: Duration,
}

/// A record and when the observer first saw it exactly so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What was seen.
    pub record: Record,
    /// The observer's time since it is so, by a clock that never jumps.
    pub since: Duration,
}

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is free: write oneself as the holder.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Somebody else holds it: look again later.
    Wait,
}

/// Remembers when a record was first seen as it is.
pub fn observe(before: Option<Observation>, record: Record, now: Duration) -> Observation {
    match before {
        Some(before) if before.record == record => before,
        _ => Observation { record, since: now },
    }
}

/// What `me` does about the lease at `now` (of the clock that [`Observation::since`] is told by).
pub fn decide(observed: &Observation, me: &str, now: Duration) -> Decision {
    match observed
        .record
        .holder
        .as_deref()
        .filter(|it| !it.is_empty())
    {
        None => Decision::Take,
        Some(holder) if holder == me => Decision::Renew,
        Some(_) if now.saturating_sub(observed.since) > observed.record.duration => Decision::Take,
        Some(_) => Decision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holder: &str, renewed: i64) -> Record {
        Record {
            holder: Some(holder.to_owned()),
            renewed: Timestamp::from_second(renewed).ok(),
            duration: DURATION,
        }
    }

    #[test]
    fn a_lease_passes_on_when_its_holder_stops_renewing() {
        let second = Duration::from_secs;
        let seen = observe(None, held("a", 100), second(0));
        assert_eq!(decide(&seen, "b", second(15)), Decision::Wait);
        assert_eq!(decide(&seen, "b", second(16)), Decision::Take);
        assert_eq!(decide(&seen, "a", second(60)), Decision::Renew);
        let renewed = observe(Some(seen), held("a", 105), second(14));
        assert_eq!(decide(&renewed, "b", second(29)), Decision::Wait);
        assert_eq!(decide(&renewed, "b", second(30)), Decision::Take);
        let same = observe(Some(renewed), held("a", 105), second(28));
        assert_eq!(same.since, second(14));
    }

    #[test]
    fn a_released_lease_is_free_at_once() {
        let empty = Record {
            holder: Some(String::new()),
            ..Record::default()
        };
        let seen = observe(None, empty, Duration::ZERO);
        assert_eq!(decide(&seen, "b", Duration::ZERO), Decision::Take);
    }
}
