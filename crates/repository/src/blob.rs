//! Blobs: the pieces of file content and the trees that packs hold, and where they lie.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::id::{BlobId, PackId};

/// What a blob holds. The same bytes may be stored as both kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    /// A piece of file content.
    Data,
    /// The JSON of one directory.
    Tree,
}

impl BlobKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Data, Self::Tree];
}

impl fmt::Display for BlobKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Data => "data",
            Self::Tree => "tree",
        })
    }
}

/// The full name of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHandle {
    /// What it holds.
    pub kind: BlobKind,
    /// The hash of its plaintext.
    pub id: BlobId,
}

impl fmt::Display for BlobHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} blob {}", self.kind, self.id.short())
    }
}

/// Where a blob lies: a range of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobLocation {
    /// The pack that holds it.
    pub pack: PackId,
    /// First byte in the pack.
    pub offset: u32,
    /// Stored bytes: encrypted and, where it helped, compressed.
    pub length: u32,
    /// Bytes of the plaintext when it is compressed (`docs/format.md`, packs); absent when it is stored plain.
    pub uncompressed_length: Option<NonZeroU32>,
}

impl BlobLocation {
    /// Bytes of the plaintext.
    pub fn plaintext_bytes(&self) -> u64 {
        self.uncompressed_length.map_or_else(
            || u64::from(self.length).saturating_sub(crate::crypto::OVERHEAD as u64),
            |length| u64::from(length.get()),
        )
    }
}
