//! The files of one repository's cache: `<id>/{version, snapshots, index, data}`, each object in a folder named by
//! the first two letters of its name. Blocking.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::{FileKind, Handle};

/// The layout that restic calls version 1.
const VERSION: &str = "1";
/// Keeps backup programs from saving caches: <https://bford.info/cachedir/>.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";
/// A temporary file that is older has no writer any more.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(super) struct CacheFolder {
    root: PathBuf,
    /// Packs whose content this process has seen to fit their name.
    verified: Mutex<HashSet<Handle>>,
}

impl CacheFolder {
    /// Opens or makes the cache of a repository, and marks it as used now.
    pub fn open(folder: &Path, repository_id: &str) -> io::Result<Self> {
        if !is_id(repository_id) {
            return Err(io::Error::other("the id of the repository is malformed"));
        }
        create_folder(folder)?;
        write_new(&folder.join("CACHEDIR.TAG"), TAG)?;
        let root = folder.join(repository_id);
        create_folder(&root)?;
        let version = root.join("version");
        write_new(&version, VERSION)?;
        let found = fs::read_to_string(&version)?;
        if found.trim() != VERSION {
            return Err(io::Error::other(format!(
                "it is of version {}, and this program knows version {VERSION}",
                found.trim().escape_default()
            )));
        }
        for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
            create_folder(&root.join(kind.folder()))?;
        }
        // A cache that is read-only works all the same.
        let _ = File::open(&root).and_then(|root| root.set_modified(SystemTime::now()));
        Ok(Self {
            root,
            verified: Mutex::default(),
        })
    }

    /// A whole object whose content fits its name.
    pub fn load(&self, handle: &Handle) -> Option<Bytes> {
        let data = fs::read(self.path(handle)?).ok()?;
        if is_named_by_content(handle.name(), &data) {
            return Some(Bytes::from(data));
        }
        tracing::warn!(%handle, "an object in the cache is damaged; fetching it anew");
        self.remove(handle);
        None
    }

    /// A part of a pack. The first time the whole pack is verified.
    pub fn load_range(&self, handle: &Handle, offset: u64, length: u64) -> Option<Bytes> {
        if !self.verified.lock().contains(handle) {
            let data = self.load(handle)?;
            let part = slice(&data, offset, length)?;
            self.verified.lock().insert(handle.clone());
            return Some(part);
        }
        let part = read_part(&self.path(handle)?, offset, length);
        if part.is_none() {
            self.remove(handle);
        }
        part
    }

    /// Keeps an object if its content fits its name: in full or not at all.
    pub fn save(&self, handle: &Handle, data: &[u8]) -> io::Result<()> {
        let Some(path) = self.path(handle) else {
            return Ok(());
        };
        if !is_named_by_content(handle.name(), data) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.root);
        create_folder(folder)?;
        let random = RandomState::new().build_hasher().finish();
        let temporary = folder.join(format!("tmp-{random}"));
        let saved = write_file(&temporary, data).and_then(|()| fs::rename(&temporary, &path));
        if saved.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        saved
    }

    /// Forgets an object.
    pub fn remove(&self, handle: &Handle) {
        if let Some(path) = self.path(handle) {
            self.verified.lock().remove(handle);
            let _ = fs::remove_file(path);
        }
    }

    /// Forgets all objects of a kind whose names are not known, and what killed writers left.
    pub fn retain(&self, kind: FileKind, is_known: impl Fn(&str) -> bool) -> io::Result<()> {
        for folder in fs::read_dir(self.root.join(kind.folder()))? {
            // Other processes clean too: what is gone is gone.
            let Ok(entries) = fs::read_dir(folder?.path()) else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_str().unwrap_or_default();
                if is_id(name) && !is_known(name) {
                    self.remove(&Handle::new(kind, name));
                } else if name.starts_with("tmp-") && is_abandoned(&entry.path()) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(())
    }

    /// Nothing for what is not cached, and for names that could lead out of the folder.
    fn path(&self, handle: &Handle) -> Option<PathBuf> {
        let is_cached = matches!(
            handle.kind(),
            FileKind::Snapshot | FileKind::Index | FileKind::Pack
        );
        let name = handle.name();
        (is_cached && is_id(name)).then(|| {
            let kind = self.root.join(handle.kind().folder());
            kind.join(&name[..2]).join(name)
        })
    }
}

/// Whether the name is the hash of the content, as of all files of a repository but `config`.
pub(super) fn is_named_by_content(name: &str, data: &[u8]) -> bool {
    name == hex::encode(Sha256::digest(data))
}

/// Whether this is a name of 64 hex digits.
pub(super) fn is_id(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// How long ago something was changed; nothing where that cannot be told.
pub(super) fn age(path: &Path) -> Option<Duration> {
    let modified = path.symlink_metadata().ok()?.modified().ok()?;
    SystemTime::now().duration_since(modified).ok()
}

fn is_abandoned(path: &Path) -> bool {
    age(path).is_some_and(|age| age > ABANDONED_AFTER)
}

fn slice(data: &Bytes, offset: u64, length: u64) -> Option<Bytes> {
    let start = usize::try_from(offset).ok()?;
    let end = usize::try_from(offset.checked_add(length)?).ok()?;
    (end <= data.len()).then(|| data.slice(start..end))
}

fn read_part(path: &Path, offset: u64, length: u64) -> Option<Bytes> {
    let mut file = File::open(path).ok()?;
    // The length is bounded by the size of the file before memory is set aside for it.
    (offset.checked_add(length)? <= file.metadata().ok()?.len()).then_some(())?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut data = vec![0; usize::try_from(length).ok()?];
    file.read_exact(&mut data).ok()?;
    Some(Bytes::from(data))
}

fn create_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes a small file unless it is there.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let random = RandomState::new().build_hasher().finish();
    let temporary = path.with_extension(format!("tmp-{random}"));
    let written =
        write_file(&temporary, text.as_bytes()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_file(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(data)
}
