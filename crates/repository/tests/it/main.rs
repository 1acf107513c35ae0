//! Integration tests of the repository crate.

mod forget;
mod keys;
mod lock;
mod prune;
mod sample;
mod snapshot;
mod stats;
mod store;
mod tree;
