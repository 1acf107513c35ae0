//! The header's entries: written, and parsed from bytes that nobody vouches for.

use std::num::NonZeroU32;

use crate::blob::{BlobHandle, BlobKind};
use crate::crypto::{CryptoError, OVERHEAD};
use crate::id::{BlobId, Id};
use crate::pack::{LENGTH_BYTES, MAX_HEADER_BYTES, PackedBlob};

/// Bytes of an entry without and with a plaintext length.
const PLAIN_ENTRY_BYTES: usize = 1 + 4 + 32;
const COMPRESSED_ENTRY_BYTES: usize = PLAIN_ENTRY_BYTES + 4;

/// How many blobs a pack may hold so that its header stays within what every reader accepts.
pub(super) const MAX_BLOBS: usize =
    (MAX_HEADER_BYTES - OVERHEAD - LENGTH_BYTES) / COMPRESSED_ENTRY_BYTES;

/// What is wrong with a pack's header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The file is too small for any header.
    #[error("pack of {bytes} bytes is too short to have a header")]
    TooShort {
        /// Bytes there are.
        bytes: u64,
    },
    /// The length at the end of the file cannot be right.
    #[error("header length {length} does not fit a pack of {pack_bytes} bytes")]
    Length {
        /// What the file says.
        length: u64,
        /// Size of the file.
        pack_bytes: u64,
    },
    /// The header cannot be decrypted.
    #[error("header cannot be decrypted")]
    Sealed(#[source] CryptoError),
    /// An entry has a type that is not known.
    #[error("header entry {entry} has the unknown type {found}")]
    EntryType {
        /// Number of the entry from 0.
        entry: usize,
        /// The type.
        found: u8,
    },
    /// The header ends within an entry.
    #[error("header ends within entry {entry}")]
    EntryCut {
        /// Number of the entry from 0.
        entry: usize,
    },
    /// A blob is too short, or lies outside of the pack.
    #[error("header entry {entry} names an impossible range of the pack")]
    EntryRange {
        /// Number of the entry from 0.
        entry: usize,
    },
    /// The blobs do not fill the pack up to its header.
    #[error("the header accounts for {named} of {present} bytes of blobs")]
    Trailing {
        /// Bytes that the entries name.
        named: u64,
        /// Bytes in front of the header.
        present: u64,
    },
}

/// Bytes that the header of these blobs takes in a pack, with its overhead and length.
pub fn header_bytes<'a>(blobs: impl IntoIterator<Item = &'a PackedBlob>) -> u64 {
    let entries: usize = blobs
        .into_iter()
        .map(|blob| entry_bytes(blob.uncompressed_length.is_some()))
        .sum();
    (entries + OVERHEAD + LENGTH_BYTES) as u64
}

/// Bytes that one blob takes in a header.
pub(crate) const fn entry_bytes(compressed: bool) -> usize {
    if compressed {
        COMPRESSED_ENTRY_BYTES
    } else {
        PLAIN_ENTRY_BYTES
    }
}

/// The header's plaintext.
pub(super) fn write_entries(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut header = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY_BYTES);
    for blob in blobs {
        let kind = match blob.handle.kind {
            BlobKind::Data => 0,
            BlobKind::Tree => 1,
        };
        header.push(
            kind + if blob.uncompressed_length.is_some() {
                2
            } else {
                0
            },
        );
        header.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.uncompressed_length {
            header.extend_from_slice(&length.get().to_le_bytes());
        }
        header.extend_from_slice(blob.handle.id.as_bytes());
    }
    header
}

/// The length of the sealed header, from the last bytes of a pack of `pack_bytes` bytes.
pub(super) fn sealed_length(tail: &[u8], pack_bytes: u64) -> Result<usize, HeaderError> {
    let Some((_, length)) = tail.split_last_chunk::<LENGTH_BYTES>() else {
        return Err(HeaderError::TooShort { bytes: pack_bytes });
    };
    let length = u64::from(u32::from_le_bytes(*length));
    let smallest = (OVERHEAD + PLAIN_ENTRY_BYTES) as u64;
    let available = pack_bytes.saturating_sub(LENGTH_BYTES as u64);
    if available < smallest {
        return Err(HeaderError::TooShort { bytes: pack_bytes });
    }
    if length < smallest || length > available || length > MAX_HEADER_BYTES as u64 {
        return Err(HeaderError::Length { length, pack_bytes });
    }
    Ok(usize::try_from(length).expect("a header length is below 16 MiB"))
}

/// The blobs that a header's plaintext names, which must fill `blob_bytes` exactly.
pub(super) fn parse_entries(
    header: &[u8],
    blob_bytes: u64,
) -> Result<Vec<PackedBlob>, HeaderError> {
    let mut blobs = Vec::with_capacity(header.len() / PLAIN_ENTRY_BYTES);
    let mut rest = header;
    let mut offset = 0_u64;
    while let Some(&found) = rest.first() {
        let entry = blobs.len();
        let (kind, compressed) = match found {
            0 => (BlobKind::Data, false),
            1 => (BlobKind::Tree, false),
            2 => (BlobKind::Data, true),
            3 => (BlobKind::Tree, true),
            _ => return Err(HeaderError::EntryType { entry, found }),
        };
        let Some((fields, behind)) = rest.split_at_checked(entry_bytes(compressed)) else {
            return Err(HeaderError::EntryCut { entry });
        };
        rest = behind;
        let length = word(fields, 1);
        let uncompressed_length = if compressed {
            NonZeroU32::new(word(fields, 5))
        } else {
            None
        };
        let id: [u8; 32] = fields[fields.len() - 32..]
            .try_into()
            .expect("the entry ends with 32 bytes of id");
        let end = offset + u64::from(length);
        let Ok(start) = u32::try_from(offset) else {
            return Err(HeaderError::EntryRange { entry });
        };
        if end > blob_bytes
            || length < super::smallest_blob()
            || (compressed && uncompressed_length.is_none())
        {
            return Err(HeaderError::EntryRange { entry });
        }
        let handle = BlobHandle {
            kind,
            id: BlobId(Id::from_bytes(id)),
        };
        blobs.push(PackedBlob {
            handle,
            offset: start,
            length,
            uncompressed_length,
        });
        offset = end;
    }
    if offset == blob_bytes {
        Ok(blobs)
    } else {
        Err(HeaderError::Trailing {
            named: offset,
            present: blob_bytes,
        })
    }
}

fn word(fields: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(
        fields[at..at + 4]
            .try_into()
            .expect("four bytes were sliced"),
    )
}
