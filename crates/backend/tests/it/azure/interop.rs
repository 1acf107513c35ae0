//! restic beside us, by way of rclone, for no stock restic here speaks to Azure itself: the same objects at the same
//! keys.

use std::fs;
use std::process::Output;

use backend::{Backend, FileKind, Handle};
use sha2::{Digest, Sha256};
use testkit::servers::{Server, offered};
use testkit::{Restic, ResticRepository, Scratch};

use super::{at, fresh, key};

fn run(repository: &ResticRepository, program: &str, arguments: &[&str]) -> Output {
    let option = format!("rclone.program={program}");
    let own = ["-o", option.as_str()];
    let all = own.iter().chain(arguments);
    let output = repository.command(all).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "restic {arguments:?}: {words}");
    output
}

fn repository(restic: &Restic, server: &Server, place: &str) -> ResticRepository {
    let account = server.value("account");
    let endpoint = format!("{}/{account}", server.http());
    restic
        .repository(format!("rclone:az:{place}"), "password")
        .with_variables([
            ("RCLONE_CONFIG_AZ_TYPE", "azureblob"),
            ("RCLONE_CONFIG_AZ_ACCOUNT", account),
            ("RCLONE_CONFIG_AZ_KEY", server.value("key")),
            ("RCLONE_CONFIG_AZ_ENDPOINT", &endpoint),
        ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restic_and_we_find_each_others_objects() {
    let (Some(server), Some(rclone), Some(restic)) = (
        offered("azurite"),
        offered("rclone"),
        Restic::find_or_skip(),
    ) else {
        return;
    };
    let program = rclone.value("program");
    let source = Scratch::new();
    fs::write(source.join("file"), "contents").unwrap();
    let container = fresh();
    for (number, (theirs, ours)) in [("a/b", "/a//b/"), ("c d", "c d"), ("", "/")]
        .into_iter()
        .enumerate()
    {
        let own = at(
            &server,
            &format!("{container}{number}:{ours}"),
            server.http(),
            &key(&server),
        );
        own.create().await.unwrap();
        let made = repository(&restic, &server, &format!("{container}{number}/{theirs}"));
        run(&made, program, &["init"]);
        run(&made, program, &["backup", source.path().to_str().unwrap()]);

        let copy = format!("{container}{number}-copy");
        let other = at(
            &server,
            &format!("{copy}:{ours}"),
            server.http(),
            &key(&server),
        );
        other.create().await.unwrap();
        for kind in FileKind::ALL {
            let infos = own.list(kind).await.unwrap();
            assert_eq!(infos.is_empty(), kind == FileKind::Lock, "{ours}: {kind}");
            for info in infos {
                let handle = match kind {
                    FileKind::Config => Handle::config(),
                    kind => Handle::new(kind, info.name.clone()),
                };
                let data = own.read(&handle).await.unwrap();
                assert_eq!(data.len() as u64, info.size_bytes);
                if kind != FileKind::Config {
                    assert_eq!(hex::encode(Sha256::digest(&data)), info.name);
                }
                other.write(&handle, data).await.unwrap();
            }
        }
        let copied = repository(&restic, &server, &format!("{copy}/{theirs}"));
        run(&copied, program, &["check", "--read-data"]);
        run(&copied, program, &["forget", "--keep-last", "1", "--prune"]);
        assert_eq!(other.list(FileKind::Snapshot).await.unwrap().len(), 1);
    }
}
