//! The folder that is restored into. Everything below it is reached from its file descriptor, one name at a
//! time and never through a symbolic link, so that nothing in a snapshot and nothing that lies in the folder
//! can lead a restore out of it.
//!
//! What is put into the directories is decided elsewhere.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};

/// Directory descriptors that are kept open; a quarter of what a process may open, at most this many.
const OPEN_DIRECTORIES: u64 = 256;

/// A directory below the target.
#[derive(Debug)]
pub(super) struct Directory {
    id: u64,
    parent: Option<Arc<Directory>>,
    name: CString,
    /// Made by this restore, so nothing can lie in it yet.
    pub(super) is_fresh: bool,
    /// Does not exist: only in a dry run.
    pub(super) is_absent: bool,
    /// Has its metadata, which stay.
    pub(super) is_complete: AtomicBool,
}

impl Directory {
    /// The path from the target, beginning with `/`; `/` for the target itself.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut directory = self;
        while let Some(parent) = &directory.parent {
            names.push(directory.name.as_bytes());
            directory = parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// The path of an entry of it.
    pub(super) fn path_of(&self, name: &CStr) -> Vec<u8> {
        crate::walk::join_path(&self.path(), name.to_bytes())
    }

    /// Where it lies: its directory and its name; none for the target itself.
    pub(super) fn place(&self) -> Option<(&Arc<Directory>, &CStr)> {
        self.parent
            .as_ref()
            .map(|parent| (parent, self.name.as_c_str()))
    }
}

/// What may be done about something that lies where a directory should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InTheWay {
    /// It is removed.
    Remove,
    /// It stays, and the directory fails.
    Keep,
}

/// The folder that is restored into.
#[derive(Debug)]
pub(super) struct Target {
    root: Option<Arc<OwnedFd>>,
    next_id: AtomicU64,
    open: Mutex<OpenDirectories>,
    euid: u32,
    is_dry_run: bool,
}

#[derive(Debug)]
struct OpenDirectories {
    entries: HashMap<u64, (Arc<OwnedFd>, u64)>,
    clock: u64,
    capacity: usize,
}

impl Target {
    /// Opens the folder and, unless this is a dry run, makes it first.
    pub(super) fn open(path: &Path, is_dry_run: bool) -> std::io::Result<(Self, Arc<Directory>)> {
        if !is_dry_run {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty()) {
            Ok(root) => Some(Arc::new(root)),
            Err(Errno::NOENT) if is_dry_run => None,
            Err(error) => return Err(error.into()),
        };
        let directory = Directory {
            id: 0,
            parent: None,
            name: CString::default(),
            is_fresh: false,
            is_absent: root.is_none(),
            is_complete: AtomicBool::new(false),
        };
        let target = Self {
            root,
            next_id: AtomicU64::new(1),
            open: Mutex::new(OpenDirectories {
                entries: HashMap::new(),
                clock: 0,
                capacity: usize::try_from(open_files(4).min(OPEN_DIRECTORIES)).unwrap_or(64),
            }),
            euid: rustix::process::geteuid().as_raw(),
            is_dry_run,
        };
        Ok((target, Arc::new(directory)))
    }

    /// A descriptor of a directory, opened name by name from the nearest one that is open.
    pub(super) fn descriptor(&self, directory: &Arc<Directory>) -> Result<Arc<OwnedFd>> {
        let Some((parent, name)) = directory.place() else {
            return self.root.clone().ok_or(Errno::NOENT);
        };
        if let Some(open) = self.open.lock().get(directory.id) {
            return Ok(open);
        }
        let parent = self.descriptor(parent)?;
        let open = Arc::new(self.open_directory(
            parent.as_fd(),
            name,
            directory.is_complete.load(Ordering::Relaxed),
        )?);
        self.open.lock().insert(directory.id, &open);
        Ok(open)
    }

