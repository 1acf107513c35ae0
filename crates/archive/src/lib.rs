//! Directories to snapshots and back: select, save, restore, list, compare, dump.
//!
//! Owns what happens between files on disk and blobs of a repository. Storage, encryption and the format
//! are `repository`'s; terminals, flags and Kubernetes are left to callers.

pub mod diff;
pub mod dump;
pub mod filter;
pub mod find;
pub mod ls;
pub mod metadata;
pub mod parent;
pub mod path;
pub mod restore;
pub mod save;
pub mod source;
pub mod walk;
