//! Atomic, durable writes: temporary file in the final folder, sync, rename without replacing, sync of the folder.
//!
//! Temporary files are named `<object>-tmp-<random>` as restic's are: both programs skip them in listings.
//! One that a killed writer left is removed by a later writer of the same folder once it is a day old.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
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
        if let Err(error) = temporary.publish(&path) {
            if error.kind() == io::ErrorKind::AlreadyExists {
                sync_existing(&path)?;
                sync_folder(folder)?;
            }
            return Err(error);
        }
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

/// Makes durable what another attempt stored, which may have failed at just that: whoever is told that the object is
/// there relies on it.
fn sync_existing(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => tolerate_unsupported(file.sync_all()),
        // Somebody else's file, or gone again: not what an attempt of ours left.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
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
        self.publish_plainly(path)
    }

    /// For filesystems without links either (many in user space): a plain rename is left. The names of objects are
    /// hashes of their content, so the moment between looking and renaming can only replace an object by its equal.
    /// The config's is not: of two creations at once one has to lose, so it is made under its own name.
    fn publish_plainly(&mut self, path: &Path) -> io::Result<()> {
        if path.file_name().is_some_and(|name| name == "config") {
            return self.copy_exclusively(path);
        }
        if path.symlink_metadata().is_ok() {
            return Err(Errno::EXIST.into());
        }
        fs::rename(&self.path, path)?;
        self.is_published = true;
        Ok(())
    }

    /// The temporary name goes away on drop.
    fn copy_exclusively(&self, path: &Path) -> io::Result<()> {
        let mut content = File::open(&self.path)?;
        let mode = content.metadata()?.permissions().mode();
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode & 0o777)
            .open(path)?;
        let copied =
            io::copy(&mut content, &mut file).and_then(|_| tolerate_unsupported(file.sync_all()));
        if copied.is_err() {
            // Nobody else could make it, so it is ours.
            let _ = fs::remove_file(path);
        }
        copied
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

    #[test]
    fn of_many_creations_without_links_exactly_one_makes_the_config() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config");
            let start = std::sync::Barrier::new(8);
            let make = &|content: u8| {
                let mut temporary = Temporary::create(folder.path(), "config").unwrap();
                temporary.file.write_all(&[content; 100]).unwrap();
                start.wait();
                temporary.publish_plainly(&path).map(|()| content)
            };
            let results: Vec<io::Result<u8>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|content| scope.spawn(move || make(content)))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            assert_eq!(made.len(), 1);
            assert!(
                refused
                    .into_iter()
                    .filter_map(Result::err)
                    .all(|error| error.kind() == io::ErrorKind::AlreadyExists)
            );
            let winner = made.into_iter().find_map(Result::ok).unwrap();
            assert_eq!(fs::read(&path).unwrap(), [winner; 100]);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
