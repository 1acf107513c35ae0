//! Writing and reading blobs, with restic as the judge, and with a storage that fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backend::{
    Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, LocalBackend, Operation,
};
use bytes::Bytes;
use parking_lot::Mutex;
use repository::compression::Compression;
use repository::lock::{self, Lock, LockError, LockKind, LockOptions, UnlockScope};
use repository::{BlobHandle, BlobId, BlobKind, Id, LoadError, OpenOptions, Repository};
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend, Random, Restic, Scratch};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn restic_reads_what_we_write_in_both_versions() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    for version in [1, 2] {
        let scratch = Scratch::new();
        let root = scratch.join("repository");
        sample::create(LocalBackend::new(&root), version).await;
        let repository = sample::open(LocalBackend::new(&root)).await;
        sample::save_snapshot(&repository, sample::contents(1, 150))
            .await
            .unwrap();
        let snapshot = sample::save_snapshot(&repository, sample::contents(2, 3))
            .await
            .unwrap();
        let restic = restic.repository(&root, sample::PASSWORD);
        restic.assert_check_is_clean();
        restic
            .run([
                "restore",
                &snapshot.to_hex(),
                "--target",
                scratch.join("out").to_str().unwrap(),
            ])
            .assert_success();
        let restored = std::fs::read(scratch.join("out/folder/file000001")).unwrap();
        assert!(restored == sample::contents(2, 3)[1].concat());
        // Nothing of ours is left for restic to improve.
        let prune = restic.run(["prune", "--dry-run", "-vv"]).stdout_text();
        assert!(prune.contains("to repack:             0 blobs"), "{prune}");
        assert!(
            prune.contains("this removes:          0 blobs")
                || prune.contains("to delete:             0 blobs"),
            "{prune}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_restic_writes_in_both_versions() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    for version in ["1", "2"] {
        let scratch = Scratch::new();
        testkit::build_plain_tree(&scratch.folder("source"), 7, 40);
        let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
        restic
            .run(["init", "--repository-version", version])
            .assert_success();
        restic
            .run(["backup", scratch.join("source").to_str().unwrap()])
            .assert_success();
        restic
            .run(["backup", "--compression", "off", "/etc/hostname"])
            .assert_success();
        let repository = sample::open(LocalBackend::new(scratch.join("repository"))).await;
        assert_eq!(repository.config().version().to_string(), version);
        assert_eq!(sample::assert_whole(&repository).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_saved_by_many_threads_is_stored_once() {
    let backend = MemoryBackend::new();
    sample::create(backend.clone(), 2).await;
    let repository = sample::open(backend.clone()).await;
    let writer = repository.writer();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let writer = writer.clone();
            std::thread::spawn(move || {
                let mut random = Random::new(3);
                let blobs: Vec<_> = (0..200).map(|_| random.bytes(50_000)).collect();
                blobs
                    .iter()
                    .filter(|blob| writer.save(BlobKind::Data, blob).unwrap().is_new)
                    .count()
            })
        })
        .collect();
    let new: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    let summary = writer.finish().await.unwrap();
    assert_eq!(
        (new, summary.data_blobs, summary.data_bytes),
        (200, 200, 10_000_000)
    );
    assert!(backend.total_bytes() < 10_100_000);
    assert_eq!(
        sample::open(backend)
            .await
            .index()
            .blob_count(BlobKind::Data),
        200
    );
    // The index in memory has learned them too.
    let blob = Random::new(3).bytes(50_000);
    let handle = BlobHandle {
        kind: BlobKind::Data,
        id: BlobId(Id::of(&blob)),
    };
    assert_eq!(repository.load_blob(&handle).await.unwrap(), blob);
    assert!(!repository.writer().has(&BlobHandle {
        kind: BlobKind::Tree,
        ..handle
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failed_upload_is_what_every_later_call_returns() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    let backend = FaultBackend::new(memory.clone());
    let fault = Fault::new(Effect::Fail(ErrorKind::NoSpace))
        .on(Operation::Write)
        .of(FileKind::Pack);
    backend.inject(fault.at(Calls::Nth(2)));
    let repository = sample::open(backend).await;
    let writer = repository.writer();
    let saver = writer.clone();
    let error = tokio::task::spawn_blocking(move || {
        let mut random = Random::new(4);
        (0..2000).find_map(|_| saver.save(BlobKind::Data, &random.bytes(100_000)).err())
    })
    .await
    .unwrap()
    .expect("200 MB do not fit after an upload failed");
    assert!(error.object.starts_with("pack "), "{error}");
    let cause = std::error::Error::source(&*error.source).unwrap();
    assert!(cause.to_string().contains("no space is left"), "{cause}");
    let again = writer.finish().await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    assert!(memory.handles_of(FileKind::Index).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_dropped_ends_and_names_nothing() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    let backend = FaultBackend::new(memory.clone());
    backend.inject(
        Fault::new(Effect::Delay(Duration::from_mins(1)))
            .on(Operation::Write)
            .of(FileKind::Pack),
    );
    let repository = sample::open(backend).await;
    let writer = repository.writer();
    let dropped = tokio::task::spawn_blocking(move || {
        let mut random = Random::new(5);
        for _ in 0..120 {
            writer.save(BlobKind::Data, &random.bytes(100_000)).unwrap();
        }
    });
    dropped.await.unwrap();
    assert!(memory.handles_of(FileKind::Index).is_empty());
    assert!(memory.handles_of(FileKind::Pack).is_empty());
    sample::save_snapshot(&sample::open(memory).await, sample::contents(5, 2))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_killed_after_any_write_leaves_what_was_whole() {
    let start = MemoryBackend::new();
    sample::create(start.clone(), 2).await;
    sample::save_snapshot(&sample::open(start.clone()).await, sample::contents(6, 20))
        .await
        .unwrap();
    for changes in 0.. {
        let memory = start.copy();
        let backend = FaultBackend::new(memory.clone());
        let repository = sample::open(backend.clone()).await;
        backend.crash_after_changes(changes);
        let saved = sample::save_snapshot(&repository, sample::contents(7, 200)).await;
        // Everything that an index names is there.
        let after = sample::open(memory.clone()).await;
        let packs: Vec<_> = memory
            .handles_of(FileKind::Pack)
            .iter()
            .map(|pack| pack.name().to_owned())
            .collect();
        assert!(
            after
                .index()
                .packs()
                .iter()
                .all(|pack| packs.contains(&pack.to_hex()))
        );
        assert_eq!(
            sample::assert_whole(&after).await,
            if saved.is_ok() { 2 } else { 1 }
        );
        // And the next backup succeeds by itself.
        sample::save_snapshot(&after, sample::contents(7, 200))
            .await
            .unwrap();
        sample::assert_whole(&sample::open(memory).await).await;
        if saved.is_ok() {
            assert!(changes > 3, "the backup made only {changes} changes");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_an_upload_that_is_tried_again_is_no_error() {
    let memory = MemoryBackend::new();
    let repository = sample::create(memory.clone(), 2).await;
    let id = repository
        .save_unpacked(FileKind::Snapshot, b"{}")
        .await
        .unwrap();
    assert_eq!(
        repository
            .load_unpacked(FileKind::Snapshot, &id)
            .await
            .unwrap(),
        b"{}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_went_wrong_once_is_repeated_and_damage_is_reported() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    sample::save_snapshot(&sample::open(memory.clone()).await, sample::contents(8, 4))
        .await
        .unwrap();
    let backend = FaultBackend::new(memory.clone());
    let flip = Fault::new(Effect::FlipBit).on(Operation::Read);
    backend.inject(flip.clone().of(FileKind::Index).at(Calls::First(1)));
    backend.inject(flip.clone().of(FileKind::Pack).at(Calls::First(1)));
    let repository = sample::open(backend.clone()).await;
    sample::assert_whole(&repository).await;
    backend.inject(flip);
    let (id, _) = repository.list(FileKind::Snapshot).await.unwrap()[0];
    let error = repository
        .load_unpacked(FileKind::Snapshot, &id)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, LoadError::Damaged { reason, .. } if reason.contains("does not fit its name")),
        "{error}"
    );
    let (handle, _) = repository.index().iter().next().unwrap();
    let error = repository.load_blob(&handle).await.unwrap_err();
    assert!(matches!(error, LoadError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_missing_blob_is_reported_as_such() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    let repository = sample::open(memory).await;
    let handle = BlobHandle {
        kind: BlobKind::Data,
        id: BlobId(Id::of(b"absent")),
    };
    assert!(matches!(
        repository.load_blob(&handle).await,
        Err(LoadError::NotInIndex { .. })
    ));
    assert!(Repository::exists(&**repository.backend()).await.unwrap());
}

/// Run with `--ignored --nocapture`; `TMPDIR` on a file system in memory shows the CPU's share.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_saving_incompressible_blobs() {
    const BLOB_BYTES: usize = 1 << 20;
    const BLOBS: usize = 2048;
    let scratch = Scratch::new();
    let root = scratch.join("repository");
    sample::create(LocalBackend::new(&root), 2).await;
    let repository = sample::open_with(LocalBackend::new(&root), None).await;
    let random = std::sync::Arc::new(Random::new(1).bytes(BLOB_BYTES));
    let writer = repository.writer();
    let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let start = std::time::Instant::now();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (writer, random, next) = (writer.clone(), random.clone(), next.clone());
            std::thread::spawn(move || {
                let mut blob = random.to_vec();
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= BLOBS {
                        return;
                    }
                    blob[..8].copy_from_slice(&number.to_le_bytes());
                    writer.save(BlobKind::Data, &blob).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let saved = start.elapsed();
    writer.finish().await.unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    println!(
        "2 GiB on 2 threads: saved after {saved:?}, finished after {:?}, {peak}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_blob_can_be_read_back_at_every_level() {
    for compression in [Compression::Off, Compression::Auto, Compression::Max] {
        let memory = MemoryBackend::new();
        sample::create(memory.clone(), 2).await;
        let options = OpenOptions {
            compression,
            ..OpenOptions::default()
        };
        let repository = Repository::open(Arc::new(memory.clone()), &sample::password(), &options)
            .await
            .unwrap();
        let writer = repository.load_index().await.unwrap().writer();
        for kind in [BlobKind::Data, BlobKind::Tree] {
            writer.save(kind, b"").unwrap();
        }
        writer.finish().await.unwrap();
        let repository = sample::open(memory).await;
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let id = BlobId(Id::of(b""));
            let content = repository.load_blob(&BlobHandle { kind, id }).await;
            assert_eq!(content.unwrap(), b"", "{compression:?} {kind:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_lock_is_gone_names_its_packs_in_no_index() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    let repository = sample::open(memory.clone()).await;
    let lock = Lock::acquire(&repository, LockKind::Shared, &LockOptions::default())
        .await
        .unwrap();
    let writer = repository.writer_under(lock.watch());
    writer.save(BlobKind::Data, b"held").unwrap();
    writer.finish().await.unwrap();
    assert_eq!(memory.handles_of(FileKind::Index).len(), 1);

    let writer = repository.writer_under(lock.watch());
    writer.save(BlobKind::Data, b"lost").unwrap();
    lock::unlock(&repository, UnlockScope::All).await.unwrap();
    let error = writer.clone().finish().await.unwrap_err();
    let source = std::error::Error::source(&*error.source).unwrap();
    assert!(
        matches!(source.downcast_ref(), Some(LockError::Lost)),
        "{error:?}"
    );
    assert!(writer.save(BlobKind::Data, b"more").is_err());
    assert_eq!(memory.handles_of(FileKind::Index).len(), 1);
    lock.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finish_that_took_too_long_can_be_ended_and_stores_nothing_later() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    let backend = FaultBackend::new(memory.clone());
    let delay = Fault::new(Effect::Delay(Duration::from_millis(500)));
    backend.inject(delay.on(Operation::Write).of(FileKind::Pack));
    let writer = sample::open(backend).await.writer();
    writer.save(BlobKind::Data, b"slow").unwrap();
    let finish = writer.clone().finish();
    let patience = Duration::from_millis(100);
    tokio::time::timeout(patience, finish).await.unwrap_err();
    writer.clone().abandon().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(memory.handles_of(FileKind::Pack).is_empty());
    assert!(memory.handles_of(FileKind::Index).is_empty());
    assert!(writer.save(BlobKind::Data, b"more").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_while_the_writer_finishes_is_stored_or_refused() {
    for round in 0..20 {
        let memory = MemoryBackend::new();
        let created = sample::create(memory.clone(), 2).await;
        let writer = created.load_index().await.unwrap().writer();
        let savers: Vec<_> = (0..4)
            .map(|number| {
                let writer = writer.clone();
                tokio::task::spawn_blocking(move || {
                    let mut random = Random::new(round * 4 + number);
                    (0..100)
                        .map_while(|_| writer.save(BlobKind::Data, &random.bytes(300_000)).ok())
                        .map(|saved| saved.id)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(5 * round)).await;
        // It fails when it has refused a blob, and then nobody may count on any.
        let is_finished = writer.finish().await.is_ok();
        let repository = sample::open(memory).await;
        for saver in savers {
            for id in saver.await.unwrap() {
                let kind = BlobKind::Data;
                assert!(!is_finished || repository.lookup(&BlobHandle { kind, id }).is_some());
            }
        }
    }
}

/// Remembers which packs were called metadata.
#[derive(Debug)]
struct Witness {
    inner: MemoryBackend,
    packs: Arc<Mutex<Vec<(String, bool)>>>,
}

#[async_trait]
impl Backend for Witness {
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
        if handle.kind() == FileKind::Pack {
            let seen = (handle.name().to_owned(), handle.is_metadata());
            self.packs.lock().push(seen);
        } else {
            assert!(handle.is_metadata(), "{handle}");
        }
        self.inner.write(handle, data).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.inner.remove(handle).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_of_trees_and_they_alone_are_called_metadata() {
    let packs = Arc::default();
    let inner = MemoryBackend::new();
    sample::create(inner.clone(), 2).await;
    let witness = Witness {
        inner: inner.clone(),
        packs: Arc::clone(&packs),
    };
    let repository = sample::open(witness).await;
    sample::save_snapshot(&repository, sample::contents(1, 30))
        .await
        .unwrap();
    let mut seen = packs.lock().clone();
    assert!(seen.iter().any(|(_, is_metadata)| *is_metadata));
    assert!(seen.iter().any(|(_, is_metadata)| !*is_metadata));
    let index = sample::open(inner).await;
    for (blob, location) in index.index().iter() {
        let pack = location.pack.to_hex();
        let is_metadata = blob.kind == BlobKind::Tree;
        assert!(seen.contains(&(pack, is_metadata)), "{blob}");
    }
    // Each pack was stored once, and so holds one kind only.
    seen.sort();
    seen.dedup_by(|one, other| one.0 == other.0);
    assert_eq!(seen.len(), packs.lock().len());
}
