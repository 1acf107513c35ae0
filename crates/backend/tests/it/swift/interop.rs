//! Stock restic in the same containers: it finds what we find, at the same names.

use std::collections::BTreeSet;
use std::fs;

use backend::{Backend, FileKind, Handle};
use sha2::{Digest, Sha256};
use testkit::servers::offered;
use testkit::{Restic, Scratch};

use super::server::{Account, Place, version_1, version_3};

/// restic makes a repository and backs up; we list and read all of it; restic finds our copy whole elsewhere.
async fn assert_shared(restic: &Restic, place: &Place) {
    let variables: Vec<(&str, &str)> = place
        .settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let at = |prefix: &str| {
        let location = format!("swift:{}:/{prefix}", place.container);
        restic
            .repository(location, "password")
            .with_variables(variables.iter().copied())
    };
    let source = Scratch::new();
    fs::write(source.join("file"), vec![7; 300_000]).unwrap();
    let theirs = at("theirs");
    theirs.init();
    let path = source.path().to_str().unwrap();
    theirs.run(["backup", path]).assert_success();

    let (from, to) = (place.at("theirs"), place.at("/ours"));
    for kind in FileKind::ALL {
        for info in from.list(kind).await.unwrap() {
            let handle = match kind {
                FileKind::Config => Handle::config(),
                kind => Handle::new(kind, info.name.clone()),
            };
            let data = from.read(&handle).await.unwrap();
            assert_eq!(data.len() as u64, info.size_bytes, "{handle}");
            if kind != FileKind::Config {
                assert_eq!(hex::encode(Sha256::digest(&data)), info.name, "{handle}");
            }
            to.write(&handle, data).await.unwrap();
        }
    }
    assert_eq!(to.list(FileKind::Snapshot).await.unwrap().len(), 1);
    let ours = at("/ours");
    ours.assert_check_is_clean();
    ours.run(["backup", path]).assert_success();
    ours.run(["forget", "--keep-last", "1", "--prune", "--group-by", ""])
        .assert_success();
    assert_eq!(to.list(FileKind::Snapshot).await.unwrap().len(), 1);
}

#[tokio::test]
async fn restic_and_we_share_repositories_by_version_1() {
    let (Some(restic), Some(server)) = (Restic::find_or_skip(), offered("swift")) else {
        return;
    };
    assert_shared(&restic, &Place::new(version_1(&server, "user"))).await;
}

#[tokio::test]
async fn restic_and_we_share_repositories_by_version_3() {
    let (Some(restic), Some(keystone), Some(_)) = (
        Restic::find_or_skip(),
        offered("keystone"),
        offered("swift-keystone"),
    ) else {
        return;
    };
    assert_shared(&restic, &Place::new(version_3(&keystone, ""))).await;
}

#[tokio::test]
async fn a_prefix_means_the_same_to_restic_and_to_us() {
    let (Some(restic), Some(server)) = (Restic::find_or_skip(), offered("swift")) else {
        return;
    };
    for prefix in ["", "x", "/x", "x/", "/", "a//b", "/../y", "ü b"] {
        let place = Place::new(version_1(&server, "user"));
        let variables = place.settings.iter();
        let repository = restic
            .repository(format!("swift:{}:/{prefix}", place.container), "password")
            .with_variables(variables.map(|(name, value)| (*name, value.as_str())));
        repository.init();
        let backend = place.at(prefix);
        let account = Account::enter(&place.settings).await;
        let before = account.names(&place.container).await;
        for kind in [FileKind::Config, FileKind::Key] {
            let listed = backend.list(kind).await.unwrap();
            assert_eq!(listed.len(), 1, "{prefix:?} {before:?}");
        }
        // What we remove and write again lies where it lay.
        let config = backend.read(&Handle::config()).await.unwrap();
        backend.remove(&Handle::config()).await.unwrap();
        backend.write(&Handle::config(), config).await.unwrap();
        let after: BTreeSet<String> = account.names(&place.container).await.into_iter().collect();
        assert_eq!(after, before.into_iter().collect(), "{prefix:?}");
    }
}
