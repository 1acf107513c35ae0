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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::{BlobHandle, BlobKind};
    use crate::id::{BlobId, Id, PackId};
    use crate::index::{IndexBuilder, IndexedFile};
    use crate::pack::PackedBlob;

    fn pack(name: &str, blobs: std::ops::Range<u32>) -> IndexedPack {
        let blob = |number: u32| PackedBlob {
            handle: BlobHandle {
                kind: BlobKind::Data,
                id: BlobId(Id::of(&number.to_le_bytes())),
            },
            offset: number * 100,
            length: 100,
            uncompressed_length: None,
        };
        IndexedPack {
            id: PackId(Id::of(name.as_bytes())),
            blobs: blobs.map(blob).collect(),
        }
    }

    #[test]
    fn what_a_replaced_file_says_of_a_pack_survives_though_a_kept_file_names_the_pack_too() {
        let kept_blobs = u32::try_from(FULL_BLOBS).unwrap();
        let files = [
            (Id::of(b"kept"), vec![pack("shared", 0..kept_blobs)]),
            (
                Id::of(b"replaced"),
                vec![
                    pack("dropped", 900_000..900_010),
                    pack("shared", kept_blobs..kept_blobs + 10),
                ],
            ),
        ];
        let mut builder = IndexBuilder::default();
        for (id, packs) in &files {
            let file = IndexedFile {
                id: IndexId(*id),
                packs: packs.iter().map(|pack| builder.add(pack)).collect(),
                blobs: packs.iter().map(|pack| pack.blobs.len()).sum(),
            };
            builder.add_file(file);
        }
        let index = builder.finish();
        let dropped = PackId(Id::of(b"dropped"));
        let number = (0..).zip(index.packs()).find(|(_, id)| **id == dropped);
        let rewrite = rewrite(&index, number.map(|(number, _)| number).into_iter());
        assert_eq!(rewrite.old, [IndexId(Id::of(b"replaced"))]);
        let named: Vec<_> = rewrite.new.iter().flat_map(IndexFile::packs).collect();
        assert!(named.iter().all(|pack| pack.id != dropped));
        let wanted = &files[1].1[1].blobs;
        assert!(
            wanted
                .iter()
                .all(|blob| named.iter().any(|pack| pack.blobs.contains(blob)))
        );
    }
}
