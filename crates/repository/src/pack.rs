//! Packs: files that hold many sealed blobs and, at their end, a sealed header naming them
//! (`docs/format.md`, packs).
//!
//! Owns the layout: building a pack in memory and parsing the header of one, whatever its bytes say.
//! Which pack holds which blob is the index's; uploading is the writer's.

mod builder;
mod header;

use std::num::NonZeroU32;

use bytes::Bytes;

use crate::blob::{BlobHandle, BlobLocation};
use crate::crypto::{MasterKey, OVERHEAD};
use crate::id::PackId;

pub(crate) use builder::{FinishedPack, PackBuilder};
pub(crate) use header::entry_bytes;
pub use header::{HeaderError, header_bytes};

/// Bytes of the length at the very end of a pack.
pub(crate) const LENGTH_BYTES: usize = 4;

/// The largest header restic accepts, with its overhead and the length behind it.
pub(crate) const MAX_HEADER_BYTES: usize = 16 << 20;

/// Bytes read from the end of a pack at first: enough for the header of most packs.
const FIRST_READ_BYTES: u64 = 4 << 10;

/// One blob in a pack, as the pack's header and the index tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackedBlob {
    /// Kind and id.
    pub handle: BlobHandle,
    /// First byte in the pack.
    pub offset: u32,
    /// Stored bytes.
    pub length: u32,
    /// Bytes of the plaintext when it is compressed.
    pub uncompressed_length: Option<NonZeroU32>,
}

impl PackedBlob {
    /// The location of this blob when it lies in `pack`.
    pub const fn in_pack(&self, pack: PackId) -> BlobLocation {
        BlobLocation {
            pack,
            offset: self.offset,
            length: self.length,
            uncompressed_length: self.uncompressed_length,
        }
    }
}

/// The blobs of a whole pack in memory, in the order of their offsets.
pub fn parse(key: &MasterKey, pack: &[u8]) -> Result<Vec<PackedBlob>, HeaderError> {
    let sealed = header::sealed_length(pack, pack.len() as u64)?;
    let end = pack.len() - LENGTH_BYTES;
    let plain = key
        .open(&pack[end - sealed..end])
        .map_err(HeaderError::Sealed)?;
    header::parse_entries(&plain, (end - sealed) as u64)
}

/// Why the header of a pack in storage cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadHeaderError<E: std::error::Error + 'static> {
    /// The read failed.
    #[error("cannot read the header")]
    Read(#[source] E),
    /// The header is damaged.
    #[error("the header is damaged")]
    Header(#[source] HeaderError),
}

/// The blobs of a pack of which only the end is read: one read, or two when the header is long.
///
/// `read` is given an offset and a length within `pack_bytes`, the size of the pack.
pub async fn read_header<E, F>(
    key: &MasterKey,
    pack_bytes: u64,
    read: impl Fn(u64, u64) -> F,
) -> Result<Vec<PackedBlob>, ReadHeaderError<E>>
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<Bytes, E>>,
{
    let first = pack_bytes.min(FIRST_READ_BYTES);
    let mut tail = read(pack_bytes - first, first)
        .await
        .map_err(ReadHeaderError::Read)?;
    let sealed = header::sealed_length(&tail, pack_bytes).map_err(ReadHeaderError::Header)?;
    let wanted = sealed + LENGTH_BYTES;
    if tail.len() < wanted {
        let length = wanted as u64;
        tail = read(pack_bytes - length, length)
            .await
            .map_err(ReadHeaderError::Read)?;
        if tail.len() < wanted {
            return Err(ReadHeaderError::Header(HeaderError::TooShort {
                bytes: tail.len() as u64,
            }));
        }
    }
    let end = tail.len() - LENGTH_BYTES;
    let plain = key
        .open(&tail[end - sealed..end])
        .map_err(|error| ReadHeaderError::Header(HeaderError::Sealed(error)))?;
    header::parse_entries(&plain, pack_bytes - wanted as u64).map_err(ReadHeaderError::Header)
}

/// Bytes of a header that names nothing, with its length.
pub(crate) const fn empty_header_bytes() -> u64 {
    (OVERHEAD + LENGTH_BYTES) as u64
}

/// The smallest length a stored blob can have.
pub(crate) const fn smallest_blob() -> u32 {
    // Bytes of nonce and tag; the assertion keeps the two numbers the same.
    const { assert!(OVERHEAD == 32) };
    32
}

#[cfg(test)]
mod tests;
