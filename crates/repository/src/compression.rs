//! Compression with zstd, and decompression that trusts no stated length (`docs/format.md`,
//! section 2).
//!
//! Owns the levels and the reusable contexts. Which blobs and files are compressed at all, and
//! the byte in front of compressed files, are decided by their writers.

use std::fmt;
use std::str::FromStr;

/// How new data is compressed; the names are those of restic's `--compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// File contents are stored as they are. Trees and other metadata are still compressed.
    Off,
    /// Least CPU.
    Fastest,
    /// The balance for most data.
    #[default]
    Auto,
    /// Smaller, at about a third of the speed of `Auto`.
    Better,
    /// Smallest that is worth its time.
    Max,
}
