//! Atomic, durable writes: temporary file in the final folder, sync, rename without replacing, sync of the folder.
//!
//! Temporary files are named `<object>-tmp-<random>` as restic's are: both programs skip them in listings.
//! One that a killed writer left is removed by a later writer of the same folder once it is a day old.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FallocateFlags, Mode, RenameFlags};
use rustix::io::Errno;

use super::failure::is_unsupported;
use super::{LocalBackend, Modes};
use crate::Handle;
use crate::handle::is_object_name;

/// No write of one object takes this long; an older temporary file has no writer any more.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);

impl LocalBackend {
    /// Stores an object; on return it is on disk under its name, or not there at all.
    pub(super) fn write_file(&self, handle: &Handle, data: &[u8]) -> io::Result<()> {
        let path = self.path(handle);
        let folder = path
            .parent()
            .expect("the path of an object has the root above it");
        let modes = self.modes();

        let mut temporary = self.create_temporary(folder, handle.name(), modes)?;
        reserve(&temporary.file, data.len())?;
        temporary.file.write_all(data)?;
        let mode = Mode::from_raw_mode(modes.file);
        // Some network filesystems know no modes; the object is as good without.
        if let Err(error) = rustix::fs::fchmod(&temporary.file, mode) {
            tracing::debug!(path = %path.display(), %error, "could not set the mode");
        }
        tolerate_unsupported(temporary.file.sync_all())?;
        let written_at = temporary.file.metadata()?.modified()?;
        temporary.publish(&path)?;
        sync_folder(folder)?;
        self.sweep_once(folder, written_at);
        Ok(())
    }

    fn create_temporary(&self, folder: &Path, name: &str, modes: Modes) -> io::Result<Temporary> {
        match Temporary::create(folder, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_missing_folder(folder, modes)?;
                Temporary::create(folder, name)
            }
            result => result,
        }
    }

    /// Creates the folder of a kind or a prefix. The root itself is never created here: when a volume is not
    /// mounted, its empty mount point must not silently become the repository.
    fn create_missing_folder(&self, folder: &Path, modes: Modes) -> io::Result<()> {
        let Some(parent) = folder
            .parent()
            .filter(|_| folder.starts_with(self.root()) && folder != self.root())
        else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let create = || match DirBuilder::new().mode(modes.folder).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        };
        match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_missing_folder(parent, modes)?;
                create()?;
            }
            result => result?,
        }
        sync_folder(parent)
    }

    /// Removes temporary files that a killed writer left, once per folder and process.
    fn sweep_once(&self, folder: &Path, now: SystemTime) {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.insert(folder.to_owned()) {
            drop(swept);
            if let Err(error) = sweep(folder, now) {
                tracing::debug!(folder = %folder.display(), %error, "could not look for left-over files");
            }
        }
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    tolerate_unsupported(File::open(folder)?.sync_all())
}

/// `now` is the filesystem's own time, so that a server's wrong clock cannot make a fresh file look old.
fn sweep(folder: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_temporary = entry.file_name().to_str().is_some_and(is_temporary_name);
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let age = metadata
            .modified()
            .ok()
            .and_then(|modified| now.duration_since(modified).ok());
        if is_temporary && metadata.is_file() && age.is_some_and(|age| age > ABANDONED_AFTER) {
            let path = entry.path();
            let removed = fs::remove_file(&path).is_ok();
            tracing::info!(path = %path.display(), removed, "found a file that an interrupted write left");
        }
    }
    Ok(())
}

fn is_temporary_name(name: &str) -> bool {
    name.split_once("-tmp-").is_some_and(|(object, random)| {
        (is_object_name(object) || object == "config")
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// A file under a temporary name, removed on drop unless it was published.
struct Temporary {
    file: File,
    path: PathBuf,
    is_published: bool,
}

impl Temporary {
    fn create(folder: &Path, name: &str) -> io::Result<Self> {
        loop {
            let random = RandomState::new().build_hasher().finish();
            let path = folder.join(format!("{name}-tmp-{random}"));
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
            {
                Ok(file) => {
                    return Ok(Self {
                        file,
                        path,
                        is_published: false,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the file its final name, never replacing another.
    fn publish(mut self, path: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
            Err(error) if is_unsupported(error) => self.publish_by_link(path)?,
            result => {
                result?;
                self.is_published = true;
            }
        }
        Ok(())
    }

    /// For filesystems that cannot rename without replacing (NFS among them).
    fn publish_by_link(&mut self, path: &Path) -> io::Result<()> {
        match rustix::fs::link(&self.path, path) {
            // The temporary name goes away on drop.
            Ok(()) => return Ok(()),
            Err(Errno::PERM | Errno::MLINK) => {}
            Err(error) if is_unsupported(error) => {}
            Err(error) => return Err(error.into()),
        }
        // Without links either, a plain rename is left. Names are hashes of the content, so the moment between
        // looking and renaming can only replace an object by its equal.
        if path.symlink_metadata().is_ok() {
            return Err(Errno::EXIST.into());
        }
        fs::rename(&self.path, path)?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Finds out that the disk is full before anything is written.
fn reserve(file: &File, length: usize) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length as u64) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
        // Anything else says only that this filesystem cannot reserve; the write itself will tell.
        _ => Ok(()),
    }
}

fn tolerate_unsupported(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match Errno::from_io_error(&error) {
        Some(errno) if is_unsupported(errno) => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_files_a_day_older_than_the_new_file_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let object = "a".repeat(64);
        let now = SystemTime::now();
        let file = |name: &str, age_hours: u64| {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            file.set_modified(now - Duration::from_hours(age_hours))
                .unwrap();
            path
        };
        let abandoned = file(&format!("{object}-tmp-123"), 25);
        let kept = [
            file(&format!("{object}-tmp-456"), 23),
            file(&object, 99),
            file("notes-tmp-1", 99),
            file(&format!("{object}-tmp-../x").replace('/', "_"), 99),
        ];
        sweep(folder.path(), now).unwrap();
        assert!(!abandoned.exists());
        assert!(kept.iter().all(|path| path.exists()));
    }

    #[test]
    fn publishing_by_link_does_not_replace_and_leaves_no_temporary_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        let mut first = Temporary::create(folder.path(), "object").unwrap();
        first.file.write_all(b"first").unwrap();
        first.publish_by_link(&path).unwrap();
        drop(first);
        let mut second = Temporary::create(folder.path(), "object").unwrap();
        let error = second.publish_by_link(&path).unwrap_err();
        drop(second);
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
