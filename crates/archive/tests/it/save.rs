//! Backups by us, compared with what restic makes of the same files and read back by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::filter::{ExcludeOptions, Excludes};
use archive::parent::ParentChoice;
use archive::save::{
    BackupError, BackupOptions, BackupProgress, BackupSummary, ItemDone, NoProgress, backup,
};
use archive::source::BackupSource;
use backend::{ErrorKind, FileKind, Operation};
use proptest::prelude::*;
use repository::compression::Compression;
use repository::key::ScryptParams;
use repository::lock::{Lock, LockError, LockKind, LockOptions};
use repository::snapshot::{Snapshot, load_all};
use repository::tree::{Node, NodeKind};
use repository::{
    BlobHandle, BlobId, BlobKind, CreateOptions, IndexedRepository, OpenOptions, Repository,
};
use secrecy::SecretString;
use testkit::{
    CompareOptions, Effect, Fault, FaultBackend, MemoryBackend, Random, Scratch, assert_same_tree,
};
use tokio_util::sync::CancellationToken;

use crate::scene::Scene;

/// Options for absolute paths on the host that restic takes this machine for.
pub fn options(paths: &[&Path]) -> BackupOptions {
    let hostname = nix::unistd::gethostname()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    BackupOptions::new(
        paths.iter().map(PathBuf::from).collect(),
        hostname,
        "stash test",
    )
}

/// Saves with nobody told.
pub async fn save(
    repository: &IndexedRepository,
    options: &BackupOptions,
) -> Result<BackupSummary, BackupError> {
    save_source(repository, options, BackupSource::Paths).await
}

pub async fn save_source(
    repository: &IndexedRepository,
    options: &BackupOptions,
    source: BackupSource,
) -> Result<BackupSummary, BackupError> {
    backup(
        repository,
        options,
        source,
        Arc::new(NoProgress),
        CancellationToken::new(),
    )
    .await
}

/// The node of a path in a snapshot.
pub async fn node_at(
    repository: &IndexedRepository,
    snapshot: &Snapshot,
    path: &Path,
) -> Option<Node> {
    let mut tree = repository.load_tree(&snapshot.tree).await.unwrap();
    let names: Vec<_> = path.iter().skip(1).collect();
    for (depth, name) in names.iter().enumerate() {
        let node = tree.find(name.as_encoded_bytes())?.clone();
        if depth + 1 == names.len() {
            return Some(node);
        }
        tree = repository.load_tree(&node.subtree?).await.unwrap();
    }
    None
}

/// A repository in memory, opened cheaply.
pub async fn in_memory() -> (MemoryBackend, IndexedRepository) {
    let backend = MemoryBackend::new();
    let options = CreateOptions {
        scrypt: Some(ScryptParams::FAST_FOR_TESTS),
        compression: Compression::Fastest,
        ..CreateOptions::default()
    };
    let password = SecretString::from("secret");
    let repository = Repository::create(Arc::new(backend.clone()), &password, &options)
        .await
        .unwrap();
    let repository = repository.load_index().await.unwrap();
    (backend, repository)
}

pub async fn snapshots(repository: &IndexedRepository) -> Vec<Snapshot> {
    load_all(repository)
        .await
        .unwrap()
        .into_iter()
        .map(|(_, snapshot)| snapshot)
        .collect()
}

pub async fn content(repository: &IndexedRepository, blobs: &[BlobId]) -> Vec<u8> {
    let mut content = Vec::new();
    for id in blobs {
        let handle = BlobHandle {
            kind: BlobKind::Data,
            id: *id,
        };
        content.extend(repository.load_blob(&handle).await.unwrap());
    }
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_with_everything_becomes_the_same_tree_as_by_restic() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    testkit::build_everything_tree(&source, 1);
    // restic leaves sockets out, so a folder with one is another tree.
    std::fs::remove_file(source.join("special/socket")).unwrap();
    let summary = save(&scene.open().await, &options(&[&source]))
        .await
        .unwrap();
    assert_eq!(summary.errors, []);
    let ours = scene.snapshot("latest").await;

    let output = scene
        .restic
        .run(["backup", "--json", "--force", source.to_str().unwrap()]);
    output.assert_success();
    let theirs_summary = output
        .json_lines()
        .into_iter()
        .find(|line| line["message_type"] == "summary")
        .unwrap();
    assert_eq!(
        theirs_summary["data_blobs"], 0,
        "restic finds all content that we stored"
    );
    let theirs = scene.snapshot("latest").await;
    let repository = scene.open().await;
    let our_node = node_at(&repository, &ours, &source).await.unwrap();
    let their_node = node_at(&repository, &theirs, &source).await.unwrap();
    compare(&repository, &our_node, &their_node).await;
    assert_eq!(our_node, their_node);

    assert_eq!(theirs_summary["files_new"], summary.files.new);
    assert_eq!(theirs_summary["dirs_new"], summary.dirs.new);
    assert_eq!(
        theirs_summary["total_bytes_processed"],
        summary.total_bytes_processed
    );
    scene.restic.assert_check_is_clean();
}

