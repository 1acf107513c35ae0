//! Opening a directory: its own metadata, its entries in order, what of them is left out.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use repository::tree::NodeKind;
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::{self, Errno};

use crate::metadata::{FileStat, Place};
use crate::path::child;
use crate::save::directory::{Directory, Entry, Listing};
use crate::save::run::Run;
use crate::save::schedule::Frame;
use crate::save::worker::{Found, Outcome, add_attributes};

/// Room for entries as the kernel hands them out.
const ENTRIES_BYTES: usize = 32 << 10;

/// Opens without changing the access time where that is allowed.
pub(crate) fn open(directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    match rustix::fs::openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(directory, name, flags, Mode::empty()),
        done => done,
    }
}

/// Lists a directory and puts its entries on the scheduler's stack.
pub(crate) fn open_directory(run: &Run, found: &Found<'_>) -> Outcome {
    let Found {
        listing,
        name,
        snapshot_name,
        slot,
        old,
        ..
    } = found;
    let path = listing.path_of(name);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match open(listing.file.as_fd(), name, flags) {
        Ok(file) => file,
        Err(Errno::NOENT) if !listing.is_of_target => {
            run.note(&path, "was deleted before it could be read");
            return Outcome::Done(None);
        }
        Err(error) => {
            run.error(&path, format!("cannot open the directory: {error}"));
            return Outcome::Done(None);
        }
    };
    let read = FileStat::of_file(&file).and_then(|stat| Ok((stat, entries(&file)?)));
    let (stat, names) = match read {
        Ok(read) => read,
        Err(error) => {
            run.error(&path, format!("cannot list the directory: {error}"));
            return Outcome::Done(None);
        }
    };
    let mut node = run.metadata.node(snapshot_name, &stat);
    add_attributes(run, &mut node, Place::File(file.as_fd()), listing, name);
    let old_tree = run.old_tree(&path, *old);
    let names = selected(run, &path, names);
    let parent = (Arc::clone(&listing.directory), *slot);
    let directory = Directory::new(Some(parent), node, old.cloned(), names.len());
    if names.is_empty() {
        directory.complete_empty(run);
        return Outcome::Pending;
    }
    let is_volume_root = stat.device_id != listing.device_id || run.rules.is_target(&path);
    let listing = Arc::new(Listing {
        directory,
        path,
        file,
        device_id: stat.device_id,
        allowed_device: listing.allowed_device,
        old: old_tree,
        is_volume_root,
        is_of_target: false,
    });
    run.scheduler.push(frame(listing, names));
    Outcome::Pending
}

/// Files first, directories after them: each is a listing of its own, and few are to be open.
fn frame(listing: Arc<Listing>, names: Vec<Name>) -> Frame {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for (slot, name) in names.into_iter().enumerate() {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        let is_directory = match name.kind {
            FileType::Directory => true,
            FileType::Unknown => FileStat::at(listing.file.as_fd(), &name.name)
                .is_ok_and(|stat| stat.kind == NodeKind::Dir),
            _ => false,
        };
        let list = if is_directory {
            &mut directories
        } else {
            &mut files
        };
        list.push(Entry {
            name: name.name,
            slot,
        });
    }
    Frame::Directory {
        listing,
        files: files.into_iter(),
        directories: directories.into_iter(),
    }
}

struct Name {
    name: Box<[u8]>,
    kind: FileType,
}

/// All names but `.` and `..`, sorted.
fn entries(directory: &OwnedFd) -> io::Result<Vec<Name>> {
    let mut buffer = vec![MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut names = Vec::new();
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(Name {
                name: name.into(),
                kind: entry.file_type(),
            });
        }
    }
    names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    names.dedup_by(|a, b| a.name == b.name);
    Ok(names)
}

/// Without what patterns and tag files leave out.
fn selected(run: &Run, path: &std::path::Path, mut names: Vec<Name>) -> Vec<Name> {
    let excludes = &run.rules.excludes;
    let is_listed = |name: &[u8]| {
        names
            .binary_search_by(|other| (*other.name).cmp(name))
            .is_ok()
    };
    let tags = excludes
        .tag_files()
        .iter()
        .filter(|tag| is_listed(tag.name().as_bytes()) && tag.is_in(path));
    let tags: Vec<_> = tags.collect();
    if !tags.is_empty() {
        names.retain(|name| tags.iter().all(|tag| tag.name().as_bytes() == &*name.name));
    }
    if excludes.has_patterns() {
        names.retain(|name| !excludes.is_excluded(&child(path, &name.name)));
    }
    names
}
