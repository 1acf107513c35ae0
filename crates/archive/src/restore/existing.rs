//! Comparing files that lie in the target already with what the snapshot has: what matches is not written.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use repository::{BlobHandle, BlobId, BlobKind, Id, IndexedRepository};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::restore::Overwrite;
use crate::restore::file::{FileJob, Place};
use crate::restore::metadata::{Metadata, modified};
use crate::restore::target::{Directory, Target, is_kind, make_accessible};
use std::sync::Arc;

/// What a look at a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The entry stays as it is on disk.
    Skip,
    /// Nothing is there.
    Vacant,
    /// A file is there whose content must be compared.
    Compare,
    /// A file is there whose size and time say that its content is right.
    Trusted,
    /// Something is there that must go.
    Replace,
}

/// Decides by the overwrite mode alone whether an entry is restored over what lies there.
pub(super) fn may_overwrite(overwrite: Overwrite, metadata: &Metadata, stat: &Stat) -> bool {
    match overwrite {
        Overwrite::Always | Overwrite::IfChanged => true,
        Overwrite::IfNewer => {
            let there = modified(stat);
            metadata
                .mtime
                .is_some_and(|mtime| (mtime.tv_sec, mtime.tv_nsec) > (there.tv_sec, there.tv_nsec))
        }
        Overwrite::Never => false,
    }
}

/// Looks at the place of a file.
pub(super) fn look(
    overwrite: Overwrite,
    metadata: &Metadata,
    size: u64,
    stat: Option<&Stat>,
) -> Look {
    let Some(stat) = stat else {
        return Look::Vacant;
    };
    if !may_overwrite(overwrite, metadata, stat) {
        return Look::Skip;
    }
    if !is_kind(stat, FileType::RegularFile) {
        return Look::Replace;
    }
    let has_size = u64::try_from(stat.st_size) == Ok(size);
    if overwrite == Overwrite::IfChanged && has_size && metadata.mtime == Some(modified(stat)) {
        return Look::Trusted;
    }
    Look::Compare
}

/// What a comparison found.
#[derive(Debug)]
pub(super) enum Compared {
    /// The content is right; the file is open for its metadata.
    Right(OwnedFd),
    /// The file is right in everything and has other names, so it is left alone.
    Untouched,
    /// The file is to be written as this says.
    Write(Place),
}

/// Compares a file on disk with a file of the snapshot.
///
/// A file with other names is never changed in place: one of them may lie outside of the target.
pub(super) fn compare(
    repository: &IndexedRepository,
    target: &Target,
    file: &FileJob,
    is_trusted: bool,
) -> Compared {
    let Ok((opened, is_writable)) = open(target, &file.directory, &file.name) else {
        return Compared::Write(Place::Replace);
    };
    let Ok(stat) = rustix::fs::fstat(&opened) else {
        return Compared::Write(Place::Replace);
    };
    if !is_kind(&stat, FileType::RegularFile) {
        return Compared::Write(Place::Replace);
    }
    let has_size = u64::try_from(stat.st_size) == Ok(file.size);
    let kept = if is_trusted {
        vec![true; file.content.len()]
    } else {
        matching_blobs(repository, &opened, &file.content)
    };
    let is_right = has_size && kept.iter().all(|kept| *kept);
    match (is_right, stat.st_nlink) {
        (true, 1) => Compared::Right(opened),
        (true, _) if file.metadata.matches(&stat) => Compared::Untouched,
        (false, 1) if is_writable => Compared::Write(Place::Update(kept)),
        _ => Compared::Write(Place::Replace),
    }
}

