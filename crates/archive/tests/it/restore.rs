//! Restoring what the real restic saved, compared with the source and with what restic restores.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use archive::filter::{Case, PatternList};
use archive::restore::{Overwrite, RestoreError, Selection, restore};
use testkit::{CompareOptions, assert_same_tree, build_everything_tree, build_plain_tree};
use tokio_util::sync::CancellationToken;

use crate::scene::{Scene, Told, into, run};

const MODES: [(Overwrite, &str); 4] = [
    (Overwrite::Always, "always"),
    (Overwrite::IfChanged, "if-changed"),
    (Overwrite::IfNewer, "if-newer"),
    (Overwrite::Never, "never"),
];

fn patterns(patterns: &[&str]) -> Vec<PatternList> {
    vec![PatternList::compile(patterns, Case::Sensitive).unwrap()]
}

fn set_mtime(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

#[tokio::test]
async fn everything_a_unix_file_can_be_comes_back_with_all_metadata() {
    let Some(scene) = Scene::new() else { return };
    build_everything_tree(&scene.source(), 7);
    scene.back_up();
    let target = scene.scratch.join("target");
    let options = archive::restore::RestoreOptions {
        verify: true,
        ..into(&target)
    };
    let summary = scene.restore(&options).await;
    assert_eq!(summary.errors, []);
    assert_eq!(summary.warnings, []);
    assert_eq!(summary.files_restored, summary.total_files);
    assert!(summary.files_verified > 0);
    assert_same_tree(
        &scene.source(),
        &target,
        &CompareOptions {
            sockets: false,
            ..CompareOptions::default()
        },
    );

    // Once more over itself: nothing is left to write.
    let again = scene.restore(&options).await;
    assert_eq!(again.errors, []);
    assert_eq!(again.bytes_restored, 0, "{again:?}");
    assert_same_tree(
        &scene.source(),
        &target,
        &CompareOptions {
            sockets: false,
            ..CompareOptions::default()
        },
    );
}

#[tokio::test]
async fn a_sparse_restore_has_the_same_content_and_takes_no_more_room() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    fs::write(source.join("zeros"), vec![0; 3 << 20]).unwrap();
    let mut mixed = vec![0; 5 << 20];
    mixed[100] = 1;
    mixed[3_000_001] = 1;
    fs::write(source.join("mixed"), &mixed).unwrap();
    fs::write(source.join("small"), vec![0; 10]).unwrap();
    scene.back_up();
    let target = scene.scratch.join("target");
    let options = archive::restore::RestoreOptions {
        sparse: true,
        verify: true,
        ..into(&target)
    };
    let summary = scene.restore(&options).await;
    assert_eq!(summary.errors, []);
    assert_same_tree(&source, &target, &CompareOptions::default());
    let allocated = |name: &str| fs::metadata(target.join(name)).unwrap().blocks() * 512;
    assert!(allocated("zeros") < 64 << 10, "{}", allocated("zeros"));
    assert!(allocated("mixed") < 256 << 10, "{}", allocated("mixed"));
}

/// A target in which every entry of the source differs in a way that the modes tell apart.
fn prepare_existing(source: &Path, target: &Path) {
    for (name, content) in [
        ("equal", "same"),
        ("newer-here", "snap"),
        ("older-here", "snap"),
        ("trusted", "one!"),
    ] {
        fs::write(source.join(name), content).unwrap();
        set_mtime(&source.join(name), 1_000_000);
    }
    fs::create_dir(source.join("folder")).unwrap();
    fs::write(source.join("folder/new"), "new").unwrap();
    symlink("to-snapshot", source.join("link")).unwrap();
    fs::write(source.join("long"), vec![b'x'; 2 << 20]).unwrap();
    fs::write(source.join("was-link"), "file").unwrap();
    fs::write(source.join("was-empty-folder"), "file").unwrap();
    fs::create_dir(source.join("was-file")).unwrap();
    fs::write(source.join("was-file/in"), "in").unwrap();

    fs::create_dir_all(target.join("folder")).unwrap();
    fs::write(target.join("equal"), "same").unwrap();
    set_mtime(&target.join("equal"), 1_000_000);
    fs::write(target.join("newer-here"), "mine").unwrap();
    set_mtime(&target.join("newer-here"), 2_000_000);
    fs::write(target.join("older-here"), "mine, long").unwrap();
    set_mtime(&target.join("older-here"), 500_000);
    fs::write(target.join("trusted"), "two!").unwrap();
    set_mtime(&target.join("trusted"), 1_000_000);
    fs::write(target.join("folder/extra"), "extra").unwrap();
    symlink("to-mine", target.join("link")).unwrap();
    let mut long = vec![b'x'; (2 << 20) + 5];
    long[0] = b'y';
    fs::write(target.join("long"), long).unwrap();
    symlink("/nowhere", target.join("was-link")).unwrap();
    fs::create_dir(target.join("was-empty-folder")).unwrap();
}

