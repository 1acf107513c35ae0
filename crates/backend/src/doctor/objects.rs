//! Every operation on objects, tried once and undone.

use bytes::Bytes;
use rand::Rng as _;
use sha2::{Digest, Sha256};

use crate::doctor::network::millis;
use crate::doctor::remedy::told;
use crate::doctor::{Finding, Findings, Step, step};
use crate::{Backend, BackendError, ErrorKind, FileKind, Handle};

/// What lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    has_repository: bool,
    has_place: bool,
    has_folders_only_with_repository: bool,
}

impl State {
    /// Whether objects can be written: folders and REST servers need a repository for that.
    pub fn is_writable_now(self) -> bool {
        self.has_place && (self.has_repository || !self.has_folders_only_with_repository)
    }
}

/// What these credentials may do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rights {
    pub can_write: bool,
    pub can_remove: bool,
}

/// Credentials, repository, listing. Nothing when it is not worth going on.
pub(super) async fn read_steps(
    backend: &dyn Backend,
    findings: &mut Findings<'_>,
) -> Option<State> {
    let asking = step("credentials");
    let location = backend.location();
    let has_repository = match backend.stat(&Handle::config()).await {
        Ok(_) => {
            accepted(backend, asking, findings);
            findings.add(step("repository").fine(format!("there is one at {location}")));
            true
        }
        Err(error) if error.kind == ErrorKind::NotFound => {
            accepted(backend, asking, findings);
            findings.add(step("repository").skipped(format!(
                "none yet at {location}; the first session or `stash init` makes it"
            )));
            false
        }
        Err(error) if error.kind == ErrorKind::PlaceNotFound => {
            accepted(backend, asking, findings);
            findings.add(missing_place(&error));
            let has_folders_only_with_repository = true;
            return Some(State {
                has_repository: false,
                has_place: false,
                has_folders_only_with_repository,
            });
        }
        Err(error) => {
            findings.add(asking.refused(&error));
            return None;
        }
    };
    let listing = step("list");
    let has_folders_only_with_repository = match backend.list(FileKind::Snapshot).await {
        Ok(found) => {
            let took = millis(listing.start.elapsed());
            findings.add(listing.fine(format!("{} snapshots, listed in {took}", found.len())));
            false
        }
        Err(error) if error.kind == ErrorKind::NotFound && !has_repository => true,
        Err(error) => {
            findings.add(listing.refused(&error));
            false
        }
    };
    let is_folder_like = has_folders_only_with_repository || backend.endpoint().is_none();
    Some(State {
        has_repository,
        has_place: true,
        has_folders_only_with_repository: is_folder_like,
    })
}

/// A folder asks for no credentials.
fn accepted(backend: &dyn Backend, asking: Step, findings: &mut Findings<'_>) {
    if backend.endpoint().is_some() {
        findings.add(asking.fine("accepted"));
    }
}

fn missing_place(error: &BackendError) -> Finding {
    step("repository").warning(
        format!(
            "the bucket or container of {} does not exist",
            error.location
        ),
        "Check its name. The first session or `stash init` creates it if the credentials may.",
    )
}

/// Writing, reading back, parts, a name that is taken, listing, removing.
pub(super) async fn write_steps(
    backend: &dyn Backend,
    state: State,
    findings: &mut Findings<'_>,
) -> Rights {
    let mut rights = Rights {
        can_write: false,
        can_remove: can_remove_packs(backend, findings).await,
    };
    // Packs that stay would keep a repository from being made here: a lock shows first that what is written goes.
    if rights.can_remove && !state.has_repository {
        let trial = try_lock(backend, findings).await;
        if !(trial.can_write && trial.can_remove) {
            return trial;
        }
    }
    // Where packs cannot be removed, locks can: every store that takes backups allows that.
    let (handle, content) = if rights.can_remove {
        sample(FileKind::Pack, 4096)
    } else {
        sample(FileKind::Lock, 0)
    };
    rights.can_write = write(backend, &handle, &content, findings).await;
    if !rights.can_write {
        return rights;
    }
    read_back(backend, &handle, &content, findings).await;
    write_again(backend, &handle, &content, findings).await;
    list_after_write(backend, &handle, findings).await;
    rights.can_remove &= remove(backend, &handle, findings).await;
    rights
}

/// Writes and removes an empty lock, which is one that a writer has not finished yet: a backup beside us passes over
/// it, and so does whoever makes a repository. Silent when both work.
async fn try_lock(backend: &dyn Backend, findings: &mut Findings<'_>) -> Rights {
    let (handle, content) = sample(FileKind::Lock, 0);
    let writing = step("write");
    if let Err(error) = backend.write(&handle, content).await
        && error.kind != ErrorKind::AlreadyExists
    {
        findings.add(writing.refused(&error));
        clear(backend, &handle, findings).await;
        return Rights::default();
    }
    let removing = step("remove");
    let removed = backend.remove(&handle).await;
    if let Err(error) = &removed {
        findings.add(removing.refused(error));
    }
    Rights {
        can_write: true,
        can_remove: removed.is_ok(),
    }
}

