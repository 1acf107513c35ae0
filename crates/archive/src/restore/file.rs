//! One file being restored: opened when its first blob arrives, written at its offsets by several threads,
//! and finished with its metadata by whoever writes the last.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use repository::BlobId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::restore::delete::{self, Removal};
use crate::restore::metadata::{Applier, Metadata};
use crate::restore::target::{Directory, Target, is_kind, open_files};
use crate::restore::{RestoreAction, report::Report};

/// Zeros of this length become a hole in a sparse file.
const HOLE_BYTES: usize = 4096;

/// What lies where a file goes, and what of it stays.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing can lie there.
    Vacant,
    /// Whatever lies there is removed first.
    Replace,
    /// A file lies there, and these of its blobs are right already. A blob beyond the list is not.
    Update(Vec<bool>),
}

/// A file to restore.
#[derive(Debug)]
pub(super) struct FileJob {
    pub(super) directory: Arc<Directory>,
    pub(super) name: CString,
    pub(super) metadata: Metadata,
    /// Bytes of all blobs together.
    pub(super) size: u64,
    pub(super) content: Vec<BlobId>,
    pub(super) place: Place,
    /// The file on disk, once finished, for other names of it.
    pub(super) link: Option<Arc<LinkSource>>,
    /// Nothing is left to do: right already, or failed before its first blob.
    pub(super) is_settled: bool,
    /// Blobs that are still to be written.
    pub(super) pending: AtomicU32,
    pub(super) has_failed: AtomicBool,
    pub(super) handle: Mutex<Handle>,
}

/// The first name of a file that has several.
#[derive(Debug)]
pub(super) struct LinkSource {
    pub(super) directory: Arc<Directory>,
    pub(super) name: CString,
    /// Hash over the ids of its blobs.
    pub(super) content: u64,
    /// Device and inode of the restored file; none while it is not restored.
    pub(super) identity: Mutex<Option<(u64, u64)>>,
}

/// A file's descriptor between two writes.
#[derive(Debug)]
pub(super) enum Handle {
    /// No blob has arrived.
    Unopened,
    /// Open.
    Open(Arc<OwnedFd>),
    /// Closed for want of descriptors; device and inode tell that it is the same when opened again.
    Parked((u64, u64)),
}

impl FileJob {
    pub(super) fn path(&self) -> Vec<u8> {
        self.directory.path_of(&self.name)
    }

    /// Whether the blob of this index is right on disk.
    pub(super) fn keeps(&self, index: usize) -> bool {
        matches!(&self.place, Place::Update(kept) if kept.get(index).copied().unwrap_or(false))
    }
}

/// Writes files; shared by all threads of a restore.
pub(super) struct FileWriter<'a> {
    pub(super) target: &'a Target,
    pub(super) report: &'a Report,
    pub(super) applier: Applier<'a>,
    pub(super) counters: &'a Counters,
    pub(super) is_sparse: bool,
    pub(super) removal: Removal<'a>,
    open: AtomicUsize,
    open_limit: usize,
}

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) entries_restored: std::sync::atomic::AtomicU64,
    pub(super) bytes_restored: std::sync::atomic::AtomicU64,
    pub(super) entries_deleted: std::sync::atomic::AtomicU64,
}

impl Counters {
    pub(super) fn restored(&self) {
        self.entries_restored.fetch_add(1, Ordering::Relaxed);
    }
}

impl<'a> FileWriter<'a> {
    pub(super) fn new(
        target: &'a Target,
        report: &'a Report,
        counters: &'a Counters,
        is_sparse: bool,
        removal: Removal<'a>,
    ) -> Self {
        Self {
            target,
            report,
            applier: Applier::new(report),
            counters,
            is_sparse,
            removal,
            open: AtomicUsize::new(0),
            open_limit: usize::try_from(open_files(4).min(512)).unwrap_or(64),
        }
    }

    /// Writes one blob of a file, and finishes the file when it was the last.
    pub(super) fn write(&self, file: &FileJob, offset: u64, data: &[u8]) {
        if !file.has_failed.load(Ordering::Relaxed) {
            match self.try_write(file, offset, data) {
                Ok(()) => {
                    let bytes = data.len() as u64;
                    self.counters
                        .bytes_restored
                        .fetch_add(bytes, Ordering::Relaxed);
                    self.report.progress.bytes_done(bytes);
                }
                Err((doing, error)) => {
                    if !file.has_failed.swap(true, Ordering::Relaxed) {
                        self.report.failed(&file.path(), doing, error);
                    }
                }
            }
        }
        self.blob_done(file);
    }

    /// One blob of a file cannot be had.
    pub(super) fn miss(&self, file: &FileJob, reason: &str) {
        if !file.has_failed.swap(true, Ordering::Relaxed) {
            self.report.error(&file.path(), reason);
        }
        self.blob_done(file);
    }

    /// Makes and finishes a file for which no blob is to be written.
    pub(super) fn finish_without_blobs(&self, file: &FileJob) {
        if let Err((doing, error)) = self.descriptor(file) {
            file.has_failed.store(true, Ordering::Relaxed);
            self.report.failed(&file.path(), doing, error);
        }
        self.finish(file);
    }

