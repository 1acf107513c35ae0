//! A repository whose index is in memory: blobs can be looked up, loaded and written.

use std::ops::Deref;
use std::sync::Arc;

use backend::{BackendError, FileKind, Handle};
use bytes::Bytes;

use crate::blob::{BlobHandle, BlobKind, BlobLocation};
use crate::compression;
use crate::id::{BlobId, Id, PackId};
use crate::index::Index;
use crate::lock::LockWatch;
use crate::repository::{LoadError, Repository, blocking, chain};
use crate::tree::{ParseTreeError, Tree};
use crate::writer::{BlobWriter, Novelty};

/// Blobs from this size on are decoded off the asynchronous threads.
const BLOCKING_BYTES: u32 = 64 << 10;

/// No tree and no data blob is larger; restic's chunks end at 8 MiB. A crafted index must not be able to ask for
/// any amount of memory.
const MAX_TREE_BYTES: u32 = 256 << 20;
const MAX_DATA_BYTES: u32 = 64 << 20;

/// A repository with its index. Cheap to clone; the index is the state of the moment it was read,
/// plus what writers made from it have stored since.
#[derive(Clone, Debug)]
pub struct IndexedRepository {
    repository: Repository,
    index: Arc<Index>,
}

impl Deref for IndexedRepository {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl IndexedRepository {
    pub(crate) fn new(repository: Repository, index: Index) -> Self {
        Self {
            repository,
            index: Arc::new(index),
        }
    }

    /// The repository without its index.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn shared_index(&self) -> Arc<Index> {
        Arc::clone(&self.index)
    }

    /// One place of a blob, if the index names one.
    pub fn lookup(&self, handle: &BlobHandle) -> Option<BlobLocation> {
        self.index.lookup(handle)
    }

    /// Plaintext bytes of a blob, if the index names it.
    pub fn blob_bytes(&self, handle: &BlobHandle) -> Option<u64> {
        self.lookup(handle)
            .map(|location| location.plaintext_bytes())
    }

