//! Storing blobs: hash, look up, compress, encrypt, pack, upload.
//!
//! `save` does the CPU work of one blob on the caller's thread, so that the caller decides how many cores
//! work. Full packs go to parallel uploads through a bounded queue; index files follow their packs.

use crate::blob::{BlobHandle, BlobKind};
use crate::id::BlobId;
use crate::repository::SaveError;

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

/// Stores blobs. Cheap to clone; all clones feed the same packs.
#[derive(Clone, Debug)]
pub struct BlobWriter {}

impl BlobWriter {
    /// Stores a blob unless the repository or this writer already has it. Blocks while the upload queue is full.
    /// To be called from plain threads, not from within an asynchronous task.
    /// After any upload has failed every further call returns that failure.
    pub fn save(&self, kind: BlobKind, data: &[u8]) -> Result<SavedBlob, SaveError> {
        let _ = (kind, data);
        todo!()
    }

    /// Whether the blob is in the repository or has been saved by this writer.
    pub fn has(&self, handle: &BlobHandle) -> bool {
        let _ = handle;
        todo!()
    }

    /// What has been stored so far, for progress.
    pub fn summary(&self) -> WriterSummary {
        todo!()
    }

    /// Uploads the last packs, then the last index files. Only after this may a snapshot name what was saved.
    pub async fn finish(self) -> Result<WriterSummary, SaveError> {
        todo!()
    }
}
