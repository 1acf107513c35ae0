//! A restore stays in its target whatever the snapshot says and whatever lies there, survives damage, and
//! says what it could not do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::restore::{NoRestoreProgress, RestoreError, RestoreOptions, WarningKind, restore};
use backend::{Backend, FileKind, Handle};
use repository::key::ScryptParams;
use repository::snapshot::{Snapshot, SnapshotFilter};
use repository::tree::{Node, NodeKind, Tree};
use repository::{BlobId, BlobKind, CreateOptions, IndexedRepository, Repository};
use secrecy::SecretString;
use testkit::{MemoryBackend, Scratch};
use tokio_util::sync::CancellationToken;

use crate::scene::{Scene, into, restore_snapshot, run};

/// A repository in memory whose trees a test writes itself.
struct Forge {
    backend: MemoryBackend,
    repository: IndexedRepository,
}

impl Forge {
    async fn new() -> Self {
        let backend = MemoryBackend::new();
        let options = CreateOptions {
            scrypt: Some(ScryptParams::FAST_FOR_TESTS),
            ..CreateOptions::default()
        };
        let shared: Arc<dyn Backend> = Arc::new(backend.clone());
        let repository = Repository::create(shared, &SecretString::from("secret"), &options)
            .await
            .unwrap();
        let repository = repository.load_index().await.unwrap();
        Self {
            backend,
            repository,
        }
    }

    async fn save(&self, blobs: Vec<(BlobKind, Vec<u8>)>) -> Vec<BlobId> {
        let writer = self.repository.writer();
        let saving = writer.clone();
        let ids = tokio::task::spawn_blocking(move || {
            blobs
                .iter()
                .map(|(kind, data)| saving.save(*kind, data).unwrap().id)
                .collect()
        })
        .await
        .unwrap();
        writer.finish().await.unwrap();
        ids
    }

    async fn data(&self, data: &[u8]) -> BlobId {
        self.save(vec![(BlobKind::Data, data.to_vec())]).await[0]
    }

    async fn tree(&self, nodes: Vec<Node>) -> BlobId {
        self.save(vec![(BlobKind::Tree, Tree { nodes }.to_json())])
            .await[0]
    }
}

fn file(name: &[u8], content: BlobId, bytes: u64) -> Node {
    Node {
        mode: 0o644,
        size: bytes,
        links: 1,
        content: Some(vec![content]),
        ..Node::new(name, NodeKind::File)
    }
}

fn folder(name: &[u8], subtree: BlobId) -> Node {
    Node {
        mode: 0o755,
        subtree: Some(subtree),
        ..Node::new(name, NodeKind::Dir)
    }
}

fn link(name: &[u8], target: &str) -> Node {
    Node {
        mode: 0o777,
        link_target: target.into(),
        links: 1,
        ..Node::new(name, NodeKind::Symlink)
    }
}

