//! The inner loop: fingerprints of all positions of a slice, in four lanes side by side.
//!
//! One lane is a chain of dependent table lookups that leaves most of the processor idle; four
//! of them, each on its own quarter of a block, fill it.

use std::ops::ControlFlow;

use crate::chunker::WINDOW_BYTES;
use crate::chunker::tables::{ChunkerTables, Tables};

const LANES: usize = 4;
/// Positions one lane visits in a block: more would waste work behind the cut that ends a scan,
/// fewer would spend too much on the 64 bytes that every lane begins with.
const MAX_LANE_BYTES: usize = 8 << 10;
/// Below this, lanes cost more than they save.
const MIN_LANE_BYTES: usize = 64;

/// The first candidate position after `scanned` in `data`.
///
/// A position is the number of bytes before it; positions without a full window are none.
pub(super) fn first_candidate(
    tables: &ChunkerTables,
    data: &[u8],
    scanned: usize,
) -> Option<usize> {
    scan(tables, data, scanned, ControlFlow::Break).break_value()
}

/// Calls `found` with the candidate positions after `scanned` in order, until it breaks.
pub(super) fn scan<B>(
    tables: &ChunkerTables,
    data: &[u8],
    scanned: usize,
    mut found: impl FnMut(usize) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let tables = tables.tables();
    let mut position = scanned.max(WINDOW_BYTES);
    if data.len() < position {
        return ControlFlow::Continue(());
    }
    // The first full window has no position before it to roll from.
    if scanned < WINDOW_BYTES && Tables::is_candidate(tables.digest(window_before(data, position)))
    {
        found(position)?;
    }
    let mut hits = [const { Vec::new() }; LANES];
    loop {
        let lane_bytes = ((data.len() - position) / LANES).min(MAX_LANE_BYTES);
        if lane_bytes < MIN_LANE_BYTES {
            break;
        }
        let block = &data[position - WINDOW_BYTES..position + LANES * lane_bytes];
        // In a hole every position is a candidate, which the loop below is not made for.
        if block.iter().all(|byte| *byte == 0) {
            let end = position + LANES * lane_bytes;
            (position + 1..=end).try_for_each(&mut found)?;
            position = end;
            continue;
        }
        scan_block(tables, block, lane_bytes, &mut hits);
        for lane in &mut hits {
            for hit in lane.drain(..) {
                found(position + hit + 1)?;
            }
            position += lane_bytes;
        }
    }
    let mut digest = tables.digest(window_before(data, position));
    for (offset, entering) in data[position..].iter().enumerate() {
        digest = tables.roll(digest, *entering, data[position + offset - WINDOW_BYTES]);
        if Tables::is_candidate(digest) {
            found(position + offset + 1)?;
        }
    }
    ControlFlow::Continue(())
}

/// Notes the offsets of candidates in each of four lanes; `block` begins a window before the first.
fn scan_block(tables: &Tables, block: &[u8], lane_bytes: usize, hits: &mut [Vec<usize>; LANES]) {
    let leaving: [&[u8]; LANES] =
        std::array::from_fn(|lane| &block[lane * lane_bytes..][..lane_bytes]);
    let entering: [&[u8]; LANES] =
        std::array::from_fn(|lane| &block[WINDOW_BYTES + lane * lane_bytes..][..lane_bytes]);
    let mut digests =
        leaving.map(|lane| tables.digest(lane.first_chunk().expect("a lane is at least a window")));
    for offset in 0..lane_bytes {
        for lane in 0..LANES {
            digests[lane] =
                tables.roll(digests[lane], entering[lane][offset], leaving[lane][offset]);
            if Tables::is_candidate(digests[lane]) {
                note(&mut hits[lane], offset);
            }
        }
    }
}

/// Kept out of the loop, which hardly ever comes here.
#[cold]
#[inline(never)]
fn note(hits: &mut Vec<usize>, offset: usize) {
    hits.push(offset);
}

fn window_before(data: &[u8], position: usize) -> &[u8; WINDOW_BYTES] {
    data[..position]
        .last_chunk()
        .expect("positions lie behind a full window")
}
