//! The services: one module each, all on the one HTTP client of [`crate::http`].

mod keys;

mod azure;
mod b2;
mod gcs;
mod rest;
mod s3;
mod swift;

pub use azure::{AzureBackend, AzureOptions};
pub use b2::{B2Backend, B2Options};
pub use gcs::{GcsBackend, GcsOptions};
pub use rest::{RestBackend, RestOptions};
pub use s3::{BucketLookup, Retention, RetentionMode, S3Backend, S3Options, ServerEncryption};
pub use swift::{SwiftBackend, SwiftOptions};
