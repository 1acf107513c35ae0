//! The keep rules, applied to one group. Every rule is restic's, see its documentation of `forget`.

use super::{CalendarDuration, ForgetGroup, ForgetPolicy, KeepCounters, KeepReason};
use crate::id::SnapshotId;
use crate::snapshot::Snapshot;
use crate::time::Time;

/// The stretch of the calendar of which a rule keeps one snapshot.
#[derive(Debug, Clone, Copy)]
enum Period {
    /// Every snapshot is its own.
    Each,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    /// A number that two snapshots share when they lie in the same period, each by its own offset.
    fn number_of(self, time: &Time, place: usize) -> i64 {
        let civil = time.civil();
        let month = civil.year * 100 + civil.month;
        let day = month * 100 + civil.day;
        match self {
            Self::Each => i64::try_from(place).unwrap_or(i64::MAX),
            Self::Hour => day * 100 + civil.hour,
            Self::Day => day,
            Self::Week => {
                let (year, week) = civil.iso_week();
                year * 100 + week
            }
            Self::Month => month,
            Self::Year => civil.year,
        }
    }
}

/// A rule that keeps the newest snapshot of each period, going back in time.
struct PeriodRule {
    period: Period,
    reason: &'static str,
    /// The period of the last snapshot kept.
    latest: Option<i64>,
}

impl PeriodRule {
    const fn new(period: Period, reason: &'static str) -> Self {
        Self {
            period,
            reason,
            latest: None,
        }
    }

    /// The reason for keeping the snapshot, if the rule does. The oldest snapshot of all is kept by every rule
    /// that gets to see it, so that a history shorter than the rule's reach keeps its beginning.
    fn keep(&mut self, time: &Time, place: usize, is_oldest: bool) -> Option<String> {
        let period = Some(self.period.number_of(time, place));
        let is_new = period != self.latest;
        if !is_new && !is_oldest {
            return None;
        }
        self.latest = period;
        Some(if is_new {
            self.reason.to_owned()
        } else {
            format!("oldest {}", self.reason)
        })
    }
}

/// Applies a policy to the snapshots of one group; the group's key is left empty. `now` serves to find the latest
/// snapshot that is not of the future.
pub fn apply(
    mut snapshots: Vec<(SnapshotId, Snapshot)>,
    policy: &ForgetPolicy,
    now: Time,
) -> ForgetGroup {
    snapshots.sort_by(|(first_id, first), (second_id, second)| {
        second
            .time
            .cmp(&first.time)
            .then_with(|| first_id.cmp(second_id))
    });
    let latest = snapshots
        .iter()
        .map(|(_, snapshot)| snapshot.time)
        .find(|time| *time < now)
        .unwrap_or(Time::ZERO);
    let mut rules = Rules::new(policy, &latest);
    let mut group = ForgetGroup::default();
    let count = snapshots.len();
    for (place, (id, snapshot)) in snapshots.into_iter().enumerate() {
        let matches = rules.matches(&snapshot, place, place + 1 == count);
        if matches.is_empty() {
            group.remove.push((id, snapshot));
        } else {
            group.reasons.push(KeepReason {
                snapshot: id,
                matches,
                counters: rules.counters(),
            });
            group.keep.push((id, snapshot));
        }
    }
    group
}

/// A policy at work on a group.
struct Rules<'a> {
    tags: &'a [Vec<String>],
    within: Option<(Time, CalendarDuration)>,
    counting: [(i32, PeriodRule); 6],
    lasting: Vec<(Time, CalendarDuration, PeriodRule)>,
}

impl<'a> Rules<'a> {
    fn new(policy: &'a ForgetPolicy, latest: &Time) -> Self {
        let lasting = [
            (policy.within_hourly, Period::Hour, "hourly within"),
            (policy.within_daily, Period::Day, "daily within"),
            (policy.within_weekly, Period::Week, "weekly within"),
            (policy.within_monthly, Period::Month, "monthly within"),
            (policy.within_yearly, Period::Year, "yearly within"),
        ];
        let lasting = lasting
            .into_iter()
            .filter(|(duration, ..)| !duration.is_zero());
        Self {
            tags: &policy.tags,
            within: (!policy.within.is_zero())
                .then(|| (policy.within.before(latest), policy.within)),
            counting: [
                (policy.last, PeriodRule::new(Period::Each, "last snapshot")),
                (
                    policy.hourly,
                    PeriodRule::new(Period::Hour, "hourly snapshot"),
                ),
                (policy.daily, PeriodRule::new(Period::Day, "daily snapshot")),
                (
                    policy.weekly,
                    PeriodRule::new(Period::Week, "weekly snapshot"),
                ),
                (
                    policy.monthly,
                    PeriodRule::new(Period::Month, "monthly snapshot"),
                ),
                (
                    policy.yearly,
                    PeriodRule::new(Period::Year, "yearly snapshot"),
                ),
            ],
            lasting: lasting
                .map(|(duration, period, reason)| {
                    (
                        duration.before(latest),
                        duration,
                        PeriodRule::new(period, reason),
                    )
                })
                .collect(),
        }
    }

    /// Why the snapshot is kept; empty when no rule keeps it. To be called newest first.
    fn matches(&mut self, snapshot: &Snapshot, place: usize, is_oldest: bool) -> Vec<String> {
        let mut matches = Vec::new();
        for tags in self.tags.iter().filter(|tags| snapshot.has_tags(tags)) {
            matches.push(format!("has tags [{}]", tags.join(", ")));
        }
        if let Some((start, duration)) = &self.within
            && snapshot.time > *start
        {
            matches.push(format!("within {duration}"));
        }
        for (left, rule) in self.counting.iter_mut().filter(|(left, _)| *left != 0) {
            if let Some(reason) = rule.keep(&snapshot.time, place, is_oldest) {
                matches.push(reason);
                *left -= i32::from(*left > 0);
            }
        }
        for (start, duration, rule) in &mut self.lasting {
            if snapshot.time > *start
                && let Some(reason) = rule.keep(&snapshot.time, place, is_oldest)
            {
                matches.push(format!("{reason} {duration}"));
            }
        }
        matches
    }

    const fn counters(&self) -> KeepCounters {
        let [last, hourly, daily, weekly, monthly, yearly] = &self.counting;
        KeepCounters {
            last: last.0,
            hourly: hourly.0,
            daily: daily.0,
            weekly: weekly.0,
            monthly: monthly.0,
            yearly: yearly.0,
        }
    }
}
