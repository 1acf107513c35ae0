//! Storing blobs: hash, look up, compress, encrypt, pack, upload.
//!
//! `save` does the CPU work of one blob on the caller's thread, so that the caller decides how many cores
//! work. Full packs go to parallel uploads through a bounded queue; index files follow their packs.

mod counters;
mod failure;
mod known;
mod packer;
mod pool;
mod upload;

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::blob::{BlobHandle, BlobKind};
use crate::id::{BlobId, Id};
use crate::index::Index;
use crate::indexed::IndexedRepository;
use crate::lock::LockWatch;
use crate::repository::{SaveError, blocking};

use counters::Counters;
use failure::Failure;
use known::Known;
use packer::Packer;
use upload::Uploader;

/// More uploads at once would hold more packs in memory than the budget has room for.
const MAX_UPLOADS: usize = 4;

/// What became of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedBlob {
    /// Its id.
    pub id: BlobId,
    /// Whether it was new to the repository.
    pub is_new: bool,
    /// Bytes of the plaintext.
    pub plaintext_bytes: u64,
    /// Bytes added to a pack; 0 when it was known.
    pub packed_bytes: u64,
}

/// What a writer has stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterSummary {
    /// New data blobs.
    pub data_blobs: u64,
    /// Plaintext bytes of new data blobs.
    pub data_bytes: u64,
    /// Packed bytes of new data blobs.
    pub data_packed_bytes: u64,
    /// New tree blobs.
    pub tree_blobs: u64,
    /// Plaintext bytes of new tree blobs.
    pub tree_bytes: u64,
    /// Packed bytes of new tree blobs.
    pub tree_packed_bytes: u64,
}

/// Which blobs a writer stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// Those that the repository does not have.
    NotInRepository,
    /// All, each once: prune stores again what lies in packs that will be removed.
    NotInWriter {
        /// Whether data is kept compressed even where that does not make it smaller, so that it counts as
        /// compressed from now on.
        must_compress: bool,
    },
}

/// Stores blobs. Cheap to clone; all clones feed the same packs.
///
/// When the last clone goes without [`BlobWriter::finish`], uploads stop; packs that were stored by then are
/// named by no index file beyond those already written, and the next prune removes them.
#[derive(Clone, Debug)]
pub struct BlobWriter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    index: Arc<Index>,
    novelty: Novelty,
    known: Arc<Known>,
    packer: Packer,
    counters: Counters,
    failure: Arc<Failure>,
    uploads: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl BlobWriter {
    pub(crate) fn new(
        repository: &IndexedRepository,
        novelty: Novelty,
        lock: Option<LockWatch>,
    ) -> Self {
        let index = repository.shared_index();
        let known = Arc::new(Known::default());
        let failure = Arc::new(Failure::default());
        let uploader = Uploader {
            repository: repository.repository().clone(),
            index: Arc::clone(&index),
            known: Arc::clone(&known),
            failure: Arc::clone(&failure),
            lock,
            forgets: novelty == Novelty::NotInRepository,
        };
        let parallel = repository.backend().connections().clamp(2, MAX_UPLOADS);
        let (queue, packs) = mpsc::unbounded_channel();
        let uploads = tokio::spawn(uploader.run(packs, parallel));
        let packer = Packer::new(repository.repository(), parallel, queue);
        let uploads = Mutex::new(Some(AbortOnDropHandle::new(uploads)));
        let counters = Counters::default();
        Self {
            shared: Arc::new(Shared {
                index,
                novelty,
                known,
                packer,
                counters,
                failure,
                uploads,
            }),
        }
    }

    /// Stores a blob unless the repository or this writer already has it. Blocks while the upload queue is full.
    /// To be called from plain threads, not from within an asynchronous task.
    /// After any upload has failed every further call returns that failure.
    pub fn save(&self, kind: BlobKind, data: &[u8]) -> Result<SavedBlob, SaveError> {
        self.save_as(
            BlobHandle {
                kind,
                id: BlobId(Id::of(data)),
            },
            data,
        )
    }

    /// As [`Self::save`] for content whose id was verified before.
    pub(crate) fn save_as(&self, handle: BlobHandle, data: &[u8]) -> Result<SavedBlob, SaveError> {
        let shared = &*self.shared;
        shared.failure.check()?;
        let plaintext_bytes = data.len() as u64;
        if !shared.claim(&handle) {
            return Ok(SavedBlob {
                id: handle.id,
                is_new: false,
                plaintext_bytes,
                packed_bytes: 0,
            });
        }
        let must_compress = shared.novelty
            == Novelty::NotInWriter {
                must_compress: true,
            };
        // A failure here leaves a claimed blob unstored, so nothing may be saved after it.
        let packed_bytes = shared
            .packer
            .store(handle, data, must_compress)
            .map_err(|error| shared.failure.set(error))?;
        shared
            .counters
            .add(handle.kind, plaintext_bytes, packed_bytes);
        Ok(SavedBlob {
            id: handle.id,
            is_new: true,
            plaintext_bytes,
            packed_bytes,
        })
    }

    /// Whether the blob is in the repository or has been saved by this writer.
    pub fn has(&self, handle: &BlobHandle) -> bool {
        self.shared.known.contains(handle) || self.shared.index.contains(handle)
    }

    /// What has been stored so far, for progress.
    pub fn summary(&self) -> WriterSummary {
        self.shared.counters.summary()
    }

    /// Uploads the last packs, then the last index files. Only after this may a snapshot name what was saved.
    ///
    /// Clones that go on saving get an error, and this may then fail with the same: a blob that was refused would be
    /// missing. When this succeeds, all that any clone has saved is stored.
    /// A writer under a lock fails when the lock is lost, and then writes no index file any more.
    pub async fn finish(self) -> Result<WriterSummary, SaveError> {
        let shared = Arc::clone(&self.shared);
        let flushed = blocking(move || shared.packer.finish()).await;
        if let Err(error) = flushed {
            return Err(self.shared.failure.set(error));
        }
        // Stays in its place while it is waited for, so that `abandon` finds it when this future was dropped.
        let mut uploads = self.shared.uploads.lock().await;
        let ended = match &mut *uploads {
            Some(uploads) => uploads.await,
            None => Ok(()),
        };
        *uploads = None;
        if let Err(error) = ended {
            return Err(self.shared.failure.set(SaveError {
                object: "packs".to_owned(),
                source: error.into(),
            }));
        }
        self.shared.failure.check()?;
        Ok(self.summary())
    }

    /// Ends all uploads, also those of a [`Self::finish`] that was dropped, and waits for their end. What no index
    /// file names by then is left to the next prune. Clones that go on saving get an error.
    pub async fn abandon(self) {
        let mut uploads = self.shared.uploads.lock().await;
        if let Some(uploads) = uploads.take() {
            uploads.abort();
            if let Err(error) = uploads.await
                && !error.is_cancelled()
            {
                tracing::warn!(%error, "the uploads did not end well");
            }
        }
    }
}

impl Shared {
    /// Whether the caller is the one to store this blob.
    fn claim(&self, handle: &BlobHandle) -> bool {
        match self.novelty {
            Novelty::NotInRepository => !self.index.contains(handle) && self.known.claim(handle),
            Novelty::NotInWriter { .. } => self.known.claim(handle),
        }
    }
}
