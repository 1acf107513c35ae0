use proptest::prelude::*;

use super::*;
use crate::blob::BlobKind;
use crate::id::{BlobId, Id};

fn handle(kind: BlobKind, content: &[u8]) -> BlobHandle {
    BlobHandle {
        kind,
        id: BlobId(Id::of(content)),
    }
}

fn sample(key: &MasterKey, count: usize) -> FinishedPack {
    let mut builder = PackBuilder::new(Vec::new());
    for number in 0..count {
        let content = vec![u8::try_from(number % 251).unwrap(); number];
        let kind = if number % 3 == 0 {
            BlobKind::Tree
        } else {
            BlobKind::Data
        };
        let uncompressed = if number % 2 == 0 {
            None
        } else {
            NonZeroU32::new(77)
        };
        builder
            .seal(key, handle(kind, &content), &content, uncompressed)
            .unwrap();
    }
    builder.finish(key)
}

#[test]
fn a_parsed_header_names_what_was_put_in() {
    let key = MasterKey::random();
    for count in [1, 2, 15, 200] {
        let pack = sample(&key, count);
        assert_eq!(pack.id, PackId(Id::of(&pack.content)));
        assert_eq!(parse(&key, &pack.content).unwrap(), pack.blobs);
        let last = pack.blobs.last().unwrap();
        let blob_end = u64::from(last.offset + last.length);
        assert_eq!(
            blob_end + header_bytes(&pack.blobs),
            pack.content.len() as u64
        );
    }
}

#[test]
fn packs_that_were_joined_parse_as_one() {
    let key = MasterKey::random();
    let mut first = PackBuilder::new(Vec::new());
    first
        .seal(&key, handle(BlobKind::Data, b"one"), b"one", None)
        .unwrap();
    let mut second = PackBuilder::new(Vec::new());
    second
        .seal(&key, handle(BlobKind::Data, b"two"), b"two", None)
        .unwrap();
    first.append(&second).unwrap();
    let pack = first.finish(&key);
    let blobs = parse(&key, &pack.content).unwrap();
    let range = blobs[1].offset as usize..(blobs[1].offset + blobs[1].length) as usize;
    assert_eq!(key.open(&pack.content[range]).unwrap(), b"two");
}

#[tokio::test]
async fn a_header_is_read_with_at_most_two_reads() {
    let key = MasterKey::random();
    for (count, reads) in [(3, 1), (500, 2)] {
        let pack = sample(&key, count);
        let done = std::cell::Cell::new(0);
        let content = Bytes::from(pack.content.clone());
        let blobs = read_header(&key, content.len() as u64, |offset, length| {
            done.set(done.get() + 1);
            let start = usize::try_from(offset).unwrap();
            let part = content.slice(start..start + usize::try_from(length).unwrap());
            async move { Ok::<_, std::io::Error>(part) }
        })
        .await
        .unwrap();
        assert_eq!(blobs, pack.blobs);
        assert_eq!(done.get(), reads);
    }
}

#[test]
fn damaged_packs_are_refused() {
    let key = MasterKey::random();
    let pack = sample(&key, 5).content;
    for length in 0..pack.len() {
        assert!(parse(&key, &pack[..length]).is_err(), "cut to {length}");
    }
    let header = pack.len() - 4;
    for length in [0_u32, 1, 31, 68, 1 << 20, u32::MAX] {
        let mut damaged = pack.clone();
        damaged[header..].copy_from_slice(&length.to_le_bytes());
        assert!(parse(&key, &damaged).is_err(), "header length {length}");
    }
}

#[test]
fn header_entries_that_do_not_fit_are_refused() {
    let entry = |kind: u8, length: u32| {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&length.to_le_bytes());
        if kind > 1 {
            bytes.extend_from_slice(&0_u32.to_le_bytes());
        }
        bytes.extend_from_slice(&[7; 32]);
        bytes
    };
    assert!(header::parse_entries(&entry(0, 40), 40).is_ok());
    assert!(matches!(
        header::parse_entries(&entry(0, 40), 41),
        Err(HeaderError::Trailing { .. })
    ));
    assert!(matches!(
        header::parse_entries(&entry(0, u32::MAX), 41),
        Err(HeaderError::EntryRange { .. })
    ));
    assert!(matches!(
        header::parse_entries(&entry(0, 3), 3),
        Err(HeaderError::EntryRange { .. })
    ));
    assert!(matches!(
        header::parse_entries(&entry(2, 40), 40),
        Err(HeaderError::EntryRange { .. })
    ));
    assert!(matches!(
        header::parse_entries(&entry(9, 40), 40),
        Err(HeaderError::EntryType { .. })
    ));
    assert!(matches!(
        header::parse_entries(&entry(0, 40)[..9], 40),
        Err(HeaderError::EntryCut { .. })
    ));
}

proptest! {
    #[test]
    fn any_header_bytes_are_parsed_or_refused(header in proptest::collection::vec(any::<u8>(), 0..300), size in any::<u64>()) {
        let _ = header::parse_entries(&header, size);
        let _ = header::sealed_length(&header, size);
    }
}

#[test]
fn packs_are_joined_only_up_to_what_one_header_can_name() {
    let key = MasterKey::random();
    let filled = |count: usize| {
        let mut builder = PackBuilder::new(Vec::new());
        for _ in 0..count {
            builder
                .seal(&key, handle(BlobKind::Data, b""), b"", None)
                .unwrap();
        }
        builder
    };
    let half = header::MAX_BLOBS / 2;
    let (first, second) = (filled(half), filled(header::MAX_BLOBS - half));
    assert!(first.has_room_for_blobs_of(&second));
    assert!(!filled(half + 1).has_room_for_blobs_of(&second));
}
