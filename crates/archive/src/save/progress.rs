//! How a backup tells what it is doing.

use std::path::Path;
use std::time::Duration;

use repository::tree::NodeKind;

use crate::save::summary::{Change, SourceError};

/// A file, directory or other entry that is done.
#[derive(Debug, Clone, Copy)]
pub struct ItemDone<'a> {
    /// Its path in the snapshot.
    pub path: &'a Path,
    /// What it is.
    pub kind: NodeKind,
    /// How it compares with the parent snapshot.
    pub change: Change,
    /// Size of a file.
    pub bytes: u64,
    /// Plaintext bytes of its new blobs.
    pub added_bytes: u64,
    /// Bytes these blobs take in packs.
    pub added_packed_bytes: u64,
    /// From opening it to storing its last blob.
    pub duration: Duration,
}

/// Hears of a backup from many threads at once; every method does nothing by default and must return quickly.
pub trait BackupProgress: Send + Sync {
    /// Whether the files are to be counted ahead, which costs a second walk.
    fn wants_scan(&self) -> bool {
        false
    }

    /// What was counted so far.
    fn scanned(&self, files: u64, bytes: u64, is_done: bool) {
        let _ = (files, bytes, is_done);
    }

    /// A file is about to be read; path in the snapshot.
    fn file_started(&self, path: &Path) {
        let _ = path;
    }

    /// Something is done.
    fn item_done(&self, item: &ItemDone<'_>) {
        let _ = item;
    }

    /// So many bytes of files more are stored or known to be unchanged.
    fn bytes_done(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Trouble with one file.
    fn error(&self, error: &SourceError) {
        let _ = error;
    }

    /// Something worth knowing about one file.
    fn note(&self, note: &SourceError) {
        let _ = note;
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl BackupProgress for NoProgress {}
