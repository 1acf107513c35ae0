//! The binary from outside: judged by the real restic, killed, and given damaged input.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that cannot be made is a failed test"
)]

mod scene;
mod support;

mod codes;
mod interop;
mod json;
mod kill;
mod machine;
mod streams;
