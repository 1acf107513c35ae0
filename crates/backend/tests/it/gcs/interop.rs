//! restic beside us: the same objects at the same keys.

use std::fs;
use std::process::Output;

use backend::{Backend, FileKind};
use sha2::{Digest, Sha256};
use testkit::servers::{Server, offered};
use testkit::{Restic, ResticRepository, Scratch};

use super::{backend, fresh_bucket};

fn run(repository: &ResticRepository, server: &Server, arguments: &[&str]) -> Output {
    let output = repository
        .command(arguments)
        .env("STORAGE_EMULATOR_HOST", server.http())
        .env("GOOGLE_ACCESS_TOKEN", "anything")
        .env("GOOGLE_PROJECT_ID", "project")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "restic {arguments:?}: {words}");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restic_and_we_find_each_others_objects() {
    let (Some(server), Some(restic)) = (offered("fake-gcs"), Restic::find_or_skip()) else {
        return;
    };
    let bucket = fresh_bucket();
    let pairs = [
        ("STORAGE_EMULATOR_HOST", server.http()),
        ("GOOGLE_PROJECT_ID", "project"),
    ];
    let source = Scratch::new();
    fs::write(source.join("file"), "contents").unwrap();
    // Of another spelling for each of us where that means the same place.
    for (number, (theirs, ours)) in [
        ("/a//b/", "a/b"),
        ("", "/"),
        ("/../y", "y"),
        ("../z", "../z"),
    ]
    .into_iter()
    .enumerate()
    {
        let own = backend(&format!("{bucket}:{ours}"), &pairs);
        own.create().await.unwrap();
        let repository = restic.repository(format!("gs:{bucket}:{theirs}"), "password");
        run(&repository, &server, &["init"]);
        run(
            &repository,
            &server,
            &["backup", source.path().to_str().unwrap()],
        );
        let copy = format!("{bucket}:/copies/{number}");
        let other = backend(&copy, &pairs);
        for kind in FileKind::ALL {
            let infos = own.list(kind).await.unwrap();
            assert_eq!(infos.is_empty(), kind == FileKind::Lock, "{ours}: {kind}");
            for info in infos {
                let handle = backend::Handle::new(kind, info.name.clone());
                let data = own.read(&handle).await.unwrap();
                assert_eq!(data.len() as u64, info.size_bytes);
                if kind != FileKind::Config {
                    assert_eq!(hex::encode(Sha256::digest(&data)), info.name);
                }
                other.write(&handle, data).await.unwrap();
            }
        }
        let copied = restic.repository(format!("gs:{copy}"), "password");
        run(&copied, &server, &["check", "--read-data"]);
        let pruning = ["forget", "--keep-last", "1", "--prune"];
        run(&copied, &server, &pruning);
        let listed = other.list(FileKind::Snapshot).await.unwrap();
        assert_eq!(listed.len(), 1);
    }
}
