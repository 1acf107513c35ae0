//! Integration tests of the repository crate.

mod lock;
mod sample;
mod store;
