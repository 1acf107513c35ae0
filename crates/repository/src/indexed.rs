//! A repository whose index is in memory: blobs can be looked up, loaded and written.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::blob::{BlobHandle, BlobLocation};
use crate::id::{BlobId, PackId};
use crate::repository::{LoadError, Repository};
use crate::tree::Tree;
use crate::writer::BlobWriter;

/// A repository with its index. Cheap to clone; the index is the state of the moment it was read,
/// plus what writers made from it have stored since.
#[derive(Clone, Debug)]
pub struct IndexedRepository {
    repository: Repository,
    index: Arc<crate::index::Index>,
}

impl Deref for IndexedRepository {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl IndexedRepository {
    /// The index.
    pub fn index(&self) -> &crate::index::Index {
        &self.index
    }

    /// One place of a blob, if the index names one.
    pub fn lookup(&self, handle: &BlobHandle) -> Option<BlobLocation> {
        let _ = handle;
        todo!()
    }

    /// Plaintext bytes of a blob, if the index names it.
    pub fn blob_bytes(&self, handle: &BlobHandle) -> Option<u64> {
        self.lookup(handle).map(|location| location.plaintext_bytes())
    }

    /// The plaintext of a blob, verified against its id. When one copy is damaged the other copies are tried.
    pub async fn load_blob(&self, handle: &BlobHandle) -> Result<Vec<u8>, LoadError> {
        let _ = handle;
        todo!()
    }

    /// A tree.
    pub async fn load_tree(&self, id: &BlobId) -> Result<Tree, LoadError> {
        let _ = id;
        todo!()
    }

    /// A range of a pack as stored, for plans that read many blobs at once.
    pub async fn read_pack(&self, pack: &PackId, offset: u64, length: u64) -> Result<Bytes, LoadError> {
        let _ = (pack, offset, length);
        todo!()
    }

    /// The plaintext of a blob from its stored bytes: decrypted, decompressed, verified. CPU-bound.
    pub fn decode_blob(
        &self,
        handle: &BlobHandle,
        location: &BlobLocation,
        stored: &[u8],
    ) -> Result<Vec<u8>, LoadError> {
        let _ = (handle, location, stored);
        todo!()
    }

    /// A writer for new blobs. One per backup; several may be at work.
    /// Must be called within a tokio runtime; `BlobWriter::save` itself is for plain threads.
    pub fn writer(&self) -> BlobWriter {
        todo!()
    }
}
