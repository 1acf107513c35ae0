//! Where blobs go: into the repository, or nowhere while they are counted.

use hashbrown::HashSet;
use parking_lot::Mutex;
use repository::compression::compress;
use repository::id::Id;
use repository::{
    BlobHandle, BlobId, BlobKind, BlobWriter, IndexedRepository, SaveError, SavedBlob,
    WriterSummary,
};

use crate::save::BackupOptions;

/// Takes blobs from many threads.
#[derive(Debug)]
pub(crate) enum Store {
    /// A backup.
    Write(BlobWriter),
    /// A dry run.
    Count(Box<Counter>),
}

/// Does all the work of a writer but the writing.
#[derive(Debug)]
pub(crate) struct Counter {
    repository: IndexedRepository,
    known: Mutex<HashSet<BlobHandle>>,
    summary: Mutex<WriterSummary>,
}

impl Store {
    pub(crate) fn new(repository: &IndexedRepository, options: &BackupOptions) -> Self {
        if options.dry_run {
            let (known, summary) = (Mutex::default(), Mutex::default());
            return Self::Count(Box::new(Counter {
                repository: repository.clone(),
                known,
                summary,
            }));
        }
        Self::Write(match &options.lock {
            Some(lock) => repository.writer_under(lock.clone()),
            None => repository.writer(),
        })
    }

    pub(crate) fn save(&self, kind: BlobKind, data: &[u8]) -> Result<SavedBlob, SaveError> {
        match self {
            Self::Write(writer) => writer.save(kind, data),
            Self::Count(counter) => Ok(counter.count(kind, data)),
        }
    }

    pub(crate) fn writer(&self) -> Option<BlobWriter> {
        match self {
            Self::Write(writer) => Some(writer.clone()),
            Self::Count(_) => None,
        }
    }

    pub(crate) fn summary(&self) -> WriterSummary {
        match self {
            Self::Write(writer) => writer.summary(),
            Self::Count(counter) => *counter.summary.lock(),
        }
    }
}

impl Counter {
    fn count(&self, kind: BlobKind, data: &[u8]) -> SavedBlob {
        let id = BlobId(Id::of(data));
        let handle = BlobHandle { kind, id };
        let plaintext_bytes = data.len() as u64;
        if self.repository.index().contains(&handle) || !self.known.lock().insert(handle) {
            return SavedBlob {
                id,
                is_new: false,
                plaintext_bytes,
                packed_bytes: 0,
            };
        }
        let compression = self.repository.options().compression;
        let level = if kind == BlobKind::Tree {
            compression.for_metadata()
        } else {
            compression
        };
        let has_compression = self.repository.config().has_compression();
        let compressed = has_compression.then(|| compress(level, data)).flatten();
        let stored_bytes = compressed.map_or(plaintext_bytes, |data| data.len() as u64);
        let packed_bytes = stored_bytes + repository::crypto::OVERHEAD as u64;
        let summary = &mut *self.summary.lock();
        let (blobs, bytes, packed) = match kind {
            BlobKind::Data => (
                &mut summary.data_blobs,
                &mut summary.data_bytes,
                &mut summary.data_packed_bytes,
            ),
            BlobKind::Tree => (
                &mut summary.tree_blobs,
                &mut summary.tree_bytes,
                &mut summary.tree_packed_bytes,
            ),
        };
        *blobs += 1;
        *bytes += plaintext_bytes;
        *packed += packed_bytes;
        SavedBlob {
            id,
            is_new: true,
            plaintext_bytes,
            packed_bytes,
        }
    }
}
