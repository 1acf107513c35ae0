//! Plans as restic's `forget --json` shows them. Its versions differ: 0.18 counts beside each reason, 0.19
//! gives the reason's snapshot its id; here are both.

use serde::{Serialize, Serializer};

use super::{ForgetGroup, KeepReason};
use crate::id::SnapshotId;
use crate::snapshot::{IdentifiedSnapshot, Snapshot, empty_as_null};

/// What each counting rule may still keep; -1 is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KeepCounters {
    /// Of `--keep-last`.
    #[serde(skip_serializing_if = "is_zero")]
    pub last: i32,
    /// Of `--keep-hourly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub hourly: i32,
    /// Of `--keep-daily`.
    #[serde(skip_serializing_if = "is_zero")]
    pub daily: i32,
    /// Of `--keep-weekly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub weekly: i32,
    /// Of `--keep-monthly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub monthly: i32,
    /// Of `--keep-yearly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub yearly: i32,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    #[serde(serialize_with = "empty_as_null")]
    tags: &'a [String],
    host: &'a str,
    #[serde(serialize_with = "empty_as_null")]
    paths: &'a [String],
    keep: Option<Vec<IdentifiedSnapshot<'a>>>,
    remove: Option<Vec<IdentifiedSnapshot<'a>>>,
    reasons: Option<Vec<ReasonJson<'a>>>,
}

#[derive(Serialize)]
struct ReasonJson<'a> {
    snapshot: IdentifiedSnapshot<'a>,
    matches: &'a [String],
    counters: KeepCounters,
}

impl Serialize for ForgetGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reasons = self.keep.iter().zip(&self.reasons).map(reason);
        GroupJson {
            tags: &self.key.tags,
            host: &self.key.hostname,
            paths: &self.key.paths,
            keep: null_if_empty(self.keep.iter().map(identified)),
            remove: null_if_empty(self.remove.iter().map(identified)),
            reasons: null_if_empty(reasons),
        }
        .serialize(serializer)
    }
}

fn identified((id, snapshot): &(SnapshotId, Snapshot)) -> IdentifiedSnapshot<'_> {
    IdentifiedSnapshot::new(*id, snapshot)
}

fn reason<'a>((kept, reason): (&'a (SnapshotId, Snapshot), &'a KeepReason)) -> ReasonJson<'a> {
    ReasonJson {
        snapshot: identified(kept),
        matches: &reason.matches,
        counters: reason.counters,
    }
}

fn null_if_empty<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then_some(items)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
const fn is_zero(number: &i32) -> bool {
    *number == 0
}
