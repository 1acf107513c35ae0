//! Counts and slows the calls to a folder. Services over HTTP have both in their client.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bandwidth::Direction;
use crate::{Backend, BackendError, Bandwidth, FileInfo, FileKind, Handle, Meter, Operation};

/// Counts calls and bytes, and keeps them below the limits of bytes per second.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Backend>,
    meter: Arc<Meter>,
    bandwidth: Bandwidth,
}

impl Metered {
    /// Counts the calls to this backend.
    pub fn new(inner: Arc<dyn Backend>, meter: Arc<Meter>, bandwidth: Bandwidth) -> Self {
        Self {
            inner,
            meter,
            bandwidth,
        }
    }

    async fn wait(&self, direction: Direction, bytes: usize) {
        let time = self.bandwidth.take(direction, bytes);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }

    fn count<T>(
        &self,
        operation: Operation,
        sent: usize,
        result: Result<T, BackendError>,
        received: impl FnOnce(&T) -> usize,
    ) -> Result<T, BackendError> {
        let received = result.as_ref().map_or(0, received);
        self.meter.add(operation, result.is_err(), sent, received);
        result
    }
}

fn nothing<T>(_value: &T) -> usize {
    0
}

#[async_trait]
impl Backend for Metered {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        let result = self.inner.create().await;
        self.count(Operation::Create, 0, result, nothing)
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let result = self.inner.stat(handle).await;
        self.count(Operation::Stat, 0, result, nothing)
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let result = self.inner.list(kind).await;
        self.count(Operation::List, 0, result, nothing)
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let result = self.inner.read(handle).await;
        let data = self.count(Operation::Read, 0, result, Bytes::len)?;
        self.wait(Direction::Download, data.len()).await;
        Ok(data)
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let result = self.inner.read_range(handle, offset, length).await;
        let data = self.count(Operation::Read, 0, result, Bytes::len)?;
        self.wait(Direction::Download, data.len()).await;
        Ok(data)
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let sent = data.len();
        self.wait(Direction::Upload, sent).await;
        let result = self.inner.write(handle, data).await;
        self.count(Operation::Write, sent, result, nothing)
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        let result = self.inner.remove(handle).await;
        self.count(Operation::Remove, 0, result, nothing)
    }

    fn endpoint(&self) -> Option<String> {
        self.inner.endpoint()
    }
}
