//! The cache on disk: what is kept, what is verified, and that trouble with it never fails a call.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backend::{Backend, Cache, CacheOptions, FileKind, Handle, Operation};
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use testkit::{Effect, Fault, FaultBackend, MemoryBackend};

const REPOSITORY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

struct Setup {
    folder: TempDir,
    memory: MemoryBackend,
    faults: FaultBackend,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Setup {
    fn new() -> Self {
        let memory = MemoryBackend::new();
        Self {
            folder: tempfile::tempdir().unwrap(),
            faults: FaultBackend::new(memory.clone()),
            memory,
            warnings: Arc::default(),
        }
    }

    async fn open(&self) -> Cache {
        let warnings = Arc::clone(&self.warnings);
        let options = CacheOptions {
            folder: self.folder.path().join("caches"),
            warn: Some(Arc::new(move |text| warnings.lock().push(text.to_owned()))),
        };
        Cache::open(Arc::new(self.faults.clone()), options, REPOSITORY)
            .await
            .unwrap()
    }

    /// Puts an object into the store, past the cache.
    fn stored(&self, kind: FileKind, content: &[u8]) -> Handle {
        let handle = Handle::new(kind, hex::encode(Sha256::digest(content)));
        self.memory.put(&handle, Bytes::copy_from_slice(content));
        handle
    }

    fn path(&self, handle: &Handle) -> PathBuf {
        let root = self.folder.path().join("caches").join(REPOSITORY);
        let kind = root.join(handle.kind().folder());
        kind.join(&handle.name()[..2]).join(handle.name())
    }

    fn reads(&self, kind: FileKind) -> usize {
        self.faults.count(Operation::Read, kind)
    }
}

#[tokio::test]
async fn snapshots_and_index_files_are_read_from_the_store_once() {
    for kind in [FileKind::Snapshot, FileKind::Index] {
        let setup = Setup::new();
        let handle = setup.stored(kind, b"content");
        for _ in 0..3 {
            // Each one as a process of its own.
            let cache = setup.open().await;
            assert_eq!(cache.read(&handle).await.unwrap(), "content");
        }
        assert_eq!(setup.reads(kind), 1);
    }
}

#[tokio::test]
async fn what_is_written_is_kept_and_what_is_removed_is_dropped() {
    let setup = Setup::new();
    let cache = setup.open().await;
    let name = hex::encode(Sha256::digest(b"content"));
    let handle = Handle::new(FileKind::Snapshot, name);
    cache
        .write(&handle, Bytes::from_static(b"content"))
        .await
        .unwrap();
    assert_eq!(cache.read(&handle).await.unwrap(), "content");
    assert_eq!(setup.reads(FileKind::Snapshot), 0);
    cache.remove(&handle).await.unwrap();
    assert!(!setup.path(&handle).exists());
    assert!(cache.read(&handle).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn config_keys_locks_and_data_are_always_asked_for_anew() {
    let setup = Setup::new();
    let cache = setup.open().await;
    for kind in [FileKind::Key, FileKind::Lock, FileKind::Pack] {
        let handle = setup.stored(kind, b"content");
        for _ in 0..2 {
            cache.read(&handle).await.unwrap();
            cache.read_range(&handle, 1, 2).await.unwrap();
        }
        assert_eq!(setup.reads(kind), 4);
    }
}

#[tokio::test]
async fn a_pack_of_trees_is_fetched_once_by_many_readers_at_once() {
    let setup = Setup::new();
    let handle = setup.stored(FileKind::Pack, b"0123456789");
    setup
        .faults
        .inject(Fault::new(Effect::Delay(Duration::from_millis(50))));
    let cache = setup.open().await;
    let reads = (0..8u64).map(|offset| cache.read_tree_range(&handle, offset, 2));
    let parts = futures::future::try_join_all(reads).await.unwrap();
    assert_eq!(parts[3], "34");
    assert_eq!(setup.reads(FileKind::Pack), 1);
    let again = setup.open().await;
    assert_eq!(again.read_tree_range(&handle, 8, 2).await.unwrap(), "89");
    assert_eq!(setup.reads(FileKind::Pack), 1);
}

#[tokio::test]
async fn what_is_damaged_in_the_cache_is_fetched_anew() {
    let damages: [fn(&PathBuf); 3] = [
        |path| fs::write(path, "0123X56789").unwrap(),
        |path| fs::write(path, "01234").unwrap(),
        |path| fs::write(path, "").unwrap(),
    ];
    for damage in damages {
        let setup = Setup::new();
        let snapshot = setup.stored(FileKind::Snapshot, b"0123456789");
        let pack = setup.stored(FileKind::Pack, b"0123456789");
        for round in 1..=2 {
            let cache = setup.open().await;
            assert_eq!(cache.read(&snapshot).await.unwrap(), "0123456789");
            assert_eq!(cache.read_tree_range(&pack, 4, 3).await.unwrap(), "456");
            assert_eq!(setup.reads(FileKind::Snapshot), round);
            assert_eq!(setup.reads(FileKind::Pack), round);
            damage(&setup.path(&snapshot));
            damage(&setup.path(&pack));
        }
    }
}

#[tokio::test]
async fn a_pack_that_is_cut_while_it_is_in_use_is_fetched_anew() {
    let setup = Setup::new();
    let pack = setup.stored(FileKind::Pack, b"0123456789");
    let cache = setup.open().await;
    cache.read_tree_range(&pack, 0, 1).await.unwrap();
    cache.read_tree_range(&pack, 0, 1).await.unwrap();
    fs::write(setup.path(&pack), "01").unwrap();
    assert_eq!(cache.read_tree_range(&pack, 4, 3).await.unwrap(), "456");
    assert_eq!(setup.reads(FileKind::Pack), 2);
}

#[tokio::test]
async fn what_is_damaged_in_the_store_is_handed_on_and_not_kept() {
    let setup = Setup::new();
    let snapshot = Handle::new(FileKind::Snapshot, "ab".repeat(32));
    let pack = Handle::new(FileKind::Pack, "cd".repeat(32));
    setup.memory.put(&snapshot, &b"not what the name says"[..]);
    setup.memory.put(&pack, &b"not what the name says"[..]);
    let cache = setup.open().await;
    let read = cache.read(&snapshot).await.unwrap();
    assert_eq!(read, "not what the name says");
    assert_eq!(cache.read_tree_range(&pack, 0, 3).await.unwrap(), "not");
    assert!(!setup.path(&snapshot).exists() && !setup.path(&pack).exists());
}

#[tokio::test]
async fn a_range_beyond_the_end_of_a_pack_is_the_stores_answer() {
    let setup = Setup::new();
    let pack = setup.stored(FileKind::Pack, b"0123456789");
    let cache = setup.open().await;
    for _ in 0..2 {
        let error = cache.read_tree_range(&pack, 8, 3).await.unwrap_err();
        assert_eq!(error.kind, backend::ErrorKind::TooShort);
        cache.read_tree_range(&pack, 0, 3).await.unwrap();
    }
}

#[tokio::test]
async fn a_listing_drops_what_the_repository_has_no_more() {
    let setup = Setup::new();
    let cache = setup.open().await;
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let (gone, kept) = (setup.stored(kind, b"gone"), setup.stored(kind, b"kept"));
        for handle in [&gone, &kept] {
            let content = setup.memory.get(handle).unwrap();
            cache.keep(handle, content).await;
            assert!(setup.path(handle).exists());
        }
        setup.memory.take(&gone);
        cache.list(kind).await.unwrap();
        assert!(!setup.path(&gone).exists());
        assert!(setup.path(&kept).exists());
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_told_once_and_done_without() {
    let setup = Setup::new();
    let cache = setup.open().await;
    let root = setup.folder.path().join("caches").join(REPOSITORY);
    for kind in ["snapshots", "data"] {
        // A file where a folder belongs stops even the superuser.
        fs::remove_dir(root.join(kind)).unwrap();
        fs::write(root.join(kind), "").unwrap();
    }
    for content in [&b"one"[..], b"two"] {
        let snapshot = setup.stored(FileKind::Snapshot, content);
        let pack = setup.stored(FileKind::Pack, content);
        assert_eq!(cache.read(&snapshot).await.unwrap(), content);
        assert_eq!(cache.read_tree_range(&pack, 0, 3).await.unwrap(), content);
    }
    cache.list(FileKind::Snapshot).await.unwrap();
    let warnings = setup.warnings.lock().clone();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("cannot be written"), "{warnings:?}");
}

#[tokio::test]
async fn a_cache_of_another_version_is_left_alone() {
    let setup = Setup::new();
    setup.open().await;
    let root = setup.folder.path().join("caches").join(REPOSITORY);
    fs::write(root.join("version"), "2").unwrap();
    let options = CacheOptions {
        folder: setup.folder.path().join("caches"),
        warn: None,
    };
    let backend = Arc::new(setup.memory.clone());
    let error = Cache::open(backend, options, REPOSITORY).await.unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("version 2"), "{reason}");
}

#[tokio::test]
async fn the_folder_is_marked_as_a_cache_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new();
    setup.open().await;
    let caches = setup.folder.path().join("caches");
    let tag = fs::read_to_string(caches.join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
    let mode = caches
        .join(REPOSITORY)
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}