fn snapshot_of(tree: BlobId) -> Snapshot {
    let json = format!(
        r#"{{"time":"2026-01-01T00:00:00Z","tree":"{tree}","paths":["/x"],"hostname":"h"}}"#
    );
    Snapshot::from_json(json.as_bytes()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn names_that_are_no_names_are_refused_and_the_others_restored() {
    let forge = Forge::new().await;
    let content = forge.data(b"content").await;
    let inner = forge.tree(vec![file(b"evil", content, 7)]).await;
    for name in [
        &b".."[..],
        b".",
        b"",
        b"a/b",
        b"../../escape",
        b"/etc/evil",
        b"nul\0byte",
    ] {
        let scratch = Scratch::new();
        let target = scratch.folder("outer/target");
        fs::write(target.join("mine"), "mine").unwrap();
        let before = names(&scratch.join("outer"));
        for hostile in [
            file(name, content, 7),
            folder(name, inner),
            link(name, "/etc"),
        ] {
            let tree = forge.tree(vec![hostile, file(b"good", content, 7)]).await;
            let options = RestoreOptions {
                delete: true,
                ..into(&target)
            };
            // A tree with such a name may also be refused as a whole; nothing of it is acted on then.
            let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &options)
                .await
                .unwrap();
            assert!(summary.is_incomplete(), "{name:?}");
            assert!(
                summary.files_deleted == 0 && target.join("mine").exists(),
                "nothing is deleted beside damage"
            );
            assert!(!names(&target).iter().any(|found| found == "evil"));
        }
        assert_eq!(names(&scratch.join("outer")), before);
        assert!(!scratch.join("escape").exists());
    }
}

#[tokio::test]
async fn a_link_and_a_directory_of_one_name_never_lead_out() {
    let forge = Forge::new().await;
    let content = forge.data(b"content").await;
    let inner = forge.tree(vec![file(b"file", content, 7)]).await;
    let scratch = Scratch::new();
    let outside = scratch.folder("outside");
    let away = outside.to_str().unwrap();
    for (number, nodes) in [
        vec![link(b"x", away), folder(b"x", inner)],
        vec![folder(b"x", inner), link(b"x", away)],
        vec![
            folder(b"x", inner),
            file(b"y", content, 7),
            link(b"x", away),
        ],
        vec![link(b"x", away), file(b"x", content, 7)],
    ]
    .into_iter()
    .enumerate()
    {
        let tree = forge.tree(nodes).await;
        let target = scratch.join(format!("target{number}"));
        for _ in 0..2 {
            let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &into(&target))
                .await
                .unwrap();
            assert!(summary.errors_count > 0);
            assert_eq!(names(&outside), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn links_in_the_target_are_replaced_and_never_followed() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir_all(scene.source().join("dir/sub")).unwrap();
    fs::write(scene.source().join("dir/sub/file"), "from the snapshot").unwrap();
    fs::write(scene.source().join("file"), "from the snapshot").unwrap();
    scene.back_up();
    let (target, outside) = (
        scene.scratch.folder("target"),
        scene.scratch.folder("outside"),
    );
    fs::write(outside.join("file"), "precious").unwrap();
    fs::create_dir(outside.join("sub")).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o711)).unwrap();
    let before = testkit::describe_tree(&outside);
    symlink(&outside, target.join("dir")).unwrap();
    symlink(outside.join("file"), target.join("file")).unwrap();
    let options = RestoreOptions {
        delete: true,
        verify: true,
        ..into(&target)
    };
    let summary = scene.restore(&options).await;
    assert_eq!(summary.errors, []);
    assert_eq!(testkit::describe_tree(&outside), before);
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o711);
    testkit::assert_same_tree(
        &scene.source(),
        &target,
        &testkit::CompareOptions::default(),
    );
}

#[tokio::test]
async fn deleting_removes_a_link_and_not_what_it_points_to() {
    let Some(scene) = Scene::new() else { return };
    fs::write(scene.source().join("a"), "a").unwrap();
    scene.back_up();
    let (target, outside) = (
        scene.scratch.folder("target"),
        scene.scratch.folder("outside"),
    );
    fs::write(outside.join("precious"), "precious").unwrap();
    fs::create_dir(target.join("old")).unwrap();
    symlink(&outside, target.join("old/link")).unwrap();
    symlink(&outside, target.join("link")).unwrap();
    let summary = scene
        .restore(&RestoreOptions {
            delete: true,
            ..into(&target)
        })
        .await;
    assert_eq!((summary.files_deleted, summary.errors_count), (3, 0));
    assert_eq!(names(&target), ["a"]);
    assert_eq!(names(&outside), ["precious"]);
}

#[tokio::test]
async fn a_hard_link_of_the_snapshot_reaches_only_what_was_restored() {
    let forge = Forge::new().await;
    let (one, other) = (forge.data(b"one").await, forge.data(b"other").await);
    let hard = |name: &[u8], content, bytes| Node {
        links: 2,
        inode: 5,
        device_id: 9,
        ..file(name, content, bytes)
    };
    let tree = forge
        .tree(vec![
            hard(b"a", one, 3),
            hard(b"b", one, 3),
            hard(b"c", other, 5),
        ])
        .await;
    let scratch = Scratch::new();
    let target = scratch.join("target");
    let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &into(&target))
        .await
        .unwrap();
    assert_eq!(summary.errors, []);
    let inode = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
    assert_ne!(inode("a"), inode("c"));
    assert_eq!(fs::read(target.join("c")).unwrap(), b"other");
}

#[tokio::test]
async fn sizes_and_blobs_that_do_not_fit_are_errors_of_their_files() {
    let forge = Forge::new().await;
    let content = forge.data(b"content").await;
    let unknown: BlobId = "77".repeat(32).parse().unwrap();
    let tree = forge
        .tree(vec![
            file(b"good", content, 7),
            file(b"huge", content, u64::MAX),
            file(b"unknown", unknown, 7),
            folder(b"z-unknown", unknown),
        ])
        .await;
    let scratch = Scratch::new();
    let target = scratch.join("target");
    let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &into(&target))
        .await
        .unwrap();
    let mut paths: Vec<_> = summary
        .errors
        .iter()
        .map(|error| error.path.clone())
        .collect();
    paths.sort();
    assert_eq!(
        paths,
        ["/huge", "/unknown", "/z-unknown"].map(PathBuf::from),
        "{:?}",
        summary.errors
    );
    assert_eq!(fs::read(target.join("good")).unwrap(), b"content");
    assert_eq!(fs::read(target.join("huge")).unwrap(), b"content");
    assert!(!target.join("unknown").exists());
}

