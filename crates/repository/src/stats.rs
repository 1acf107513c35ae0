//! How much snapshots hold, counted in the four ways of restic's `stats`.

mod walk;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use self::walk::{PathNode, visit_trees, walk};
use crate::blob::{BlobHandle, BlobKind};
use crate::id::{BlobId, Id};
use crate::indexed::IndexedRepository;
use crate::repository::LoadError;
use crate::snapshot::Snapshot;
use crate::tree::{Node, NodeKind};

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StatsMode {
    /// The files as a restore of each snapshot would write them.
    #[default]
    RestoreSize,
    /// Files of equal content once.
    FilesByContents,
    /// The blobs of each file, once per path.
    BlobsPerFile,
    /// The blobs in the repository, each once, as stored.
    RawData,
}

/// A word that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown counting mode `{0}`: restore-size, files-by-contents, blobs-per-file or raw-data")]
pub struct ParseStatsModeError(pub String);

impl FromStr for StatsMode {
    type Err = ParseStatsModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "restore-size" => Ok(Self::RestoreSize),
            "files-by-contents" => Ok(Self::FilesByContents),
            "blobs-per-file" => Ok(Self::BlobsPerFile),
            "raw-data" => Ok(Self::RawData),
            _ => Err(ParseStatsModeError(text.to_owned())),
        }
    }
}

impl fmt::Display for StatsMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RestoreSize => "restore-size",
            Self::FilesByContents => "files-by-contents",
            Self::BlobsPerFile => "blobs-per-file",
            Self::RawData => "raw-data",
        })
    }
}

/// What was counted; serialises as restic's `stats --json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Bytes, in the sense of the mode.
    pub total_size: u64,
    /// Bytes the stored blobs would have without compression (raw data, format version 2).
    #[serde(skip_serializing_if = "is_zero")]
    pub total_uncompressed_size: u64,
    /// How many times smaller compressed blobs are than their content.
    #[serde(skip_serializing_if = "is_nothing")]
    pub compression_ratio: f64,
    /// Percent of the content that lies in compressed blobs.
    #[serde(skip_serializing_if = "is_nothing")]
    pub compression_progress: f64,
    /// Percent of the content's bytes that compression saves.
    #[serde(skip_serializing_if = "is_nothing")]
    pub compression_space_saving: f64,
    /// Files, directories and all other nodes.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_file_count: u64,
    /// Blobs.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_blob_count: u64,
    /// Snapshots looked at.
    pub snapshots_count: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_nothing(number: &f64) -> bool {
    *number == 0.0
}

/// Counts what these snapshots hold. `progress` is called with what has been counted after each snapshot.
pub async fn stats(
    repository: &IndexedRepository,
    snapshots: &[Snapshot],
    mode: StatsMode,
    progress: &(dyn Fn(&Stats) + Sync),
) -> Result<Stats, LoadError> {
    let mut counter = Counter {
        repository,
        mode,
        stats: Stats::default(),
        files: HashSet::new(),
        paths: HashMap::new(),
    };
    if mode == StatsMode::RawData {
        counter.count_raw_data(snapshots).await?;
        counter.stats.snapshots_count = snapshots.len() as u64;
        progress(&counter.stats);
        return Ok(counter.stats);
    }
    for snapshot in snapshots {
        let mut links = HashSet::new();
        walk(repository, snapshot.tree, |node| {
            counter.count(node, &mut links)
        })
        .await?;
        counter.stats.snapshots_count += 1;
        progress(&counter.stats);
    }
    Ok(counter.stats)
}

struct Counter<'a> {
    repository: &'a IndexedRepository,
    mode: StatsMode,
    stats: Stats,
    /// Contents seen.
    files: HashSet<Id>,
    /// Blobs seen of each path.
    paths: HashMap<Vec<u8>, HashSet<BlobId>>,
}

