//! restic's repository format and every operation that needs only a repository.
//!
//! This crate knows packs, blobs, indexes, keys, locks and snapshots. It does not know files on disk,
//! Kubernetes or terminals.

pub mod blob;
pub mod id;
pub mod time;

pub mod chunker;
pub mod compression;
pub mod config;
pub mod crypto;
pub mod key;
pub mod polynomial;

pub mod forget;
pub mod keys;
pub mod lock;
pub mod snapshot;
pub mod stats;
pub mod tree;

pub mod check;
pub mod index;
pub mod indexed;
pub mod pack;
pub mod prune;
pub mod repository;
mod used;
pub mod writer;

pub use blob::{BlobHandle, BlobKind, BlobLocation};
pub use id::{BlobId, Id, IndexId, KeyId, LockId, PackId, SnapshotId};
pub use indexed::IndexedRepository;
pub use repository::{CreateOptions, LoadError, OpenError, OpenOptions, Repository, SaveError};
pub use writer::{BlobWriter, SavedBlob, WriterSummary};
