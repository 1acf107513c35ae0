//! Dumping files and folders, compared with what restic dumps.

use std::fs;
use std::path::Path;

use archive::dump::{ArchiveFormat, DumpError, DumpSummary, DumpTarget, dump, find_target};
use testkit::{CompareOptions, assert_same_tree, build_everything_tree};
use tokio_util::sync::CancellationToken;

use crate::scene::{Scene, run};

async fn dumped(scene: &Scene, path: &[u8], format: ArchiveFormat) -> (Vec<u8>, DumpSummary) {
    let repository = scene.open().await;
    let snapshot = scene.snapshot("latest").await;
    let target = find_target(&repository, &snapshot.tree, path)
        .await
        .unwrap();
    let mut output = Vec::new();
    let summary = dump(
        &repository,
        &target,
        format,
        &mut output,
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    (output, summary)
}

fn dumped_by_restic(scene: &Scene, path: &str, format: &str) -> Vec<u8> {
    scene
        .restic
        .run(["dump", "--archive", format, "latest", path])
        .assert_success()
        .stdout
        .clone()
}

fn unpack(archive: &[u8], folder: &Path) {
    fs::write(folder.with_extension("tar"), archive).unwrap();
    fs::create_dir_all(folder).unwrap();
    let file = folder.with_extension("tar");
    let arguments = [
        "--xattrs",
        "--xattrs-include=*",
        "--acls",
        "-p",
        "-xf",
        file.to_str().unwrap(),
    ];
    run("tar", &arguments, folder);
}

#[tokio::test]
async fn a_file_is_dumped_byte_for_byte() {
    let Some(scene) = Scene::new() else { return };
    let content: Vec<u8> = (0..9_000_000_u32)
        .flat_map(|number| (number / 7).to_le_bytes())
        .take(9_000_000)
        .collect();
    fs::create_dir(scene.source().join("sub")).unwrap();
    fs::write(scene.source().join("sub/big"), &content).unwrap();
    fs::write(scene.source().join("empty"), "").unwrap();
    scene.back_up();
    for path in [
        &b"/sub/big"[..],
        b"sub/big",
        b"//sub/./big",
        b"/sub/../sub/big",
    ] {
        let (output, summary) = dumped(&scene, path, ArchiveFormat::Tar).await;
        assert!(output == content, "{}", output.len());
        assert_eq!((summary.entries, summary.bytes), (1, 9_000_000));
    }
    assert_eq!(dumped(&scene, b"/empty", ArchiveFormat::Tar).await.0, b"");
}

#[tokio::test]
async fn a_tar_unpacks_to_what_restics_tar_unpacks_to() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    build_everything_tree(&source, 11);
    let long = "long-name-".repeat(12);
    fs::create_dir_all(source.join(&long).join(&long)).unwrap();
    fs::write(source.join(&long).join(&long).join("file"), "deep").unwrap();
    scene.back_up();
    let (ours, theirs) = (scene.scratch.join("ours"), scene.scratch.join("theirs"));
    unpack(&dumped(&scene, b"/", ArchiveFormat::Tar).await.0, &ours);
    unpack(&dumped_by_restic(&scene, "/", "tar"), &theirs);
    // restic rounds the times in its archives to seconds; neither makes hard links, devices or FIFOs.
    let rounded = CompareOptions {
        mtimes: false,
        symlink_mtimes: false,
        ..CompareOptions::default()
    };
    assert_same_tree(&theirs, &ours, &rounded);
}

#[tokio::test]
async fn a_tar_keeps_times_to_the_nanosecond_and_the_paths_of_the_snapshot() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), "content").unwrap();
    fs::write(source.join("other"), "other").unwrap();
    scene.back_up();
    let target = scene.scratch.join("target");
    let (archive, summary) = dumped(&scene, b"/a", ArchiveFormat::Tar).await;
    unpack(&archive, &target);
    assert_eq!(
        (summary.entries, summary.bytes, summary.left_out),
        (2, 7, 0)
    );
    assert!(!target.join("other").exists());
    assert_same_tree(
        &source.join("a/b"),
        &target.join("a/b"),
        &CompareOptions::default(),
    );
    let names = |archive: &[u8]| {
        let mut names: Vec<_> = tar::Archive::new(archive)
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path_bytes().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(&archive),
        names(&dumped_by_restic(&scene, "/a", "tar"))
    );
}

#[tokio::test]
async fn a_zip_holds_what_restics_zip_holds() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    testkit::build_plain_tree(&source, 3, 40);
    fs::create_dir(source.join("empty")).unwrap();
    std::os::unix::fs::symlink("somewhere", source.join("link")).unwrap();
    run("mkfifo", &["fifo"], &source);
    scene.back_up();
    let content = |archive: Vec<u8>| {
        use std::io::Read;
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
        let mut entries = Vec::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            let mode = entry.unix_mode().map(|mode| mode & 0o777);
            entries.push((
                String::from_utf8_lossy(entry.name_raw()).into_owned(),
                entry.is_dir(),
                mode,
                data,
            ));
        }
        entries.sort();
        entries
    };
    let (archive, summary) = dumped(&scene, b"/", ArchiveFormat::Zip).await;
    let (ours, theirs) = (
        content(archive),
        content(dumped_by_restic(&scene, "/", "zip")),
    );
    assert_eq!(ours.len() as u64, summary.entries);
    assert!(
        ours == theirs,
        "{:?}\n{:?}",
        ours.iter()
            .map(|entry| (&entry.0, entry.2))
            .collect::<Vec<_>>(),
        theirs
            .iter()
            .map(|entry| (&entry.0, entry.2))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn what_cannot_be_dumped_is_named() {
    let Some(scene) = Scene::new() else { return };
    fs::write(scene.source().join("file"), "x").unwrap();
    std::os::unix::fs::symlink("file", scene.source().join("link")).unwrap();
    scene.back_up();
    let (repository, snapshot) = (scene.open().await, scene.snapshot("latest").await);
    let find = async |path: &[u8]| find_target(&repository, &snapshot.tree, path).await;
    assert!(matches!(find(b"/none").await, Err(DumpError::Path { .. })));
    assert!(matches!(
        find(b"/file/in").await,
        Err(DumpError::Path { .. })
    ));
    let error = find(b"/link").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot dump file: `/link` should be a file, but is a symlink"
    );
    assert!(matches!(find(b"/").await, Ok(DumpTarget::Folder { .. })));
}

#[tokio::test]
async fn a_closed_output_and_a_cancelled_dump_end_it() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let Some(scene) = Scene::new() else { return };
    fs::write(scene.source().join("file"), "x").unwrap();
    scene.back_up();
    let (repository, snapshot) = (scene.open().await, scene.snapshot("latest").await);
    let target = find_target(&repository, &snapshot.tree, b"/")
        .await
        .unwrap();
    let cancel = CancellationToken::new();
    for format in [ArchiveFormat::Tar, ArchiveFormat::Zip] {
        let ended = dump(&repository, &target, format, &mut Closed, &cancel).await;
        assert!(matches!(ended, Err(DumpError::Output { .. })), "{ended:?}");
    }
    cancel.cancel();
    let ended = dump(
        &repository,
        &target,
        ArchiveFormat::Tar,
        &mut Vec::new(),
        &cancel,
    )
    .await;
    assert!(matches!(ended, Err(DumpError::Cancelled)));
}