#[tokio::test]
async fn every_overwrite_mode_leaves_what_restic_leaves() {
    for (overwrite, word) in MODES {
        let Some(scene) = Scene::new() else { return };
        let (ours, theirs) = (scene.scratch.folder("ours"), scene.scratch.folder("theirs"));
        prepare_existing(&scene.source(), &ours);
        fs::remove_dir_all(&theirs).unwrap();
        run(
            "cp",
            &["-a", ours.to_str().unwrap(), theirs.to_str().unwrap()],
            scene.scratch.path(),
        );
        scene.back_up();
        let options = archive::restore::RestoreOptions {
            overwrite,
            ..into(&ours)
        };
        let summary = scene.restore(&options).await;
        assert_eq!(summary.errors, [], "{word}");
        let their_summary = scene.restore_by_restic(&theirs, &["--overwrite", word]);
        assert_same_tree(&theirs, &ours, &CompareOptions::default());
        for (name, number) in [
            ("total_files", summary.total_files),
            ("files_restored", summary.files_restored),
            ("files_skipped", summary.files_skipped),
            ("total_bytes", summary.total_bytes),
            ("bytes_restored", summary.bytes_restored),
            ("bytes_skipped", summary.bytes_skipped),
        ] {
            // restic counts a link that it skips among the entries to restore.
            let is_odd =
                name == "total_files" && matches!(overwrite, Overwrite::IfNewer | Overwrite::Never);
            if !is_odd {
                assert_eq!(
                    their_summary[name].as_u64().unwrap_or_default(),
                    number,
                    "{word}: {name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_file_in_the_way_of_a_directory_stays_when_nothing_may_be_overwritten() {
    let Some(scene) = Scene::new() else { return };
    fs::create_dir(scene.source().join("a")).unwrap();
    fs::write(scene.source().join("a/b"), "b").unwrap();
    scene.back_up();
    let target = scene.scratch.folder("target");
    fs::write(target.join("a"), "precious").unwrap();
    let options = archive::restore::RestoreOptions {
        overwrite: Overwrite::Never,
        ..into(&target)
    };
    let summary = scene.restore(&options).await;
    assert!(summary.is_incomplete());
    assert_eq!(fs::read(target.join("a")).unwrap(), b"precious");
    let summary = scene.restore(&into(&target)).await;
    assert_eq!(summary.errors, []);
    assert_eq!(fs::read(target.join("a/b")).unwrap(), b"b");
}

#[tokio::test]
async fn delete_removes_exactly_what_restic_removes() {
    let filters: [(&[&str], Selection); 3] = [
        (&[], Selection::All),
        (
            &["--include", "/folder"],
            Selection::Include(patterns(&["/folder"])),
        ),
        (
            &["--exclude", "*.keep"],
            Selection::Exclude(patterns(&["*.keep"])),
        ),
    ];
    for (arguments, selection) in filters {
        let Some(scene) = Scene::new() else { return };
        let source = scene.source();
        fs::create_dir(source.join("folder")).unwrap();
        fs::write(source.join("folder/a"), "a").unwrap();
        fs::write(source.join("b"), "b").unwrap();
        fs::write(source.join("c.keep"), "c").unwrap();
        scene.back_up();
        let (ours, theirs) = (scene.scratch.folder("ours"), scene.scratch.folder("theirs"));
        for target in [&ours, &theirs] {
            fs::create_dir_all(target.join("folder/extra/deep")).unwrap();
            fs::write(target.join("folder/extra/deep/file"), "x").unwrap();
            fs::write(target.join("folder/x.keep"), "x").unwrap();
            fs::write(target.join("top"), "x").unwrap();
            fs::write(target.join("y.keep"), "x").unwrap();
            symlink("/etc", target.join("folder/link")).unwrap();
        }
        let told = Arc::new(Told::default());
        let options = archive::restore::RestoreOptions {
            delete: true,
            selection,
            ..into(&ours)
        };
        let dry = archive::restore::RestoreOptions {
            dry_run: true,
            ..options.clone()
        };
        let snapshot = scene.snapshot("latest").await;
        let repository = scene.open().await;
        let before = testkit::describe_tree(&ours);
        let planned = restore(
            &repository,
            &snapshot,
            &dry,
            Arc::clone(&told) as _,
            CancellationToken::new(),
        )
        .await
        .unwrap();
        assert_eq!(
            testkit::describe_tree(&ours),
            before,
            "a dry run touches nothing"
        );
        let summary = scene.restore(&options).await;
        assert_eq!(summary.errors, []);
        assert_eq!(
            (planned.files_deleted, planned.files_restored),
            (summary.files_deleted, summary.files_restored)
        );
        let their_summary = scene.restore_by_restic(&theirs, &[&["--delete"], arguments].concat());
        assert_same_tree(
            &theirs,
            &ours,
            &CompareOptions {
                mtimes: arguments.is_empty(),
                ..CompareOptions::default()
            },
        );
        assert_eq!(
            their_summary["files_deleted"].as_u64().unwrap_or_default(),
            summary.files_deleted,
            "{arguments:?}"
        );
        let deleted = told
            .items
            .lock()
            .iter()
            .filter(|item| item.starts_with("deleted "))
            .count();
        assert_eq!(deleted as u64, summary.files_deleted);
    }
}

#[tokio::test]
async fn what_is_excluded_survives_inside_a_directory_that_is_deleted() {
    let Some(scene) = Scene::new() else { return };
    fs::write(scene.source().join("a"), "a").unwrap();
    scene.back_up();
    let target = scene.scratch.folder("target");
    fs::create_dir_all(target.join("old/sub")).unwrap();
    fs::write(target.join("old/sub/x.keep"), "x").unwrap();
    fs::write(target.join("old/gone"), "x").unwrap();
    let selection = Selection::Exclude(patterns(&["*.keep"]));
    let options = archive::restore::RestoreOptions {
        delete: true,
        selection,
        ..into(&target)
    };
    let summary = scene.restore(&options).await;
    assert_eq!((summary.files_deleted, summary.errors_count), (1, 0));
    assert!(target.join("old/sub/x.keep").exists());
    assert!(!target.join("old/gone").exists());
}

#[tokio::test]
async fn a_directory_in_the_way_of_a_file_is_removed_only_when_deleting_or_empty() {
    let Some(scene) = Scene::new() else { return };
    for name in ["file", "empty"] {
        fs::write(scene.source().join(name), "content").unwrap();
    }
    run("mkfifo", &["fifo"], &scene.source());
    scene.back_up();
    let target = scene.scratch.folder("target");
    for name in ["file/in", "empty", "fifo/in"] {
        fs::create_dir_all(target.join(name)).unwrap();
    }
    let summary = scene.restore(&into(&target)).await;
    assert_eq!(summary.errors_count, 2, "{:?}", summary.errors);
    assert!(target.join("file/in").is_dir() && target.join("fifo/in").is_dir());
    assert_eq!(fs::read(target.join("empty")).unwrap(), b"content");
    let options = archive::restore::RestoreOptions {
        delete: true,
        ..into(&target)
    };
    let summary = scene.restore(&options).await;
    assert_eq!(summary.errors, []);
    assert_eq!(fs::read(target.join("file")).unwrap(), b"content");
    assert!(
        fs::metadata(target.join("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[tokio::test]
async fn patterns_and_subfolders_choose_what_restic_chooses() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    build_plain_tree(&source, 3, 60);
    fs::create_dir_all(source.join("sub/deep/er")).unwrap();
    fs::write(source.join("sub/deep/er/file.txt"), "x").unwrap();
    fs::write(source.join("sub/file.txt"), "x").unwrap();
    fs::set_permissions(source.join("sub/deep"), fs::Permissions::from_mode(0o2750)).unwrap();
    scene.back_up();
    let cases: [(&[&str], Selection); 4] = [
        (
            &["--include", "file.txt"],
            Selection::Include(patterns(&["file.txt"])),
        ),
        (
            &["--include", "/sub/deep"],
            Selection::Include(patterns(&["/sub/deep"])),
        ),
        (
            &["--exclude", "deep"],
            Selection::Exclude(patterns(&["deep"])),
        ),
        (
            &["--exclude", "/sub/**/file.txt"],
            Selection::Exclude(patterns(&["/sub/**/file.txt"])),
        ),
    ];
    for (number, (arguments, selection)) in cases.into_iter().enumerate() {
        let (ours, theirs) = (
            scene.scratch.join(format!("ours{number}")),
            scene.scratch.join(format!("theirs{number}")),
        );
        let summary = scene
            .restore(&archive::restore::RestoreOptions {
                selection,
                ..into(&ours)
            })
            .await;
        assert_eq!(summary.errors, []);
        scene.restore_by_restic(&theirs, arguments);
        assert_same_tree(&theirs, &ours, &CompareOptions::default());
    }
    let options = archive::restore::RestoreOptions {
        subfolder: Some("/sub/deep".into()),
        ..into(scene.scratch.join("deep"))
    };
    scene.restore(&options).await;
    assert!(scene.scratch.join("deep/er/file.txt").exists());
    for wrong in ["sub/none", "sub/file.txt"] {
        let options = archive::restore::RestoreOptions {
            subfolder: Some(wrong.into()),
            ..into(scene.scratch.join("no"))
        };
        assert!(
            matches!(
                scene.try_restore(&options).await,
                Err(RestoreError::Subfolder { .. })
            ),
            "{wrong}"
        );
    }
    assert!(!scene.scratch.join("no").exists());
}

#[tokio::test]
async fn an_open_hard_link_elsewhere_is_never_written_through() {
    let Some(scene) = Scene::new() else { return };
    fs::write(scene.source().join("a"), "from the snapshot").unwrap();
    fs::write(scene.source().join("b"), "same").unwrap();
    fs::set_permissions(scene.source().join("b"), fs::Permissions::from_mode(0o4755)).unwrap();
    scene.back_up();
    let (target, outside) = (
        scene.scratch.folder("target"),
        scene.scratch.folder("outside"),
    );
    fs::write(outside.join("a"), "precious").unwrap();
    fs::write(outside.join("b"), "same").unwrap();
    let before = testkit::describe_tree(&outside);
    for name in ["a", "b"] {
        fs::hard_link(outside.join(name), target.join(name)).unwrap();
    }
    let summary = scene.restore(&into(&target)).await;
    assert_eq!(summary.errors, []);
    assert_same_tree(&scene.source(), &target, &CompareOptions::default());
    assert_eq!(testkit::describe_tree(&outside), before);
}

#[tokio::test]
async fn a_cancelled_restore_says_so_and_can_be_completed() {
    let Some(scene) = Scene::new() else { return };
    build_plain_tree(&scene.source(), 5, 100);
    scene.back_up();
    let target = scene.scratch.join("target");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let (repository, snapshot) = (scene.open().await, scene.snapshot("latest").await);
    let progress = Arc::new(archive::restore::NoRestoreProgress);
    let ended = restore(&repository, &snapshot, &into(&target), progress, cancel).await;
    assert!(matches!(ended, Err(RestoreError::Cancelled)));
    assert_eq!(scene.restore(&into(&target)).await.errors, []);
    assert_same_tree(&scene.source(), &target, &CompareOptions::default());
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused() {
    let Some(scene) = Scene::new() else { return };
    fs::write(scene.source().join("a"), "a").unwrap();
    scene.back_up();
    let options = archive::restore::RestoreOptions {
        delete: true,
        dry_run: true,
        ..into("/")
    };
    assert!(matches!(
        scene.try_restore(&options).await,
        Err(RestoreError::DeleteInRoot)
    ));
    let options = archive::restore::RestoreOptions {
        verify: true,
        dry_run: true,
        ..into(scene.scratch.join("t"))
    };
    assert!(matches!(
        scene.try_restore(&options).await,
        Err(RestoreError::VerifyDryRun)
    ));
}
