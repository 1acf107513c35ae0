//! Snapshot files: which tree was saved when, where and by whom (`docs/format.md`, snapshots).
//!
//! Owns the document, finding snapshots by reference and filter, and grouping them. Which of them are
//! forgotten is [`crate::forget`]'s, making new ones `archive`'s.

mod filter;
mod find;
mod group;
mod json;
#[cfg(test)]
mod tests;

use backend::FileKind;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

pub use self::filter::{SnapshotFilter, parse_tag_list};
pub use self::find::{FindError, SnapshotRef, find, find_all};
pub(crate) use self::group::empty_as_null;
pub use self::group::{GroupBy, GroupKey, ParseGroupByError, SnapshotGroup, group_by};
use crate::id::{BlobId, Id, SnapshotId};
use crate::repository::{LoadError, Repository, SaveError};
use crate::time::Time;

/// One snapshot, in the order of restic's fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The moment it stands for, in the offset of the machine that made it.
    pub time: Time,
    /// The snapshot whose unchanged files were taken over without reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SnapshotId>,
    /// The root tree.
    pub tree: BlobId,
    /// What was backed up, absolute paths.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub paths: Vec<String>,
    /// The machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// The user who ran the backup.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The user's number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// The group's number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// The exclude patterns that were given.
    #[serde(
        default,
        deserialize_with = "null_as_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub excludes: Vec<String>,
    /// Words to find it by.
    #[serde(
        default,
        deserialize_with = "null_as_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub tags: Vec<String>,
    /// The snapshot that this one replaces (tags changed, copied, rewritten).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<SnapshotId>,
    /// The program that wrote it, `restic 0.18.0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// Numbers of the backup; absent in snapshots of restic before 0.17.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SnapshotSummary>,
}

/// Numbers of the backup that made a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSummary {
    /// When it began.
    pub backup_start: Time,
    /// When it ended.
    pub backup_end: Time,
    /// Files the parent did not have.
    #[serde(default)]
    pub files_new: u64,
    /// Files that differ from the parent's.
    #[serde(default)]
    pub files_changed: u64,
    /// Files as in the parent.
    #[serde(default)]
    pub files_unmodified: u64,
    /// Directories the parent did not have.
    #[serde(default)]
    pub dirs_new: u64,
    /// Directories that differ from the parent's.
    #[serde(default)]
    pub dirs_changed: u64,
    /// Directories as in the parent.
    #[serde(default)]
    pub dirs_unmodified: u64,
    /// New data blobs.
    #[serde(default)]
    pub data_blobs: u64,
    /// New tree blobs.
    #[serde(default)]
    pub tree_blobs: u64,
    /// Plaintext bytes of new blobs.
    #[serde(default)]
    pub data_added: u64,
    /// The same as stored.
    #[serde(default)]
    pub data_added_packed: u64,
    /// Files looked at.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Their bytes.
    #[serde(default)]
    pub total_bytes_processed: u64,
}

/// A snapshot as restic's `--json` shows it: its fields, then its id in full and in short.
#[derive(Debug, Clone, Serialize)]
pub struct IdentifiedSnapshot<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    id: SnapshotId,
    short_id: String,
}

impl<'a> IdentifiedSnapshot<'a> {
    /// A snapshot with its id.
    pub fn new(id: SnapshotId, snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            id,
            short_id: id.short(),
        }
    }
}

impl Snapshot {
    /// Reads a snapshot file's content.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The content of a snapshot file.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_vec(self)
    }

    /// Loads one snapshot.
    pub async fn load(repository: &Repository, id: &SnapshotId) -> Result<Self, LoadError> {
        let json = repository.load_unpacked(FileKind::Snapshot, &id.0).await?;
        Self::from_json(&json).map_err(|error| LoadError::Damaged {
            object: format!("snapshot {id}"),
            reason: error.to_string(),
        })
    }

    /// Stores the snapshot. Everything it names must be stored before, packs first, then index files.
    pub async fn save(&self, repository: &Repository) -> Result<SnapshotId, SaveError> {
        repository
            .save_unpacked(FileKind::Snapshot, &self.to_json())
            .await
            .map(SnapshotId)
    }

    /// Whether the snapshot has all of these tags; an empty tag is had by a snapshot without any.
    pub fn has_tags(&self, tags: &[String]) -> bool {
        for tag in tags {
            if tag.is_empty() && self.tags.is_empty() {
                return true;
            }
            if !self.tags.contains(tag) {
                return false;
            }
        }
        true
    }
}

/// All snapshots, oldest first (equal moments by id). One that cannot be read is an error that names it: leaving
/// it out would make its data look unused.
pub async fn load_all(repository: &Repository) -> Result<Vec<(SnapshotId, Snapshot)>, LoadError> {
    let ids = list(repository).await?;
    let loads = ids
        .into_iter()
        .map(|id| async move { Ok((id, Snapshot::load(repository, &id).await?)) });
    let mut snapshots: Vec<_> = stream::iter(loads)
        .buffer_unordered(parallel_reads(repository))
        .try_collect()
        .await?;
    sort(&mut snapshots);
    Ok(snapshots)
}

/// All snapshots that can be read, oldest first, and the errors of the others.
pub async fn load_each(
    repository: &Repository,
) -> Result<(Vec<(SnapshotId, Snapshot)>, Vec<(SnapshotId, LoadError)>), LoadError> {
    let ids = list(repository).await?;
    let loads = ids
        .into_iter()
        .map(|id| async move { (id, Snapshot::load(repository, &id).await) });
    let mut results = stream::iter(loads).buffer_unordered(parallel_reads(repository));
    let (mut snapshots, mut failures) = (Vec::new(), Vec::new());
    while let Some((id, result)) = results.next().await {
        match result {
            Ok(snapshot) => snapshots.push((id, snapshot)),
            Err(error) => failures.push((id, error)),
        }
    }
    sort(&mut snapshots);
    failures.sort_by_key(|(id, _)| *id);
    Ok((snapshots, failures))
}

/// The ids of all snapshots, in no order.
async fn list(repository: &Repository) -> Result<Vec<SnapshotId>, LoadError> {
    let files = repository
        .list(FileKind::Snapshot)
        .await
        .map_err(|source| LoadError::Storage {
            object: "the list of snapshots".to_owned(),
            source,
        })?;
    Ok(files
        .into_iter()
        .map(|(id, _): (Id, u64)| SnapshotId(id))
        .collect())
}

fn parallel_reads(repository: &Repository) -> usize {
    repository.backend().connections().max(1)
}

fn sort(snapshots: &mut [(SnapshotId, Snapshot)]) {
    snapshots.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Go writes a list that was never filled as `null`.
fn null_as_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
