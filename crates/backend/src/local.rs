//! A repository in a folder of this machine or of a mounted volume, in restic's default layout.
//!
//! This module owns the folder layout and the paths; `write` stores files atomically, `list` reads folders,
//! `failure` turns the system's errors into ours. Blocking calls run on the runtime's blocking pool.

mod failure;
mod list;
mod write;

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

/// A folder of this machine or a mounted volume. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    root: PathBuf,
    /// Folders in which this process has already looked for left-over temporary files.
    swept: Arc<Mutex<HashSet<PathBuf>>>,
}

/// The modes of new files and folders; restic derives them from the config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Modes {
    file: u32,
    folder: u32,
}

impl Modes {
    const OWNER_ONLY: Self = Self {
        file: 0o400,
        folder: 0o700,
    };
    const GROUP_READABLE: Self = Self {
        file: 0o440,
        folder: 0o750,
    };
}

impl LocalBackend {
    /// The repository at this folder; nothing is touched yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            swept: Arc::default(),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, handle: &Handle) -> PathBuf {
        self.root.join(handle.path())
    }

    /// Group-readable when the config file is, as restic does it.
    fn modes(&self) -> Modes {
        match self.root.join("config").metadata() {
            Ok(config) if config.permissions().mode() & 0o040 != 0 => Modes::GROUP_READABLE,
            _ => Modes::OWNER_ONLY,
        }
    }

    fn create_folders(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(self.modes().folder);
        for kind in FileKind::ALL {
            builder.create(self.root.join(kind.folder()))?;
        }
        let packs = self.root.join(FileKind::Pack.folder());
        for first_byte in 0..=u8::MAX {
            builder.create(packs.join(format!("{first_byte:02x}")))?;
        }
        write::sync_folder(&packs)?;
        write::sync_folder(&self.root)?;
        match write::sync_folder(&self.root.join("..")) {
            // The folder above may be closed to us; then its durability is its owner's matter.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result,
        }
    }

    fn stat_file(&self, handle: &Handle) -> io::Result<FileInfo> {
        let metadata = self.path(handle).metadata()?;
        if metadata.is_file() {
            Ok(FileInfo {
                name: handle.name().to_owned(),
                size_bytes: metadata.len(),
            })
        } else {
            Err(io::Error::other("not a regular file"))
        }
    }

    fn read_file(&self, handle: &Handle, range: Option<(u64, u64)>) -> Result<Bytes, ReadFailure> {
        let mut file = File::open(self.path(handle))?;
        let size_bytes = file.metadata()?.len();
        let (offset, length) = range.unwrap_or((0, size_bytes));
        if offset
            .checked_add(length)
            .is_none_or(|end| end > size_bytes)
        {
            return Err(ReadFailure::TooShort { size_bytes });
        }
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        // The length is bounded by the size of the file, so this cannot be talked into a huge allocation.
        let capacity = usize::try_from(length).map_err(io::Error::other)?;
        let mut data = Vec::with_capacity(capacity);
        file.take(length).read_to_end(&mut data)?;
        if data.len() < capacity {
            return Err(ReadFailure::TooShort {
                size_bytes: offset + data.len() as u64,
            });
        }
        Ok(Bytes::from(data))
    }

    fn remove_file(&self, handle: &Handle) -> io::Result<()> {
        let path = self.path(handle);
        match std::fs::remove_file(&path) {
            Ok(()) => match (handle.kind(), path.parent()) {
                // Removal goes index before packs: after a power cut no index or snapshot may come back
                // whose packs are gone. Packs and locks may come back without harm.
                (FileKind::Pack | FileKind::Lock, _) | (_, None) => Ok(()),
                (_, Some(folder)) => write::sync_folder(folder),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn failure(&self, operation: Operation, object: String, source: io::Error) -> BackendError {
        failure::backend_error(&self.root, operation, object, source)
    }

    /// Runs blocking calls away from the asynchronous threads.
    async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let backend = self.clone();
        match tokio::task::spawn_blocking(move || work(&backend)).await {
            Ok(result) => result,
            // The runtime is shutting down, or the work panicked.
            Err(error) => Err(io::Error::other(error).into()),
        }
    }

    async fn read_bytes(
        &self,
        handle: &Handle,
        range: Option<(u64, u64)>,
    ) -> Result<Bytes, BackendError> {
        let target = handle.clone();
        let result = self
            .blocking(move |backend| backend.read_file(&target, range))
            .await;
        result.map_err(|failure| match failure {
            ReadFailure::Io(source) => self.failure(Operation::Read, handle.to_string(), source),
            ReadFailure::TooShort { size_bytes } => {
                let reason = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("it has {size_bytes} bytes"),
                );
                BackendError::new(
                    ErrorKind::TooShort,
                    Operation::Read,
                    handle,
                    self.location(),
                    Some(Box::new(reason)),
                )
            }
        })
    }
}

enum ReadFailure {
    Io(io::Error),
    TooShort { size_bytes: u64 },
}

impl From<io::Error> for ReadFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn connections(&self) -> usize {
        // As restic. Two writers of packs store some 0.8 GB/s through fsync, more than the cores deliver;
        // each further one would hold a pack in memory for little.
        2
    }

    async fn create(&self) -> Result<(), BackendError> {
        let result = self.blocking(Self::create_folders).await;
        result.map_err(|source| {
            self.failure(
                Operation::Create,
                "the repository folders".to_owned(),
                source,
            )
        })
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let target = handle.clone();
        let result = self
            .blocking(move |backend| backend.stat_file(&target))
            .await;
        result.map_err(|source| self.failure(Operation::Stat, handle.to_string(), source))
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let result = self
            .blocking(move |backend| list::list(&backend.root, kind))
            .await;
        result.map_err(|source| self.failure(Operation::List, format!("{kind} files"), source))
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        self.read_bytes(handle, None).await
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        self.read_bytes(handle, Some((offset, length))).await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let target = handle.clone();
        let result = self
            .blocking(move |backend| backend.write_file(&target, &data))
            .await;
        result.map_err(|source| self.failure(Operation::Write, handle.to_string(), source))
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        let target = handle.clone();
        let result = self
            .blocking(move |backend| backend.remove_file(&target))
            .await;
        result.map_err(|source| self.failure(Operation::Remove, handle.to_string(), source))
    }
}
