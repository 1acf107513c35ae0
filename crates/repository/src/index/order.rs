//! The entries of an index by pack: four bytes a blob, made when prune or check need it.

use crate::blob::BlobKind;
use crate::index::{Entry, Index};

/// Positions of entries grouped by pack, within a pack by offset.
#[derive(Debug)]
pub(crate) struct PackOrder {
    positions: Vec<u32>,
    /// Number of positions in front of each pack; one more at the end.
    starts: Vec<u32>,
}

impl PackOrder {
    pub(super) fn new(index: &Index) -> Self {
        let mut starts = vec![0_u32; index.packs.len() + 1];
        for entry in index.tables.iter().flat_map(super::Table::iter) {
            starts[entry.pack as usize + 1] += 1;
        }
        for pack in 1..starts.len() {
            starts[pack] += starts[pack - 1];
        }
        let mut next = starts.clone();
        let mut positions = vec![0_u32; index.entry_count()];
        for (position, entry) in (0_u32..).zip(index.tables.iter().flat_map(super::Table::iter)) {
            let slot = &mut next[entry.pack as usize];
            positions[*slot as usize] = position;
            *slot += 1;
        }
        for pack in 0..index.packs.len() {
            let range = starts[pack] as usize..starts[pack + 1] as usize;
            positions[range]
                .sort_unstable_by_key(|position| index.entry(*position as usize).1.offset);
        }
        Self { positions, starts }
    }

    /// The entries of the pack with this number: position, kind, entry.
    pub(crate) fn of<'a>(
        &'a self,
        index: &'a Index,
        pack: usize,
    ) -> impl ExactSizeIterator<Item = (usize, BlobKind, &'a Entry)> + 'a {
        let range = self.starts[pack] as usize..self.starts[pack + 1] as usize;
        self.positions[range].iter().map(|position| {
            let (kind, entry) = index.entry(*position as usize);
            (*position as usize, kind, entry)
        })
    }
}
