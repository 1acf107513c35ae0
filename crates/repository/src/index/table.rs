//! The compact table of one kind: entries of 48 bytes in 256 sorted buckets.

use std::num::NonZeroU32;
use std::ops::Range;

use crate::blob::{BlobHandle, BlobKind, BlobLocation};
use crate::id::{BlobId, Id, PackId};
use crate::pack::PackedBlob;

const BUCKETS: usize = 256;

/// One copy of a blob. The field order makes copies of one blob neighbours when sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    id: [u8; 32],
    /// Number of the pack in the index's list.
    pub(crate) pack: u32,
    /// First byte in the pack.
    pub(crate) offset: u32,
    /// Stored bytes.
    pub(crate) length: u32,
    /// Plaintext bytes when compressed, else 0.
    pub(crate) uncompressed: u32,
}

impl Entry {
    pub(super) fn new(pack: u32, blob: &PackedBlob) -> Self {
        Self {
            id: *blob.handle.id.as_bytes(),
            pack,
            offset: blob.offset,
            length: blob.length,
            uncompressed: blob.uncompressed_length.map_or(0, NonZeroU32::get),
        }
    }

    /// The blob's name.
    pub(crate) const fn handle(&self, kind: BlobKind) -> BlobHandle {
        BlobHandle {
            kind,
            id: BlobId(Id::from_bytes(self.id)),
        }
    }

    /// The raw id.
    pub(crate) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The place, given the pack's id.
    pub(crate) const fn location(&self, pack: PackId) -> BlobLocation {
        BlobLocation {
            pack,
            offset: self.offset,
            length: self.length,
            uncompressed_length: NonZeroU32::new(self.uncompressed),
        }
    }

    /// As the pack's header names it.
    pub(crate) const fn packed(&self, kind: BlobKind) -> PackedBlob {
        PackedBlob {
            handle: self.handle(kind),
            offset: self.offset,
            length: self.length,
            uncompressed_length: NonZeroU32::new(self.uncompressed),
        }
    }
}

/// Entries in buckets by the first byte of their id. Ids are hashes, so buckets are about equal.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Vec<Vec<Entry>>,
    /// Number of entries in front of each bucket; one more at the end.
    starts: Vec<usize>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            buckets: vec![Vec::new(); BUCKETS],
            starts: vec![0; BUCKETS + 1],
        }
    }
}

impl Table {
    /// Adds an entry; [`Self::finish`] must follow before anything is looked up.
    pub(super) fn push(&mut self, entry: Entry) {
        let bucket = &mut self.buckets[entry.id[0] as usize];
        if bucket.len() == bucket.capacity() {
            // Growing by an eighth costs some copying of one bucket and wastes little memory.
            bucket.reserve_exact((bucket.len() / 8).max(16));
        }
        bucket.push(entry);
    }

    /// The buckets, to be sorted by [`sort`].
    pub(super) fn buckets(&mut self) -> &mut [Vec<Entry>] {
        &mut self.buckets
    }

    /// Counts what the sorted buckets hold.
    pub(super) fn finish(&mut self) {
        let mut total = 0;
        for (start, bucket) in self.starts.iter_mut().zip(&self.buckets) {
            *start = total;
            total += bucket.len();
        }
        self.starts[BUCKETS] = total;
    }

    pub(super) fn len(&self) -> usize {
        self.starts[BUCKETS]
    }

    /// All copies of a blob.
    pub(super) fn find(&self, id: &BlobId) -> &[Entry] {
        let bucket = &self.buckets[id.as_bytes()[0] as usize];
        &bucket[equal_range(bucket, id)]
    }

    /// The positions of all copies of a blob.
    pub(super) fn positions(&self, id: &BlobId) -> Range<usize> {
        let number = id.as_bytes()[0] as usize;
        let range = equal_range(&self.buckets[number], id);
        self.starts[number] + range.start..self.starts[number] + range.end
    }

    /// The entry at a position below the length.
    pub(super) fn get(&self, position: usize) -> &Entry {
        let number = self.starts.partition_point(|start| *start <= position) - 1;
        &self.buckets[number][position - self.starts[number]]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flatten()
    }
}

/// Sorts a bucket and drops exact repetitions, which two index files naming the same pack produce.
pub(super) fn sort(bucket: &mut Vec<Entry>) {
    bucket.sort_unstable();
    bucket.dedup();
}

fn equal_range(bucket: &[Entry], id: &BlobId) -> Range<usize> {
    let start = bucket.partition_point(|entry| entry.id < *id.as_bytes());
    let copies = bucket[start..]
        .iter()
        .take_while(|entry| entry.id == *id.as_bytes())
        .count();
    start..start + copies
}
