//! What a backup did.

use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use repository::snapshot::SnapshotSummary;
use repository::time::Time;
use repository::tree::NodeKind;
use repository::{SnapshotId, WriterSummary};

/// Errors beyond these are only counted.
const LISTED: usize = 1000;

/// In which part of a backup something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// Counting files ahead.
    Scan,
    /// Reading and storing them.
    Archival,
}

impl During {
    /// restic's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Archival => "archival",
        }
    }
}

/// Trouble with one file of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// The file.
    pub path: PathBuf,
    /// When.
    pub during: During,
    /// What, with its causes.
    pub message: String,
}

/// How a file compares with the parent snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The parent has no file of this name.
    New,
    /// The parent has another content or metadata.
    Changed,
    /// All is as in the parent.
    Unmodified,
}

impl Change {
    /// restic's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "modified",
            Self::Unmodified => "unchanged",
        }
    }
}

/// How many things compare how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Not in the parent.
    pub new: u64,
    /// Different from the parent.
    pub changed: u64,
    /// As in the parent.
    pub unmodified: u64,
}

impl ChangeCounts {
    fn add(&mut self, change: Change) {
        match change {
            Change::New => self.new += 1,
            Change::Changed => self.changed += 1,
            Change::Unmodified => self.unmodified += 1,
        }
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.new + self.changed + self.unmodified
    }
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    /// When it began.
    pub backup_start: Time,
    /// When the last tree was stored.
    pub backup_end: Time,
    /// The whole run.
    pub duration: Duration,
    /// Regular files.
    pub files: ChangeCounts,
    /// Directories.
    pub dirs: ChangeCounts,
    /// What was added to the repository; in a dry run what would be.
    pub stored: WriterSummary,
    /// Bytes of all regular files of the snapshot.
    pub total_bytes_processed: u64,
    /// The snapshot whose unchanged files were not read again.
    pub parent: Option<SnapshotId>,
    /// The new snapshot; absent in a dry run and where nothing had changed and that was to be skipped.
    pub snapshot_id: Option<SnapshotId>,
    /// What could not be read and is missing or incomplete in the snapshot; the first thousand.
    pub errors: Vec<SourceError>,
    /// How many there were in all.
    pub errors_count: u64,
    /// What is worth knowing but makes no snapshot incomplete: files that were deleted before or changed while
    /// they were read; the first thousand.
    pub notes: Vec<SourceError>,
    /// How many there were in all.
    pub notes_count: u64,
}

impl BackupSummary {
    /// Whether something of the source is missing in the snapshot.
    pub const fn is_incomplete(&self) -> bool {
        self.errors_count > 0
    }

    /// Plaintext bytes of new blobs.
    pub const fn data_added(&self) -> u64 {
        self.stored.data_bytes + self.stored.tree_bytes
    }

    /// Bytes that new blobs take in packs.
    pub const fn data_added_packed(&self) -> u64 {
        self.stored.data_packed_bytes + self.stored.tree_packed_bytes
    }

    /// The part that is recorded in the snapshot.
    pub(crate) fn for_snapshot(&self) -> SnapshotSummary {
        SnapshotSummary {
            backup_start: self.backup_start,
            backup_end: self.backup_end,
            files_new: self.files.new,
            files_changed: self.files.changed,
            files_unmodified: self.files.unmodified,
            dirs_new: self.dirs.new,
            dirs_changed: self.dirs.changed,
            dirs_unmodified: self.dirs.unmodified,
            data_blobs: self.stored.data_blobs,
            tree_blobs: self.stored.tree_blobs,
            data_added: self.data_added(),
            data_added_packed: self.data_added_packed(),
            total_files_processed: self.files.total(),
            total_bytes_processed: self.total_bytes_processed,
        }
    }
}

/// What is counted while many threads work.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) files: ChangeCounts,
    pub(crate) dirs: ChangeCounts,
    pub(crate) bytes: u64,
    pub(crate) errors: Vec<SourceError>,
    pub(crate) errors_count: u64,
    pub(crate) notes: Vec<SourceError>,
    pub(crate) notes_count: u64,
}

impl Tally {
    pub(crate) fn add(&self, kind: NodeKind, change: Change, bytes: u64) {
        let mut counts = self.0.lock();
        counts.bytes += bytes;
        match kind {
            NodeKind::File => counts.files.add(change),
            NodeKind::Dir => counts.dirs.add(change),
            _ => {}
        }
    }

    pub(crate) fn add_error(&self, error: SourceError) {
        let counts = &mut *self.0.lock();
        push(&mut counts.errors, &mut counts.errors_count, error);
    }

    pub(crate) fn add_note(&self, note: SourceError) {
        let counts = &mut *self.0.lock();
        push(&mut counts.notes, &mut counts.notes_count, note);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}

fn push(list: &mut Vec<SourceError>, count: &mut u64, error: SourceError) {
    *count += 1;
    if list.len() < LISTED {
        list.push(error);
    }
}
