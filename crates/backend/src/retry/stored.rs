//! What lies under a name after a write whose end is unknown.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{Backend, BackendError, Handle};

/// So many random bytes at the start of an object are nobody else's.
const UNMISTAKABLE_BYTES: usize = 32;

/// What lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// What was to be written.
    Same,
    /// Only its beginning, and nobody else can have begun it.
    Partial,
    /// Something else.
    Other,
    /// Nothing.
    Absent,
}

/// Reads the object back.
pub(super) async fn look(
    backend: &dyn Backend,
    handle: &Handle,
    data: &Bytes,
) -> Result<Stored, BackendError> {
    let found = match backend.read(handle).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(Stored::Absent),
        Err(error) => return Err(error),
    };
    Ok(if found == *data {
        Stored::Same
    } else if data.starts_with(&found) && is_ours(handle, &found, data) {
        Stored::Partial
    } else {
        Stored::Other
    })
}

/// Whether only a write of this object can have stored its beginning: under the hash of the whole nothing else may
/// lie, and contents are encrypted with randomness of their own.
fn is_ours(handle: &Handle, beginning: &[u8], data: &[u8]) -> bool {
    beginning.len() >= UNMISTAKABLE_BYTES || handle.name() == hex::encode(Sha256::digest(data))
}
