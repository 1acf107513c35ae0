//! The retention policy: which snapshots are kept.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Which snapshots are kept. A snapshot that any rule keeps stays; a policy without any rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.keepLast) && self.keepLast > 0) || (has(self.keepHourly) && self.keepHourly > 0) || \
     (has(self.keepDaily) && self.keepDaily > 0) || (has(self.keepWeekly) && self.keepWeekly > 0) || \
     (has(self.keepMonthly) && self.keepMonthly > 0) || (has(self.keepYearly) && self.keepYearly > 0) || \
     (has(self.keepTags) && size(self.keepTags) > 0)"
).message("the policy keeps nothing: set at least one of keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly and keepTags"))]
pub struct RetentionPolicy {
    /// A name for people.
    pub name: String,
    /// Keep this many of the newest snapshots.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub keep_last: i64,
    /// Keep the newest snapshot of each of this many hours that have one.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub keep_hourly: i64,
    /// Keep the newest snapshot of each of this many days that have one.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub keep_daily: i64,
    /// Keep the newest snapshot of each of this many weeks that have one.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub keep_weekly: i64,
    /// Keep the newest snapshot of each of this many months that have one.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub keep_monthly: i64,
    /// Keep the newest snapshot of each of this many years that have one.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub keep_yearly: i64,
    /// Keep every snapshot with one of these tags; `a,b` means both tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_tags: Vec<String>,
    /// Also remove the data that no snapshot needs any more.
    pub prune: bool,
    /// Only report what would be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl RetentionPolicy {
    /// Whether any rule keeps a snapshot.
    pub fn keeps_something(&self) -> bool {
        self.counts().iter().any(|(_, count)| *count > 0)
            || self.keep_tags.iter().any(|tag| !tag.is_empty())
    }

    /// The numeric rules with their field names.
    pub fn counts(&self) -> [(&'static str, i64); 6] {
        [
            ("keepLast", self.keep_last),
            ("keepHourly", self.keep_hourly),
            ("keepDaily", self.keep_daily),
            ("keepWeekly", self.keep_weekly),
            ("keepMonthly", self.keep_monthly),
            ("keepYearly", self.keep_yearly),
        ]
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(count: &i64) -> bool {
    *count == 0
}
