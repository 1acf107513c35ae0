//! Forgetting snapshots: which ones a policy keeps, and removing the others.
//!
//! The rules are restic's, with its calendar: every snapshot counts in its own offset. A plan is made, can be
//! shown and refused, and is executed under the exclusive lock. The data that forgotten snapshots leave behind
//! is left to `prune`.

mod duration;
mod execute;
mod json;
mod policy;
mod rules;
#[cfg(test)]
mod tests;

pub use self::duration::{CalendarDuration, ParseDurationError};
pub use self::execute::{ForgetError, ForgetSummary};
pub use self::json::KeepCounters;
pub use self::policy::{ForgetPolicy, ParseCountError, PolicyError, parse_count};
pub use self::rules::apply;
use crate::id::SnapshotId;
use crate::snapshot::{GroupBy, GroupKey, Snapshot, group_by};
use crate::time::Time;

/// Why a snapshot is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepReason {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The rules that keep it, in restic's words: `daily snapshot`, `oldest weekly snapshot`, `within 1y`.
    pub matches: Vec<String>,
    /// What the counting rules may still keep after this snapshot.
    pub counters: KeepCounters,
}

/// What a policy does to one group of snapshots. Serialises as restic's `forget --json` shows a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetGroup {
    /// What the snapshots have in common.
    pub key: GroupKey,
    /// Those that stay, newest first.
    pub keep: Vec<(SnapshotId, Snapshot)>,
    /// Those that go, newest first.
    pub remove: Vec<(SnapshotId, Snapshot)>,
    /// Why, for each that stays, in the same order.
    pub reasons: Vec<KeepReason>,
}

/// Whether a group may lose its last snapshot to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptiedGroups {
    /// The whole plan is refused.
    Refuse,
    /// It may (`--unsafe-allow-remove-all`).
    Allow,
}

/// Which snapshots are to be removed, to be shown before [`ForgetPlan::execute`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetPlan {
    /// What a policy does to each group; empty when snapshots were named.
    pub groups: Vec<ForgetGroup>,
    /// Snapshots to remove because the user named them.
    pub named: Vec<(SnapshotId, Snapshot)>,
}

impl ForgetPlan {
    /// Applies a policy to each group. `now` only serves to disregard snapshots of the future where durations
    /// are counted from the latest snapshot. A policy without any rule is refused unless emptied groups are
    /// allowed: forgetting the options must not forget the snapshots.
    pub fn new(
        snapshots: Vec<(SnapshotId, Snapshot)>,
        grouping: GroupBy,
        policy: &ForgetPolicy,
        emptied: EmptiedGroups,
        now: Time,
    ) -> Result<Self, PolicyError> {
        policy.validate()?;
        if policy.is_empty() && emptied == EmptiedGroups::Refuse {
            return Err(PolicyError::Empty);
        }
        let mut groups = Vec::new();
        for (key, members) in group_by(snapshots, grouping) {
            let group = ForgetGroup {
                key,
                ..apply(members, policy, now)
            };
            if group.keep.is_empty() && emptied == EmptiedGroups::Refuse {
                return Err(PolicyError::KeepsNothing {
                    group: group.key.to_string(),
                });
            }
            groups.push(group);
        }
        Ok(Self {
            groups,
            named: Vec::new(),
        })
    }

    /// Removes exactly these.
    pub const fn of_named(snapshots: Vec<(SnapshotId, Snapshot)>) -> Self {
        Self {
            groups: Vec::new(),
            named: snapshots,
        }
    }

    /// The snapshots that the plan removes, each once.
    pub fn removals(&self) -> Vec<SnapshotId> {
        let grouped = self.groups.iter().flat_map(|group| &group.remove);
        let mut ids: Vec<_> = grouped.chain(&self.named).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
