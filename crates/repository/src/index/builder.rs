//! Putting the compact index together from what index files name.

use hashbrown::HashMap;

use crate::blob::BlobKind;
use crate::id::PackId;
use crate::index::table::{self, Entry, Table};
use crate::index::{Index, IndexedFile, IndexedPack};

/// Collects packs; [`IndexBuilder::finish`] sorts.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    numbers: HashMap<PackId, u32>,
    repeated_packs: usize,
    index: Index,
}

impl IndexBuilder {
    /// Adds what one index file says of one pack; returns the pack's number.
    pub(crate) fn add(&mut self, pack: &IndexedPack) -> u32 {
        let packs = &mut self.index.packs;
        let next = u32::try_from(packs.len())
            .expect("memory ends long before four thousand million packs");
        let number = *self.numbers.entry(pack.id).or_insert(next);
        if number == next {
            packs.push(pack.id);
        } else {
            self.repeated_packs += 1;
        }
        for blob in &pack.blobs {
            let table = match blob.handle.kind {
                BlobKind::Data => &mut self.index.tables[0],
                BlobKind::Tree => &mut self.index.tables[1],
            };
            table.push(Entry::new(number, blob));
        }
        number
    }

    /// How often a pack was named again by a further index file.
    pub(crate) fn repeated_packs(&self) -> usize {
        self.repeated_packs
    }

    /// Notes a file that was read.
    pub(crate) fn add_file(&mut self, file: IndexedFile) {
        self.index.files.push(file);
    }

    /// Sorts everything, on all cores.
    pub(crate) fn finish(mut self) -> Index {
        drop(self.numbers);
        let mut buckets: Vec<&mut Vec<Entry>> = self
            .index
            .tables
            .iter_mut()
            .flat_map(Table::buckets)
            .collect();
        let entries: usize = buckets.iter().map(|bucket| bucket.len()).sum();
        let threads = if entries < 100_000 {
            1
        } else {
            std::thread::available_parallelism().map_or(1, usize::from)
        };
        let share = buckets.len().div_ceil(threads);
        std::thread::scope(|scope| {
            for part in buckets.chunks_mut(share) {
                if threads == 1 {
                    sort_all(part);
                } else {
                    scope.spawn(|| sort_all(part));
                }
            }
        });
        self.index.tables.iter_mut().for_each(Table::finish);
        self.index
    }
}

fn sort_all(buckets: &mut [&mut Vec<Entry>]) {
    for bucket in buckets {
        table::sort(bucket);
    }
}
