//! Limits of connections and bandwidth, counting, and refusal of changes.

use std::sync::Arc;
use std::time::Duration;

use backend::{
    Backend, Bandwidth, ConnectionLimit, ErrorKind, FileKind, Handle, Meter, Metered, Operation,
    ReadOnly, ReadOnlyExcept,
};
use bytes::Bytes;
use testkit::{Effect, Fault, FaultBackend, MemoryBackend};
use tokio::time::Instant;

fn handle(kind: FileKind, number: usize) -> Handle {
    Handle::new(kind, format!("{number:064x}"))
}

#[tokio::test(start_paused = true)]
async fn uploads_share_the_connections_and_pass_in_turn() {
    let faults = FaultBackend::new(MemoryBackend::new());
    faults.inject(Fault::new(Effect::Delay(Duration::from_secs(10))).on(Operation::Write));
    let limit = ConnectionLimit::new(Arc::new(faults), 2);
    let start = Instant::now();
    let writes = (0..6).map(|number| {
        let (limit, pack) = (&limit, handle(FileKind::Pack, number));
        async move { limit.write(&pack, Bytes::from_static(b"pack")).await }
    });
    futures::future::try_join_all(writes).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn locks_removals_and_listings_do_not_wait_behind_uploads() {
    let faults = FaultBackend::new(MemoryBackend::new());
    faults.inject(
        Fault::new(Effect::Hang)
            .of(FileKind::Pack)
            .on(Operation::Write),
    );
    let limit = Arc::new(ConnectionLimit::new(Arc::new(faults), 1));
    let uploads: Vec<_> = (0..5)
        .map(|number| {
            let (limit, pack) = (Arc::clone(&limit), handle(FileKind::Pack, number));
            tokio::spawn(async move { limit.write(&pack, Bytes::from_static(b"pack")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let lock = handle(FileKind::Lock, 1);
    let urgent = async {
        limit.write(&lock, Bytes::from_static(b"lock")).await?;
        limit.read(&lock).await?;
        limit.stat(&lock).await?;
        limit.list(FileKind::Lock).await?;
        limit.remove(&lock).await?;
        limit.list(FileKind::Snapshot).await?;
        assert!(
            limit
                .remove_many(&[handle(FileKind::Pack, 9)])
                .await
                .is_empty()
        );
        limit.remove(&handle(FileKind::Pack, 9)).await
    };
    tokio::time::timeout(Duration::from_secs(1), urgent)
        .await
        .unwrap()
        .unwrap();
    uploads.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_its_connection_back() {
    let faults = FaultBackend::new(MemoryBackend::new());
    faults.inject(Fault::new(Effect::Hang).on(Operation::Read));
    let limit = ConnectionLimit::new(Arc::new(faults.clone()), 1);
    let pack = handle(FileKind::Pack, 1);
    let call = tokio::time::timeout(Duration::from_secs(1), limit.read(&pack));
    assert!(call.await.is_err());
    faults.heal();
    assert!(limit.read(&pack).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn a_folder_is_counted_and_slowed() {
    let meter = Arc::new(Meter::default());
    let bandwidth = Bandwidth::new(Some(1000), Some(500));
    let metered = Metered::new(
        Arc::new(MemoryBackend::new()),
        Arc::clone(&meter),
        bandwidth,
    );
    let start = Instant::now();
    for number in 0..3 {
        let data = Bytes::from(vec![0; 1000]);
        metered
            .write(&handle(FileKind::Pack, number), data)
            .await
            .unwrap();
    }
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let start = Instant::now();
    for _ in 0..3 {
        metered
            .read_range(&handle(FileKind::Pack, 0), 0, 500)
            .await
            .unwrap();
    }
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    metered.read(&handle(FileKind::Pack, 7)).await.unwrap_err();
    let counts = meter.counts();
    assert_eq!(counts[&Operation::Write].requests, 3);
    assert_eq!(counts[&Operation::Write].sent_bytes, 3000);
    assert_eq!(counts[&Operation::Read].requests, 4);
    assert_eq!(counts[&Operation::Read].failures, 1);
    assert_eq!(counts[&Operation::Read].received_bytes, 1500);
}

#[tokio::test]
async fn a_backend_that_is_read_only_changes_nothing() {
    let memory = MemoryBackend::new();
    let (pack, lock) = (handle(FileKind::Pack, 1), handle(FileKind::Lock, 1));
    memory.put(&pack, &b"pack"[..]);
    memory.put(&lock, &b"lock"[..]);
    for (except, may_lock) in [
        (ReadOnlyExcept::Locks, true),
        (ReadOnlyExcept::Nothing, false),
    ] {
        let place = memory.copy();
        let backend = ReadOnly::new(Arc::new(place.clone()), except);
        let other = handle(FileKind::Snapshot, 2);
        let data = Bytes::from_static(b"data");
        for error in [
            backend.create().await.unwrap_err(),
            backend.write(&other, data.clone()).await.unwrap_err(),
            backend.remove(&pack).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::ReadOnly);
        }
        assert_eq!(backend.read(&pack).await.unwrap(), "pack");
        let new = handle(FileKind::Lock, 2);
        assert_eq!(backend.write(&new, data).await.is_ok(), may_lock);
        let failures = backend.remove_many(&[pack.clone(), lock.clone()]).await;
        assert_eq!(failures.len(), if may_lock { 1 } else { 2 });
        assert_eq!(place.get(&lock).is_none(), may_lock);
        assert!(place.get(&pack).is_some());
    }
}
