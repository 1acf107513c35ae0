//! Integration tests of the repository crate.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail the test like the tests themselves"
)]

mod cache;
mod check;
mod create;
mod fixtures;
mod forget;
mod keys;
mod lock;
mod prune;
mod sample;
mod snapshot;
mod stats;
mod store;
mod tree;