#[tokio::test]
async fn a_damaged_pack_costs_only_the_files_in_it() {
    let forge = Forge::new().await;
    let (bad, good) = (
        forge.data(&b"bad".repeat(5000)).await,
        forge.data(&b"good".repeat(5000)).await,
    );
    let tree = forge
        .tree(vec![
            file(b"a-good", good, 20_000),
            file(b"bad", bad, 15_000),
        ])
        .await;
    let pack = |id: BlobId| {
        forge
            .repository
            .lookup(&repository::BlobHandle {
                kind: BlobKind::Data,
                id,
            })
            .unwrap()
            .pack
    };
    assert_ne!(pack(bad), pack(good));
    let scratch = Scratch::new();
    let handle = Handle::new(FileKind::Pack, pack(bad).to_hex());
    let whole = forge.backend.get(&handle).unwrap();
    for (number, damage) in [
        |data: &mut Vec<u8>| data[20] ^= 1,
        |data: &mut Vec<u8>| data.truncate(30),
        |data: &mut Vec<u8>| data.clear(),
    ]
    .into_iter()
    .enumerate()
    {
        forge.backend.put(&handle, whole.clone());
        forge.backend.damage(&handle, damage);
        let target = scratch.join(format!("target{number}"));
        let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &into(&target))
            .await
            .unwrap();
        assert_eq!(summary.errors_count, 1, "{:?}", summary.errors);
        assert_eq!(summary.errors[0].path, PathBuf::from("/bad"));
        assert_eq!(fs::metadata(target.join("a-good")).unwrap().len(), 20_000);
    }
    forge.backend.take(&handle);
    let target = scratch.join("gone");
    let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &into(&target))
        .await
        .unwrap();
    assert_eq!(summary.errors_count, 1, "{:?}", summary.errors);
    // Once the pack is whole again, restoring over the rest completes it.
    forge.backend.put(&handle, whole);
    let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &into(&target))
        .await
        .unwrap();
    assert_eq!((summary.errors_count, summary.files_skipped), (0, 1));
    assert_eq!(fs::metadata(target.join("bad")).unwrap().len(), 15_000);
}

#[tokio::test]
async fn a_snapshot_of_more_entries_than_one_batch_is_restored_as_a_whole() {
    let forge = Forge::new().await;
    let content = forge.data(b"x").await;
    let hard = |name: &[u8]| Node {
        links: 2,
        inode: 5,
        device_id: 9,
        ..file(name, content, 1)
    };
    let mut many = vec![hard(b"a-first")];
    many.extend((0..66_000).map(|number| file(format!("file{number:06}").as_bytes(), content, 1)));
    let many = Node {
        mode: 0o2551,
        ..folder(b"many", forge.tree(many).await)
    };
    let last = folder(b"z", forge.tree(vec![hard(b"last")]).await);
    let tree = forge.tree(vec![many, last]).await;
    let scratch = Scratch::new();
    let target = scratch.folder("target");
    for name in ["extra", "many/extra", "z/extra"] {
        fs::create_dir_all(target.join(name)).unwrap();
    }
    let options = RestoreOptions {
        delete: true,
        ..into(&target)
    };
    let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &options)
        .await
        .unwrap();
    assert_eq!(summary.errors, []);
    assert_eq!((summary.files_restored, summary.files_deleted), (66_004, 3));
    let status = |name: &str| fs::metadata(target.join(name)).unwrap();
    assert_eq!(status("many/a-first").ino(), status("z/last").ino());
    assert_eq!(status("many").mode() & 0o7777, 0o2551);
    assert_eq!(names(&target.join("many")).len(), 66_001);
}

#[tokio::test]
async fn one_blob_in_many_places_is_read_once() {
    let forge = Forge::new().await;
    let content = forge.data(&vec![7; 100_000]).await;
    let repeated = Node {
        size: 300_000,
        content: Some(vec![content; 3]),
        ..file(b"thrice", content, 0)
    };
    let mut nodes: Vec<_> = (0..50)
        .map(|number| file(format!("file{number:02}").as_bytes(), content, 100_000))
        .collect();
    nodes.push(repeated);
    let tree = forge.tree(nodes).await;
    let scratch = Scratch::new();
    let options = RestoreOptions {
        verify: true,
        ..into(scratch.join("target"))
    };
    let summary = restore_snapshot(&forge.repository, &snapshot_of(tree), &options)
        .await
        .unwrap();
    assert_eq!((summary.errors_count, summary.files_verified), (0, 51));
    assert_eq!(summary.bytes_restored, 53 * 100_000);
}

