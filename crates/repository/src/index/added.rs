//! What writers have stored since the index was loaded: found by all threads at once.

use std::hash::Hasher;

use hashbrown::HashTable;
use parking_lot::RwLock;

use crate::blob::{BlobHandle, BlobKind, BlobLocation};
use crate::id::PackId;
use crate::index::IndexedPack;
use crate::index::table::Entry;

const SHARDS: usize = 32;

#[derive(Debug)]
pub(super) struct Added {
    packs: RwLock<Vec<PackId>>,
    /// Shards of data blobs, then of trees.
    shards: Vec<RwLock<HashTable<Entry>>>,
}

impl Default for Added {
    fn default() -> Self {
        let shards = std::iter::repeat_with(RwLock::default)
            .take(2 * SHARDS)
            .collect();
        Self {
            packs: RwLock::default(),
            shards,
        }
    }
}

impl Added {
    pub(super) fn publish(&self, pack: &IndexedPack) {
        let number = {
            let mut packs = self.packs.write();
            packs.push(pack.id);
            u32::try_from(packs.len() - 1)
                .expect("memory ends long before four thousand million packs")
        };
        for blob in &pack.blobs {
            let entry = Entry::new(number, blob);
            let mut shard = self.shard(&blob.handle).write();
            let id = blob.handle.id.as_bytes();
            if shard.find(hash(id), |known| known.id() == id).is_none() {
                shard.insert_unique(hash(id), entry, |known| hash(known.id()));
            }
        }
    }

    pub(super) fn contains(&self, handle: &BlobHandle) -> bool {
        let id = handle.id.as_bytes();
        self.shard(handle)
            .read()
            .find(hash(id), |entry| entry.id() == id)
            .is_some()
    }

    pub(super) fn lookup(&self, handle: &BlobHandle) -> Option<BlobLocation> {
        let id = handle.id.as_bytes();
        let entry = *self
            .shard(handle)
            .read()
            .find(hash(id), |entry| entry.id() == id)?;
        Some(entry.location(self.packs.read()[entry.pack as usize]))
    }

    pub(super) fn len(&self, kind: BlobKind) -> usize {
        let start = first_shard(kind);
        self.shards[start..start + SHARDS]
            .iter()
            .map(|shard| shard.read().len())
            .sum()
    }

    fn shard(&self, handle: &BlobHandle) -> &RwLock<HashTable<Entry>> {
        &self.shards[first_shard(handle.kind) + handle.id.as_bytes()[0] as usize % SHARDS]
    }
}

const fn first_shard(kind: BlobKind) -> usize {
    match kind {
        BlobKind::Data => 0,
        BlobKind::Tree => SHARDS,
    }
}

/// Ids are hashes already; eight of their bytes that chose no shard will do.
pub(crate) fn hash(id: &[u8; 32]) -> u64 {
    let mut hasher = IdHasher(0);
    hasher.write(&id[8..16]);
    hasher.finish()
}

struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
