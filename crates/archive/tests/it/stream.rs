//! Backups of standard input and of a command's output.

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use archive::save::{BackupError, NoProgress, backup};
use archive::source::BackupSource;
use repository::tree::Node;
use testkit::Random;
use tokio_util::sync::CancellationToken;

use crate::save::{in_memory, node_at, options, save_source, snapshots};
use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_becomes_a_file_as_by_restic() {
    let Some(scene) = Scene::new() else { return };
    let data = Random::new(7).bytes(21 << 20);
    let source = |filename: &str| BackupSource::Stdin {
        filename: filename.into(),
        reader: Box::new(Cursor::new(data.clone()).chain(Cursor::new(b"end".to_vec()))),
    };
    let summary = save_source(
        &scene.open().await,
        &options(&[]),
        source("folder/data.bin"),
    )
    .await
    .unwrap();
    assert_eq!(summary.total_bytes_processed, data.len() as u64 + 3);
    let snapshot = scene.snapshot("latest").await;
    assert_eq!(snapshot.paths, ["/folder/data.bin"]);
    let dumped = scene.restic.run(["dump", "latest", "/folder/data.bin"]);
    assert_eq!(dumped.stdout, [data.as_slice(), b"end"].concat());
    let input = [data.as_slice(), b"end"].concat();
    let arguments = [
        "backup",
        "--stdin",
        "--stdin-filename",
        "folder/data.bin",
        "--json",
    ];
    let output = scene.restic.run_with_input(arguments, &input);
    output.assert_success();
    let line = output
        .json_lines()
        .into_iter()
        .find(|line| line["message_type"] == "summary")
        .unwrap();
    assert_eq!(line["data_blobs"], 0, "restic cuts at the same places");
    let theirs = scene.snapshot("latest").await;
    let repository = scene.open().await;
    let path = Path::new("/folder/data.bin");
    let ours = node_at(&repository, &snapshot, path).await.unwrap();
    let theirs = node_at(&repository, &theirs, path).await.unwrap();
    let time = ours.mtime;
    let timeless = Node {
        mtime: time,
        atime: time,
        ctime: time,
        ..theirs
    };
    assert_eq!(ours, timeless);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_leaves_no_snapshot() {
    let (_, repository) = in_memory().await;
    let command = |script: &str| BackupSource::Command {
        filename: "stdin".into(),
        command: ["sh", "-c", script].map(Into::into).to_vec(),
    };
    for script in ["echo data; exit 3", "kill -9 $$", ":"] {
        let error = save_source(&repository, &options(&[]), command(script))
            .await
            .unwrap_err();
        assert!(matches!(error, BackupError::Stream { .. }), "{error:?}");
    }
    let missing = BackupSource::Command {
        filename: "x".into(),
        command: vec!["/no/such/program".into()],
    };
    let error = save_source(&repository, &options(&[]), missing)
        .await
        .unwrap_err();
    assert!(matches!(error, BackupError::Targets(_)), "{error:?}");
    assert!(snapshots(&repository).await.is_empty());
    let summary = save_source(&repository, &options(&[]), command("echo data"))
        .await
        .unwrap();
    assert_eq!(summary.total_bytes_processed, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_waits_for_its_command_can_be_cancelled() {
    let (_, repository) = in_memory().await;
    let source = BackupSource::Command {
        filename: "x".into(),
        command: vec!["sleep".into(), "1000".into()],
    };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let progress = Arc::new(NoProgress);
    let error = backup(&repository, &options(&[]), source, progress, cancel)
        .await
        .unwrap_err();
    assert!(matches!(error, BackupError::Cancelled), "{error:?}");
}
