//! Finds out what a store can do by doing it once, with an object that nobody else looks at.
//!
//! First the removal of a pack that does not exist tells whether packs may be removed; it removes nothing. If they
//! may, the trial object is a pack of a few random bytes under the SHA-256 of its content, as servers demand that
//! verify names. No index names it, so neither restic nor we read it, and a prune that lists it meanwhile only
//! removes it sooner. If they may not, as on an append-only server, which lets only locks go, the trial object is
//! an empty lock: both programs take that for a broken upload and ignore it, so no backup is held up.
//! A probe that is killed between writing and removing leaves one of the two: the next prune or `unlock` takes it.

use bytes::Bytes;
use rand::Rng as _;
use sha2::{Digest, Sha256};

use crate::{Backend, BackendError, ErrorKind, FileKind, Handle};

/// Length of the content of a trial pack.
const TRIAL_BYTES: usize = 1024;

/// What a store can do, with these credentials. `None` is what could not be tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Objects can be written.
    pub can_write: bool,
    /// Packs, index files and snapshots can be removed; otherwise the store is append-only for us.
    pub can_remove: bool,
    /// A second writer of a name is refused.
    pub has_create_if_absent: Option<bool>,
    /// What was written is read back at once, and the same.
    pub has_read_after_write: Option<bool>,
    /// Parts of objects can be read.
    pub has_range_reads: Option<bool>,
    /// What was written is listed at once.
    pub has_list_after_write: Option<bool>,
}

/// Tries what the store can do. Fails when it cannot be reached or does not know us; what it refuses is an answer.
///
/// The place must exist. Leaves nothing behind. Give it the service itself: above [`crate::Retry`] a second write of the
/// same bytes is never refused.
pub async fn capabilities(backend: &dyn Backend) -> Result<Capabilities, BackendError> {
    let can_remove = match backend.remove(&trial(FileKind::Pack, TRIAL_BYTES).0).await {
        Ok(()) => true,
        Err(error) if is_refusal(&error) => false,
        Err(error) => return Err(error),
    };
    let (handle, content) = if can_remove {
        trial(FileKind::Pack, TRIAL_BYTES)
    } else {
        trial(FileKind::Lock, 0)
    };
    let mut found = Capabilities {
        can_remove,
        ..Capabilities::default()
    };
    match backend.write(&handle, content.clone()).await {
        Ok(()) => found.can_write = true,
        // Only the empty lock always has the same name: another probe is under way and will remove it.
        Err(error) if error.kind == ErrorKind::AlreadyExists => {
            found.can_write = true;
            found.has_create_if_absent = Some(true);
            return Ok(found);
        }
        Err(error) if is_refusal(&error) => return Ok(found),
        Err(error) => {
            // It may have been stored nevertheless.
            if let Err(other) = backend.remove(&handle).await {
                tracing::debug!(%handle, error = %other, "could not remove what may have been stored");
            }
            return Err(error);
        }
    }
    let tried = try_object(backend, &handle, &content, &mut found).await;
    // Removed first, whatever was found out.
    backend.remove(&handle).await?;
    tried.map(|()| found)
}

async fn try_object(
    backend: &dyn Backend,
    handle: &Handle,
    content: &Bytes,
    found: &mut Capabilities,
) -> Result<(), BackendError> {
    found.has_read_after_write = Some(match backend.read(handle).await {
        Ok(read) => read == *content,
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(error),
    });
    if !content.is_empty() {
        let (offset, length) = (100, 50);
        found.has_range_reads = Some(match backend.read_range(handle, offset, length).await {
            Ok(part) => part == content.slice(100..150),
            Err(error) if matches!(error.kind, ErrorKind::TooShort | ErrorKind::NotFound) => false,
            Err(error) => return Err(error),
        });
    }
    found.has_create_if_absent = Some(match backend.write(handle, content.clone()).await {
        Ok(()) => false,
        Err(error) if error.kind == ErrorKind::AlreadyExists => true,
        // A store that lets nobody overwrite says so in its own way.
        Err(error) if is_refusal(&error) => true,
        Err(error) => return Err(error),
    });
    let listed = backend.list(handle.kind()).await?;
    found.has_list_after_write = Some(listed.iter().any(|info| info.name == handle.name()));
    Ok(())
}

fn is_refusal(error: &BackendError) -> bool {
    matches!(
        error.kind,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnly
    )
}

/// Random content under its hash.
fn trial(kind: FileKind, bytes: usize) -> (Handle, Bytes) {
    let mut content = vec![0; bytes];
    rand::rng().fill_bytes(&mut content);
    let name = hex::encode(Sha256::digest(&content));
    (Handle::new(kind, name), Bytes::from(content))
}
