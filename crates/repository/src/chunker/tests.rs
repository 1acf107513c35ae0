use std::hint::black_box;
use std::io::Cursor;
use std::time::Instant;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::*;
use crate::polynomial::Polynomial;

const POLYNOMIAL: Polynomial = Polynomial(0x3D_A335_8B4D_C173);

fn tables() -> ChunkerTables {
    ChunkerTables::new(POLYNOMIAL).unwrap()
}

fn random_data(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    StdRng::seed_from_u64(seed).fill_bytes(&mut data);
    data
}

/// Random bytes with stretches of zeros and of a repeated pattern, as files have them.
fn mixed_data(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = random_data(seed, bytes);
    for (index, stretch) in data.chunks_mut(700_001).enumerate() {
        match (index as u64 + seed) % 4 {
            1 => stretch.fill(0),
            2 => stretch
                .iter_mut()
                .enumerate()
                .for_each(|(i, byte)| *byte = (i % 7).to_le_bytes()[0]),
            _ => {}
        }
    }
    data
}

/// The definition, one byte after the other, as slow as it is plain.
fn reference_cuts(data: &[u8]) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let mut end = start + MIN_CHUNK_BYTES;
        while end < data.len()
            && end < start + MAX_CHUNK_BYTES
            && !is_candidate(&data[end - 64..end])
        {
            end += 1;
        }
        start = end.min(data.len());
        cuts.push(start);
    }
    cuts
}

/// The remainder of the window, read as a polynomial, by long division.
fn is_candidate(window: &[u8]) -> bool {
    let remainder = window.iter().fold(Polynomial(0), |rest, byte| {
        Polynomial(rest.0 << 8 | u64::from(*byte)).modulo(POLYNOMIAL)
    });
    remainder.0.trailing_zeros() >= 20
}

/// Gives at most `step` bytes at once, and an interruption now and then.
struct Dribble<'a> {
    data: &'a [u8],
    step: usize,
    calls: usize,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let step = self.step.min(buffer.len());
        self.data.read(&mut buffer[..step])
    }
}

fn streamed_cuts(data: &[u8], step: usize) -> Vec<usize> {
    let mut chunker = Chunker::new(tables());
    let mut reader = Dribble {
        data,
        step,
        calls: 0,
    };
    let (mut cuts, mut buffer, mut end) = (Vec::new(), Vec::new(), 0);
    while let Some(bytes) = chunker.next_chunk(&mut reader, &mut buffer).unwrap() {
        assert_eq!(buffer, data[end..end + bytes]);
        end += bytes;
        cuts.push(end);
    }
    assert!(
        chunker
            .next_chunk(&mut reader, &mut buffer)
            .unwrap()
            .is_none()
    );
    cuts
}

fn resolved_cuts(data: &[u8], segment_bytes: usize) -> Vec<usize> {
    let (mut resolver, mut cuts) = (CutResolver::new(), Vec::new());
    for (index, segment) in data.chunks(segment_bytes).enumerate() {
        let found = candidates(&tables(), &data[..index * segment_bytes], segment);
        resolver.push(&found, &mut cuts);
        assert_eq!(resolver.chunk_start(), cuts.last().copied().unwrap_or(0));
    }
    resolver.finish(&mut cuts);
    cuts.into_iter()
        .map(|cut| usize::try_from(cut).unwrap())
        .collect()
}

#[test]
fn cuts_follow_the_definition() {
    for data in [
        random_data(1, 4 << 20),
        mixed_data(2, 9 << 20),
        mixed_data(3, 3 << 20),
    ] {
        let expected = reference_cuts(&data);
        assert!(expected.len() > 1);
        assert_eq!(cut_points(&tables(), &data), expected);
        assert_eq!(streamed_cuts(&data, 100_003), expected);
        assert_eq!(resolved_cuts(&data, 1 << 20), expected);
    }
}

#[test]
fn zeros_are_cut_at_the_minimum_and_a_pattern_without_candidates_at_the_maximum() {
    let zeros = vec![0; 3 * MIN_CHUNK_BYTES + 1];
    let expected = [1, 2, 3]
        .map(|n| n * MIN_CHUNK_BYTES)
        .into_iter()
        .chain([zeros.len()])
        .collect::<Vec<_>>();
    assert_eq!(cut_points(&tables(), &zeros), expected);
    assert_eq!(resolved_cuts(&zeros, 300_000), expected);
    let found = candidates(&tables(), &[], &zeros);
    assert_eq!(found.runs.len(), 1);
    assert_eq!(found.positions().next(), Some(64));

    let ones = vec![1; MAX_CHUNK_BYTES + MIN_CHUNK_BYTES];
    let expected = vec![MAX_CHUNK_BYTES, ones.len()];
    assert_eq!(cut_points(&tables(), &ones), expected);
    assert_eq!(streamed_cuts(&ones, usize::MAX), expected);
    assert_eq!(resolved_cuts(&ones, 1 << 22), expected);
}

#[test]
fn short_streams_are_one_chunk_or_none() {
    assert_eq!(cut_points(&tables(), &[]), [0; 0]);
    assert_eq!(streamed_cuts(&[], 1), [0; 0]);
    assert_eq!(resolved_cuts(&[], 1), [0; 0]);
    for bytes in [1, 63, 64, 65, 100_000, MIN_CHUNK_BYTES - 1, MIN_CHUNK_BYTES] {
        let data = vec![0; bytes];
        assert_eq!(cut_points(&tables(), &data), [bytes]);
        assert_eq!(streamed_cuts(&data, 1000), [bytes]);
        assert_eq!(resolved_cuts(&data, 50), [bytes]);
    }
}

