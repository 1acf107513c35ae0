//! The blobs a writer has taken on and no index file names yet: one thread stores each of them.

use hashbrown::HashTable;
use parking_lot::Mutex;

use crate::blob::{BlobHandle, BlobKind};
use crate::index::hash;

const SHARDS: usize = 32;

#[derive(Debug)]
pub(super) struct Known {
    /// Shards of data blobs, then of trees.
    shards: Vec<Mutex<HashTable<[u8; 32]>>>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(2 * SHARDS)
                .collect(),
        }
    }
}

impl Known {
    /// Takes a blob on; false when somebody has.
    pub(super) fn claim(&self, handle: &BlobHandle) -> bool {
        let id = handle.id.as_bytes();
        let mut shard = self.shard(handle).lock();
        if shard.find(hash(id), |known| known == id).is_some() {
            return false;
        }
        shard.insert_unique(hash(id), *id, hash);
        true
    }

    pub(super) fn contains(&self, handle: &BlobHandle) -> bool {
        let id = handle.id.as_bytes();
        self.shard(handle)
            .lock()
            .find(hash(id), |known| known == id)
            .is_some()
    }

    /// Forgets a blob, which the index has learned by now.
    pub(super) fn remove(&self, handle: &BlobHandle) {
        let id = handle.id.as_bytes();
        if let Ok(entry) = self
            .shard(handle)
            .lock()
            .find_entry(hash(id), |known| known == id)
        {
            entry.remove();
        }
    }

    fn shard(&self, handle: &BlobHandle) -> &Mutex<HashTable<[u8; 32]>> {
        let first = match handle.kind {
            BlobKind::Data => 0,
            BlobKind::Tree => SHARDS,
        };
        &self.shards[first + handle.id.as_bytes()[0] as usize % SHARDS]
    }
}
