//! Which index files have to be written anew, and what the new ones name.

use hashbrown::HashSet;

use crate::id::IndexId;
use crate::index::{FULL_BLOBS, Index, IndexFile, IndexedPack};

/// Index files to write and, when they are stored, to remove.
pub(super) struct Rewrite {
    pub(super) new: Vec<IndexFile>,
    pub(super) old: Vec<IndexId>,
}

/// Leaves out the dropped packs. Files that name none of them stay, unless they are so small that joining
/// them makes the index faster to load.
pub(super) fn rewrite(index: &Index, dropped: impl Iterator<Item = u32>) -> Rewrite {
    let dropped: HashSet<u32> = dropped.collect();
    let has_dropped = |packs: &[u32]| packs.iter().any(|pack| dropped.contains(pack));
    let replaced: Vec<_> = index
        .indexed_files()
        .iter()
        .filter(|file| has_dropped(&file.packs) || file.blobs < FULL_BLOBS / 2)
        .collect();
    // A pack that a kept file names too is written again all the same: that file may name only a part of it.
    let mut done = dropped;
    let order = index.by_pack();
    let mut new = Vec::new();
    let mut current = IndexFile::default();
    for pack in replaced.iter().flat_map(|file| &file.packs) {
        if !done.insert(*pack) {
            continue;
        }
        let blobs = order
            .of(index, *pack as usize)
            .map(|(_, kind, entry)| entry.packed(kind))
            .collect();
        current.add(IndexedPack {
            id: index.packs()[*pack as usize],
            blobs,
        });
        if current.blob_count() >= FULL_BLOBS {
            new.push(std::mem::take(&mut current));
        }
    }
    if !current.is_empty() {
        new.push(current);
    }
    Rewrite {
        new,
        old: replaced.iter().map(|file| file.id).collect(),
    }
}