#[test]
fn a_chunker_serves_one_stream_after_the_other() {
    let (first, second) = (random_data(5, 4 << 20), random_data(6, 700_000));
    let mut chunker = Chunker::new(tables());
    let mut buffer = Vec::new();
    chunker
        .next_chunk(&mut Cursor::new(&first), &mut buffer)
        .unwrap();
    chunker.reset();
    let bytes = chunker
        .next_chunk(&mut Cursor::new(&second), &mut buffer)
        .unwrap()
        .unwrap();
    assert_eq!(buffer, second[..bytes]);
}

#[test]
fn a_failing_reader_is_reported() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let error = Chunker::new(tables())
        .next_chunk(&mut Failing, &mut Vec::new())
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn only_chunker_polynomials_have_tables() {
    assert!(ChunkerTables::new(Polynomial(0x11b)).is_none());
    assert!(ChunkerTables::new(Polynomial(POLYNOMIAL.0 ^ 1)).is_none());
}

/// The chunks that `restic backup` 0.19.1 made of these bytes in a repository with this polynomial:
/// lengths of the blobs that `restic cat blob` listed for the file's node, in order. The bytes are
/// SHA-256 digests of a counter (8 bytes, little-endian), with a hole and a constant stretch.
#[test]
fn cuts_equal_those_of_real_restic() {
    let random: Vec<u8> = (0..28u64 << 15)
        .flat_map(|counter| Sha256::digest(counter.to_le_bytes()))
        .collect();
    let data = [
        &random[..20 << 20],
        &vec![0; 3 << 20],
        &random[20 << 20..24 << 20],
        &vec![1; 10 << 20],
        &random[24 << 20..],
        b"tail",
    ]
    .concat();
    let expected = [
        710_413, 1_328_284, 2_339_117, 953_063, 1_178_539, 625_029, 3_071_694, 2_479_568,
        1_350_870, 734_291, 1_718_784, 677_320, 850_070, 1_163_353, 808_787, 982_402, 524_288,
        524_288, 524_288, 524_288, 524_288, 2_761_764, 8_388_608, 7_195_845, 806_137, 246_242,
    ];
    let tables = ChunkerTables::new(Polynomial(0x38_aa64_3101_0177)).unwrap();
    let mut chunker = Chunker::new(tables);
    let (mut reader, mut buffer, mut lengths) = (&data[..], Vec::new(), Vec::new());
    while let Some(bytes) = chunker.next_chunk(&mut reader, &mut buffer).unwrap() {
        lengths.push(bytes);
    }
    assert_eq!(lengths, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn cuts_are_the_same_however_the_data_arrives(
        seed: u64,
        bytes in 0usize..(6 << 20),
        step in 1000usize..3_000_000,
        segment_bytes in 30usize..4_000_000,
    ) {
        let data = mixed_data(seed % 1000, bytes);
        let expected = cut_points(&tables(), &data);
        prop_assert_eq!(&streamed_cuts(&data, step), &expected);
        prop_assert_eq!(&resolved_cuts(&data, segment_bytes), &expected);
    }

    #[test]
    fn candidates_are_the_same_in_pieces_of_any_size(seed: u64, bytes in 0usize..3000, piece in 1usize..400) {
        // Zeros around random bytes give candidates at both edges.
        let mut data = vec![0; bytes];
        let middle = bytes / 3..bytes / 2;
        data[middle].copy_from_slice(&random_data(seed, bytes / 2 - bytes / 3));
        let whole: Vec<usize> = candidates(&tables(), &[], &data).positions().map(|p| p as usize).collect();
        let expected: Vec<usize> = (64..=bytes).filter(|end| is_candidate(&data[end - 64..*end])).collect();
        prop_assert_eq!(&whole, &expected);
        let mut pieces = Vec::new();
        for (index, segment) in data.chunks(piece).enumerate() {
            let start = index * piece;
            let found = candidates(&tables(), &data[start.saturating_sub(63)..start], segment);
            pieces.extend(found.positions().map(|position| start + position as usize));
        }
        prop_assert_eq!(pieces, expected);
    }
}

/// Run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure_cutting() {
    let tables = tables();
    for (name, data) in [
        ("random", random_data(1, 256 << 20)),
        ("zeros", vec![0; 256 << 20]),
    ] {
        let rate = |start: Instant| data.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
        let start = Instant::now();
        for segment in data.chunks(4 << 20) {
            black_box(candidates(&tables, &[], segment));
        }
        let scanning = rate(start);
        let start = Instant::now();
        let chunks = cut_points(&tables, &data).len();
        let cutting = rate(start);
        let start = Instant::now();
        let (mut chunker, mut buffer) = (Chunker::new(tables.clone()), Vec::new());
        let mut reader = Cursor::new(&data);
        while chunker
            .next_chunk(&mut reader, &mut buffer)
            .unwrap()
            .is_some()
        {}
        println!(
            "{name}: candidates {scanning:.0} MB/s, cut_points {cutting:.0} MB/s, streaming {:.0} MB/s, {chunks} chunks",
            rate(start)
        );
    }
}
