//! Creations that were killed or met a stray key.

use std::sync::Arc;

use backend::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};
use bytes::Bytes;
use repository::key::ScryptParams;
use repository::{CreateOptions, OpenError, OpenOptions, Repository};
use secrecy::SecretString;
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend};

fn password() -> SecretString {
    SecretString::from("password")
}

async fn create(
    backend: Arc<dyn Backend>,
    password: &SecretString,
) -> Result<Repository, OpenError> {
    let options = CreateOptions {
        scrypt: Some(ScryptParams::FAST_FOR_TESTS),
        ..CreateOptions::default()
    };
    Repository::create(backend, password, &options).await
}

/// A place where a creation ended between the key and the config.
async fn half_created() -> MemoryBackend {
    let memory = MemoryBackend::new();
    let faulty = FaultBackend::new(memory.clone());
    let fault = Fault::new(Effect::Fail(ErrorKind::Permanent));
    faulty.inject(
        fault
            .on(Operation::Write)
            .of(FileKind::Config)
            .at(Calls::All),
    );
    create(Arc::new(faulty), &password()).await.unwrap_err();
    assert_eq!(memory.handles_of(FileKind::Key).len(), 1);
    memory
}

#[tokio::test]
async fn a_creation_killed_before_its_config_is_finished_by_the_next() {
    let memory = half_created().await;
    create(Arc::new(memory.clone()), &password()).await.unwrap();
    assert_eq!(
        memory.handles_of(FileKind::Key).len(),
        1,
        "the key was taken over"
    );
    Repository::open(Arc::new(memory), &password(), &OpenOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_leftover_key_of_another_password_is_left_alone() {
    let memory = half_created().await;
    let other = SecretString::from("other");
    create(Arc::new(memory.clone()), &other).await.unwrap();
    assert_eq!(memory.handles_of(FileKind::Key).len(), 2);
    Repository::open(Arc::new(memory), &other, &OpenOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stray_key_with_the_same_password_does_not_close_the_repository() {
    for _ in 0..4 {
        let memory = MemoryBackend::new();
        create(Arc::new(memory.clone()), &password()).await.unwrap();
        let elsewhere = half_created().await;
        let stray = elsewhere.handles_of(FileKind::Key).remove(0);
        memory.put(&stray, elsewhere.get(&stray).unwrap());
        // Which of the two keys is tried first depends on their random names.
        Repository::open(Arc::new(memory), &password(), &OpenOptions::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn two_creations_at_once_leave_one_repository_that_opens() {
    for _ in 0..8 {
        let memory = MemoryBackend::new();
        let (first, second) = (memory.clone(), memory.clone());
        let (ours, theirs) = (password(), password());
        let results = tokio::join!(
            create(Arc::new(first), &ours),
            create(Arc::new(second), &theirs)
        );
        assert!(results.0.is_ok() || results.1.is_ok());
        assert!(memory.get(&Handle::config()).is_some());
        Repository::open(Arc::new(memory), &password(), &OpenOptions::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn data_without_config_is_never_taken_for_a_place_to_create_in() {
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        for memory in [MemoryBackend::new(), half_created().await] {
            memory.put(
                &Handle::new(kind, "a".repeat(64)),
                Bytes::from_static(b"data"),
            );
            let before = memory.handles();
            let error = create(Arc::new(memory.clone()), &password())
                .await
                .unwrap_err();
            assert!(matches!(error, OpenError::ConfigMissing { .. }), "{error}");
            assert_eq!(memory.handles(), before);
        }
    }
}

/// A store that lets a second writer of a name win, and where one is at work at the same time.
#[derive(Debug)]
struct Overwriting {
    memory: MemoryBackend,
    theirs: MemoryBackend,
}

#[async_trait::async_trait]
impl Backend for Overwriting {
    fn location(&self) -> String {
        self.memory.location()
    }

    fn connections(&self) -> usize {
        self.memory.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.memory.create().await
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        self.memory.stat(handle).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        self.memory.list(kind).await
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        self.memory.read(handle).await
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        self.memory.read_range(handle, offset, length).await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        self.memory.put(handle, data);
        if handle.kind() == FileKind::Config {
            for other in self.theirs.handles() {
                self.memory.put(&other, self.theirs.get(&other).unwrap());
            }
        }
        Ok(())
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.memory.remove(handle).await
    }
}

#[tokio::test]
async fn a_creation_whose_config_was_replaced_by_another_one_does_not_go_on() {
    let theirs = MemoryBackend::new();
    create(Arc::new(theirs.clone()), &password()).await.unwrap();
    let memory = MemoryBackend::new();
    let store = Overwriting {
        memory: memory.clone(),
        theirs: theirs.clone(),
    };
    let error = create(Arc::new(store), &password()).await.unwrap_err();
    assert!(matches!(error, OpenError::Exists { .. }), "{error}");
    assert_eq!(memory.handles(), theirs.handles(), "our key is gone");
    Repository::open(Arc::new(memory), &password(), &OpenOptions::default())
        .await
        .unwrap();
}
