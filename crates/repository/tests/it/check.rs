//! Check and the damage it has to find: whatever the bytes say, it is named, and never a panic.

mod damage;
mod hostile;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use backend::{Backend, ErrorKind, FileKind, Handle, LocalBackend, Operation};
use repository::check::{
    self, CheckAdvance, CheckError, CheckFailure, CheckOptions, CheckProgress, CheckReport,
    CheckStep, DataSubset, NoCheckProgress, ReadData, Remedy,
};
use repository::snapshot::SnapshotFilter;
use repository::{OpenError, OpenOptions, Repository};
use secrecy::SecretString;
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend, Restic, Scratch};
use tokio_util::sync::CancellationToken;

use crate::sample;

static ALL: CheckOptions = CheckOptions {
    read_data: ReadData::All,
    check_unused: true,
    filter: SnapshotFilter {
        hosts: Vec::new(),
        paths: Vec::new(),
        tags: Vec::new(),
    },
};

/// Two snapshots, each with an index file, a pack of trees and packs of data of its own.
async fn sample_repository(version: u32) -> MemoryBackend {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), version).await;
    for seed in [1, 2] {
        let repository = sample::open(memory.clone()).await;
        sample::save_snapshot(&repository, sample::contents(seed, 12))
            .await
            .unwrap();
    }
    memory
}

async fn try_open(backend: impl Backend + 'static) -> Result<Repository, OpenError> {
    let backend = Arc::new(backend);
    Repository::open(backend, &sample::password(), &OpenOptions::default()).await
}

async fn check(backend: impl Backend + 'static, options: &CheckOptions) -> CheckReport {
    let repository = try_open(backend).await.unwrap();
    check::check(
        &repository,
        options,
        &NoCheckProgress,
        &CancellationToken::new(),
    )
    .await
    .unwrap()
}