    fn blob_done(&self, file: &FileJob) {
        if file.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish(file);
        }
    }

    fn try_write(
        &self,
        file: &FileJob,
        offset: u64,
        data: &[u8],
    ) -> Result<(), (&'static str, Errno)> {
        let descriptor = self.descriptor(file)?;
        // Only a new file is known to be empty where nothing is written.
        let written = if self.is_sparse && !matches!(file.place, Place::Update(_)) {
            write_sparse(&descriptor, offset, data)
        } else {
            write_all(&descriptor, offset, data)
        };
        drop(descriptor);
        if self.open.load(Ordering::Relaxed) > self.open_limit
            && file.pending.load(Ordering::Relaxed) > 1
        {
            self.park(file);
        }
        written.map_err(|error| ("write", error))
    }

    fn park(&self, file: &FileJob) {
        let mut handle = file.handle.lock();
        if let Handle::Open(descriptor) = &*handle
            && let Ok(stat) = rustix::fs::fstat(descriptor)
        {
            *handle = Handle::Parked((stat.st_dev, stat.st_ino));
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The file, opened or made if need be.
    fn descriptor(&self, file: &FileJob) -> Result<Arc<OwnedFd>, (&'static str, Errno)> {
        let mut handle = file.handle.lock();
        let opened = match &*handle {
            Handle::Open(descriptor) => return Ok(Arc::clone(descriptor)),
            Handle::Unopened => self.open_first(file)?,
            Handle::Parked(identity) => self
                .reopen(file, *identity)
                .map_err(|error| ("open again", error))?,
        };
        let opened = Arc::new(opened);
        self.open.fetch_add(1, Ordering::Relaxed);
        *handle = Handle::Open(Arc::clone(&opened));
        Ok(opened)
    }

    fn open_first(&self, file: &FileJob) -> Result<OwnedFd, (&'static str, Errno)> {
        let directory = self
            .target
            .descriptor(&file.directory)
            .map_err(|error| ("open the directory", error))?;
        let name = file.name.as_c_str();
        match &file.place {
            Place::Update(_) => {
                let opened = rustix::fs::openat(
                    &directory,
                    name,
                    OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
                    Mode::empty(),
                )
                .map_err(|error| ("open", error))?;
                let stat = rustix::fs::fstat(&opened).map_err(|error| ("open", error))?;
                if !is_kind(&stat, FileType::RegularFile) || stat.st_nlink != 1 {
                    // It was a plain file with one name a moment ago.
                    return Err(("open", Errno::BUSY));
                }
                if u64::try_from(stat.st_size) != Ok(file.size) {
                    rustix::fs::ftruncate(&opened, file.size).map_err(|error| ("resize", error))?;
                }
                return Ok(opened);
            }
            Place::Replace => {
                delete::make_room(&self.removal, &file.directory, name)
                    .map_err(|error| ("remove what is in the way of", error))?;
            }
            Place::Vacant => {}
        }
        let created = rustix::fs::openat(
            &directory,
            name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|error| ("create", error))?;
        if self.is_sparse && file.size > 0 {
            rustix::fs::ftruncate(&created, file.size).map_err(|error| ("resize", error))?;
        }
        Ok(created)
    }

    fn reopen(&self, file: &FileJob, identity: (u64, u64)) -> Result<OwnedFd, Errno> {
        let directory = self.target.descriptor(&file.directory)?;
        let opened = rustix::fs::openat(
            &directory,
            file.name.as_c_str(),
            OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let stat = rustix::fs::fstat(&opened)?;
        if (stat.st_dev, stat.st_ino) == identity {
            Ok(opened)
        } else {
            Err(Errno::STALE)
        }
    }

    /// Closes a file. A failed one keeps the time of now, so that the next restore looks at it again.
    fn finish(&self, file: &FileJob) {
        let handle = std::mem::replace(&mut *file.handle.lock(), Handle::Unopened);
        let descriptor = match handle {
            Handle::Open(descriptor) => {
                self.open.fetch_sub(1, Ordering::Relaxed);
                Ok(descriptor)
            }
            Handle::Parked(identity) => self.reopen(file, identity).map(Arc::new),
            Handle::Unopened => return,
        };
        if file.has_failed.load(Ordering::Relaxed) {
            return;
        }
        let descriptor = match descriptor {
            Ok(descriptor) => descriptor,
            Err(error) => return self.report.failed(&file.path(), "open again", error),
        };
        let is_update = matches!(file.place, Place::Update(_));
        self.applier
            .apply(descriptor.as_fd(), &file.metadata, !is_update, &|| {
                file.path()
            });
        if let Some(link) = &file.link
            && let Ok(stat) = rustix::fs::fstat(&descriptor)
        {
            *link.identity.lock() = Some((stat.st_dev, stat.st_ino));
        }
        self.counters.restored();
        let action = if is_update {
            RestoreAction::Updated
        } else {
            RestoreAction::Restored
        };
        self.report.progress.item(&file.path(), action, file.size);
    }
}

fn write_all(file: &OwnedFd, mut offset: u64, mut data: &[u8]) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::pwrite(file, data, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                offset += count as u64;
                data = &data[count..];
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes what is not zero; whole blocks of zeros stay holes.
fn write_sparse(file: &OwnedFd, offset: u64, data: &[u8]) -> Result<(), Errno> {
    let mut begin = 0;
    let mut position = 0;
    while position < data.len() {
        // Holes lie at multiples of the block in the file, not in the blob.
        let misaligned =
            usize::try_from((offset + position as u64) % HOLE_BYTES as u64).unwrap_or_default();
        let end = (position + HOLE_BYTES - misaligned).min(data.len());
        if end - position == HOLE_BYTES && data[position..end].iter().all(|byte| *byte == 0) {
            write_all(file, offset + begin as u64, &data[begin..position])?;
            begin = end;
        }
        position = end;
    }
    write_all(file, offset + begin as u64, &data[begin..])
}

/// Removes a leaf that lies under a name, if anything does. Never a directory.
pub(super) fn remove_leaf(
    target: &Target,
    directory: &Arc<Directory>,
    name: &std::ffi::CStr,
) -> Result<(), Errno> {
    let descriptor = target.descriptor(directory)?;
    match rustix::fs::unlinkat(&descriptor, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}