    /// The plaintext of a blob, verified against its id. When one copy is damaged the other copies are tried.
    pub async fn load_blob(&self, handle: &BlobHandle) -> Result<Vec<u8>, LoadError> {
        let locations = self.index.locations(handle);
        let mut failure = LoadError::NotInIndex {
            object: handle.to_string(),
        };
        // Twice, because a read may go wrong on its way.
        for location in locations.iter().chain(&locations) {
            match self.load_copy(handle, location).await {
                Ok(content) => return Ok(content),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The plaintext of one copy of a blob, verified against its id.
    pub(crate) async fn load_copy(
        &self,
        handle: &BlobHandle,
        location: &BlobLocation,
    ) -> Result<Vec<u8>, LoadError> {
        let loaded = self.load_and_decode(handle, location).await;
        if let (Err(LoadError::Damaged { .. }), Some(cache)) = (&loaded, self.cache()) {
            // It may have been damaged in the cache after it was verified there.
            cache.forget(&pack_handle(&location.pack)).await;
        }
        loaded
    }

    async fn load_and_decode(
        &self,
        handle: &BlobHandle,
        location: &BlobLocation,
    ) -> Result<Vec<u8>, LoadError> {
        check_length(handle, location)?;
        let (pack, offset, length) = (
            &location.pack,
            location.offset.into(),
            location.length.into(),
        );
        let stored = match (handle.kind, self.cache()) {
            (BlobKind::Tree, Some(cache)) => cache
                .read_tree_range(&pack_handle(pack), offset, length)
                .await
                .map_err(|source| unread(pack, source))?,
            _ => self.read_pack(pack, offset, length).await?,
        };
        if location.length < BLOCKING_BYTES {
            return self.decode_blob(handle, location, &stored);
        }
        let (repository, handle, location) = (self.repository.clone(), *handle, *location);
        blocking(move || decode(&repository, &handle, &location, &stored)).await
    }

    /// A tree.
    pub async fn load_tree(&self, id: &BlobId) -> Result<Tree, LoadError> {
        let handle = BlobHandle {
            kind: BlobKind::Tree,
            id: *id,
        };
        let json = self.load_blob(&handle).await?;
        let damaged = |error: ParseTreeError| damaged(&handle, chain(&error));
        if json.len() < BLOCKING_BYTES as usize {
            return Tree::from_json(&json).map_err(damaged);
        }
        blocking(move || Tree::from_json(&json))
            .await
            .map_err(damaged)
    }

    /// A range of a pack as stored, for plans that read many blobs at once.
    pub async fn read_pack(
        &self,
        pack: &PackId,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, LoadError> {
        let backend = self.repository.backend();
        let read = backend.read_range(&pack_handle(pack), offset, length).await;
        read.map_err(|source| unread(pack, source))
    }

    /// The plaintext of a blob from its stored bytes: decrypted, decompressed, verified. CPU-bound.
    pub fn decode_blob(
        &self,
        handle: &BlobHandle,
        location: &BlobLocation,
        stored: &[u8],
    ) -> Result<Vec<u8>, LoadError> {
        decode(&self.repository, handle, location, stored)
    }

    /// A writer for new blobs. One per backup; several may be at work.
    /// Must be called within a tokio runtime; `BlobWriter::save` itself is for plain threads.
    pub fn writer(&self) -> BlobWriter {
        BlobWriter::new(self, Novelty::NotInRepository, None)
    }

    /// As [`Self::writer`], for repositories that others use too: no index file is written unless the lock is held
    /// at that moment, because without it others may have removed the packs that the file would name.
    pub fn writer_under(&self, lock: LockWatch) -> BlobWriter {
        BlobWriter::new(self, Novelty::NotInRepository, Some(lock))
    }
}

fn pack_handle(pack: &PackId) -> Handle {
    Handle::new(FileKind::Pack, pack.to_hex())
}

fn unread(pack: &PackId, source: BackendError) -> LoadError {
    LoadError::Storage {
        object: format!("pack {}", pack.short()),
        source,
    }
}

/// Decrypts, decompresses and verifies one blob.
pub(crate) fn decode(
    repository: &Repository,
    handle: &BlobHandle,
    location: &BlobLocation,
    stored: &[u8],
) -> Result<Vec<u8>, LoadError> {
    check_length(handle, location)?;
    if stored.len() as u64 != u64::from(location.length) {
        let reason = format!(
            "{} bytes were read instead of {}",
            stored.len(),
            location.length
        );
        return Err(damaged_in(handle, location, &reason));
    }
    let mut content = repository
        .key()
        .open(stored)
        .map_err(|error| damaged_in(handle, location, &chain(&error)))?;
    if let Some(length) = location.uncompressed_length {
        content = compression::decompress(&content, length.get() as usize)
            .map_err(|error| damaged_in(handle, location, &chain(&error)))?;
    }
    if Id::of(&content) != handle.id.0 {
        return Err(damaged_in(
            handle,
            location,
            "its content does not fit its id",
        ));
    }
    Ok(content)
}

/// Refuses lengths that no blob has, before memory is set aside for them.
fn check_length(handle: &BlobHandle, location: &BlobLocation) -> Result<(), LoadError> {
    let limit = match handle.kind {
        BlobKind::Tree => MAX_TREE_BYTES,
        BlobKind::Data => MAX_DATA_BYTES,
    };
    let bytes = location.plaintext_bytes().max(location.length.into());
    if bytes > u64::from(limit) {
        let reason =
            format!("the index gives it {bytes} bytes, which is beyond the limit of {limit}");
        return Err(damaged_in(handle, location, &reason));
    }
    Ok(())
}

fn damaged_in(handle: &BlobHandle, location: &BlobLocation, reason: &str) -> LoadError {
    let object = format!("{handle} in pack {}", location.pack.short());
    LoadError::Damaged {
        object,
        reason: reason.to_owned(),
    }
}

fn damaged(handle: &BlobHandle, reason: String) -> LoadError {
    LoadError::Damaged {
        object: handle.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn lengths_that_no_blob_has_are_refused() {
        let check = |kind, length, uncompressed| {
            let id = BlobId(Id::of(b"blob"));
            let location = BlobLocation {
                pack: PackId(Id::of(b"pack")),
                offset: 0,
                length,
                uncompressed_length: NonZeroU32::new(uncompressed),
            };
            check_length(&BlobHandle { kind, id }, &location).is_ok()
        };
        assert!(check(BlobKind::Data, 8 << 20, 0));
        assert!(check(BlobKind::Data, 100, MAX_DATA_BYTES));
        assert!(!check(BlobKind::Data, 100, MAX_DATA_BYTES + 1));
        assert!(!check(BlobKind::Data, u32::MAX, 0));
        assert!(check(BlobKind::Tree, 100, MAX_TREE_BYTES));
        assert!(!check(BlobKind::Tree, 100, u32::MAX));
    }
}
