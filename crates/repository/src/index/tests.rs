use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::id::{BlobId, Id};
use crate::pack::PackedBlob;

fn blob(number: u32, kind: BlobKind) -> PackedBlob {
    PackedBlob {
        handle: BlobHandle {
            kind,
            id: BlobId(Id::of(&number.to_le_bytes())),
        },
        offset: number % 1000 * 100,
        length: 100,
        uncompressed_length: NonZeroU32::new(number % 3),
    }
}

fn pack(number: u32, blobs: impl IntoIterator<Item = u32>) -> IndexedPack {
    let kind = if number.is_multiple_of(2) {
        BlobKind::Data
    } else {
        BlobKind::Tree
    };
    IndexedPack {
        id: PackId(Id::of(format!("pack {number}").as_bytes())),
        blobs: blobs.into_iter().map(|number| blob(number, kind)).collect(),
    }
}

fn index(packs: &[IndexedPack]) -> Index {
    let mut builder = IndexBuilder::default();
    for pack in packs {
        builder.add(pack);
    }
    builder.finish()
}

#[test]
fn an_entry_takes_48_bytes() {
    assert_eq!(size_of::<Entry>(), 48);
}

#[test]
fn every_blob_is_found_where_it_was_put() {
    let packs: Vec<_> = (0..20)
        .map(|number| pack(number, number * 500..(number + 1) * 500))
        .collect();
    let index = index(&packs);
    assert_eq!(index.entry_count(), 10_000);
    for pack in &packs {
        for blob in &pack.blobs {
            assert_eq!(index.lookup(&blob.handle), Some(blob.in_pack(pack.id)));
            let position = index.positions(&blob.handle).start;
            let (kind, entry) = index.entry(position);
            assert_eq!(entry.packed(kind), *blob);
        }
    }
    let order = index.by_pack();
    for (number, id) in index.packs().iter().enumerate() {
        let pack = packs.iter().find(|pack| pack.id == *id).unwrap();
        let mut blobs = pack.blobs.clone();
        blobs.sort_by_key(|blob| blob.offset);
        let mut found: Vec<_> = order
            .of(&index, number)
            .map(|(_, kind, entry)| entry.packed(kind))
            .collect();
        assert!(found.is_sorted_by_key(|blob| blob.offset));
        found.sort_unstable();
        blobs.sort_unstable();
        assert_eq!(found, blobs);
    }
    assert_eq!(index.lookup(&blob(10_000, BlobKind::Data).handle), None);
    assert_eq!(index.lookup(&blob(0, BlobKind::Tree).handle), None);
}

#[test]
fn repetitions_are_dropped_and_copies_in_other_packs_are_kept() {
    let index = index(&[pack(0, 0..10), pack(2, 5..15), pack(0, 0..10)]);
    assert_eq!(index.packs().len(), 2);
    assert_eq!(index.entry_count(), 20);
    let copies = |number| index.locations(&blob(number, BlobKind::Data).handle).len();
    assert_eq!((copies(0), copies(5), copies(14)), (1, 2, 1));
    let groups: Vec<_> = index.groups().map(|group| group.len()).collect();
    assert_eq!(
        (groups.len(), groups.iter().sum::<usize>()),
        (15, 20),
        "{groups:?}"
    );
}

#[test]
fn what_a_writer_publishes_is_found_beside_what_was_loaded() {
    let index = index(&[pack(0, 0..10)]);
    index.publish(&[pack(2, 5..15), pack(1, 0..3)]);
    assert!(index.has_additions());
    assert_eq!(index.locations(&blob(5, BlobKind::Data).handle).len(), 2);
    let found = index.lookup(&blob(14, BlobKind::Data).handle).unwrap();
    assert_eq!(found.pack, pack(2, []).id);
    assert!(index.contains(&blob(2, BlobKind::Tree).handle));
    assert_eq!(index.entry_count(), 10);
}

#[test]
fn a_file_is_read_as_it_was_written() {
    let packs = vec![pack(0, 0..100), pack(1, 100..101), pack(2, [])];
    let mut file = IndexFile::default();
    for pack in &packs {
        file.add(pack.clone());
    }
    assert_eq!(file.blob_count(), 101);
    let json = file.to_json();
    let mut read = Vec::new();
    parse_file(&json, &mut |pack| read.push(pack.clone())).unwrap();
    assert_eq!(read, packs);
    // The field is left out where there is nothing to say, as restic leaves it out.
    let text = String::from_utf8(json).unwrap();
    assert!(text.starts_with("{\"packs\":[{\"id\":\"") && !text.contains("length\":0"));
}

#[test]
fn files_that_cannot_be_true_are_refused() {
    let id = "ab".repeat(32);
    let file = |blob: &str| format!("{{\"packs\":[{{\"id\":\"{id}\",\"blobs\":[{blob}]}}]}}");
    let entry = |kind: &str, offset: &str, length: &str| {
        file(&format!(
            "{{\"id\":\"{id}\",\"type\":\"{kind}\",\"offset\":{offset},\"length\":{length}}}"
        ))
    };
    let parse = |json: &str| parse_file(json.as_bytes(), &mut |_| ());
    parse(&entry("data", "0", "32")).unwrap();
    parse("{\"supersedes\":[\"x\"],\"packs\":null,\"other\":{}}").unwrap();
    for wrong in [
        entry("data", "0", "31"),
        entry("data", "4294967295", "32"),
        entry("data", "4294967296", "32"),
        entry("data", "-1", "32"),
        entry("data", "0", "1e3"),
        entry("file", "0", "32"),
        file("{}"),
        file("7"),
        "{}".to_owned(),
        "[]".to_owned(),
        String::new(),
        "{\"packs\":[{\"id\":\"zz\",\"blobs\":[]}]}".to_owned(),
        "{\"packs\":[]} trailing".to_owned(),
    ] {
        assert!(parse(&wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(json in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_file(&json, &mut |_| ());
    }
}
