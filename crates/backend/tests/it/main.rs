//! Tests of the storage clients against real storage.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod azure;
mod b2;
mod cache;
mod conformance;
mod decorators;
mod doctor;
mod gcs;
mod local;
mod local_refused;
mod nfs;
mod probe;
mod rest;
mod results;
mod retry;
mod s3;
mod storage;
mod swift;