    fn open_directory(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        is_complete: bool,
    ) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::ACCESS) if self.euid != 0 && !is_complete && !self.is_dry_run => {
                make_accessible(parent, name, self.euid)?;
                rustix::fs::openat(parent, name, flags, Mode::empty())
            }
            opened => opened,
        }
    }

    /// A directory in another: the one that is there, or a new one with mode 0700.
    /// In a dry run nothing is made.
    pub(super) fn enter(
        &self,
        parent: &Arc<Directory>,
        name: &CStr,
        in_the_way: InTheWay,
        is_dry_run: bool,
    ) -> Result<Arc<Directory>> {
        let directory = |is_fresh, is_absent| {
            Arc::new(Directory {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                parent: Some(Arc::clone(parent)),
                name: name.to_owned(),
                is_fresh,
                is_absent,
                is_complete: AtomicBool::new(false),
            })
        };
        if is_dry_run {
            let is_there = match self.stat(parent, name)? {
                Some(stat) if is_kind(&stat, FileType::Directory) => true,
                Some(_) if in_the_way == InTheWay::Keep => return Err(Errno::NOTDIR),
                _ => false,
            };
            return Ok(directory(false, !is_there));
        }
        let descriptor = self.descriptor(parent)?;
        match rustix::fs::mkdirat(&descriptor, name, Mode::RWXU) {
            Ok(()) => return Ok(directory(true, false)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        match self.open_directory(descriptor.as_fd(), name, false) {
            Ok(open) => {
                if self.euid != 0 {
                    let stat = rustix::fs::fstat(&open)?;
                    if stat.st_uid == self.euid && stat.st_mode & 0o700 != 0o700 {
                        rustix::fs::fchmod(
                            &open,
                            Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700),
                        )?;
                    }
                }
                let directory = directory(false, false);
                self.open.lock().insert(directory.id, &Arc::new(open));
                Ok(directory)
            }
            Err(Errno::NOTDIR | Errno::LOOP) if in_the_way == InTheWay::Remove => {
                rustix::fs::unlinkat(&descriptor, name, AtFlags::empty())?;
                rustix::fs::mkdirat(&descriptor, name, Mode::RWXU)?;
                Ok(directory(true, false))
            }
            Err(error) => Err(error),
        }
    }

    /// What lies under a name, a symbolic link as itself; none when nothing does.
    pub(super) fn stat(&self, directory: &Arc<Directory>, name: &CStr) -> Result<Option<Stat>> {
        if directory.is_absent {
            return Ok(None);
        }
        let descriptor = self.descriptor(directory)?;
        match rustix::fs::statat(&descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl OpenDirectories {
    fn get(&mut self, id: u64) -> Option<Arc<OwnedFd>> {
        self.clock += 1;
        let clock = self.clock;
        self.entries.get_mut(&id).map(|(descriptor, used)| {
            *used = clock;
            Arc::clone(descriptor)
        })
    }

    fn insert(&mut self, id: u64, descriptor: &Arc<OwnedFd>) {
        self.clock += 1;
        if self.entries.len() >= self.capacity {
            let mut ages: Vec<u64> = self.entries.values().map(|(_, used)| *used).collect();
            let (_, limit, _) = ages.select_nth_unstable(self.capacity / 4);
            let limit = *limit;
            self.entries.retain(|_, (_, used)| *used > limit);
        }
        self.entries
            .insert(id, (Arc::clone(descriptor), self.clock));
    }
}

/// The share of the files that this process may hold open: one part in `parts`.
pub(super) fn open_files(parts: u64) -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    (limit.current.unwrap_or(4096) / parts).max(16)
}

/// Whether a stat tells of this kind of file.
pub(super) fn is_kind(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// A path to what a descriptor stands for, for calls that know no descriptors.
pub(super) fn proc_path(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Opens what lies under a name as a place only, a symbolic link as itself.
pub(super) fn open_place(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(
        directory,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Gives the owner all rights on a file or directory of their own; what it is stays what it is.
pub(super) fn make_accessible(directory: BorrowedFd<'_>, name: &CStr, euid: u32) -> Result<()> {
    let place = open_place(directory, name)?;
    let stat = rustix::fs::fstat(&place)?;
    if stat.st_uid != euid || is_kind(&stat, FileType::Symlink) {
        return Err(Errno::ACCESS);
    }
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700);
    rustix::fs::chmod(proc_path(place.as_fd()), mode)
}
