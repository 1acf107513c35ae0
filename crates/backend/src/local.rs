//! A repository in a folder of this machine.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backend, BackendError, FileInfo, FileKind, Handle};

/// A folder of this machine or a mounted volume.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    root: PathBuf,
}

impl LocalBackend {
    /// The repository at this folder; nothing is touched yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn location(&self) -> String {
        self.root.display().to_string()
    }
    fn connections(&self) -> usize {
        2
    }
    async fn create(&self) -> Result<(), BackendError> {
        todo!()
    }
    async fn stat(&self, _handle: &Handle) -> Result<FileInfo, BackendError> {
        todo!()
    }
    async fn list(&self, _kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        todo!()
    }
    async fn read(&self, _handle: &Handle) -> Result<Bytes, BackendError> {
        todo!()
    }
    async fn read_range(&self, _handle: &Handle, _offset: u64, _length: u64) -> Result<Bytes, BackendError> {
        todo!()
    }
    async fn write(&self, _handle: &Handle, _data: Bytes) -> Result<(), BackendError> {
        todo!()
    }
    async fn remove(&self, _handle: &Handle) -> Result<(), BackendError> {
        todo!()
    }
}
