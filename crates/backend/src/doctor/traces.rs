//! What an examination has written and not yet removed, so that nothing stays when it is interrupted.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Backend, BackendError, FileInfo, FileKind, Handle};

/// Remembers every object from before it is written until it is removed.
#[derive(Debug)]
pub(super) struct Traced<'a> {
    inner: &'a dyn Backend,
    written: Mutex<HashSet<Handle>>,
}

impl<'a> Traced<'a> {
    pub fn new(inner: &'a dyn Backend) -> Self {
        Self {
            inner,
            written: Mutex::default(),
        }
    }

    /// Removes what is left.
    pub async fn remove_all(&self) {
        let left: Vec<Handle> = self.written.lock().drain().collect();
        for (handle, error) in self.inner.remove_many(&left).await {
            tracing::warn!(%handle, %error, "an interrupted examination leaves this behind");
        }
    }
}

#[async_trait]
impl Backend for Traced<'_> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.inner.create().await
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
        self.written.lock().insert(handle.clone());
        self.inner.write(handle, data).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.inner.remove(handle).await?;
        self.written.lock().remove(handle);
        Ok(())
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let failed = self.inner.remove_many(handles).await;
        let mut written = self.written.lock();
        for handle in handles {
            if failed.iter().all(|(other, _)| other != handle) {
                written.remove(handle);
            }
        }
        failed
    }

    fn endpoint(&self) -> Option<String> {
        self.inner.endpoint()
    }
}