async fn write(
    backend: &dyn Backend,
    handle: &Handle,
    content: &Bytes,
    findings: &mut Findings<'_>,
) -> bool {
    let writing = step("write");
    match backend.write(handle, content.clone()).await {
        Ok(()) => {}
        // The empty lock always has the same name: another examination left it or is under way.
        Err(error) if error.kind == ErrorKind::AlreadyExists && content.is_empty() => {}
        Err(error) => {
            findings.add(writing.refused(&error));
            clear(backend, handle, findings).await;
            return false;
        }
    }
    let took = millis(writing.start.elapsed());
    findings.add(writing.fine(format!("{} bytes in {took}", content.len())));
    true
}

/// A write that failed may still have been stored.
async fn clear(backend: &dyn Backend, handle: &Handle, findings: &mut Findings<'_>) {
    let removing = step("remove");
    match backend.remove(handle).await {
        Ok(()) => {}
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::ReadOnly
            ) => {}
        Err(error) => findings.add(removing.warning(
            format!("whether {handle} was stored is unknown: {}", told(&error)),
            "Look whether it is there, and remove it.",
        )),
    }
}

/// Removing a pack that does not exist tells whether removing is allowed, and removes nothing.
async fn can_remove_packs(backend: &dyn Backend, findings: &mut Findings<'_>) -> bool {
    let asking = step("removal");
    let (absent, _) = sample(FileKind::Pack, 32);
    match backend.remove(&absent).await {
        Ok(()) => true,
        Err(error) if error.kind == ErrorKind::PermissionDenied => {
            findings.add(asking.warning(
                "data may be added, not removed: this looks like an append-only store",
                "That is safe against deletion, but `forget` and `prune` need other credentials.",
            ));
            false
        }
        Err(error) => {
            findings.add(asking.refused(&error));
            false
        }
    }
}

async fn read_back(
    backend: &dyn Backend,
    handle: &Handle,
    content: &Bytes,
    findings: &mut Findings<'_>,
) {
    let reading = step("read");
    findings.add(match backend.read(handle).await {
        Ok(read) if read == *content => reading.fine("what was written is read back"),
        Ok(read) => reading.failed(
            format!(
                "{} bytes were read back that differ from the {} written",
                read.len(),
                content.len()
            ),
            "Do not trust this store, or a proxy before it, with backups.",
        ),
        Err(error) => reading.refused(&error),
    });
    if content.len() < 1500 {
        return;
    }
    let reading = step("range");
    findings.add(match backend.read_range(handle, 1000, 500).await {
        Ok(part) if part == content.slice(1000..1500) => {
            reading.fine("parts of objects can be read")
        }
        Ok(_) => reading.failed(
            "a part of an object came back wrong",
            "Do not trust this store, or a proxy before it, with backups.",
        ),
        Err(error) => reading.refused(&error),
    });
}

/// A second writer comes with other bytes: the same ones would be taken for an attempt whose answer was lost.
async fn write_again(
    backend: &dyn Backend,
    handle: &Handle,
    content: &Bytes,
    findings: &mut Findings<'_>,
) {
    let writing = step("names");
    if content.is_empty() {
        // Other bytes would make a lock that cannot be read.
        findings.add(writing.skipped("not tried with locks"));
        return;
    }
    let other: Bytes = content.iter().rev().copied().collect();
    findings.add(match backend.write(handle, other).await {
        // A server that verifies names may look at the content first.
        Err(error) if matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::Permanent) => {
            writing.fine("a name that is taken is refused to a second writer")
        }
        Ok(()) => writing.fine(
            "a second writer of a name is not refused; nothing depends on it, because names are those of the content",
        ),
        Err(error) => writing.refused(&error),
    });
}

async fn list_after_write(backend: &dyn Backend, handle: &Handle, findings: &mut Findings<'_>) {
    let listing = step("fresh list");
    findings.add(match backend.list(handle.kind()).await {
        Ok(found) if found.iter().any(|info| info.name == handle.name()) => {
            listing.fine("new objects are listed at once")
        }
        Ok(_) => listing.warning(
            "a new object is not listed at once",
            "Locks may be seen late: let only one machine prune this repository.",
        ),
        Err(error) => listing.refused(&error),
    });
}

/// Whether it could be removed.
async fn remove(backend: &dyn Backend, handle: &Handle, findings: &mut Findings<'_>) -> bool {
    let removing = step("remove");
    if let Err(error) = backend.remove(handle).await {
        findings.add(removing.refused(&error));
        return false;
    }
    match backend.stat(handle).await {
        Err(error) if error.is_not_found() => {
            findings.add(removing.fine("removed objects are gone"));
            return true;
        }
        Ok(_) => findings.add(removing.warning(
            format!("{handle} can still be seen after its removal"),
            "Look whether the bucket keeps versions or has a retention rule: space is not freed.",
        )),
        Err(error) => findings.add(removing.refused(&error)),
    }
    false
}

/// Random content under the name that restic would give it.
pub(super) fn sample(kind: FileKind, bytes: usize) -> (Handle, Bytes) {
    let mut content = vec![0; bytes];
    rand::rng().fill_bytes(&mut content);
    let name = hex::encode(Sha256::digest(&content));
    (Handle::new(kind, name), Bytes::from(content))
}
