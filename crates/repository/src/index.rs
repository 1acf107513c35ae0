//! The index in memory: which pack holds which blob (`docs/format.md`, index).
//!
//! Owns index files (their JSON) and the compact tables made from them: 48 bytes a blob, sorted, never
//! changed once loaded. What writers add later lies beside them in a concurrent table.

mod added;
mod builder;
mod file;
mod load;
mod order;
mod table;

use crate::blob::{BlobHandle, BlobKind, BlobLocation};
use crate::id::{IndexId, PackId};

pub(crate) use added::hash;
pub(crate) use builder::IndexBuilder;
pub(crate) use file::{IndexFile, parse as parse_file};
pub(crate) use load::{TolerantIndex, load, load_tolerant};
pub(crate) use order::PackOrder;
pub(crate) use table::Entry;

use added::Added;
use table::Table;

/// An index file is written when it names so many blobs; restic's number.
pub(crate) const FULL_BLOBS: usize = 50_000;

/// A compact index.
#[derive(Debug, Default)]
pub struct Index {
    files: Vec<IndexedFile>,
    packs: Vec<PackId>,
    tables: [Table; 2],
    added: Added,
}

impl Index {
    /// The index files it was read from.
    pub fn files(&self) -> impl ExactSizeIterator<Item = IndexId> + '_ {
        self.files.iter().map(|file| file.id)
    }

    /// The index files it was read from, with the packs each of them names.
    pub(crate) fn indexed_files(&self) -> &[IndexedFile] {
        &self.files
    }

    /// The packs that the index files named when they were read.
    pub fn packs(&self) -> &[PackId] {
        &self.packs
    }

    /// How many blobs of a kind are known, every copy counted.
    pub fn blob_count(&self, kind: BlobKind) -> usize {
        self.table(kind).len() + self.added.len(kind)
    }

    /// Whether a blob is known.
    pub fn contains(&self, handle: &BlobHandle) -> bool {
        !self.table(handle.kind).find(&handle.id).is_empty() || self.added.contains(handle)
    }

    /// One place of a blob.
    pub fn lookup(&self, handle: &BlobHandle) -> Option<BlobLocation> {
        match self.table(handle.kind).find(&handle.id).first() {
            Some(entry) => Some(self.location(entry)),
            None => self.added.lookup(handle),
        }
    }

    /// Every place of a blob.
    pub fn locations(&self, handle: &BlobHandle) -> Vec<BlobLocation> {
        let known = self.table(handle.kind).find(&handle.id);
        known
            .iter()
            .map(|entry| self.location(entry))
            .chain(self.added.lookup(handle))
            .collect()
    }

    /// Every blob that the index files named, with each of its places, in no useful order.
    pub fn iter(&self) -> impl Iterator<Item = (BlobHandle, BlobLocation)> + '_ {
        BlobKind::ALL.into_iter().flat_map(move |kind| {
            self.table(kind)
                .iter()
                .map(move |entry| (entry.handle(kind), self.location(entry)))
        })
    }

    /// Whether writers have added blobs since the index files were read.
    pub(crate) fn has_additions(&self) -> bool {
        BlobKind::ALL.iter().any(|kind| self.added.len(*kind) > 0)
    }

    /// Makes blobs known that an index file in storage names now.
    pub(crate) fn publish(&self, packs: &[IndexedPack]) {
        for pack in packs {
            self.added.publish(pack);
        }
    }

    /// Entries of the loaded tables, every copy counted: the size of a bit set over them.
    pub(crate) fn entry_count(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    /// The positions of all copies of a blob in the loaded tables; empty when it is unknown.
    pub(crate) fn positions(&self, handle: &BlobHandle) -> std::ops::Range<usize> {
        let base = self.base(handle.kind);
        let range = self.table(handle.kind).positions(&handle.id);
        base + range.start..base + range.end
    }

    /// The entry at a position.
    pub(crate) fn entry(&self, position: usize) -> (BlobKind, &Entry) {
        let data = self.tables[0].len();
        if position < data {
            (BlobKind::Data, self.tables[0].get(position))
        } else {
            (BlobKind::Tree, self.tables[1].get(position - data))
        }
    }

    /// The positions of the copies of each blob, blob by blob.
    pub(crate) fn groups(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let mut start = 0;
        let total = self.entry_count();
        std::iter::from_fn(move || {
            if start == total {
                return None;
            }
            let (kind, first) = self.entry(start);
            let is_copy = |position: &usize| {
                let (other, entry) = self.entry(*position);
                other == kind && entry.id() == first.id()
            };
            let group = start
                ..(start + 1..total)
                    .find(|position| !is_copy(position))
                    .unwrap_or(total);
            start = group.end;
            Some(group)
        })
    }

    /// All entries grouped by pack and ordered by offset.
    pub(crate) fn by_pack(&self) -> PackOrder {
        PackOrder::new(self)
    }

    fn base(&self, kind: BlobKind) -> usize {
        match kind {
            BlobKind::Data => 0,
            BlobKind::Tree => self.tables[0].len(),
        }
    }

    fn table(&self, kind: BlobKind) -> &Table {
        match kind {
            BlobKind::Data => &self.tables[0],
            BlobKind::Tree => &self.tables[1],
        }
    }

    fn location(&self, entry: &Entry) -> BlobLocation {
        entry.location(self.packs[entry.pack as usize])
    }
}

/// An index file and the packs it names, by their numbers.
#[derive(Debug)]
pub(crate) struct IndexedFile {
    /// The file.
    pub(crate) id: IndexId,
    /// Numbers of its packs.
    pub(crate) packs: Vec<u32>,
    /// How many blobs it names.
    pub(crate) blobs: usize,
}

/// A pack and its blobs, as an index file names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexedPack {
    /// The pack.
    pub(crate) id: PackId,
    /// Its blobs.
    pub(crate) blobs: Vec<crate::pack::PackedBlob>,
}

#[cfg(test)]
mod tests;
