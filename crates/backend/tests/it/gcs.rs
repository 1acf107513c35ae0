//! Google Cloud Storage: every form of credentials, what only Google says, large objects, and restic beside us.
//!
//! What all backends share is shown by the conformance suite.

mod credentials;
mod front;
mod interop;
mod names;
mod objects;
mod resumable;

use std::error::Error;

use backend::{BackendError, FileKind, GcsBackend, GcsOptions, Handle, HttpOptions, Variables};
use bytes::Bytes;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

fn options(text: &str, pairs: &[(&str, &str)]) -> GcsOptions {
    let variables = Variables::new().or(pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))));
    GcsOptions::parse(text, &variables).unwrap()
}

fn backend(text: &str, pairs: &[(&str, &str)]) -> GcsBackend {
    GcsBackend::new(options(text, pairs), &direct()).unwrap()
}

fn direct() -> HttpOptions {
    HttpOptions {
        use_proxies: false,
        ..HttpOptions::default()
    }
}

fn fresh_bucket() -> String {
    format!("gcs-{:016x}", rand::random::<u64>())
}

fn object(kind: FileKind, data: impl Into<Bytes>) -> (Handle, Bytes) {
    let data = data.into();
    (Handle::new(kind, hex::encode(Sha256::digest(&data))), data)
}

/// Everything that a failure can show.
fn shown(error: &BackendError) -> String {
    let mut text = format!("{error:?}\n{error:#?}\n{error}");
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!("\n{source:?}\n{source}"));
        next = source.source();
    }
    text
}
