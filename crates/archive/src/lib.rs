//! Directories to snapshots and back: select, save, restore, list, compare, dump.
//!
//! Owns what happens between files on disk and blobs of a repository. Storage, encryption and the format
//! are `repository`'s; terminals, flags and Kubernetes are left to callers.

pub mod filter;
pub mod path;
pub mod metadata;
pub mod source;
pub mod parent;
pub mod save;
pub mod restore;
pub mod walk;
pub mod diff;
pub mod dump;
pub mod find;
