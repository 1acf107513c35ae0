//! The numbers of a prune, as restic counts them.

use serde::Serialize;

/// What a prune does, or did, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneSummary {
    /// Numbers of blobs.
    pub blobs: PruneBlobs,
    /// Stored bytes.
    pub bytes: PruneBytes,
    /// Numbers of packs.
    pub packs: PrunePacks,
}

/// Numbers of blobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneBlobs {
    /// Used by a snapshot, one copy each.
    pub used: u64,
    /// Further copies of used blobs.
    pub duplicate: u64,
    /// Used by nothing.
    pub unused: u64,
    /// In packs that are removed as they are.
    pub remove: u64,
    /// In packs that are repacked.
    pub repack: u64,
    /// Of those, the ones that are not stored again.
    pub repack_remove: u64,
}

/// Stored bytes; headers of packs count as used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneBytes {
    /// Used by a snapshot.
    pub used: u64,
    /// Further copies of used blobs.
    pub duplicate: u64,
    /// Used by nothing.
    pub unused: u64,
    /// In packs that are removed as they are.
    pub remove: u64,
    /// In packs that are repacked.
    pub repack: u64,
    /// Of those, what is not stored again.
    pub repack_remove: u64,
    /// Packs that no index file names.
    pub unreferenced: u64,
    /// Packs that hold blobs stored plain, after this prune.
    pub uncompressed: u64,
}

/// Numbers of packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PrunePacks {
    /// Every blob is used.
    pub used: u64,
    /// Some blobs are used.
    pub partly_used: u64,
    /// No blob is used.
    pub unused: u64,
    /// Named by no index file.
    pub unreferenced: u64,
    /// To stay as they are.
    pub keep: u64,
    /// To be repacked.
    pub repack: u64,
    /// To be removed as they are.
    pub remove: u64,
}

impl PruneSummary {
    /// All blobs.
    pub fn total_blobs(&self) -> u64 {
        self.blobs.used + self.blobs.duplicate + self.blobs.unused
    }

    /// All bytes, unreferenced packs included.
    pub fn total_bytes(&self) -> u64 {
        self.bytes.used + self.bytes.duplicate + self.bytes.unused + self.bytes.unreferenced
    }

    /// Bytes that are not needed, without unreferenced packs.
    pub fn unused_bytes(&self) -> u64 {
        self.bytes.duplicate + self.bytes.unused
    }

    /// Blobs that go.
    pub fn removed_blobs(&self) -> u64 {
        self.blobs.remove + self.blobs.repack_remove
    }

    /// Bytes that go.
    pub fn removed_bytes(&self) -> u64 {
        self.bytes.remove + self.bytes.repack_remove + self.bytes.unreferenced
    }

    /// Blobs that stay.
    pub fn remaining_blobs(&self) -> u64 {
        self.total_blobs().saturating_sub(self.removed_blobs())
    }

    /// Bytes that stay.
    pub fn remaining_bytes(&self) -> u64 {
        self.total_bytes().saturating_sub(self.removed_bytes())
    }

    /// Bytes that stay though they are not needed.
    pub fn unused_bytes_after(&self) -> u64 {
        self.unused_bytes()
            .saturating_sub(self.bytes.remove + self.bytes.repack_remove)
    }
}
