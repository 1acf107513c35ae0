//! Files that one thread handles: whether they have to be read, and reading them.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use repository::chunker::{Chunker, MIN_CHUNK_BYTES};
use repository::tree::{Node, NodeKind};
use repository::{BlobHandle, BlobId, BlobKind, SaveError};

use crate::metadata::FileStat;
use crate::save::large::{add, fill};
use crate::save::run::Run;

/// The content of the old node, if the file is as it was then and its blobs are all there.
pub(crate) fn unchanged<'n>(
    run: &Run,
    old: &'n Node,
    stat: &FileStat,
    path: &Path,
) -> Option<&'n [BlobId]> {
    let rules = &run.rules;
    let is_same = old.kind == NodeKind::File
        && old.size == stat.size
        && old.mtime == Some(run.metadata.time(stat.mtime))
        && (rules.ignore_ctime || old.ctime == Some(run.metadata.time(stat.ctime)))
        && (rules.ignore_inode || old.inode == stat.inode);
    if !is_same {
        return None;
    }
    let content = old.content.as_deref().unwrap_or_default();
    let bytes = |id: &BlobId| {
        run.repository.blob_bytes(&BlobHandle {
            kind: BlobKind::Data,
            id: *id,
        })
    };
    let present = content
        .iter()
        .try_fold(0_u64, |sum, id| sum.checked_add(bytes(id)?));
    if present == Some(old.size) {
        return Some(content);
    }
    run.note(
        path,
        "parts of it are not in the repository's index; it is stored again",
    );
    None
}

/// Why the content of a file is not stored.
pub(crate) enum ReadFailure {
    Read(io::Error),
    Store(SaveError),
    /// The run has ended.
    Stopped,
}

/// The blobs of a file that was read.
#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) blobs: Vec<BlobId>,
    pub(crate) bytes: u64,
    pub(crate) added: (u64, u64),
}

/// Reads one file after the other; keeps its buffers.
pub(crate) struct FileReader {
    chunker: Chunker,
    start: Vec<u8>,
    chunk: Vec<u8>,
}

impl FileReader {
    pub(crate) fn new(run: &Run) -> Self {
        Self {
            chunker: Chunker::new(run.tables.clone()),
            start: Vec::new(),
            chunk: Vec::new(),
        }
    }

    /// A buffer for a chunk, free between files.
    pub(crate) fn scratch(&mut self) -> &mut Vec<u8> {
        &mut self.chunk
    }

    /// Stores the content of a file up to its end, wherever that is by now.
    pub(crate) fn read(
        &mut self,
        run: &Run,
        mut file: &File,
        size: u64,
    ) -> Result<Stored, ReadFailure> {
        // One byte more than expected shows the end without another read.
        let expected =
            usize::try_from(size).map_or(MIN_CHUNK_BYTES, |size| (size + 1).min(MIN_CHUNK_BYTES));
        let mut length = 0;
        for room in [expected, MIN_CHUNK_BYTES] {
            self.start.resize(room.max(self.start.len()), 0);
            length += fill(&mut self.start[length..room], |rest, _| file.read(rest))
                .map_err(ReadFailure::Read)?;
            if length < room {
                break;
            }
        }
        let mut stored = Stored::default();
        if length == 0 {
            return Ok(stored);
        }
        if length < MIN_CHUNK_BYTES {
            stored.store(run, &self.start[..length])?;
            return Ok(stored);
        }
        let mut rest = Cursor::new(&self.start[..length]).chain(file);
        self.chunker.reset();
        while self
            .chunker
            .next_chunk(&mut rest, &mut self.chunk)
            .map_err(ReadFailure::Read)?
            .is_some()
        {
            if run.scheduler.is_stopped() {
                return Err(ReadFailure::Stopped);
            }
            stored.store(run, &self.chunk)?;
        }
        Ok(stored)
    }
}

impl Stored {
    fn store(&mut self, run: &Run, chunk: &[u8]) -> Result<(), ReadFailure> {
        let saved = run
            .store
            .save(BlobKind::Data, chunk)
            .map_err(ReadFailure::Store)?;
        self.blobs.push(saved.id);
        self.bytes += saved.plaintext_bytes;
        add(&mut self.added, &saved);
        run.progress.bytes_done(saved.plaintext_bytes);
        Ok(())
    }
}
