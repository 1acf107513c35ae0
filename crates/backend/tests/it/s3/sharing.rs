//! One bucket for restic and for us.

use backend::{Backend, FileKind, Handle};
use testkit::servers::offered;
use testkit::{Restic, Scratch};

use super::{backend, fresh, keys_of, plain};

/// Copies every object of one place to another.
async fn copy(from: &dyn Backend, to: &dyn Backend) {
    for kind in FileKind::ALL {
        for info in from.list(kind).await.unwrap() {
            let handle = match kind {
                FileKind::Config => Handle::config(),
                kind => Handle::new(kind, info.name),
            };
            let data = from.read(&handle).await.unwrap();
            assert_eq!(data.len() as u64, info.size_bytes);
            to.write(&handle, data).await.unwrap();
        }
    }
}

/// restic's repository is read by us, and what we write is a repository to restic, under prefixes of every form.
#[tokio::test]
async fn restic_and_we_find_each_others_objects() {
    let Some(server) = offered("minio") else {
        return;
    };
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    std::fs::write(scratch.join("file"), "content of a file").unwrap();
    for prefix in ["", "/", "/a//b/../c/", "/x%20y+z/ä"] {
        let bucket = format!("{}/{}", server.http(), fresh());
        let theirs = restic.repository(format!("s3:{bucket}{prefix}"), "password");
        let run = |repository: &testkit::ResticRepository, arguments: &[&str]| {
            let output = repository
                .command(arguments)
                .env("AWS_ACCESS_KEY_ID", server.value("access_key_id"))
                .env("AWS_SECRET_ACCESS_KEY", server.value("secret_access_key"))
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{prefix} {arguments:?}: {text}");
        };
        run(&theirs, &["init"]);
        run(&theirs, &["backup", scratch.path().to_str().unwrap()]);
        let keys = keys_of(&server);
        let from = backend(&format!("{bucket}{prefix}"), &keys, &plain());
        for kind in [
            FileKind::Config,
            FileKind::Key,
            FileKind::Snapshot,
            FileKind::Index,
            FileKind::Pack,
        ] {
            assert!(
                !from.list(kind).await.unwrap().is_empty(),
                "{prefix} {kind}"
            );
        }
        let copied = format!("{}/{}{prefix}", server.http(), fresh());
        let to = backend(&copied, &keys, &plain());
        to.create().await.unwrap();
        copy(&from, &to).await;
        let ours = restic.repository(format!("s3:{copied}"), "password");
        run(&ours, &["snapshots"]);
        run(&ours, &["check", "--read-data"]);
    }
}
