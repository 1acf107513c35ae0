//! What lies under a name after a write whose end is unknown.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{Backend, BackendError, ErrorKind, Handle, Operation};

/// What lies there is compared in parts of this size, so that comparing holds no second copy of a pack.
const PART_BYTES: usize = 4 << 20;
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

/// Other bytes are in the way under the hash of ours.
#[derive(Debug, thiserror::Error)]
#[error("what lies under this name does not fit it and cannot be replaced")]
pub(super) struct Irreplaceable {
    #[source]
    pub source: BackendError,
}

/// Reads the object back, every byte of it: sizes and sums that a store tells prove nothing.
pub(super) async fn look(
    backend: &dyn Backend,
    handle: &Handle,
    data: &Bytes,
) -> Result<Stored, BackendError> {
    let mut offset = 0;
    for part in data.chunks(PART_BYTES) {
        let found = backend.read_range(handle, offset, part.len() as u64).await;
        match found {
            Ok(found) if found == part => offset += part.len() as u64,
            Ok(found) if found.len() != part.len() => {
                return Err(cut(backend, handle, found.len()));
            }
            Ok(_) => return Ok(Stored::Other),
            Err(error) if error.kind == ErrorKind::TooShort => {
                return look_at_shorter(backend, handle, data).await;
            }
            Err(error) if error.is_not_found() => return Ok(Stored::Absent),
            Err(error) => return Err(error),
        }
    }
    match backend.read_range(handle, offset, 1).await {
        Ok(_) => Ok(Stored::Other),
        Err(error) if error.kind == ErrorKind::TooShort => Ok(Stored::Same),
        Err(error) if error.is_not_found() => Ok(Stored::Absent),
        Err(error) => Err(error),
    }
}

/// The store says that what lies there ends before ours does.
async fn look_at_shorter(
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
    beginning.len() >= UNMISTAKABLE_BYTES || is_named_by(handle, data)
}

/// Whether the name is the hash of these bytes.
pub(super) fn is_named_by(handle: &Handle, data: &[u8]) -> bool {
    handle.name() == hex::encode(Sha256::digest(data))
}

fn cut(backend: &dyn Backend, handle: &Handle, bytes: usize) -> BackendError {
    let reason = format!("{bytes} bytes came where others were asked for");
    BackendError::new(
        ErrorKind::Temporary,
        Operation::Read,
        handle,
        backend.location(),
        Some(reason.into()),
    )
}
