use super::*;
use crate::blob::{BlobHandle, BlobKind};
use crate::id::BlobId;

fn blob(offset: u64, length: u64) -> PackedBlob {
    PackedBlob {
        handle: BlobHandle {
            kind: BlobKind::Data,
            id: BlobId(Id::of(&offset.to_le_bytes())),
        },
        offset: u32::try_from(offset).unwrap(),
        length: u32::try_from(length).unwrap(),
        uncompressed_length: None,
    }
}

/// Every byte once and in order, every blob within the end once.
fn assert_covers(blobs: &[PackedBlob], pack_bytes: u64) -> Vec<Segment> {
    let segments = segments(blobs, pack_bytes);
    let (mut end, mut number) = (0, 0);
    for segment in &segments {
        assert_eq!(segment.bytes.start, end);
        assert_eq!(segment.blobs.start, number);
        for blob in &blobs[segment.blobs.clone()] {
            assert!(u64::from(blob.offset) >= segment.bytes.start);
            assert!(blob_end(blob) <= segment.bytes.end);
        }
        assert!(
            segment.bytes.end - segment.bytes.start <= SEGMENT_BYTES || segment.blobs.len() == 1
        );
        end = segment.bytes.end;
        number = segment.blobs.end;
    }
    assert_eq!(end, pack_bytes);
    let within = blobs.iter().filter(|blob| blob_end(blob) <= pack_bytes);
    assert_eq!(number, within.count());
    segments
}

#[test]
fn a_small_pack_is_read_at_once_and_a_large_one_is_cut_between_its_blobs() {
    let blobs: Vec<_> = (0..20)
        .map(|number| blob(number * 3_000_000, 3_000_000))
        .collect();
    assert_eq!(assert_covers(&blobs[..1], 3_001_000).len(), 1);
    assert_eq!(assert_covers(&blobs, 60_001_000).len(), 20);
}

#[test]
fn huge_blobs_gaps_and_ends_are_covered() {
    let blobs = [blob(5, 100 << 20), blob(200 << 20, 32), blob(300 << 20, 64)];
    assert_covers(&blobs, 1000 << 20);
    assert_covers(&blobs, (300 << 20) + 63);
    assert_covers(&blobs, 100);
    assert_covers(&[], 0);
    assert_covers(&[], 7);
}

#[tokio::test]
async fn a_segment_beyond_the_budget_is_read_alone() {
    let budget = Budget::new(2);
    let share = budget.take(u64::MAX).await.unwrap();
    assert_eq!(budget.free.available_permits(), 0);
    drop(share);
    assert!(budget.take(0).await.is_some());
}