fn open(
    target: &Target,
    directory: &Arc<Directory>,
    name: &CStr,
) -> Result<(OwnedFd, bool), Errno> {
    let directory = target.descriptor(directory)?;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let attempts = [
        // A look must not move the time of the last access.
        (OFlags::RDWR | OFlags::NOATIME, true),
        (OFlags::RDWR, true),
        (OFlags::RDONLY | OFlags::NOATIME, false),
        (OFlags::RDONLY, false),
    ];
    let mut refused = Errno::ACCESS;
    for (mode, is_writable) in attempts {
        match rustix::fs::openat(&directory, name, flags | mode, Mode::empty()) {
            Ok(opened) => return Ok((opened, is_writable)),
            Err(error @ (Errno::ACCESS | Errno::TXTBSY | Errno::PERM | Errno::ROFS)) => {
                refused = error;
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

/// Which blobs of a file are on disk at their places. A blob the index does not know matches nothing,
/// nor does any after it.
fn matching_blobs(repository: &IndexedRepository, file: &OwnedFd, content: &[BlobId]) -> Vec<bool> {
    let mut kept = vec![false; content.len()];
    let mut offset = 0_u64;
    let mut buffer = Vec::new();
    for (index, id) in content.iter().enumerate() {
        let Some(bytes) = repository.blob_bytes(&BlobHandle {
            kind: BlobKind::Data,
            id: *id,
        }) else {
            break;
        };
        match holds(file, offset, bytes, id, &mut buffer) {
            Ok(holds) => kept[index] = holds,
            Err(_) => break,
        }
        offset += bytes;
    }
    kept
}

/// Whether these bytes of a file are the blob.
fn holds(
    file: &OwnedFd,
    offset: u64,
    bytes: u64,
    id: &BlobId,
    buffer: &mut Vec<u8>,
) -> Result<bool, Errno> {
    let bytes = usize::try_from(bytes).map_err(|_| Errno::OVERFLOW)?;
    buffer.resize(bytes, 0);
    let mut filled = 0;
    while filled < bytes {
        match rustix::io::pread(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => return Err(Errno::NODATA),
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(BlobId(Id::of(buffer)) == *id)
}

/// Reads a restored file again and says what is wrong with it, if anything is.
pub(super) fn verify(
    repository: &IndexedRepository,
    target: &Target,
    file: &FileJob,
    is_root: bool,
) -> Option<String> {
    match try_verify(repository, target, file, is_root) {
        Ok(wrong) => wrong,
        Err(error) => Some(format!(
            "cannot read the restored file: {}",
            std::io::Error::from(error)
        )),
    }
}

fn try_verify(
    repository: &IndexedRepository,
    target: &Target,
    file: &FileJob,
    is_root: bool,
) -> Result<Option<String>, Errno> {
    let directory = target.descriptor(&file.directory)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let name = file.name.as_c_str();
    // Reading must not move the time of the last access that was just restored.
    let opened = match rustix::fs::openat(&directory, name, flags | OFlags::NOATIME, Mode::empty())
    {
        Err(Errno::PERM) => rustix::fs::openat(&directory, name, flags, Mode::empty()),
        Err(Errno::ACCESS) if !is_root => {
            make_accessible(directory.as_fd(), name, rustix::process::geteuid().as_raw())?;
            let opened =
                rustix::fs::openat(&directory, name, flags | OFlags::NOATIME, Mode::empty())?;
            rustix::fs::fchmod(&opened, Mode::from_raw_mode(file.metadata.mode))?;
            Ok(opened)
        }
        opened => opened,
    }?;
    let stat = rustix::fs::fstat(&opened)?;
    if !is_kind(&stat, FileType::RegularFile) {
        return Ok(Some(
            "verification failed: it is not a regular file".to_owned(),
        ));
    }
    if u64::try_from(stat.st_size) != Ok(file.size) {
        return Ok(Some(format!(
            "verification failed: it has {} bytes instead of {}",
            stat.st_size, file.size
        )));
    }
    let mut offset = 0;
    let mut buffer = Vec::new();
    for id in &file.content {
        let handle = BlobHandle {
            kind: BlobKind::Data,
            id: *id,
        };
        let bytes = repository.blob_bytes(&handle).unwrap_or_default();
        if !holds(&opened, offset, bytes, id, &mut buffer)? {
            return Ok(Some(format!(
                "verification failed: unexpected content from byte {offset} on"
            )));
        }
        offset += bytes;
    }
    Ok(None)
}
