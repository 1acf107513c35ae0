//! From candidates to cuts: the minimum and maximum length applied in order.

use crate::chunker::candidates::Candidates;
use crate::chunker::{MAX_CHUNK_BYTES, MIN_CHUNK_BYTES};

const MIN: u64 = MIN_CHUNK_BYTES as u64;
const MAX: u64 = MAX_CHUNK_BYTES as u64;

/// Decides the cuts of one file from the candidates of its segments, taken in order.
#[derive(Debug, Clone, Default)]
pub struct CutResolver {
    /// Where the current chunk begins.
    chunk_start: u64,
    /// Where the next segment begins.
    segment_start: u64,
}

impl CutResolver {
    /// At the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next segment and appends the ends of the chunks it completes to `cuts`, counted
    /// in bytes from the start of the file.
    pub fn push(&mut self, segment: &Candidates, cuts: &mut Vec<u64>) {
        for (first, last) in &segment.runs {
            let first = self.segment_start + u64::from(*first);
            let last = self.segment_start + u64::from(*last);
            self.cut_at_maximum(first, cuts);
            // The next position of this run that is far enough from the last cut.
            let mut position = first.max(self.chunk_start + MIN);
            while position <= last {
                self.cut(position, cuts);
                position += MIN;
            }
        }
        self.segment_start += u64::from(segment.segment_bytes);
        self.cut_at_maximum(self.segment_start, cuts);
    }

    /// Ends the file: appends the end of its last chunk, if one is open.
    pub fn finish(self, cuts: &mut Vec<u64>) {
        if self.chunk_start < self.segment_start {
            cuts.push(self.segment_start);
        }
    }

    /// Where the chunk that is still open begins: data before this is not needed any more.
    pub fn chunk_start(&self) -> u64 {
        self.chunk_start
    }

    /// Cuts chunks that reach the maximum length at or before `position`.
    fn cut_at_maximum(&mut self, position: u64, cuts: &mut Vec<u64>) {
        while self.chunk_start + MAX <= position {
            self.cut(self.chunk_start + MAX, cuts);
        }
    }

    fn cut(&mut self, position: u64, cuts: &mut Vec<u64>) {
        cuts.push(position);
        self.chunk_start = position;
    }
}
