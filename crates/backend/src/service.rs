//! The services: one module each, all on the one HTTP client of [`crate::http`].

mod rest;

pub use rest::{RestBackend, RestOptions};
