//! A repository in memory: fast, and open to damage.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use backend::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};
use bytes::Bytes;
use parking_lot::Mutex;

type Objects = BTreeMap<(FileKind, String), Bytes>;

/// Objects in memory. Clones share them; [`MemoryBackend::copy`] does not.
#[derive(Debug, Clone, Default)]
pub struct MemoryBackend {
    objects: Arc<Mutex<Objects>>,
}

impl MemoryBackend {
    /// An empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of this moment in a place of its own, as a crash would leave it.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            objects: Arc::new(Mutex::new(self.objects.lock().clone())),
        }
    }

    /// All objects, by kind and name.
    pub fn handles(&self) -> Vec<Handle> {
        self.objects
            .lock()
            .keys()
            .map(|(kind, name)| Handle::new(*kind, name.clone()))
            .collect()
    }

    /// All objects of one kind, by name.
    pub fn handles_of(&self, kind: FileKind) -> Vec<Handle> {
        self.handles()
            .into_iter()
            .filter(|handle| handle.kind() == kind)
            .collect()
    }

    /// The bytes of an object.
    pub fn get(&self, handle: &Handle) -> Option<Bytes> {
        self.objects.lock().get(&key(handle)).cloned()
    }

    /// Puts an object there, replacing any of this name: foreign files, damaged files.
    pub fn put(&self, handle: &Handle, data: impl Into<Bytes>) {
        self.objects.lock().insert(key(handle), data.into());
    }

    /// Takes an object away; whether it was there.
    pub fn take(&self, handle: &Handle) -> bool {
        self.objects.lock().remove(&key(handle)).is_some()
    }

    /// Changes the bytes of an object in place; panics when it is absent.
    pub fn damage(&self, handle: &Handle, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.objects.lock();
        let object = objects
            .get_mut(&key(handle))
            .expect("the object to damage exists");
        let mut data = object.to_vec();
        change(&mut data);
        *object = Bytes::from(data);
    }

    /// Sum of all sizes.
    pub fn total_bytes(&self) -> u64 {
        self.objects
            .lock()
            .values()
            .map(|data| data.len() as u64)
            .sum()
    }

    fn find(&self, operation: Operation, handle: &Handle) -> Result<Bytes, BackendError> {
        self.get(handle)
            .ok_or_else(|| self.error(ErrorKind::NotFound, operation, handle))
    }

    fn error(&self, kind: ErrorKind, operation: Operation, handle: &Handle) -> BackendError {
        BackendError::new(kind, operation, handle, self.location(), None)
    }
}

fn key(handle: &Handle) -> (FileKind, String) {
    (handle.kind(), handle.name().to_owned())
}

#[async_trait]
impl Backend for MemoryBackend {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn connections(&self) -> usize {
        4
    }

    async fn create(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let data = self.find(Operation::Stat, handle)?;
        Ok(FileInfo {
            name: handle.name().to_owned(),
            size_bytes: data.len() as u64,
        })
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let objects = self.objects.lock();
        let of_kind = objects.iter().filter(|((other, _), _)| *other == kind);
        Ok(of_kind
            .map(|((_, name), data)| FileInfo {
                name: name.clone(),
                size_bytes: data.len() as u64,
            })
            .collect())
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        self.find(Operation::Read, handle)
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let data = self.find(Operation::Read, handle)?;
        match offset.checked_add(length) {
            Some(end) if end <= data.len() as u64 => {
                let position =
                    |value: u64| usize::try_from(value).expect("within the length of the data");
                Ok(data.slice(position(offset)..position(end)))
            }
            _ => Err(self.error(ErrorKind::TooShort, Operation::Read, handle)),
        }
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let mut objects = self.objects.lock();
        if objects.contains_key(&key(handle)) {
            return Err(self.error(ErrorKind::AlreadyExists, Operation::Write, handle));
        }
        objects.insert(key(handle), data);
        Ok(())
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.take(handle);
        Ok(())
    }
}