fn assert_clean(report: &CheckReport) {
    assert!(
        !report.has_errors()
            && report.errors.is_empty()
            && report.notes.is_empty()
            && report.remedies.is_empty(),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_repository_has_no_errors() {
    for version in [1, 2] {
        let memory = sample_repository(version).await;
        let report = check(memory.clone(), &ALL).await;
        assert_clean(&report);
        let counts = report.counts;
        assert_eq!((counts.keys, counts.snapshots, counts.trees), (1, 2, 4));
        assert_eq!(counts.packs, counts.packs_read);
        assert_eq!(counts.packs, memory.handles_of(FileKind::Pack).len() as u64);
        let packs = memory.handles_of(FileKind::Pack);
        let bytes = packs
            .iter()
            .map(|handle| memory.get(handle).unwrap().len() as u64);
        assert_eq!(counts.bytes_read, bytes.sum::<u64>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subset_reads_only_some_packs() {
    let memory = sample_repository(2).await;
    let read = |read_data| {
        let memory = memory.clone();
        async move {
            let options = CheckOptions {
                read_data,
                ..CheckOptions::default()
            };
            check(memory, &options).await.counts.packs_read
        }
    };
    let all = memory.handles_of(FileKind::Pack).len() as u64;
    assert_eq!(read(ReadData::None).await, 0);
    assert_eq!(read(ReadData::Subset(DataSubset::Bytes(1))).await, 1);
    assert_eq!(read(ReadData::Subset(DataSubset::Percent(1.0))).await, 1);
    let half = all / 2;
    assert_eq!(
        read(ReadData::Subset(DataSubset::Percent(50.0))).await,
        half
    );
    let mut parts = 0;
    for part in 1..=3 {
        parts += read(ReadData::Subset(DataSubset::Part { part, of: 3 })).await;
    }
    assert_eq!(parts, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_restic_writes_is_whole_for_us() {
    let fixtures =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/repositories");
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let backend = Arc::new(LocalBackend::new(&path));
        let password = SecretString::from("fixture");
        let repository = Repository::open(backend, &password, &OpenOptions::default())
            .await
            .unwrap();
        let cancel = CancellationToken::new();
        let report = check::check(&repository, &ALL, &NoCheckProgress, &cancel)
            .await
            .unwrap();
        assert_clean(&report);
        assert_eq!(report.counts.snapshots, 2, "{}", path.display());
    }
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    for version in ["1", "2"] {
        let scratch = Scratch::new();
        testkit::build_plain_tree(&scratch.folder("source"), 3, 300);
        let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
        restic
            .run(["init", "--repository-version", version])
            .assert_success();
        for _ in 0..2 {
            restic
                .run(["backup", scratch.join("source").to_str().unwrap()])
                .assert_success();
        }
        let report = check(LocalBackend::new(scratch.join("repository")), &ALL).await;
        assert_clean(&report);
        assert!(report.counts.trees > 2 && report.counts.snapshots == 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_noted_and_harm_nothing() {
    let memory = sample_repository(2).await;
    memory.put(&Handle::new(FileKind::Pack, "ab".repeat(32)), vec![0; 100]);
    let report = check(memory.clone(), &ALL).await;
    assert!(!report.has_errors() && report.suggests_prune, "{report:?}");
    assert_eq!(report.notes.len(), 1, "{report:?}");

    // What only a forgotten snapshot used is told on demand.
    let snapshot = memory.handles_of(FileKind::Snapshot).remove(0);
    memory.take(&snapshot);
    let report = check(memory.clone(), &ALL).await;
    assert!(!report.has_errors() && report.suggests_prune, "{report:?}");
    assert_eq!(report.notes.len(), 2, "{report:?}");
    let report = check(memory, &CheckOptions::default()).await;
    assert_eq!(report.notes.len(), 1, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_limits_the_trees_and_the_packs_that_are_read() {
    let memory = sample_repository(2).await;
    let all = check(memory.clone(), &ALL).await.counts;
    let of_host = |host: &str| CheckOptions {
        filter: SnapshotFilter {
            hosts: vec![host.to_owned()],
            ..SnapshotFilter::default()
        },
        ..ALL.clone()
    };
    let other = check(memory.clone(), &of_host("other")).await;
    assert_clean(&other);
    assert_eq!((other.counts.trees, other.counts.packs_read), (0, 0));
    let same = check(memory, &of_host("host")).await.counts;
    assert_eq!((same.trees, same.packs_read), (all.trees, all.packs_read));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_goes_on_makes_no_errors() {
    let memory = sample_repository(2).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (memory, is_done) = (memory.clone(), Arc::clone(&is_done));
        async move {
            for seed in 100..130 {
                let repository = sample::open(memory.clone()).await;
                sample::save_snapshot(&repository, sample::contents(seed, 4))
                    .await
                    .unwrap();
            }
            is_done.store(true, Ordering::Relaxed);
        }
    });
    let mut checks = 0;
    while !is_done.load(Ordering::Relaxed) || checks == 0 {
        let report = check(memory.clone(), &ALL).await;
        assert!(!report.has_errors(), "{report:?}");
        checks += 1;
    }
    writer.await.unwrap();
    let report = check(memory, &ALL).await;
    assert_clean(&report);
    assert_eq!(report.counts.snapshots, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_fails_is_no_damage_and_a_read_gone_wrong_once_is_nothing() {
    let memory = sample_repository(2).await;
    let fault = FaultBackend::new(memory.clone());
    let repository = try_open(fault.clone()).await.unwrap();
    let cancel = CancellationToken::new();
    let run = || check::check(&repository, &ALL, &NoCheckProgress, &cancel);
    fault.inject(
        Fault::new(Effect::Fail(ErrorKind::PermissionDenied))
            .on(Operation::Read)
            .of(FileKind::Pack),
    );
    let report = run().await.unwrap();
    assert!(report.has_errors() && report.broken_packs.is_empty());
    assert_eq!(report.remedies, [Remedy::Storage], "{report:?}");

    fault.heal();
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        let once = Fault::new(Effect::FlipBit).on(Operation::Read).of(kind);
        fault.inject(once.at(Calls::Nth(1)));
    }
    assert_clean(&run().await.unwrap());

    fault.heal();
    fault.inject(Fault::new(Effect::Fail(ErrorKind::Temporary)).on(Operation::List));
    assert!(matches!(run().await, Err(CheckFailure::List(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_stops_when_it_is_told_to() {
    let memory = sample_repository(2).await;
    let fault = FaultBackend::new(memory);
    let repository = try_open(fault.clone()).await.unwrap();
    fault.inject(
        Fault::new(Effect::Hang)
            .on(Operation::Read)
            .of(FileKind::Pack),
    );
    let cancel = CancellationToken::new();
    let later = cancel.clone();
    let check = check::check(&repository, &ALL, &NoCheckProgress, &cancel);
    let (result, ()) = tokio::join!(check, async move {
        tokio::task::yield_now().await;
        later.cancel();
    });
    assert!(matches!(result, Err(CheckFailure::Cancelled)));
}

#[derive(Default)]
struct Watcher {
    trees: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    errors: AtomicU64,
}

impl CheckProgress for Watcher {
    fn advanced(&self, advance: CheckAdvance) {
        assert!(advance.done <= advance.total && advance.bytes_done <= advance.bytes_total);
        match advance.step {
            CheckStep::Trees => self.trees.store(advance.done, Ordering::Relaxed),
            CheckStep::Data => {
                self.bytes.store(advance.bytes_done, Ordering::Relaxed);
                self.bytes_total
                    .store(advance.bytes_total, Ordering::Relaxed);
            }
            CheckStep::Snapshots | CheckStep::Packs => {}
        }
    }

    fn found(&self, _error: &CheckError) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_tells_how_far_it_is_and_every_error() {
    let memory = sample_repository(2).await;
    let pack = memory.handles_of(FileKind::Pack).remove(0);
    memory.damage(&pack, |data| data[100] ^= 1);
    let repository = try_open(memory).await.unwrap();
    let watcher = Watcher::default();
    let cancel = CancellationToken::new();
    let report = check::check(&repository, &ALL, &watcher, &cancel)
        .await
        .unwrap();
    assert_eq!(watcher.trees.into_inner(), report.counts.trees);
    assert_eq!(watcher.bytes.into_inner(), report.counts.bytes_read);
    assert_eq!(watcher.bytes_total.into_inner(), report.counts.bytes_read);
    assert_eq!(watcher.errors.into_inner(), report.error_count);
    assert!(report.has_errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_does_not_hide_a_good_one_and_a_wrong_password_is_no_damage() {
    let memory = sample_repository(2).await;
    let wrong = SecretString::from("wrong");
    let result = Repository::open(Arc::new(memory.clone()), &wrong, &OpenOptions::default()).await;
    assert!(
        matches!(result, Err(OpenError::WrongPassword { .. })),
        "{result:?}"
    );
    for (name, content) in [
        ("0", ""),
        ("f", "{"),
        (
            "8",
            "{\"kdf\":\"scrypt\",\"N\":1099511627776,\"r\":8,\"p\":1,\"salt\":\"\",\"data\":\"\"}",
        ),
    ] {
        memory.put(&Handle::new(FileKind::Key, name.repeat(64)), content);
    }
    memory.put(&Handle::new(FileKind::Key, "README"), "no key");
    try_open(memory.clone()).await.unwrap();
    let result = Repository::open(Arc::new(memory.clone()), &wrong, &OpenOptions::default()).await;
    assert!(
        matches!(result, Err(OpenError::DamagedKey { .. })),
        "{result:?}"
    );
    let hinted = OpenOptions {
        key_hint: Some("8888".to_owned()),
        ..OpenOptions::default()
    };
    Repository::open(Arc::new(memory), &sample::password(), &hinted)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_where_something_is() {
    let memory = sample_repository(2).await;
    let before: Vec<_> = memory.handles();
    let create = |memory: &MemoryBackend| {
        let backend = Arc::new(memory.clone());
        async move {
            Repository::create(
                backend,
                &sample::password(),
                &repository::CreateOptions::default(),
            )
            .await
        }
    };
    assert!(matches!(
        create(&memory).await,
        Err(OpenError::Exists { .. })
    ));
    // Also when the config is gone: it may come back from a backup of the repository.
    memory.take(&Handle::config());
    assert!(matches!(
        try_open(memory.clone()).await,
        Err(OpenError::NoRepository { .. })
    ));
    assert!(matches!(
        create(&memory).await,
        Err(OpenError::ConfigMissing { .. })
    ));
    assert_eq!(memory.handles().len(), before.len() - 1);
}
