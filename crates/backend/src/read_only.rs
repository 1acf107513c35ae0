//! Refuses every change, whatever the credentials would allow.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

/// What may be changed nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOnlyExcept {
    /// Locks, which keep others from removing what is being read.
    Locks,
    /// Nothing at all; readers must do without locks.
    Nothing,
}

/// A backend that is only read.
#[derive(Debug)]
pub struct ReadOnly {
    inner: Arc<dyn Backend>,
    except: ReadOnlyExcept,
}

impl ReadOnly {
    /// Refuses changes of this backend.
    pub fn new(inner: Arc<dyn Backend>, except: ReadOnlyExcept) -> Self {
        Self { inner, except }
    }

    fn check(&self, operation: Operation, handle: &Handle) -> Result<(), BackendError> {
        if handle.kind() == FileKind::Lock && self.except == ReadOnlyExcept::Locks {
            return Ok(());
        }
        Err(self.refusal(operation, handle.to_string()))
    }

    fn refusal(&self, operation: Operation, object: String) -> BackendError {
        BackendError {
            kind: ErrorKind::ReadOnly,
            operation,
            object,
            location: self.inner.location(),
            retry_after: None,
            source: Some("it was opened for reading only".into()),
        }
    }
}

#[async_trait]
impl Backend for ReadOnly {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        Err(self.refusal(Operation::Create, "the repository".to_owned()))
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        self.inner.stat(handle).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        self.inner.list(kind).await
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        self.inner.read(handle).await
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        self.inner.read_range(handle, offset, length).await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        self.check(Operation::Write, handle)?;
        self.inner.write(handle, data).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.check(Operation::Remove, handle)?;
        self.inner.remove(handle).await
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let (allowed, refused): (Vec<Handle>, Vec<Handle>) = handles
            .iter()
            .cloned()
            .partition(|handle| self.check(Operation::Remove, handle).is_ok());
        let mut failures: Vec<(Handle, BackendError)> = refused
            .into_iter()
            .map(|handle| {
                let error = self.refusal(Operation::Remove, handle.to_string());
                (handle, error)
            })
            .collect();
        if !allowed.is_empty() {
            failures.extend(self.inner.remove_many(&allowed).await);
        }
        failures
    }

    fn endpoint(&self) -> Option<String> {
        self.inner.endpoint()
    }
}
