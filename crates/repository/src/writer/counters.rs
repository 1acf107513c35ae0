//! What a writer has stored, counted by all threads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::blob::BlobKind;
use crate::writer::WriterSummary;

#[derive(Debug, Default)]
pub(super) struct Counters {
    data: Counter,
    tree: Counter,
}

#[derive(Debug, Default)]
struct Counter {
    blobs: AtomicU64,
    bytes: AtomicU64,
    packed_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn add(&self, kind: BlobKind, bytes: u64, packed_bytes: u64) {
        let counter = match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.tree,
        };
        counter.blobs.fetch_add(1, Ordering::Relaxed);
        counter.bytes.fetch_add(bytes, Ordering::Relaxed);
        counter
            .packed_bytes
            .fetch_add(packed_bytes, Ordering::Relaxed);
    }

    pub(super) fn summary(&self) -> WriterSummary {
        WriterSummary {
            data_blobs: self.data.blobs.load(Ordering::Relaxed),
            data_bytes: self.data.bytes.load(Ordering::Relaxed),
            data_packed_bytes: self.data.packed_bytes.load(Ordering::Relaxed),
            tree_blobs: self.tree.blobs.load(Ordering::Relaxed),
            tree_bytes: self.tree.bytes.load(Ordering::Relaxed),
            tree_packed_bytes: self.tree.packed_bytes.load(Ordering::Relaxed),
        }
    }
}
