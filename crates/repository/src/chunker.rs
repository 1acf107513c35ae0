//! Content-defined chunking: where a file is cut so that equal content gives equal blobs
//! (`docs/format.md`, section 10).
//!
//! Owns the rolling fingerprint, the sequential [`Chunker`] over a reader, and the two halves of
//! the parallel way: [`candidates`] scans any part of a file by itself and [`CutResolver`] turns
//! ordered candidates into the same cuts. Reading files and hashing chunks is left to callers.
//!
//! The fingerprint of a position depends on the 64 bytes before it alone, and no chunk is shorter
//! than that, so candidates can be found in any order and on any number of cores.

mod candidates;
mod resolver;
mod scan;
mod tables;

use std::io::{self, Read};

pub use candidates::{Candidates, candidates};
pub use resolver::CutResolver;
pub use tables::ChunkerTables;

/// No chunk but the last of a file is shorter.
pub const MIN_CHUNK_BYTES: usize = 512 << 10;
/// No chunk is longer.
pub const MAX_CHUNK_BYTES: usize = 8 << 20;
/// How many bytes the fingerprint of a position covers.
pub const WINDOW_BYTES: usize = 64;

/// How much is asked of the reader at once, which is also what a [`Chunker`] holds back.
const READ_BYTES: usize = 256 << 10;

/// Cuts one stream after the other into chunks.
///
/// Holds 256 KiB for reading ahead, kept from one stream to the next.
#[derive(Debug)]
pub struct Chunker {
    tables: ChunkerTables,
    /// What was read last; the part in `rest` belongs to the next chunk.
    read_ahead: Vec<u8>,
    rest: std::ops::Range<usize>,
    is_at_end: bool,
}

impl Chunker {
    /// A chunker at the start of a stream.
    pub fn new(tables: ChunkerTables) -> Self {
        Self {
            tables,
            read_ahead: Vec::new(),
            rest: 0..0,
            is_at_end: false,
        }
    }

    /// Forgets the current stream, to begin another.
    pub fn reset(&mut self) {
        self.rest = 0..0;
        self.is_at_end = false;
    }

    /// Fills `buffer` with exactly the next chunk and returns its length, or `None` at the end.
    ///
    /// `reader` must be the same stream until the end or [`Self::reset`]. After an error the stream
    /// cannot be continued, since the bytes read for this chunk are in `buffer` only.
    pub fn next_chunk(
        &mut self,
        reader: &mut impl Read,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        buffer.clear();
        let mut scanned = MIN_CHUNK_BYTES - 1;
        loop {
            if self.rest.is_empty() && !self.read_more(reader)? {
                return Ok((!buffer.is_empty()).then_some(buffer.len()));
            }
            let start = buffer.len();
            let taken = self.rest.len().min(MAX_CHUNK_BYTES - start);
            buffer.extend_from_slice(&self.read_ahead[self.rest.start..self.rest.start + taken]);
            let cut = scan::first_candidate(&self.tables, buffer, scanned)
                .or((buffer.len() == MAX_CHUNK_BYTES).then_some(MAX_CHUNK_BYTES));
            if let Some(cut) = cut {
                // Everything up to `scanned` was seen before, so the cut lies in what was taken now.
                self.rest.start += cut - start;
                buffer.truncate(cut);
                return Ok(Some(cut));
            }
            self.rest = 0..0;
            scanned = scanned.max(buffer.len());
        }
    }

    /// Reads ahead until there is something or the stream ends.
    fn read_more(&mut self, reader: &mut impl Read) -> io::Result<bool> {
        if self.is_at_end {
            return Ok(false);
        }
        self.read_ahead.resize(READ_BYTES, 0);
        loop {
            match reader.read(&mut self.read_ahead) {
                Ok(bytes) => {
                    self.rest = 0..bytes;
                    self.is_at_end = bytes == 0;
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The ends of all chunks of `data`, the last of which is its length; nothing for no data.
pub fn cut_points(tables: &ChunkerTables, data: &[u8]) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let chunk = &data[start..(start + MAX_CHUNK_BYTES).min(data.len())];
        start += scan::first_candidate(tables, chunk, MIN_CHUNK_BYTES - 1).unwrap_or(chunk.len());
        cuts.push(start);
    }
    cuts
}

#[cfg(test)]
mod tests;
