//! Decisions of a restore that are ready to be carried out, in portions of bounded size.

use std::ffi::CString;
use std::sync::Arc;

use repository::tree::NodeKind;

use crate::restore::file::{FileJob, LinkSource};
use crate::restore::metadata::Metadata;
use crate::restore::target::Directory;

/// Entries after which a batch is carried out.
const BATCH_ENTRIES: usize = 65_536;
/// Blobs after which a batch is carried out.
const BATCH_BLOBS: usize = 262_144;

/// Decisions that are ready to be carried out.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) files: Vec<FileJob>,
    /// Files of `files` to compare with what is on disk; the flag says that size and time are trusted.
    pub(super) compare: Vec<(usize, bool)>,
    pub(super) leaves: Vec<LeafJob>,
    pub(super) directories: Vec<DirectoryJob>,
    pub(super) blobs: usize,
}

impl Batch {
    /// Whether it is time to carry it out.
    pub(super) fn is_full(&self) -> bool {
        self.files.len() + self.leaves.len() + self.directories.len() >= BATCH_ENTRIES
            || self.blobs >= BATCH_BLOBS
    }
}

/// Something that is made after the files: all but files and directories, and further names of files.
#[derive(Debug)]
pub(super) struct LeafJob {
    pub(super) directory: Arc<Directory>,
    pub(super) name: CString,
    pub(super) what: Leaf,
    pub(super) is_there: bool,
}

/// What a [`LeafJob`] makes.
#[derive(Debug)]
pub(super) enum Leaf {
    Link(Arc<LinkSource>),
    Symlink {
        target: Vec<u8>,
        metadata: Metadata,
    },
    Special {
        kind: NodeKind,
        device: u64,
        metadata: Metadata,
    },
}

/// A directory whose entries are through.
#[derive(Debug)]
pub(super) struct DirectoryJob {
    pub(super) directory: Arc<Directory>,
    /// None for the target itself.
    pub(super) metadata: Option<Metadata>,
    /// Entries to delete.
    pub(super) unexpected: Vec<CString>,
}
