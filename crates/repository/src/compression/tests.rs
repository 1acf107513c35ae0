use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn text(bytes: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|line| {
            format!(
                "{line}: the quick brown fox, {}\n",
                line.wrapping_mul(line) % 97
            )
            .into_bytes()
        })
        .take(bytes)
        .collect()
}

fn random(bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    StdRng::seed_from_u64(3).fill_bytes(&mut data);
    data
}

#[test]
fn names_are_those_of_restic() {
    for (name, compression) in Compression::ALL {
        assert_eq!(name.parse(), Ok(compression));
        assert_eq!(compression.to_string(), name);
    }
    let error = "fast".parse::<Compression>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown compression \"fast\": must be one of off, fastest, auto, better, max"
    );
}

#[test]
fn every_level_shrinks_text_and_gives_it_back() {
    let data = text(300_000);
    for (_, compression) in Compression::ALL.into_iter().skip(1) {
        let mut compressor = Compressor::new(compression);
        for _ in 0..2 {
            let compressed = compressor.compress(&data).unwrap();
            assert_eq!(decompress(compressed, data.len()).unwrap(), data);
        }
        assert!(compress(compression, &data).unwrap().len() < data.len() / 5);
    }
}

#[test]
fn what_does_not_shrink_is_left_as_it_is() {
    assert!(compress(Compression::Off, &text(1000)).is_none());
    for data in [&[][..], b"short", &random(100), &random(100_000)] {
        assert!(compress(Compression::Auto, data).is_none());
    }
    // Compressible in a small part only: still found.
    let mut mixed = random(1 << 20);
    mixed[500_000..520_000].fill(7);
    assert!(compress(Compression::Auto, &mixed).unwrap().len() < mixed.len() - 19_000);
}

#[test]
fn a_length_other_than_stated_is_refused() {
    let compressed = compress(Compression::Auto, &text(1000)).unwrap();
    assert!(matches!(
        decompress(&compressed, 999),
        Err(DecompressError::Length {
            actual_bytes: 1000,
            ..
        })
    ));
    assert!(matches!(
        decompress(&compressed, 1001),
        Err(DecompressError::Length {
            actual_bytes: 1000,
            ..
        })
    ));
    assert!(matches!(
        decompress(&compressed, usize::MAX),
        Err(DecompressError::Damaged { .. })
    ));
    // Without a stated length too.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&text(1000)).unwrap();
    let streamed = encoder.finish().unwrap();
    assert_eq!(stated_bytes(&streamed), None);
    assert_eq!(decompress(&streamed, 1000).unwrap(), text(1000));
    assert!(decompress(&streamed, 999).is_err());
    assert!(matches!(
        decompress(&streamed, 1001),
        Err(DecompressError::Length { .. })
    ));
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let bomb = zstd::stream::encode_all(&vec![0; 50 << 20][..], 3).unwrap();
    assert!(bomb.len() < 10_000);
    assert!(matches!(
        decompress_within(&bomb, 1 << 20),
        Err(DecompressError::TooLong {
            limit_bytes: 1_048_576
        })
    ));
    assert!(decompress(&bomb, 1 << 20).is_err());
    let stated = compress(Compression::Auto, &vec![0; 50 << 20]).unwrap();
    assert!(matches!(
        decompress_within(&stated, 1 << 20),
        Err(DecompressError::TooLong { .. })
    ));
    assert_eq!(
        decompress_within(&stated, 50 << 20).unwrap().len(),
        50 << 20
    );
}

#[test]
fn a_file_is_compressed_even_when_that_makes_it_longer() {
    for data in [vec![], b"{}".to_vec(), random(100), text(5000)] {
        for (_, compression) in Compression::ALL {
            let mut file = vec![2];
            compress_to(compression, &data, &mut file);
            assert_eq!(file[0], 2);
            assert_eq!(decompress_within(&file[1..], data.len()).unwrap(), data);
        }
    }
    assert!(decompress_within(b"no frame", 100).is_err());
}

proptest! {
    #[test]
    fn damaged_frames_never_give_more_than_allowed(data: Vec<u8>, position: usize, bit in 0u8..8) {
        let mut frame = compress(Compression::Auto, &text(3000)).unwrap();
        let position = position % frame.len();
        frame[position] ^= 1u8 << bit;
        for frame in [&frame, &data] {
            if let Ok(content) = decompress(frame, 3000) {
                prop_assert_eq!(content.len(), 3000);
            }
            if let Ok(content) = decompress_within(frame, 4000) {
                prop_assert!(content.len() <= 4000);
            }
        }
    }
}

/// Run with `--ignored --nocapture`, and `STASH_MEASURE_FILE` naming a file to compress.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure_compression() {
    let mut inputs = vec![("random", random(64 << 20)), ("text", text(64 << 20))];
    if let Some(path) = std::env::var_os("STASH_MEASURE_FILE") {
        inputs.push(("file", std::fs::read(path).unwrap()));
    }
    for (name, data) in inputs {
        for (_, compression) in Compression::ALL.into_iter().skip(1) {
            let mut compressor = Compressor::new(compression);
            let start = Instant::now();
            let chunks = data.chunks(1 << 20);
            let stored: usize = chunks
                .map(|chunk| compressor.compress(black_box(chunk)).unwrap_or(chunk).len())
                .sum();
            let rate = data.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
            println!(
                "{name}: {compression} {rate:.0} MB/s to {:.2} %",
                stored as f64 * 100.0 / data.len() as f64
            );
        }
        let frames: Vec<_> = data
            .chunks(1 << 20)
            .filter_map(|chunk| Some((compress(Compression::Auto, chunk)?, chunk.len())))
            .collect();
        let start = Instant::now();
        let bytes: usize = frames
            .iter()
            .map(|(frame, length)| decompress(frame, *length).unwrap().len())
            .sum();
        println!(
            "{name}: decompress {:.0} MB/s",
            bytes as f64 / start.elapsed().as_secs_f64() / 1e6
        );
    }
}
