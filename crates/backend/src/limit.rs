//! Bounds how many requests run at once, without letting what is urgent wait behind what is long.
//!
//! Contents share the connections; listings, sizes and removals have as many of their own; locks have a few that
//! nothing else can take, because a lock that is not refreshed in time is lost.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Backend, BackendError, FileInfo, FileKind, Handle};

/// Connections that only locks use.
const LOCK_CONNECTIONS: usize = 2;

/// Limits the requests to a backend.
#[derive(Debug)]
pub struct ConnectionLimit {
    inner: Arc<dyn Backend>,
    connections: usize,
    contents: Semaphore,
    small: Semaphore,
    locks: Semaphore,
}

impl ConnectionLimit {
    /// At most this many requests for contents at once, as many others, and a few for locks.
    pub fn new(inner: Arc<dyn Backend>, connections: usize) -> Self {
        let connections = connections.clamp(1, 1024);
        Self {
            inner,
            connections,
            contents: Semaphore::new(connections),
            small: Semaphore::new(connections),
            locks: Semaphore::new(LOCK_CONNECTIONS),
        }
    }

    async fn for_contents(&self, kind: FileKind) -> Option<SemaphorePermit<'_>> {
        self.permit(kind, &self.contents).await
    }

    async fn for_small(&self, kind: FileKind) -> Option<SemaphorePermit<'_>> {
        self.permit(kind, &self.small).await
    }

    /// Waits for a connection; who asks first gets one first. The semaphores are never closed.
    async fn permit<'a>(
        &'a self,
        kind: FileKind,
        others: &'a Semaphore,
    ) -> Option<SemaphorePermit<'a>> {
        let lane = if kind == FileKind::Lock {
            &self.locks
        } else {
            others
        };
        lane.acquire().await.ok()
    }
}

#[async_trait]
impl Backend for ConnectionLimit {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.inner.create().await
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let _permit = self.for_small(handle.kind()).await;
        self.inner.stat(handle).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let _permit = self.for_small(kind).await;
        self.inner.list(kind).await
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let _permit = self.for_contents(handle.kind()).await;
        self.inner.read(handle).await
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let _permit = self.for_contents(handle.kind()).await;
        self.inner.read_range(handle, offset, length).await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let _permit = self.for_contents(handle.kind()).await;
        self.inner.write(handle, data).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        let _permit = self.for_small(handle.kind()).await;
        self.inner.remove(handle).await
    }

    /// Takes all connections for what is small: the service spreads the work over as many.
    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        let _permits = self.small.acquire_many(all).await;
        self.inner.remove_many(handles).await
    }

    fn endpoint(&self) -> Option<String> {
        self.inner.endpoint()
    }
}
