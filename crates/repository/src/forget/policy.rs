//! What a policy consists of, and its text for people.

use std::fmt;

use super::CalendarDuration;

/// Which snapshots to keep. A snapshot that any rule keeps stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetPolicy {
    /// The newest so many; -1 is all. 0 means no such rule, here and below.
    pub last: i32,
    /// The newest of each of so many hours that have one.
    pub hourly: i32,
    /// The newest of each of so many days.
    pub daily: i32,
    /// The newest of each of so many ISO weeks.
    pub weekly: i32,
    /// The newest of each of so many months.
    pub monthly: i32,
    /// The newest of each of so many years.
    pub yearly: i32,
    /// All within this time before the latest snapshot of the group.
    pub within: CalendarDuration,
    /// The newest of each hour within this time.
    pub within_hourly: CalendarDuration,
    /// The newest of each day within this time.
    pub within_daily: CalendarDuration,
    /// The newest of each ISO week within this time.
    pub within_weekly: CalendarDuration,
    /// The newest of each month within this time.
    pub within_monthly: CalendarDuration,
    /// The newest of each year within this time.
    pub within_yearly: CalendarDuration,
    /// All that have every tag of at least one of these lists.
    pub tags: Vec<Vec<String>>,
}

/// Why a policy is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A number below -1.
    #[error("negative values other than -1 are not allowed for keep-{rule}")]
    NegativeCount {
        /// The rule without `keep-`.
        rule: &'static str,
    },
    /// A duration with a negative part.
    #[error("durations containing negative values are not allowed for keep-{rule}")]
    NegativeDuration {
        /// The rule without `keep-`.
        rule: &'static str,
    },
    /// No rule at all.
    #[error("no policy was specified, no snapshots will be removed")]
    Empty,
    /// A group would lose its last snapshot.
    #[error("refusing to delete the last snapshot of snapshot group `{group}`")]
    KeepsNothing {
        /// What the group's snapshots have in common.
        group: String,
    },
}

/// A text that is no count of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number of snapshots: give a whole number from 0 on, or `unlimited`")]
pub struct ParseCountError(pub String);

/// The number of a `--keep-*` option; `unlimited` is -1.
pub fn parse_count(text: &str) -> Result<i32, ParseCountError> {
    match text {
        "unlimited" => Ok(-1),
        _ => text
            .parse()
            .ok()
            .filter(|count| *count >= 0)
            .ok_or_else(|| ParseCountError(text.to_owned())),
    }
}

impl ForgetPolicy {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses numbers and durations that mean nothing.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if let Some((rule, _)) = self.counts().into_iter().find(|(_, count)| *count < -1) {
            return Err(PolicyError::NegativeCount { rule });
        }
        if let Some((rule, _)) = self
            .durations()
            .into_iter()
            .find(|(_, duration)| duration.is_negative())
        {
            return Err(PolicyError::NegativeDuration { rule });
        }
        Ok(())
    }

    const fn counts(&self) -> [(&'static str, i32); 6] {
        [
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ]
    }

    const fn durations(&self) -> [(&'static str, CalendarDuration); 6] {
        [
            ("within", self.within),
            ("within-hourly", self.within_hourly),
            ("within-daily", self.within_daily),
            ("within-weekly", self.within_weekly),
            ("within-monthly", self.within_monthly),
            ("within-yearly", self.within_yearly),
        ]
    }
}

impl fmt::Display for ForgetPolicy {
    /// As restic shows a policy: `keep 3 latest, 1 daily snapshots and all snapshots within 1d of the newest`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.counts().into_iter().filter_map(|(rule, count)| {
            let word = if rule == "last" { "latest" } else { rule };
            match count {
                -1 => Some(format!("all {word}")),
                1.. => Some(format!("{count} {word}")),
                _ => None,
            }
        });
        let within = self
            .durations()
            .into_iter()
            .skip(1)
            .filter(|(_, duration)| !duration.is_zero());
        let within = within.map(|(rule, duration)| {
            let word = rule.strip_prefix("within-").unwrap_or(rule);
            format!("{word} snapshots within {duration}")
        });
        let mut parts = Vec::new();
        let counted = counted.collect::<Vec<_>>().join(", ");
        if !counted.is_empty() {
            parts.push(format!("{counted} snapshots"));
        }
        parts.extend(within);
        let mut clauses = if parts.is_empty() {
            Vec::new()
        } else {
            vec![parts.join(", ")]
        };
        if !self.tags.is_empty() {
            let lists: Vec<_> = self
                .tags
                .iter()
                .map(|list| format!("[{}]", list.join(", ")))
                .collect();
            clauses.push(format!("all snapshots with tags [{}]", lists.join(" ")));
        }
        if !self.within.is_zero() {
            clauses.push(format!(
                "all snapshots within {} of the newest",
                self.within
            ));
        }
        if clauses.is_empty() {
            return formatter.write_str("remove");
        }
        write!(formatter, "keep {}", clauses.join(" and "))
    }
}
