//! The index in memory: which pack holds which blob.

/// A compact index.
#[derive(Debug, Default)]
pub struct Index {}
