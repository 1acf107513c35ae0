//! Prune: what goes, what stays, and what is left when it is killed. restic is asked for its opinion.

use std::sync::Mutex;

use backend::{Backend, FileKind, LocalBackend, Operation};
use repository::lock::LockKind;
use repository::prune::{self, MaxUnused, PruneError, PruneOptions, PruneStep, PruneSummary};
use repository::{BlobKind, IndexedRepository, SnapshotId};
use testkit::{Effect, Fault, FaultBackend, MemoryBackend, Restic, Scratch};

use crate::sample;

const NOTHING_UNUSED: PruneOptions = PruneOptions {
    max_unused: MaxUnused::Bytes(0),
    max_repack_bytes: None,
    repack_cacheable_only: false,
    repack_small: false,
    repack_smaller_than_bytes: None,
    repack_uncompressed: false,
};

/// Three snapshots that share files, of which the second is forgotten again; two packs that nothing names.
async fn littered(backend: impl Backend + Clone + 'static) -> SnapshotId {
    sample::create(backend.clone(), 2).await;
    let shared = sample::contents(1, 60);
    let mut forgotten = None;
    for seed in [2, 3, 4] {
        let repository = sample::open(backend.clone()).await;
        let mut files = shared[usize::try_from(seed).unwrap()..].to_vec();
        files.extend(sample::contents(seed, 40));
        // The last snapshot keeps half of what came with the forgotten one.
        if seed == 4 {
            files.extend(sample::contents(3, 40).drain(..20));
        }
        let id = sample::save_snapshot(&repository, files).await.unwrap();
        if seed == 3 {
            forgotten = Some(id);
        }
    }
    let writer = sample::open(backend.clone()).await.writer();
    let indexes: Vec<_> = backend
        .list(FileKind::Index)
        .await
        .unwrap()
        .into_iter()
        .map(|info| info.name)
        .collect();
    let saver = writer.clone();
    let content = sample::contents(9, 20);
    tokio::task::spawn_blocking(move || {
        for blob in content.iter().flatten() {
            saver.save(BlobKind::Data, blob).unwrap();
        }
    })
    .await
    .unwrap();
    writer.finish().await.unwrap();
    for info in backend.list(FileKind::Index).await.unwrap() {
        if !indexes.contains(&info.name) {
            backend
                .remove(&backend::Handle::new(FileKind::Index, info.name))
                .await
                .unwrap();
        }
    }
    let forgotten = forgotten.unwrap();
    backend
        .remove(&backend::Handle::new(
            FileKind::Snapshot,
            forgotten.to_hex(),
        ))
        .await
        .unwrap();
    forgotten
}