/// Fails with the first node that differs rather than with two tree ids.
async fn compare(repository: &IndexedRepository, ours: &Node, theirs: &Node) {
    let (Some(our_tree), Some(their_tree)) = (ours.subtree, theirs.subtree) else {
        assert_eq!(ours, theirs);
        return;
    };
    if our_tree == their_tree {
        return;
    }
    let ours = repository.load_tree(&our_tree).await.unwrap();
    let theirs = repository.load_tree(&their_tree).await.unwrap();
    let names = |nodes: &[Node]| {
        nodes
            .iter()
            .map(|node| node.name_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&ours.nodes), names(&theirs.nodes));
    for (ours, theirs) in ours.nodes.iter().zip(&theirs.nodes) {
        Box::pin(compare(repository, ours, theirs)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_restores_what_we_save_with_all_metadata() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    testkit::build_everything_tree(&source, 2);
    let summary = save(&scene.open().await, &options(&[&source]))
        .await
        .unwrap();
    assert!(!summary.is_incomplete());
    let target = scene.scratch.join("restored");
    let reference = format!("latest:{}", source.display());
    scene
        .restic
        .run(["restore", &reference, "--target", target.to_str().unwrap()])
        .assert_success();
    assert_same_tree(&source, &target, &CompareOptions::restored_by_restic());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_saved_as_a_socket() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    save(&scene.open().await, &options(&[&source]))
        .await
        .unwrap();
    let snapshot = scene.snapshot("latest").await;
    let repository = scene.open().await;
    let folder = node_at(&repository, &snapshot, &source).await.unwrap();
    let tree = repository
        .load_tree(&folder.subtree.unwrap())
        .await
        .unwrap();
    let kinds: Vec<_> = tree.nodes.iter().map(|node| node.kind).collect();
    assert_eq!(kinds, [repository::tree::NodeKind::Socket]);
    scene.restic.assert_check_is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_restic_saved_is_neither_read_nor_stored_again() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    testkit::build_plain_tree(&source, 3, 300);
    scene
        .restic
        .run(["backup", "-q", source.to_str().unwrap()])
        .assert_success();
    let summary = save(&scene.open().await, &options(&[&source]))
        .await
        .unwrap();
    assert_eq!(summary.stored.data_blobs, 0);
    assert_eq!((summary.files.new, summary.files.changed), (0, 0));
    assert!(summary.parent.is_some());
    let options = BackupOptions {
        parent: ParentChoice::None,
        ..options(&[&source])
    };
    let summary = save(&scene.open().await, &options).await.unwrap();
    assert_eq!(summary.stored.data_blobs, 0);
    assert_eq!(summary.files.unmodified, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_without_changes_adds_nothing() {
    let source = Scratch::new();
    testkit::build_plain_tree(source.path(), 4, 300);
    let (_, repository) = in_memory().await;
    let first = save(&repository, &options(&[source.path()])).await.unwrap();
    let options = BackupOptions {
        skip_if_unchanged: true,
        ..options(&[source.path()])
    };
    let second = save(&repository, &options).await.unwrap();
    assert_eq!(second.files.unmodified, first.files.new);
    assert_eq!(second.stored.data_blobs, 0);
    assert_eq!(second.parent, first.snapshot_id);
    assert_eq!(second.total_bytes_processed, first.total_bytes_processed);
    let node = node_at(&repository, &snapshots(&repository).await[0], source.path()).await;
    assert_eq!(node.unwrap().kind, NodeKind::Dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_tree_makes_no_second_snapshot_when_asked_to_skip_it() {
    // Folders above a scratch folder change all the time; this file's place changes only with devices.
    let (_, repository) = in_memory().await;
    let options = BackupOptions {
        skip_if_unchanged: true,
        ..options(&[Path::new("/sys/kernel/uevent_seqnum")])
    };
    let first = save(&repository, &options).await.unwrap();
    let second = save(&repository, &options).await.unwrap();
    assert!(first.snapshot_id.is_some());
    let trees: Vec<_> = snapshots(&repository)
        .await
        .iter()
        .map(|snapshot| snapshot.tree)
        .collect();
    assert_eq!(second.snapshot_id.is_none(), trees.len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_only_are_stored_again() {
    let source = Scratch::new();
    fs::write(source.join("same"), "same").unwrap();
    fs::write(source.join("changes"), "before").unwrap();
    let (_, repository) = in_memory().await;
    save(&repository, &options(&[source.path()])).await.unwrap();
    fs::write(source.join("changes"), "after!").unwrap();
    fs::write(source.join("new"), "new").unwrap();
    let summary = save(&repository, &options(&[source.path()])).await.unwrap();
    assert_eq!(
        (
            summary.files.new,
            summary.files.changed,
            summary.files.unmodified
        ),
        (1, 1, 1)
    );
    assert_eq!(summary.stored.data_blobs, 2);
    assert!(summary.dirs.changed >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_listed_and_the_rest_is_saved() {
    let source = Scratch::new();
    fs::write(source.join("fine"), "fine").unwrap();
    let mut paths = vec![source.path().to_owned(), PathBuf::from("/proc/self/mem")];
    let mut expected = vec![PathBuf::from("/proc/self/mem")];
    if testkit::is_root() {
        testkit::skip("root reads every file; only a failing read is tested");
    } else {
        let folder = source.folder("closed");
        fs::write(folder.join("inside"), "").unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
        expected.push(folder);
    }
    paths.push(source.join("missing"));
    expected.push(source.join("missing"));
    let (_, repository) = in_memory().await;
    let options = BackupOptions {
        paths,
        ..options(&[])
    };
    let summary = save(&repository, &options).await.unwrap();
    let mut listed: Vec<_> = summary
        .errors
        .iter()
        .map(|error| error.path.clone())
        .collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected, "{:?}", summary.errors);
    assert!(summary.is_incomplete());
    let snapshot = &snapshots(&repository).await[0];
    assert!(
        node_at(&repository, snapshot, &source.join("fine"))
            .await
            .is_some()
    );
    assert!(
        node_at(&repository, snapshot, Path::new("/proc/self/mem"))
            .await
            .is_none()
    );
    assert!(
        !snapshot
            .paths
            .contains(&source.join("missing").display().to_string())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_existing_target_there_is_no_snapshot() {
    let (_, repository) = in_memory().await;
    let error = save(&repository, &options(&[Path::new("/does/not/exist")]))
        .await
        .unwrap_err();
    assert!(matches!(error, BackupError::Targets(_)), "{error:?}");
    assert!(snapshots(&repository).await.is_empty());
}

/// Does something when the first file is about to be read.
struct AtFirstFile<F: Fn() + Send + Sync>(std::sync::Once, F);

impl<F: Fn() + Send + Sync> BackupProgress for AtFirstFile<F> {
    fn file_started(&self, _: &Path) {
        self.0.call_once(&self.1);
    }

    fn item_done(&self, _: &ItemDone<'_>) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_vanish_or_grow_meanwhile_are_noted() {
    let source = Scratch::new();
    fs::write(source.join("a"), vec![1; 100]).unwrap();
    for number in 0..100 {
        fs::write(source.join(format!("b{number}")), "").unwrap();
    }
    let (_, repository) = in_memory().await;
    let folder = source.path().to_owned();
    let progress = AtFirstFile(std::sync::Once::new(), move || {
        for number in 0..100 {
            fs::remove_file(folder.join(format!("b{number}"))).unwrap();
        }
        fs::write(folder.join("a"), vec![2; 1000]).unwrap();
    });
    let options = BackupOptions {
        read_threads: Some(1),
        ..options(&[source.path()])
    };
    let cancel = CancellationToken::new();
    let summary = backup(
        &repository,
        &options,
        BackupSource::Paths,
        Arc::new(progress),
        cancel,
    )
    .await
    .unwrap();
    assert!(!summary.is_incomplete(), "{:?}", summary.errors);
    assert_eq!(summary.notes_count, 101);
    let snapshot = &snapshots(&repository).await[0];
    let node = node_at(&repository, snapshot, &source.join("a"))
        .await
        .unwrap();
    assert_eq!(node.size, 1000);
    assert_eq!(
        content(&repository, &node.content.unwrap()).await,
        vec![2; 1000]
    );
}

/// Changes a large file when it is about to be read.
async fn save_while_changing(change: fn(&Path)) -> (BackupSummary, Vec<u8>, Vec<u8>) {
    let source = Scratch::new();
    let path = source.join("large");
    fs::write(&path, Random::new(8).bytes(20 << 20)).unwrap();
    let (_, repository) = in_memory().await;
    let changed = path.clone();
    let progress = AtFirstFile(std::sync::Once::new(), move || change(&changed));
    let options = options(&[&path]);
    let cancel = CancellationToken::new();
    let summary = backup(
        &repository,
        &options,
        BackupSource::Paths,
        Arc::new(progress),
        cancel,
    )
    .await
    .unwrap();
    let snapshot = &snapshots(&repository).await[0];
    let node = node_at(&repository, snapshot, &path).await.unwrap();
    let stored = content(&repository, &node.content.unwrap()).await;
    assert_eq!(node.size, stored.len() as u64);
    (summary, stored, fs::read(&path).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_shrinks_is_saved_up_to_its_end() {
    let (summary, stored, now) = save_while_changing(|path| {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len((3 << 20) + 5)
            .unwrap();
    })
    .await;
    assert!(stored == now);
    assert_eq!((summary.errors_count, summary.notes_count), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_grows_is_saved_up_to_its_end() {
    let (summary, stored, now) = save_while_changing(|path| {
        let more = Random::new(9).bytes(7 << 20);
        std::io::Write::write_all(
            &mut fs::File::options().append(true).open(path).unwrap(),
            &more,
        )
        .unwrap();
    })
    .await;
    assert!(stored == now);
    assert_eq!((summary.errors_count, summary.notes_count), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_files_on_any_number_of_threads_are_saved_whole() {
    let source = Scratch::new();
    let mut expected = Vec::new();
    for number in 0..12_u64 {
        let bytes = (6 << 20) + usize::try_from(number).unwrap() * 777_777;
        let data = Random::new(number).bytes(bytes);
        fs::write(source.join(format!("{number:02}")), &data).unwrap();
        expected.push(data);
    }
    for threads in [1, 2, 16] {
        let (_, repository) = in_memory().await;
        let options = BackupOptions {
            read_threads: Some(threads),
            ..options(&[source.path()])
        };
        save(&repository, &options).await.unwrap();
        let snapshot = &snapshots(&repository).await[0];
        for (number, data) in expected.iter().enumerate() {
            let node = node_at(&repository, snapshot, &source.join(format!("{number:02}")))
                .await
                .unwrap();
            assert!(
                content(&repository, &node.content.unwrap()).await == *data,
                "{number} by {threads}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_fails_ends_the_backup_without_a_snapshot() {
    let source = Scratch::new();
    testkit::build_plain_tree(source.path(), 10, 300);
    fs::write(source.join("large"), Random::new(11).bytes(60 << 20)).unwrap();
    let (backend, _) = in_memory().await;
    for kind in [FileKind::Pack, FileKind::Index] {
        let faulty = FaultBackend::new(backend.clone());
        faulty.inject(
            Fault::new(Effect::Fail(ErrorKind::PermissionDenied))
                .on(Operation::Write)
                .of(kind),
        );
        let password = SecretString::from("secret");
        let repository = Repository::open(Arc::new(faulty), &password, &OpenOptions::default())
            .await
            .unwrap();
        let repository = repository.load_index().await.unwrap();
        let error = save(&repository, &options(&[source.path()]))
            .await
            .unwrap_err();
        assert!(matches!(error, BackupError::Store(_)), "{error:?}");
        assert!(snapshots(&repository).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_backup_leaves_no_snapshot() {
    let source = Scratch::new();
    testkit::build_plain_tree(source.path(), 5, 300);
    let (_, repository) = in_memory().await;
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let progress = AtFirstFile(std::sync::Once::new(), move || token.cancel());
    let options = options(&[source.path()]);
    let error = backup(
        &repository,
        &options,
        BackupSource::Paths,
        Arc::new(progress),
        cancel,
    )
    .await
    .unwrap_err();
    assert!(matches!(error, BackupError::Cancelled), "{error:?}");
    assert!(snapshots(&repository).await.is_empty());
    let summary = save(&repository, &options).await.unwrap();
    assert!(!summary.is_incomplete());
}

/// As when the machine slept, others called the lock stale and removed the packs that no index named.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_lost_its_lock_names_nothing_whether_cancelled_or_not() {
    let source = Scratch::new();
    testkit::build_plain_tree(source.path(), 5, 300);
    for is_cancelled in [true, false] {
        let (memory, repository) = in_memory().await;
        let lock = Lock::acquire(&repository, LockKind::Shared, &LockOptions::default())
            .await
            .unwrap();
        let cancel = CancellationToken::new();
        let (token, thief) = (cancel.clone(), memory.clone());
        let progress = AtFirstFile(std::sync::Once::new(), move || {
            for file in thief.handles_of(FileKind::Lock) {
                thief.take(&file);
            }
            if is_cancelled {
                token.cancel();
            }
        });
        let options = BackupOptions {
            lock: Some(lock.watch()),
            ..options(&[source.path()])
        };
        let error = backup(
            &repository,
            &options,
            BackupSource::Paths,
            Arc::new(progress),
            cancel,
        )
        .await
        .unwrap_err();
        assert!(
            matches!(error, BackupError::Lock(LockError::Lost)),
            "{error:?}"
        );
        assert!(memory.handles_of(FileKind::Index).is_empty());
        assert!(snapshots(&repository).await.is_empty());
        lock.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_as_a_real_one_and_writes_nothing() {
    let source = Scratch::new();
    testkit::build_plain_tree(source.path(), 6, 300);
    let (_, repository) = in_memory().await;
    let dry = BackupOptions {
        dry_run: true,
        ..options(&[source.path()])
    };
    let dry = save(&repository, &dry).await.unwrap();
    assert_eq!(dry.snapshot_id, None);
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        assert_eq!(repository.list(kind).await.unwrap(), [], "{kind:?}");
    }
    let real = save(&repository, &options(&[source.path()])).await.unwrap();
    assert_eq!(
        (dry.files, dry.stored.data_blobs),
        (real.files, real.stored.data_blobs)
    );
    assert_eq!(dry.stored.data_bytes, real.stored.data_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_says_everything_that_restic_says() {
    let source = Scratch::new();
    fs::write(source.join("file"), "content").unwrap();
    let (_, repository) = in_memory().await;
    let excludes = ExcludeOptions {
        patterns: vec!["*.tmp".into()],
        ..ExcludeOptions::default()
    };
    let options = BackupOptions {
        tags: vec!["one".to_owned(), "two".to_owned()],
        time: Some("2024-02-03T04:05:06.789+01:00".parse().unwrap()),
        username: "somebody".to_owned(),
        excludes: Excludes::compile(&excludes, &|_| None).unwrap(),
        ..options(&[source.path()])
    };
    let summary = save(&repository, &options).await.unwrap();
    let snapshot = &snapshots(&repository).await[0];
    assert_eq!(snapshot.time.to_string(), "2024-02-03T04:05:06.789+01:00");
    assert_eq!(
        (snapshot.tags.as_slice(), snapshot.username.as_str()),
        (options.tags.as_slice(), "somebody")
    );
    assert_eq!(snapshot.excludes, ["*.tmp"]);
    assert_eq!(snapshot.program_version, "stash test");
    assert_eq!(snapshot.paths, [source.path().display().to_string()]);
    let recorded = snapshot.summary.as_ref().unwrap();
    assert_eq!((recorded.files_new, recorded.data_blobs), (1, 1));
    assert_eq!(recorded.data_added, summary.data_added());
    assert_eq!(recorded.total_bytes_processed, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_found_is_left_out_at_the_top_of_a_volume_only() {
    let source = Scratch::new();
    source.folder("lost+found");
    source.folder("deeper/lost+found");
    let (_, repository) = in_memory().await;
    let options = BackupOptions {
        skip_lost_and_found: true,
        ..options(&[source.path()])
    };
    save(&repository, &options).await.unwrap();
    let snapshot = &snapshots(&repository).await[0];
    assert!(
        node_at(&repository, snapshot, &source.join("lost+found"))
            .await
            .is_none()
    );
    assert!(
        node_at(&repository, snapshot, &source.join("deeper/lost+found"))
            .await
            .is_some()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_chunks_of_a_file_are_its_content(
        bytes in prop_oneof![0..2_usize << 20, 7_usize << 20..19_usize << 20],
        seed: u64,
        hole in any::<bool>(),
        threads in 1_usize..6,
    ) {
        let mut data = Random::new(seed).bytes(bytes);
        if hole {
            let end = data.len();
            data[end / 3..end / 3 * 2].fill(0);
        }
        let source = Scratch::new();
        let path = source.join("file");
        fs::write(&path, &data).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stored = runtime.block_on(async {
            let (_, repository) = in_memory().await;
            let options = BackupOptions { read_threads: Some(threads), ..options(&[&path]) };
            save(&repository, &options).await.unwrap();
            let snapshot = &snapshots(&repository).await[0];
            let node = node_at(&repository, snapshot, &path).await.unwrap();
            content(&repository, &node.content.unwrap()).await
        });
        prop_assert!(stored == data);
    }
}
