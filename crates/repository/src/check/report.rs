//! What a check found.

use std::fmt;

use serde::Serialize;

use crate::check::{CheckAdvance, CheckProgress};
use crate::id::{BlobId, IndexId, KeyId, PackId, SnapshotId};

/// More errors than this are only counted: a lost index would otherwise fill the memory.
const MAX_ERRORS: usize = 10_000;

/// Notes about single files beyond this are only counted.
const MAX_NOTES: u64 = 20;

/// The findings of a check.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// What is wrong, at most ten thousand of them in the order they were found.
    pub errors: Vec<CheckError>,
    /// How many errors there are.
    pub error_count: u64,
    /// What is not as it should be but harms nothing, in sentences.
    pub notes: Vec<String>,
    /// What to do about the errors, most urgent first, each once.
    pub remedies: Vec<Remedy>,
    /// Packs in storage of which a part is damaged, by id.
    pub broken_packs: Vec<PackId>,
    /// Whether the index has to be built anew from the packs.
    pub suggests_repair_index: bool,
    /// Whether prune would remove leftovers.
    pub suggests_prune: bool,
    /// What was looked at.
    pub counts: CheckCounts,
}

/// What a check looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckCounts {
    /// Key files.
    pub keys: u64,
    /// Index files.
    pub index_files: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Trees read.
    pub trees: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Packs read.
    pub packs_read: u64,
    /// Bytes of packs read.
    pub bytes_read: u64,
}

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DamagedObject {
    /// A key file.
    Key(KeyId),
    /// An index file.
    Index(IndexId),
    /// A snapshot file.
    Snapshot(SnapshotId),
    /// A pack, or what the index says of it.
    Pack(PackId),
    /// A tree.
    Tree(BlobId),
}

impl fmt::Display for DamagedObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(formatter, "key {id}"),
            Self::Index(id) => write!(formatter, "index {id}"),
            Self::Snapshot(id) => write!(formatter, "snapshot {id}"),
            Self::Pack(id) => write!(formatter, "pack {id}"),
            Self::Tree(id) => write!(formatter, "tree {}", id.short()),
        }
    }
}

/// What to do about an error. Until Stash repairs by itself, restic does: the repository is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Remedy {
    /// The storage refused or failed, which says nothing about the data.
    Storage,
    /// The index has to be built anew.
    Index,
    /// A pack is not there.
    MissingPack,
    /// A pack is damaged.
    DamagedPack,
    /// Trees or blobs that snapshots use are not in the index.
    MissingData,
    /// A tree holds what must not be there.
    Tree,
    /// A snapshot file is damaged.
    Snapshot,
    /// A key file is damaged.
    Key,
}

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Storage => "Parts of the repository could not be read: see that the storage answers and lets them be read, then check again",
            Self::Index => "The index does not fit the packs, do not prune: `restic repair index` builds it anew from the packs that are there, then check again",
            Self::MissingPack => "Packs are gone: find out what removes files from the storage. Restore what is readable, take them out of the index with `restic repair index`, then run the backup again with `--force`: what the source still has is stored anew and heals older snapshots",
            Self::DamagedPack => "Packs are damaged: look for the cause (memory, disk, controller) first. Restore what is readable, save the good parts with `restic repair packs` and their ids, then run the backup again with `--force`: what the source still has is stored anew and heals older snapshots",
            Self::MissingData => "Snapshots miss data, do not prune: restore what is readable, then run the backup again with `--force`: what the source still has is stored anew and heals older snapshots",
            Self::Tree => "Trees hold what no sound program writes: run the backup again with `--force`, then forget the snapshots named",
            Self::Snapshot => "Damaged snapshot files cannot be repaired: put them back from a copy of the repository or remove them; nothing is pruned before",
            Self::Key => "Passwords of damaged key files do not open the repository: remove these files from the folder `keys` and add the passwords anew with `stash key add`",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckError {
    /// What is damaged.
    pub object: DamagedObject,
    /// The pack that holds it, for a tree that the index names.
    pub pack: Option<PackId>,
    /// A snapshot that is affected, where one is known. There may be more of them.
    pub snapshot: Option<SnapshotId>,
    /// The path in that snapshot.
    pub path: Option<String>,
    /// What is wrong, a fragment.
    pub problem: String,
    /// What to do about it.
    pub remedy: Remedy,
}

impl CheckError {
    pub(super) fn new(object: DamagedObject, problem: impl Into<String>, remedy: Remedy) -> Self {
        Self {
            object,
            pack: None,
            snapshot: None,
            path: None,
            problem: problem.into(),
            remedy,
        }
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.object)?;
        if let Some(pack) = self.pack {
            write!(formatter, " in pack {}", pack.short())?;
        }
        write!(formatter, ": {}", self.problem)?;
        match (&self.path, self.snapshot) {
            (Some(path), Some(snapshot)) => {
                write!(formatter, " (`{path}` in snapshot {})", snapshot.short())
            }
            _ => Ok(()),
        }
    }
}

/// The line that ends a check in JSON, as restic 0.19 writes it.
#[derive(Debug, Clone, Serialize)]
pub struct CheckSummary<'a> {
    message_type: &'static str,
    num_errors: u64,
    broken_packs: Option<&'a [PackId]>,
    suggest_repair_index: bool,
    suggest_prune: bool,
}

impl CheckReport {
    /// Whether anything is wrong.
    pub fn has_errors(&self) -> bool {
        self.error_count > 0
    }

    /// The summary for JSON.
    pub fn summary(&self) -> CheckSummary<'_> {
        CheckSummary {
            message_type: "summary",
            num_errors: self.error_count,
            broken_packs: Some(self.broken_packs.as_slice()).filter(|packs| !packs.is_empty()),
            suggest_repair_index: self.suggests_repair_index,
            suggest_prune: self.suggests_prune,
        }
    }
}

/// Collects the report and tells errors as they are found.
pub(super) struct Findings<'a> {
    pub(super) report: CheckReport,
    progress: &'a dyn CheckProgress,
    single_notes: u64,
}

impl<'a> Findings<'a> {
    pub(super) fn new(progress: &'a dyn CheckProgress) -> Self {
        Self {
            report: CheckReport::default(),
            progress,
            single_notes: 0,
        }
    }

    pub(super) fn error(&mut self, error: CheckError) {
        self.progress.found(&error);
        let report = &mut self.report;
        report.error_count += 1;
        report.suggests_repair_index |= error.remedy == Remedy::Index;
        if !report.remedies.contains(&error.remedy) {
            report.remedies.push(error.remedy);
        }
        if report.errors.len() < MAX_ERRORS {
            report.errors.push(error);
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.report.notes.push(note.into());
    }

    /// A note of which there may be one for every file.
    pub(super) fn single_note(&mut self, note: impl FnOnce() -> String) {
        self.single_notes += 1;
        if self.single_notes <= MAX_NOTES {
            self.note(note());
        }
    }

    pub(super) fn advance(&self, advance: CheckAdvance) {
        self.progress.advanced(advance);
    }

    pub(super) fn finish(mut self) -> CheckReport {
        if let more @ 1.. = self.single_notes.saturating_sub(MAX_NOTES) {
            self.note(format!("{more} more files are of this kind"));
        }
        let report = &mut self.report;
        report.remedies.sort_unstable();
        report.broken_packs.sort_unstable();
        report.broken_packs.dedup();
        // An index that lacks packs makes them look left over.
        let is_index_doubtful = report
            .remedies
            .iter()
            .any(|remedy| matches!(remedy, Remedy::Index | Remedy::MissingData));
        report.suggests_prune &= !is_index_doubtful;
        self.report
    }
}