#[tokio::test]
async fn a_full_disk_ends_the_restore_with_that_reason() {
    if !testkit::is_root() {
        return testkit::skip("mounting a small tmpfs needs root");
    }
    let forge = Forge::new().await;
    let mut nodes = Vec::new();
    for number in 0..8_u8 {
        let content = forge.data(&vec![number; 1 << 20]).await;
        nodes.push(file(format!("file{number}").as_bytes(), content, 1 << 20));
    }
    let tree = forge.tree(nodes).await;
    let scratch = Scratch::new();
    let target = scratch.folder("small");
    let path = target.to_str().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "none", path])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return testkit::skip("a tmpfs cannot be mounted here");
    }
    let ended = restore_snapshot(&forge.repository, &snapshot_of(tree), &into(&target)).await;
    run("umount", &[path], scratch.path());
    let Err(RestoreError::TargetUnwritable { source, .. }) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
}

#[tokio::test]
async fn a_mount_point_in_the_target_is_not_emptied() {
    if !testkit::is_root() {
        return testkit::skip("mounting needs root");
    }
    let Some(scene) = Scene::new() else { return };
    fs::write(scene.source().join("a"), "a").unwrap();
    scene.back_up();
    let target = scene.scratch.folder("target");
    let point = scene.scratch.folder("target/old/point");
    let path = point.to_str().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "none", path])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        return testkit::skip("a tmpfs cannot be mounted here");
    }
    fs::write(point.join("precious"), "precious").unwrap();
    let summary = scene
        .restore(&RestoreOptions {
            delete: true,
            ..into(&target)
        })
        .await;
    let survives = point.join("precious").exists();
    run("umount", &[path], scene.scratch.path());
    assert!(survives);
    assert_eq!(summary.errors_count, 1, "{:?}", summary.errors);
}

/// Runs as another user in a process of its own: see the test below.
#[test]
fn not_root_worker() {
    let Some(folder) = std::env::var_os("STASH_TEST_NOT_ROOT").map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let backend = Arc::new(backend::LocalBackend::new(folder.join("repository")));
        let password = SecretString::from("secret");
        let repository = Repository::open(backend, &password, &repository::OpenOptions::default())
            .await
            .unwrap();
        let repository = repository.load_index().await.unwrap();
        let (_, snapshot) =
            repository::snapshot::find(&repository, "latest", &SnapshotFilter::default())
                .await
                .unwrap();
        let target = folder.join("ours/target");
        for round in 0..2 {
            let options = RestoreOptions {
                verify: true,
                ..into(&target)
            };
            let progress = Arc::new(NoRestoreProgress);
            let summary = restore(
                &repository,
                &snapshot,
                &options,
                progress,
                CancellationToken::new(),
            )
            .await
            .unwrap();
            assert_eq!(summary.errors, [], "round {round}");
            let ownership = summary
                .warnings
                .iter()
                .find(|warning| matches!(warning.kind, WarningKind::Ownership { .. }));
            let ownership = ownership.expect("files of root cannot be given to root");
            assert!(!ownership.is_failure());
            assert!(ownership.to_string().contains("run as root"), "{ownership}");
            assert!(
                summary
                    .warnings
                    .iter()
                    .any(|warning| warning.kind == WarningKind::SetIdBits)
            );
            assert!(!summary.is_incomplete());
        }
        let mode = |name: &str| fs::metadata(target.join(name)).unwrap().mode() & 0o7777;
        assert_eq!(
            (mode("setuid"), mode("secret"), mode("closed")),
            (0o755, 0, 0o555)
        );
    });
}

#[tokio::test]
async fn another_user_restores_all_but_the_owners_and_is_told_in_one_line() {
    if !testkit::is_root() {
        return testkit::skip("running as another user needs root");
    }
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    for (name, mode) in [("setuid", 0o4755), ("secret", 0), ("plain", 0o644)] {
        fs::write(source.join(name), name).unwrap();
        fs::set_permissions(source.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(source.join("closed")).unwrap();
    fs::write(source.join("closed/in"), "in").unwrap();
    fs::set_permissions(source.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    scene.back_up();
    let ours = scene.scratch.folder("ours");
    let folder = scene.scratch.path().to_str().unwrap();
    run("chmod", &["-R", "a+rX", folder], scene.scratch.path());
    std::os::unix::fs::chown(&ours, Some(65534), Some(65534)).unwrap();
    let program = scene.scratch.join("worker");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&program)
        .args(["--exact", "restore_safety::not_root_worker", "--nocapture"])
        .env("STASH_TEST_NOT_ROOT", scene.scratch.path())
        .env("HOME", "/")
        .output();
    match output {
        Ok(output) => assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => testkit::skip(format!("setpriv cannot be run: {error}")),
    }
}
