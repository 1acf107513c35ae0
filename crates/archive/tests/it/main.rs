//! Tests of the crate from outside, with the real restic as oracle where it matters.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that cannot be made is a failed test"
)]

mod diff;
mod dump;
mod filter;
mod find;
mod ls;
mod restore;
mod restore_safety;
mod save;
mod scene;
mod stream;
