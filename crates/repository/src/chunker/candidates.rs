//! Candidates of one segment of a file, found without knowing where chunks begin.

use std::ops::ControlFlow;

use crate::chunker::tables::ChunkerTables;
use crate::chunker::{WINDOW_BYTES, scan};

/// The ordered candidate positions of a segment, counted in bytes from its start.
///
/// Kept as runs, because in a hole every position is a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// First and last position of each run.
    pub(super) runs: Vec<(u32, u32)>,
    /// The length of the segment.
    pub(super) segment_bytes: u32,
}

impl Candidates {
    /// All positions in ascending order.
    pub fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The length of the segment they were found in.
    pub fn segment_bytes(&self) -> usize {
        self.segment_bytes as usize
    }

    fn add(&mut self, position: usize) {
        let position = u32::try_from(position).expect("segments are below 4 GiB");
        match self.runs.last_mut() {
            Some((_, last)) if *last + 1 == position => *last = position,
            _ => self.runs.push((position, position)),
        }
    }
}

/// Finds the candidate positions of a segment; any number of segments can be scanned at once.
///
/// `before` is what precedes the segment in the file: its last 63 bytes are used, and fewer must
/// only be passed where the file has no more. The segment must be below 4 GiB; some MiB are best.
///
/// # Panics
/// When the segment is longer than `u32::MAX` bytes.
pub fn candidates(tables: &ChunkerTables, before: &[u8], segment: &[u8]) -> Candidates {
    let segment_bytes = u32::try_from(segment.len()).expect("segments are below 4 GiB");
    let mut found = Candidates {
        runs: Vec::new(),
        segment_bytes,
    };
    // Positions whose window begins in front of the segment.
    let before = &before[before.len().saturating_sub(WINDOW_BYTES - 1)..];
    let seam_bytes = segment.len().min(WINDOW_BYTES - 1);
    let seam = [before, &segment[..seam_bytes]].concat();
    let mut collect = |position: usize| {
        found.add(position);
        ControlFlow::<()>::Continue(())
    };
    let _ = scan::scan(tables, &seam, before.len(), |position| {
        collect(position - before.len())
    });
    let _ = scan::scan(tables, segment, seam_bytes, collect);
    found
}