async fn run(
    repository: &IndexedRepository,
    options: &PruneOptions,
) -> Result<PruneSummary, PruneError> {
    let lock = sample::lock(repository, LockKind::Exclusive).await;
    let summary = match prune::plan(repository, &[], options).await {
        Ok(plan) => plan.execute(&lock, &|_| ()).await,
        Err(error) => Err(error),
    };
    let _ = lock.release().await;
    summary
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_removes_what_nothing_uses_and_nothing_else() {
    let memory = MemoryBackend::new();
    littered(memory.clone()).await;
    let before = memory.total_bytes();
    let repository = sample::open(memory.clone()).await;
    let summary = run(&repository, &NOTHING_UNUSED).await.unwrap();
    assert!(
        summary.blobs.unused > 0 && summary.packs.unreferenced > 0 && summary.packs.repack > 0,
        "{summary:?}"
    );
    let after = sample::open(memory.clone()).await;
    assert_eq!(sample::assert_whole(&after).await, 2);
    let blobs = BlobKind::ALL
        .iter()
        .map(|kind| after.index().blob_count(*kind) as u64)
        .sum::<u64>();
    assert_eq!(blobs, summary.remaining_blobs());
    assert!(memory.total_bytes() < before - summary.removed_bytes() * 9 / 10);
    // A second one finds nothing.
    let plan = prune::plan(&after, &[], &NOTHING_UNUSED).await.unwrap();
    assert!(plan.is_empty(), "{:?}", plan.summary());
    assert_eq!(plan.summary().unused_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_are_those_of_restic_and_its_check_is_clean_afterwards() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let root = scratch.join("repository");
    littered(LocalBackend::new(&root)).await;
    let restic = restic.repository(&root, sample::PASSWORD);
    for (limit, max_unused) in [
        ("unlimited", MaxUnused::Unlimited),
        ("5%", MaxUnused::Percent(5.0)),
        ("100k", MaxUnused::Bytes(100 << 10)),
        ("0", MaxUnused::Bytes(0)),
    ] {
        let theirs = restic.run([
            "prune",
            "--dry-run",
            "-vv",
            "--pack-size",
            "4",
            "--max-unused",
            limit,
        ]);
        let theirs = theirs.assert_success().stdout_text();
        let repository = sample::open(LocalBackend::new(&root)).await;
        let options = PruneOptions {
            max_unused,
            ..PruneOptions::default()
        };
        let plan = prune::plan(&repository, &[], &options).await.unwrap();
        let ours = plan.summary();
        for (label, number) in [
            ("used:", ours.blobs.used),
            ("unused:", ours.blobs.unused),
            ("total:", ours.total_blobs()),
            ("to repack:", ours.blobs.repack),
            ("this removes:", ours.blobs.repack_remove),
            ("to delete:", ours.blobs.remove),
            ("total prune:", ours.removed_blobs()),
            ("remaining:", ours.remaining_blobs()),
            ("totally used packs:", ours.packs.used),
            ("partly used packs:", ours.packs.partly_used),
            ("unused packs:", ours.packs.unused),
            ("to keep:", ours.packs.keep),
        ] {
            let line = theirs.lines().find(|line| line.starts_with(label));
            let rest = &line.unwrap_or_else(|| panic!("{label} in {theirs}"))[label.len()..];
            let value: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
            assert_eq!(number, value, "{label} with {limit}\n{theirs}\n{ours:?}");
        }
    }
    run(
        &sample::open(LocalBackend::new(&root)).await,
        &PruneOptions::default(),
    )
    .await
    .unwrap();
    restic.assert_check_is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_killed_after_any_change_leaves_everything_whole() {
    let start = MemoryBackend::new();
    littered(start.clone()).await;
    let restic = Restic::find_or_skip();
    for changes in 0.. {
        let memory = start.copy();
        let backend = FaultBackend::new(memory.clone());
        let repository = sample::open(backend.clone()).await;
        let lock = sample::lock(&repository, LockKind::Exclusive).await;
        let plan = prune::plan(&repository, &[], &NOTHING_UNUSED)
            .await
            .unwrap();
        backend.crash_after_changes(changes);
        let result = plan.execute(&lock, &|_| ()).await;
        let killed = memory.copy();
        backend.heal();
        lock.release().await.unwrap();
        let after = sample::open(killed.clone()).await;
        assert_eq!(
            sample::assert_whole(&after).await,
            2,
            "after {changes} changes"
        );
        let packs = killed.handles_of(FileKind::Pack);
        let is_there =
            |pack: &repository::PackId| packs.iter().any(|handle| handle.name() == pack.to_hex());
        let absent = after
            .index()
            .packs()
            .iter()
            .filter(|pack| !is_there(pack))
            .count();
        assert_eq!(absent, 0, "packs named and absent after {changes} changes");
        if let Some(restic) = restic.as_ref().filter(|_| changes % 6 == 1) {
            let scratch = Scratch::new();
            sample::export(&killed, scratch.path());
            let restic = restic.repository(scratch.path(), sample::PASSWORD);
            restic.run(["unlock", "--remove-all"]).assert_success();
            restic.run(["check", "--read-data"]).assert_success();
        }
        // The lock of the killed process is in the way until it is stale; then the next prune ends the work.
        for lock in killed.handles_of(FileKind::Lock) {
            killed.take(&lock);
        }
        run(&after, &NOTHING_UNUSED).await.unwrap();
        assert_eq!(sample::assert_whole(&sample::open(killed).await).await, 2);
        if result.is_ok() {
            assert!(changes > 6, "prune made only {changes} changes");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_packs_come_before_their_index_and_old_index_files_go_before_old_packs() {
    let memory = MemoryBackend::new();
    littered(memory.clone()).await;
    let backend = FaultBackend::new(memory);
    let repository = sample::open(backend.clone()).await;
    let lock = sample::lock(&repository, LockKind::Exclusive).await;
    let plan = prune::plan(&repository, &[], &NOTHING_UNUSED)
        .await
        .unwrap();
    let unreferenced = plan.unreferenced_packs().len();
    backend.forget_calls();
    let steps = Mutex::new(Vec::new());
    plan.execute(&lock, &|progress| steps.lock().unwrap().push(progress.step))
        .await
        .unwrap();
    lock.release().await.unwrap();
    let changes: Vec<_> = backend
        .calls()
        .into_iter()
        .filter(|call| {
            matches!(call.operation, Operation::Write | Operation::Remove)
                && call.kind != Some(FileKind::Lock)
        })
        .map(|call| (call.operation, call.kind.unwrap()))
        .skip(unreferenced)
        .collect();
    let first = |wanted| changes.iter().position(|change| *change == wanted).unwrap();
    let last = |wanted| {
        changes
            .iter()
            .rposition(|change| *change == wanted)
            .unwrap()
    };
    assert!(last((Operation::Write, FileKind::Pack)) < first((Operation::Write, FileKind::Index)));
    assert!(
        last((Operation::Write, FileKind::Index)) < first((Operation::Remove, FileKind::Index))
    );
    assert!(
        last((Operation::Remove, FileKind::Index)) < first((Operation::Remove, FileKind::Pack))
    );
    assert_eq!(
        steps.into_inner().unwrap().last(),
        Some(&PruneStep::RemovePacks)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_that_is_needed_stops_prune_before_anything_goes() {
    let memory = MemoryBackend::new();
    littered(memory.clone()).await;
    let backend = FaultBackend::new(memory.clone());
    let repository = sample::open(backend.clone()).await;
    let plan = prune::plan(&repository, &[], &NOTHING_UNUSED)
        .await
        .unwrap();
    let going = plan.repacked_packs().count() + plan.removed_packs().count();
    assert!(going > 0);
    backend.inject(
        Fault::new(Effect::FlipBit)
            .on(Operation::Read)
            .of(FileKind::Pack),
    );
    let lock = sample::lock(&repository, LockKind::Exclusive).await;
    let error = plan.execute(&lock, &|_| ()).await.unwrap_err();
    lock.release().await.unwrap();
    assert!(matches!(error, PruneError::Repack(_)), "{error:?}");
    assert_eq!(sample::assert_whole(&sample::open(memory).await).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_refuses_to_start_when_data_is_missing() {
    let memory = MemoryBackend::new();
    littered(memory.clone()).await;
    let repository = sample::open(memory.clone()).await;
    let plan = prune::plan(&repository, &[], &PruneOptions::default())
        .await
        .unwrap();
    let pack = plan.repacked_packs().next();
    let named: Vec<_> = memory.handles_of(FileKind::Pack);
    for pack in named
        .iter()
        .filter(|handle| Some(handle.name().to_owned()) == pack.map(|pack| pack.to_hex()))
    {
        memory.damage(pack, |data| data.push(0));
        let error = run(&repository, &PruneOptions::default())
            .await
            .unwrap_err();
        assert!(matches!(error, PruneError::PackSize { .. }), "{error:?}");
    }
    assert!(pack.is_some());
    for index in memory.handles_of(FileKind::Index) {
        memory.take(&index);
    }
    let (objects, locks) = (
        memory.handles().len(),
        memory.handles_of(FileKind::Lock).len(),
    );
    let error = run(
        &sample::open(memory.clone()).await,
        &PruneOptions::default(),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, PruneError::Incomplete { .. } | PruneError::Load(_)),
        "{error:?}"
    );
    assert_eq!(
        memory.handles().len() - memory.handles_of(FileKind::Lock).len(),
        objects - locks
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_needs_the_exclusive_lock() {
    let memory = MemoryBackend::new();
    littered(memory.clone()).await;
    let repository = sample::open(memory).await;
    let lock = sample::lock(&repository, LockKind::Shared).await;
    let plan = prune::plan(&repository, &[], &PruneOptions::default())
        .await
        .unwrap();
    assert!(matches!(
        plan.execute(&lock, &|_| ()).await,
        Err(PruneError::NotExclusive)
    ));
    lock.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_snapshots_use_nothing_and_duplicates_are_kept_once() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    // Two writers that do not know of each other store the same blobs.
    let (first, second) = (
        sample::open(memory.clone()).await,
        sample::open(memory.clone()).await,
    );
    sample::save_snapshot(&first, sample::contents(1, 30))
        .await
        .unwrap();
    sample::save_snapshot(&second, sample::contents(1, 30))
        .await
        .unwrap();
    let other = sample::save_snapshot(&second, sample::contents(2, 30))
        .await
        .unwrap();
    let repository = sample::open(memory.clone()).await;
    let plan = prune::plan(&repository, &[other], &NOTHING_UNUSED)
        .await
        .unwrap();
    assert!(plan.summary().blobs.unused >= 45, "{:?}", plan.summary());
    assert!(plan.summary().blobs.duplicate >= 45, "{:?}", plan.summary());
    run(&repository, &NOTHING_UNUSED).await.unwrap();
    let after = sample::open(memory).await;
    sample::assert_whole(&after).await;
    assert_eq!(
        prune::plan(&after, &[], &NOTHING_UNUSED)
            .await
            .unwrap()
            .summary()
            .blobs
            .duplicate,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_data_is_compressed_once_when_asked() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    testkit::build_plain_tree(&scratch.folder("source"), 7, 60);
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    restic.init();
    restic
        .run([
            "backup",
            "--compression",
            "off",
            scratch.join("source").to_str().unwrap(),
        ])
        .assert_success();
    let backend = LocalBackend::new(scratch.join("repository"));
    let options = PruneOptions {
        repack_uncompressed: true,
        ..PruneOptions::default()
    };
    let summary = run(&sample::open(backend.clone()).await, &options)
        .await
        .unwrap();
    assert!(summary.packs.repack > 0, "{summary:?}");
    let after = sample::open(backend).await;
    assert!(prune::plan(&after, &[], &options).await.unwrap().is_empty());
    sample::assert_whole(&after).await;
    restic.assert_check_is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_copy_is_not_removed_in_favour_of_a_damaged_one() {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    // Two writers that do not know of each other store the same blobs.
    let (first, second) = (
        sample::open(memory.clone()).await,
        sample::open(memory.clone()).await,
    );
    for repository in [&first, &second] {
        sample::save_snapshot(repository, sample::contents(1, 30))
            .await
            .unwrap();
    }
    let repository = sample::open(memory.clone()).await;
    let plan = prune::plan(&repository, &[], &NOTHING_UNUSED)
        .await
        .unwrap();
    let going: Vec<_> = plan
        .removed_packs()
        .chain(plan.repacked_packs())
        .map(|pack| pack.to_hex())
        .collect();
    assert!(plan.removed_packs().count() > 0);
    let mut damaged = 0;
    for pack in memory.handles_of(FileKind::Pack) {
        if !going.contains(&pack.name().to_owned()) {
            memory.damage(&pack, |data| {
                for byte in data.iter_mut().step_by(1000) {
                    *byte ^= 1;
                }
            });
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    let lock = sample::lock(&repository, LockKind::Exclusive).await;
    plan.execute(&lock, &|_| ()).await.unwrap();
    lock.release().await.unwrap();
    assert_eq!(sample::assert_whole(&sample::open(memory).await).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_blobs_overlap_stops_prune_without_harm() {
    let memory = MemoryBackend::new();
    littered(memory.clone()).await;
    let repository = sample::open(memory.clone()).await;
    let before = memory.handles_of(FileKind::Index);
    for (id, _) in repository.list(FileKind::Index).await.unwrap() {
        let json = repository
            .load_unpacked(FileKind::Index, &id)
            .await
            .unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        for pack in json["packs"].as_array_mut().unwrap() {
            let blobs = pack["blobs"].as_array_mut().unwrap();
            if blobs.iter().any(|blob| blob["type"] == "tree") {
                continue;
            }
            // The longest comes first and reaches beyond the end of all others.
            blobs.sort_by_key(|blob| std::cmp::Reverse(blob["length"].as_u64()));
            for (offset, blob) in blobs.iter_mut().enumerate() {
                blob["offset"] = offset.into();
            }
        }
        repository
            .save_unpacked(FileKind::Index, &serde_json::to_vec(&json).unwrap())
            .await
            .unwrap();
    }
    for index in &before {
        memory.take(index);
    }
    let packs: Vec<_> = sample::open(memory.clone()).await.index().packs().to_vec();
    let error = run(&sample::open(memory.clone()).await, &NOTHING_UNUSED)
        .await
        .unwrap_err();
    assert!(matches!(error, PruneError::Repack(_)), "{error:?}");
    let left = memory.handles_of(FileKind::Pack);
    for pack in packs {
        assert!(left.iter().any(|handle| handle.name() == pack.to_hex()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_of_snapshots_does_not_mean_that_nothing_is_used() {
    let scratch = Scratch::new();
    let root = scratch.join("repository");
    littered(LocalBackend::new(&root)).await;
    let repository = sample::open(LocalBackend::new(&root)).await;
    std::fs::rename(root.join("snapshots"), root.join("elsewhere")).unwrap();
    let error = run(&repository, &NOTHING_UNUSED).await.unwrap_err();
    assert!(matches!(error, PruneError::Load(_)), "{error:?}");
    std::fs::rename(root.join("elsewhere"), root.join("snapshots")).unwrap();
    assert_eq!(sample::assert_whole(&repository).await, 2);
}
