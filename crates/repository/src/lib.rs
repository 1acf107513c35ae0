//! restic's repository format and every operation that needs only a repository.
//!
//! This crate knows packs, blobs, indexes, keys, locks and snapshots. It does not know files on disk,
//! Kubernetes or terminals.

pub mod id;
pub mod blob;
pub mod time;

pub mod crypto;
pub mod key;
pub mod polynomial;
pub mod config;
pub mod compression;
pub mod chunker;

pub mod tree;
pub mod snapshot;
pub mod lock;

pub mod pack;
pub mod index;
pub mod repository;
pub mod indexed;
pub mod writer;

pub use blob::{BlobHandle, BlobKind, BlobLocation};
pub use id::{BlobId, Id, IndexId, KeyId, LockId, PackId, SnapshotId};
pub use indexed::IndexedRepository;
pub use repository::{CreateOptions, LoadError, OpenError, OpenOptions, Repository, SaveError};
pub use writer::{BlobWriter, SavedBlob, WriterSummary};
