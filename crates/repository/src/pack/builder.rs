//! A pack while it is filled.

use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use crate::blob::BlobHandle;
use crate::crypto::{MasterKey, OVERHEAD};
use crate::id::{Id, PackId};
use crate::pack::header::{self, MAX_BLOBS};
use crate::pack::{LENGTH_BYTES, PackedBlob};

/// Blobs sealed one behind the other in one buffer.
#[derive(Debug)]
pub(crate) struct PackBuilder {
    buffer: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

/// A pack ready to be stored.
#[derive(Debug)]
pub(crate) struct FinishedPack {
    /// The hash of the content.
    pub(crate) id: PackId,
    /// The whole file.
    pub(crate) content: Vec<u8>,
    /// What it holds.
    pub(crate) blobs: Vec<PackedBlob>,
}

/// The blob cannot be placed: the pack would outgrow what offsets can say.
#[derive(Debug, thiserror::Error)]
#[error("blob of {bytes} bytes is too large for a pack")]
pub(crate) struct BlobTooLarge {
    /// Bytes of the blob.
    pub(crate) bytes: usize,
}

impl PackBuilder {
    /// An empty pack that takes over a buffer, whose content is dropped and whose memory is used.
    pub(crate) fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            buffer,
            blobs: Vec::new(),
        }
    }

    /// Bytes of the pack so far, without a header.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Whether it holds as many blobs as a header can name.
    pub(crate) fn is_header_full(&self) -> bool {
        self.blobs.len() >= MAX_BLOBS
    }

    /// Whether one header can name the blobs of both.
    pub(crate) fn has_room_for_blobs_of(&self, other: &Self) -> bool {
        self.blobs.len() + other.blobs.len() <= MAX_BLOBS
    }

    /// Encrypts a blob to the end of the pack and returns the bytes it takes, with its header entry.
    ///
    /// `content` is the plaintext, or its compressed form when `uncompressed_length` is given.
    pub(crate) fn seal(
        &mut self,
        key: &MasterKey,
        handle: BlobHandle,
        content: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<u64, BlobTooLarge> {
        let length = content.len() + OVERHEAD;
        let blob = self.place(handle, length, uncompressed_length)?;
        key.seal_into(content, &mut self.buffer);
        self.blobs.push(blob);
        Ok((length + header::entry_bytes(uncompressed_length.is_some())) as u64)
    }

    /// Appends all blobs of another pack, which are sealed with the same key.
    pub(crate) fn append(&mut self, other: &Self) -> Result<(), BlobTooLarge> {
        let base = self.buffer.len();
        let end = u32::try_from(base + other.buffer.len());
        let (Ok(base), Ok(_)) = (u32::try_from(base), end) else {
            return Err(BlobTooLarge {
                bytes: other.buffer.len(),
            });
        };
        self.buffer.extend_from_slice(&other.buffer);
        self.blobs.extend(other.blobs.iter().map(|blob| PackedBlob {
            offset: blob.offset + base,
            ..*blob
        }));
        Ok(())
    }

    /// Seals the header and names the pack. Hashes the whole content.
    pub(crate) fn finish(mut self, key: &MasterKey) -> FinishedPack {
        let entries = header::write_entries(&self.blobs);
        key.seal_into(&entries, &mut self.buffer);
        let length = u32::try_from(entries.len() + OVERHEAD)
            .expect("the number of blobs is bounded by MAX_BLOBS");
        self.buffer.extend_from_slice(&length.to_le_bytes());
        debug_assert_eq!(
            header::header_bytes(&self.blobs),
            (entries.len() + OVERHEAD + LENGTH_BYTES) as u64
        );
        let id = PackId(Id::from_bytes(Sha256::digest(&self.buffer).into()));
        FinishedPack {
            id,
            content: self.buffer,
            blobs: self.blobs,
        }
    }

    fn place(
        &self,
        handle: BlobHandle,
        length: usize,
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<PackedBlob, BlobTooLarge> {
        let too_large = || BlobTooLarge { bytes: length };
        let offset = u32::try_from(self.buffer.len()).map_err(|_| too_large())?;
        let length32 = u32::try_from(length).map_err(|_| too_large())?;
        offset.checked_add(length32).ok_or_else(too_large)?;
        Ok(PackedBlob {
            handle,
            offset,
            length: length32,
            uncompressed_length,
        })
    }
}
