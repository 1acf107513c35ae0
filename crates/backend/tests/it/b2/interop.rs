//! Stock restic on the same bucket. It knows no address but Backblaze's, so it runs where that name is a loopback
//! address with a relay to the server.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};

use backend::{Backend, FileKind, Handle, LocalBackend};
use sha2::{Digest, Sha256};
use testkit::{Restic, ResticRepository, Scratch};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::server::{Place, place_or_skip};

const NAME: &str = "api.backblazeb2.com";

/// Forwards port 443 of a loopback address to the server. Ends when dropped.
struct Relay {
    address: Ipv4Addr,
    _task: JoinSet<()>,
}

impl Relay {
    /// Nothing when such ports are not for this user.
    async fn start(place: &Place) -> Option<Self> {
        let port = place
            .server
            .https()
            .rsplit_once(':')
            .unwrap()
            .1
            .parse::<u16>()
            .unwrap();
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // An address of the test's own: others may listen on 127.0.0.1:443.
        let digest = Sha256::digest(&place.bucket);
        let address = Ipv4Addr::new(127, 64 | digest[0] >> 2, digest[1], digest[2] | 1);
        let listener = TcpListener::bind((address, 443)).await.ok()?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut inner, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut outer) = TcpStream::connect(upstream).await {
                        let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
                    }
                });
            }
        });
        Some(Self {
            address,
            _task: task,
        })
    }
}

/// restic with the bucket of a place.
struct Stock {
    place: Place,
    repository: ResticRepository,
    relay: Relay,
    scratch: Scratch,
}

impl Stock {
    async fn or_skip() -> Option<Self> {
        let place = place_or_skip().await?;
        let restic = Restic::find_or_skip()?;
        let can_unshare = Command::new("unshare").args(["-m", "true"]).status();
        if !can_unshare.is_ok_and(|status| status.success()) {
            testkit::skip("restic on B2: a mount namespace needs root and `unshare`");
            return None;
        }
        let Some(relay) = Relay::start(&place).await else {
            testkit::skip("restic on B2: port 443 of a loopback address needs root");
            return None;
        };
        let scratch = Scratch::new();
        fs::write(
            scratch.join("hosts"),
            format!("127.0.0.1 localhost\n{} {NAME}\n", relay.address),
        )
        .unwrap();
        let location = format!("b2:{}:/r/", place.bucket);
        Some(Self {
            repository: restic.repository(location, "stock"),
            place,
            relay,
            scratch,
        })
    }

    /// Runs restic where the name leads to the relay.
    async fn run(&self, arguments: &[&str]) -> Output {
        assert!(self.relay.address.is_loopback());
        let ca = self.place.server.ca().to_str().unwrap();
        let inner = self
            .repository
            .command(["--cacert", ca].iter().chain(arguments));
        let mut command = Command::new("timeout");
        command
            .args(["120", "unshare", "-m", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"")
            .arg(self.scratch.join("hosts"))
            .arg(inner.get_program())
            .args(inner.get_args())
            .env_clear()
            .envs(
                inner
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("B2_ACCOUNT_ID", &self.place.key_id)
            .env("B2_ACCOUNT_KEY", &self.place.key);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = output.await.unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn files(&self, number: u8) -> String {
        let folder = self.scratch.join(format!("files-{number}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..20_u8 {
            let content =
                testkit::Random::new(u64::from(number) * 100 + u64::from(file)).bytes(40_000);
            fs::write(folder.join(file.to_string()), content).unwrap();
        }
        folder.to_str().unwrap().to_owned()
    }

    async fn assert_clean(&self) {
        let output = self.run(&["check", "--read-data"]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("no errors were found"), "{text}");
    }
}

async fn names(backend: &impl Backend, kind: FileKind) -> BTreeSet<String> {
    let listed = backend.list(kind).await.unwrap();
    listed.into_iter().map(|info| info.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_restic_wrote_is_found_at_the_same_keys_and_can_be_removed_whole() {
    let Some(stock) = Stock::or_skip().await else {
        return;
    };
    // restic makes the bucket itself.
    stock.run(&["init"]).await;
    let files = stock.files(1);
    stock.run(&["backup", &files]).await;
    let backend = stock.place.backend();
    assert!(backend.stat(&Handle::config()).await.unwrap().size_bytes > 0);
    let mut all = vec![Handle::config()];
    for kind in [
        FileKind::Pack,
        FileKind::Index,
        FileKind::Snapshot,
        FileKind::Key,
    ] {
        let word = match kind {
            FileKind::Pack => "packs",
            FileKind::Index => "index",
            FileKind::Snapshot => "snapshots",
            _ => "keys",
        };
        let output = stock.run(&["list", word]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let theirs: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        let ours = names(&backend, kind).await;
        assert_eq!(ours, theirs, "{kind}");
        assert!(!ours.is_empty(), "{kind}");
        for name in ours {
            let handle = Handle::new(kind, name.clone());
            let content = backend.read(&handle).await.unwrap();
            assert_eq!(hex::encode(Sha256::digest(&content)), name);
            all.push(handle);
        }
    }
    let failed = backend.remove_many(&all).await;
    assert!(failed.is_empty(), "{failed:?}");
    let left = stock.place.versions("").await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_checks_and_prunes_what_we_wrote() {
    let Some(stock) = Stock::or_skip().await else {
        return;
    };
    let restic = Restic::find().unwrap();
    let local = restic.repository(stock.scratch.join("local"), "stock");
    local.init();
    for number in 1..=3 {
        let files = stock.files(number);
        local.run(["backup", files.as_str()]).assert_success();
    }
    let source = LocalBackend::new(stock.scratch.join("local"));
    let backend = stock.place.backend();
    backend.create().await.unwrap();
    for kind in FileKind::ALL {
        for name in names(&source, kind).await {
            let handle = Handle::new(kind, name);
            backend
                .write(&handle, source.read(&handle).await.unwrap())
                .await
                .unwrap();
        }
    }
    stock.assert_clean().await;
    let before = names(&backend, FileKind::Pack).await;
    stock
        .run(&["forget", "--group-by", "", "--keep-last", "1", "--prune"])
        .await;
    stock.assert_clean().await;
    let after = names(&backend, FileKind::Pack).await;
    assert!(after.len() < before.len(), "{before:?} {after:?}");
    assert_eq!(names(&backend, FileKind::Snapshot).await.len(), 1);
}