impl Counter<'_> {
    fn count(
        &mut self,
        node: &PathNode<'_>,
        links: &mut HashSet<(u64, u64)>,
    ) -> Result<(), LoadError> {
        match self.mode {
            StatsMode::RestoreSize => self.count_restored(node.node, links),
            StatsMode::FilesByContents => {
                if self.files.insert(content_id(node.node)) {
                    self.add_bytes(node.node.size);
                    self.stats.total_file_count += 1;
                }
            }
            StatsMode::BlobsPerFile => {
                if self.files.insert(content_id(node.node)) {
                    self.count_blobs(node)?;
                }
            }
            StatsMode::RawData => {}
        }
        Ok(())
    }

    /// Of several names of one file only the first has a size.
    fn count_restored(&mut self, node: &Node, links: &mut HashSet<(u64, u64)>) {
        self.stats.total_file_count += 1;
        let is_linked = node.links != 1 && node.kind != NodeKind::Dir && node.inode != 0;
        if !is_linked || links.insert((node.inode, node.device_id)) {
            self.add_bytes(node.size);
        }
    }

    fn count_blobs(&mut self, node: &PathNode<'_>) -> Result<(), LoadError> {
        let content = node.node.content.as_deref().unwrap_or_default();
        if content.is_empty() {
            return Ok(());
        }
        let path = node.path();
        if !self.paths.contains_key(&path) {
            self.stats.total_file_count += 1;
        }
        let mut seen = self.paths.remove(&path).unwrap_or_default();
        for id in content {
            if seen.insert(*id) {
                let handle = BlobHandle {
                    kind: BlobKind::Data,
                    id: *id,
                };
                let bytes = self
                    .repository
                    .blob_bytes(&handle)
                    .ok_or_else(|| missing(&handle))?;
                self.add_bytes(bytes);
                self.stats.total_blob_count += 1;
            }
        }
        self.paths.insert(path, seen);
        Ok(())
    }

    async fn count_raw_data(&mut self, snapshots: &[Snapshot]) -> Result<(), LoadError> {
        let mut blobs: HashSet<BlobHandle> = HashSet::new();
        let roots = snapshots.iter().map(|snapshot| snapshot.tree).collect();
        visit_trees(self.repository, roots, |id, tree| {
            blobs.insert(BlobHandle {
                kind: BlobKind::Tree,
                id,
            });
            let contents = tree
                .nodes
                .iter()
                .filter_map(|node| node.content.as_ref())
                .flatten();
            blobs.extend(contents.map(|id| BlobHandle {
                kind: BlobKind::Data,
                id: *id,
            }));
        })
        .await?;
        let is_compressing = self.repository.config().version() >= 2;
        let (mut compressed, mut compressed_content) = (0, 0);
        for handle in &blobs {
            let location = self
                .repository
                .lookup(handle)
                .ok_or_else(|| missing(handle))?;
            let stored = u64::from(location.length);
            self.add_bytes(stored);
            self.stats.total_blob_count += 1;
            if is_compressing {
                let plain = location.plaintext_bytes() + crate::crypto::OVERHEAD as u64;
                self.stats.total_uncompressed_size += plain;
                if location.uncompressed_length.is_some() {
                    compressed += stored;
                    compressed_content += plain;
                }
            }
        }
        self.derive_compression(compressed, compressed_content);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "ratios for people")]
    fn derive_compression(&mut self, compressed: u64, compressed_content: u64) {
        let stats = &mut self.stats;
        if compressed > 0 {
            stats.compression_ratio = compressed_content as f64 / compressed as f64;
        }
        if stats.total_uncompressed_size > 0 {
            let all = stats.total_uncompressed_size as f64;
            stats.compression_progress = compressed_content as f64 / all * 100.0;
            stats.compression_space_saving = (1.0 - stats.total_size as f64 / all) * 100.0;
        }
    }

    /// Sizes in trees are not trusted to add up.
    const fn add_bytes(&mut self, bytes: u64) {
        self.stats.total_size = self.stats.total_size.saturating_add(bytes);
    }
}

/// An id of the content alone; nodes without content share one, as in restic.
fn content_id(node: &Node) -> Id {
    let content = node.content.as_deref().unwrap_or_default();
    Id::of(
        &content
            .iter()
            .flat_map(BlobId::as_bytes)
            .copied()
            .collect::<Vec<_>>(),
    )
}

fn missing(handle: &BlobHandle) -> LoadError {
    LoadError::NotInIndex {
        object: handle.to_string(),
    }
}
