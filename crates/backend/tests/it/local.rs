//! The local backend on a folder: layout, atomicity, listings, ranges.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backend::{Backend, ErrorKind, FileKind, Handle, LocalBackend};
use bytes::Bytes;
use tempfile::TempDir;

/// A name as objects have it, made of one digit.
pub fn name(digit: char) -> String {
    digit.to_string().repeat(64)
}

pub async fn created() -> (TempDir, LocalBackend) {
    let folder = tempfile::tempdir().unwrap();
    let backend = LocalBackend::new(folder.path().join("repository"));
    backend.create().await.unwrap();
    (folder, backend)
}

fn mode(path: impl AsRef<Path>) -> u32 {
    path.as_ref().metadata().unwrap().permissions().mode() & 0o7777
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn create_makes_the_layout_of_restic_and_leaves_existing_parts_alone() {
    let (_folder, backend) = created().await;
    for folder in [
        "",
        "keys",
        "locks",
        "snapshots",
        "index",
        "data",
        "data/00",
        "data/7f",
        "data/ff",
    ] {
        assert_eq!(mode(backend.root().join(folder)), 0o700, "{folder}");
    }
    assert_eq!(
        fs::read_dir(backend.root().join("data")).unwrap().count(),
        256
    );
    let key = Handle::new(FileKind::Key, name('a'));
    backend
        .write(&key, Bytes::from_static(b"key"))
        .await
        .unwrap();
    backend.create().await.unwrap();
    assert_eq!(backend.read(&key).await.unwrap(), "key");
}

#[tokio::test]
async fn every_kind_is_written_read_listed_and_removed() {
    let (_folder, backend) = created().await;
    for kind in FileKind::ALL {
        let handle = if kind == FileKind::Config {
            Handle::config()
        } else {
            Handle::new(kind, name('b'))
        };
        assert!(backend.stat(&handle).await.unwrap_err().is_not_found());
        assert!(backend.list(kind).await.unwrap().is_empty());
        backend
            .write(&handle, Bytes::from_static(b"content"))
            .await
            .unwrap();
        assert_eq!(backend.read(&handle).await.unwrap(), "content");
        let info = backend.stat(&handle).await.unwrap();
        assert_eq!((info.name.as_str(), info.size_bytes), (handle.name(), 7));
        assert_eq!(backend.list(kind).await.unwrap(), [info]);
        assert_eq!(mode(backend.root().join(handle.path())), 0o400);
        backend.remove(&handle).await.unwrap();
        backend.remove(&handle).await.unwrap();
        assert!(backend.read(&handle).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn a_group_readable_config_makes_new_files_and_folders_group_readable() {
    let (_folder, backend) = created().await;
    backend
        .write(&Handle::config(), Bytes::from_static(b"config"))
        .await
        .unwrap();
    fs::set_permissions(
        backend.root().join("config"),
        fs::Permissions::from_mode(0o440),
    )
    .unwrap();
    fs::remove_dir(backend.root().join("data/cc")).unwrap();
    let pack = Handle::new(FileKind::Pack, name('c'));
    backend
        .write(&pack, Bytes::from_static(b"pack"))
        .await
        .unwrap();
    assert_eq!(mode(backend.root().join(pack.path())), 0o440);
    assert_eq!(mode(backend.root().join("data/cc")) & 0o770, 0o750);
}

#[tokio::test]
async fn missing_folders_are_made_on_write_but_never_the_root() {
    let (_folder, backend) = created().await;
    fs::remove_dir_all(backend.root().join("data")).unwrap();
    backend
        .write(
            &Handle::new(FileKind::Pack, name('d')),
            Bytes::from_static(b"pack"),
        )
        .await
        .unwrap();
    assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 1);
    assert!(backend.list(FileKind::Lock).await.unwrap().is_empty());

    fs::remove_dir_all(backend.root()).unwrap();
    let error = backend
        .write(&Handle::config(), Bytes::from_static(b"x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(!backend.root().exists());
}

#[tokio::test]
async fn what_is_not_there_does_not_look_empty() {
    let (_folder, backend) = created().await;
    for kind in FileKind::ALL {
        if matches!(kind, FileKind::Config | FileKind::Lock) {
            continue;
        }
        let folder = backend.root().join(kind.folder());
        fs::remove_dir_all(&folder).unwrap();
        let error = backend.list(kind).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{kind:?}");
        fs::write(&folder, "no folder").unwrap();
        let error = backend.list(kind).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{kind:?}");
    }
    let locks = backend.root().join(FileKind::Lock.folder());
    fs::remove_dir(&locks).unwrap();
    assert!(backend.list(FileKind::Lock).await.unwrap().is_empty());
    fs::write(&locks, "no folder").unwrap();
    backend.list(FileKind::Lock).await.unwrap_err();
}

#[tokio::test]
async fn a_missing_folder_of_a_prefix_is_empty() {
    let (_folder, backend) = created().await;
    fs::remove_dir(backend.root().join("data/22")).unwrap();
    assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
    fs::write(backend.root().join("data/22"), "no folder").unwrap();
    backend.list(FileKind::Pack).await.unwrap_err();
}

#[tokio::test]
async fn a_missing_root_is_told_by_its_name() {
    let backend = LocalBackend::new("/nonexistent/repository");
    let errors = [
        backend.stat(&Handle::config()).await.unwrap_err(),
        backend.read(&Handle::config()).await.unwrap_err(),
        backend.list(FileKind::Lock).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(
            error.to_string().contains("/nonexistent/repository"),
            "{error}"
        );
        assert!(
            error
                .source
                .unwrap()
                .to_string()
                .contains("there is no folder")
        );
    }
}

#[tokio::test]
async fn an_existing_object_is_never_replaced() {
    let (_folder, backend) = created().await;
    let handle = Handle::new(FileKind::Snapshot, name('e'));
    backend
        .write(&handle, Bytes::from_static(b"first"))
        .await
        .unwrap();
    let error = backend
        .write(&handle, Bytes::from_static(b"second"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
    assert_eq!(backend.read(&handle).await.unwrap(), "first");
    assert_eq!(files_below(backend.root()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_concurrent_writers_of_one_object_exactly_one_wins_and_readers_see_it_whole() {
    let (_folder, backend) = created().await;
    let handle = Handle::new(FileKind::Pack, name('f'));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16_u8 {
        let (backend, handle) = (backend.clone(), handle.clone());
        writers.spawn(async move {
            backend
                .write(&handle, Bytes::from(vec![writer; 300_000]))
                .await
        });
    }
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (backend, handle) = (backend.clone(), handle.clone());
        readers.spawn(async move {
            for _ in 0..50 {
                match backend.read(&handle).await {
                    Ok(data) => {
                        assert!(data.len() == 300_000 && data.iter().all(|byte| *byte == data[0]));
                    }
                    Err(error) => assert!(error.is_not_found(), "{error}"),
                }
                backend.list(FileKind::Pack).await.unwrap();
            }
        });
    }
    let results = writers.join_all().await;
    readers.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results
            .into_iter()
            .filter_map(Result::err)
            .all(|error| error.kind == ErrorKind::AlreadyExists)
    );
    assert_eq!(files_below(backend.root()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_tolerates_files_that_come_and_go() {
    let (_folder, backend) = created().await;
    let churn = tokio::spawn({
        let backend = backend.clone();
        async move {
            for round in 0..200 {
                let handle = Handle::new(FileKind::Lock, format!("{round:064x}"));
                backend
                    .write(&handle, Bytes::from_static(b"lock"))
                    .await
                    .unwrap();
                backend.remove(&handle).await.unwrap();
            }
        }
    });
    while !churn.is_finished() {
        assert!(backend.list(FileKind::Lock).await.unwrap().len() <= 1);
    }
    churn.await.unwrap();
}

#[tokio::test]
async fn ranges_are_exact() {
    let (_folder, backend) = created().await;
    let handle = Handle::new(FileKind::Pack, name('0'));
    let data: Vec<u8> = (0..=255).collect();
    backend
        .write(&handle, Bytes::from(data.clone()))
        .await
        .unwrap();
    for (offset, length) in [(0, 0), (0, 1), (0, 256), (10, 20), (255, 1), (256, 0)] {
        let read = backend.read_range(&handle, offset, length).await.unwrap();
        let (from, to) = (
            usize::try_from(offset).unwrap(),
            usize::try_from(offset + length).unwrap(),
        );
        assert_eq!(read, data[from..to]);
    }
    for (offset, length) in [
        (0, 257),
        (256, 1),
        (300, 0),
        (1, u64::MAX),
        (u64::MAX, 1),
        (0, 1 << 60),
    ] {
        let error = backend
            .read_range(&handle, offset, length)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooShort, "{offset} {length}");
    }
    let empty = Handle::new(FileKind::Pack, name('1'));
    backend.write(&empty, Bytes::new()).await.unwrap();
    assert!(backend.read(&empty).await.unwrap().is_empty());
}

#[tokio::test]
async fn temporary_and_foreign_files_are_not_listed() {
    let (_folder, backend) = created().await;
    let root = backend.root();
    let (good, other) = (name('2'), name('3'));
    let foreign = [
        format!("data/22/{good}-tmp-12345"),
        format!("data/22/{other}"),
        "data/22/README".to_owned(),
        format!("data/{good}"),
        format!("data/22/{}", "Z".repeat(64)),
        format!("data/22/{}", "A".repeat(64)),
        format!("locks/{good}-tmp-12345"),
        "locks/.nfs0001".to_owned(),
    ];
    for path in &foreign {
        fs::write(root.join(path), "foreign").unwrap();
    }
    fs::create_dir(root.join(format!("locks/{other}"))).unwrap();
    fs::create_dir(root.join("data/lost+found")).unwrap();
    backend
        .write(
            &Handle::new(FileKind::Pack, good.clone()),
            Bytes::from_static(b"pack"),
        )
        .await
        .unwrap();
    let packs = backend.list(FileKind::Pack).await.unwrap();
    assert_eq!(
        packs.iter().map(|info| &info.name).collect::<Vec<_>>(),
        [&good]
    );
    assert!(backend.list(FileKind::Lock).await.unwrap().is_empty());
}

/// Run by the next test in a process of its own: writes until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other half of a_killed_writer_leaves_nothing_visible"]
async fn helper_that_writes_until_killed() {
    let Ok(root) = std::env::var("BACKEND_TEST_ROOT") else {
        return;
    };
    let backend = LocalBackend::new(root);
    for number in 0_u64.. {
        let data = Bytes::from(vec![7; 3_000_000]);
        backend
            .write(
                &Handle::new(FileKind::Snapshot, format!("{number:064x}")),
                data,
            )
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_killed_writer_leaves_nothing_visible_but_whole_objects() {
    let (_folder, backend) = created().await;
    for round in 0..10_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "local::helper_that_writes_until_killed",
                "--include-ignored",
            ])
            .env("BACKEND_TEST_ROOT", backend.root())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Wait for the first object, then for a moment that differs from round to round.
        while backend.list(FileKind::Snapshot).await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        tokio::time::sleep(std::time::Duration::from_micros(round * 1700)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for object in backend.list(FileKind::Snapshot).await.unwrap() {
            assert_eq!(object.size_bytes, 3_000_000);
            backend
                .remove(&Handle::new(FileKind::Snapshot, object.name))
                .await
                .unwrap();
        }
    }
}
