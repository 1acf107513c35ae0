//! Removing what lies in the target: entries that the snapshot does not have (`--delete`) and whatever is in
//! the way of an entry. Directories are emptied through their descriptors; a symbolic link is removed itself,
//! a mount point is never entered, and what the patterns leave out stays.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::restore::RestoreAction;
use crate::restore::file::{Counters, remove_leaf};
use crate::restore::report::Report;
use crate::restore::selection::Selection;
use crate::restore::target::{Directory, Target, is_kind};
use crate::walk::join_path;

/// What a removal needs to know.
#[derive(Clone, Copy)]
pub(super) struct Removal<'a> {
    pub(super) target: &'a Target,
    pub(super) report: &'a Report,
    pub(super) counters: &'a Counters,
    pub(super) selection: &'a Selection,
    /// Whether entries that the snapshot does not have may be removed at all.
    pub(super) is_allowed: bool,
    pub(super) is_dry_run: bool,
}

/// The entries of a directory on disk that are neither in `known` nor left out by the patterns.
pub(super) fn unexpected(
    removal: &Removal<'_>,
    directory: &Arc<Directory>,
    known: &HashSet<Vec<u8>>,
) -> Result<Vec<CString>, Errno> {
    let descriptor = removal.target.descriptor(directory)?;
    let path = directory.path();
    let mut names = list(descriptor.as_fd())?;
    names.retain(|name| {
        let name = name.to_bytes();
        !known.contains(name)
            && removal
                .selection
                .select(&join_path(&path, name), false)
                .is_selected
    });
    Ok(names)
}

/// Removes these entries of a directory; what fails is reported.
pub(super) fn remove_all(removal: &Removal<'_>, directory: &Arc<Directory>, names: &[CString]) {
    let descriptor = match removal.target.descriptor(directory) {
        Ok(descriptor) => descriptor,
        Err(error) => {
            return removal
                .report
                .failed(&directory.path(), "open the directory", error);
        }
    };
    let device = match rustix::fs::fstat(&descriptor) {
        Ok(stat) => stat.st_dev,
        Err(error) => {
            return removal
                .report
                .failed(&directory.path(), "read the directory", error);
        }
    };
    for name in names {
        if removal.report.is_stopped() {
            return;
        }
        let path = directory.path_of(name);
        remove_entry(removal, descriptor.as_fd(), name, &path, device);
    }
}

/// Empties the place of an entry. A directory that is not empty is removed only where deletion is allowed.
pub(super) fn make_room(
    removal: &Removal<'_>,
    directory: &Arc<Directory>,
    name: &CStr,
) -> Result<(), Errno> {
    match remove_leaf(removal.target, directory, name) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        result => return result,
    }
    let descriptor = removal.target.descriptor(directory)?;
    match rustix::fs::unlinkat(&descriptor, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) if removal.is_allowed => {
            let device = rustix::fs::fstat(&descriptor)?.st_dev;
            let path = directory.path_of(name);
            if remove_entry(removal, descriptor.as_fd(), name, &path, device) {
                Ok(())
            } else {
                Err(Errno::NOTEMPTY)
            }
        }
        result => result,
    }
}

/// Removes an entry and all below it. Says whether it is gone.
fn remove_entry(
    removal: &Removal<'_>,
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
    device: u64,
) -> bool {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return true,
        Err(error) => {
            removal.report.failed(path, "delete", error);
            return false;
        }
    };
    let is_directory = is_kind(&stat, FileType::Directory);
    if is_directory {
        if stat.st_dev != device {
            removal
                .report
                .error(path, "cannot delete: it is a mount point");
            return false;
        }
        match empty_directory(removal, parent, name, path, device) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                removal.report.failed(path, "delete", error);
                return false;
            }
        }
    }
    if !removal.is_dry_run {
        let flags = if is_directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(parent, name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                removal.report.failed(path, "delete", error);
                return false;
            }
        }
    }
    removal
        .counters
        .entries_deleted
        .fetch_add(1, Ordering::Relaxed);
    removal
        .report
        .progress
        .item(path, RestoreAction::Deleted, 0);
    true
}

/// Removes all entries of a directory that the patterns do not leave out. Says whether it is empty then.
fn empty_directory(
    removal: &Removal<'_>,
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &[u8],
    device: u64,
) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut is_empty = true;
    for entry in list(directory.as_fd())? {
        let path = join_path(path, entry.to_bytes());
        is_empty &= removal.selection.select(&path, false).is_selected
            && remove_entry(removal, directory.as_fd(), &entry, &path, device);
    }
    Ok(is_empty)
}

/// The names in a directory, sorted.
fn list(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
