//! The binary as its users run it, with real restic as judge.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod machine;
