//! Grouping snapshots as restic's `--group-by`: policies and tables work on one series of snapshots at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{Snapshot, json};
use crate::id::SnapshotId;

/// What the snapshots of one group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// The host.
    pub host: bool,
    /// The set of paths.
    pub paths: bool,
    /// The set of tags.
    pub tags: bool,
}

impl Default for GroupBy {
    /// Host and paths, as restic groups unless told otherwise.
    fn default() -> Self {
        Self {
            host: true,
            paths: true,
            tags: false,
        }
    }
}

impl GroupBy {
    /// No grouping: all snapshots are one group.
    pub const NONE: Self = Self {
        host: false,
        paths: false,
        tags: false,
    };
}

/// A word that is no grouping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown grouping `{0}`: `host`, `paths` and `tags` can be given, separated by commas")]
pub struct ParseGroupByError(pub String);

impl FromStr for GroupBy {
    type Err = ParseGroupByError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut group_by = Self::NONE;
        for word in text.split(',') {
            match word {
                "host" | "hosts" => group_by.host = true,
                "path" | "paths" => group_by.paths = true,
                "tag" | "tags" => group_by.tags = true,
                "" => {}
                _ => return Err(ParseGroupByError(word.to_owned())),
            }
        }
        Ok(group_by)
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.host, "host"),
            (self.paths, "paths"),
            (self.tags, "tags"),
        ];
        let words: Vec<_> = words
            .iter()
            .filter(|(is_on, _)| *is_on)
            .map(|(_, word)| *word)
            .collect();
        formatter.write_str(&words.join(","))
    }
}

/// What a group has in common; parts that are not grouped by are empty, and `null` in JSON where they are lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GroupKey {
    /// The host.
    pub hostname: String,
    /// The paths, sorted.
    #[serde(serialize_with = "empty_as_null")]
    pub paths: Vec<String>,
    /// The tags, sorted.
    #[serde(serialize_with = "empty_as_null")]
    pub tags: Vec<String>,
}

impl GroupKey {
    /// The group that a snapshot belongs to.
    pub fn of(snapshot: &Snapshot, group_by: GroupBy) -> Self {
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        Self {
            hostname: if group_by.host {
                snapshot.hostname.clone()
            } else {
                String::new()
            },
            paths: if group_by.paths {
                sorted(&snapshot.paths)
            } else {
                Vec::new()
            },
            tags: if group_by.tags {
                sorted(&snapshot.tags)
            } else {
                Vec::new()
            },
        }
    }
}

impl GroupKey {
    /// The key as restic writes it, `{"hostname":"h","paths":["/a"],"tags":null}`.
    pub fn to_json(&self) -> String {
        String::from_utf8_lossy(&json::to_vec(self)).into_owned()
    }
}

impl fmt::Display for GroupKey {
    /// `host h, path [/a /b], tags [x]`, as restic names a group; nothing when there is nothing in common.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.hostname.is_empty() {
            parts.push(format!("host {}", self.hostname));
        }
        if !self.paths.is_empty() {
            parts.push(format!("path [{}]", self.paths.join(" ")));
        }
        if !self.tags.is_empty() {
            parts.push(format!("tags [{}]", self.tags.join(" ")));
        }
        formatter.write_str(&parts.join(", "))
    }
}

/// Snapshots of one group with what they have in common.
pub type SnapshotGroup = (GroupKey, Vec<(SnapshotId, Snapshot)>);

/// Sorts snapshots into groups. Groups come in the order of host, paths and tags; within one the order stays.
pub fn group_by(snapshots: Vec<(SnapshotId, Snapshot)>, group_by: GroupBy) -> Vec<SnapshotGroup> {
    let mut groups: BTreeMap<GroupKey, Vec<_>> = BTreeMap::new();
    for (id, snapshot) in snapshots {
        groups
            .entry(GroupKey::of(&snapshot, group_by))
            .or_default()
            .push((id, snapshot));
    }
    groups.into_iter().collect()
}

pub(crate) fn empty_as_null<S: Serializer>(
    list: &[String],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if list.is_empty() {
        serializer.serialize_none()
    } else {
        list.serialize(serializer)
    }
}
