//! The binary from outside: judged by the real restic, killed, and given damaged input.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a fixture that cannot be made is a failed test, and a test says what it tried"
)]

mod scene;
mod share;
mod support;

mod backends;
mod cluster;
mod codes;
mod controllers;
mod damage;
mod disk;
mod disturbances;
mod doctor;
mod hostile;
mod install;
mod interop;
mod json;
mod kill;
mod machine;
mod sessions;
mod storage;
mod streams;
