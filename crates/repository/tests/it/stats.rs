//! Counts compared with those of the real restic.

use backend::LocalBackend;
use repository::snapshot::{Snapshot, load_all};
use repository::stats::{StatsMode, stats};
use serde_json::Value;
use testkit::{Restic, Scratch};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_counts_what_restic_counts() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    for version in ["1", "2"] {
        let scratch = Scratch::new();
        testkit::build_plain_tree(&scratch.folder("source"), 5, 60);
        let source = scratch.join("source");
        std::fs::write(source.join("twin"), b"the same bytes").unwrap();
        std::fs::write(source.join("twin too"), b"the same bytes").unwrap();
        std::fs::hard_link(source.join("twin"), source.join("linked")).unwrap();
        std::os::unix::fs::symlink("twin", source.join("symbolic")).unwrap();
        let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
        restic
            .run(["init", "--repository-version", version])
            .assert_success();
        let path = source.to_str().unwrap();
        restic.run(["backup", path]).assert_success();
        // Only an addition: restic reads snapshots in any order, and what it counts of a changed file depends on it.
        std::fs::write(source.join("added"), b"some other bytes").unwrap();
        restic.run(["backup", path]).assert_success();
        let repository = sample::open(LocalBackend::new(scratch.join("repository"))).await;
        let snapshots: Vec<Snapshot> = load_all(&repository)
            .await
            .unwrap()
            .into_iter()
            .map(|(_, snapshot)| snapshot)
            .collect();
        for mode in [
            "restore-size",
            "files-by-contents",
            "blobs-per-file",
            "raw-data",
        ] {
            let theirs = restic.run(["stats", "--json", "--mode", mode]);
            theirs.assert_success();
            let parsed: StatsMode = mode.parse().unwrap();
            assert_eq!(parsed.to_string(), mode);
            let ours = stats(&repository, &snapshots, parsed, &|_| {})
                .await
                .unwrap();
            let ours = serde_json::to_value(&ours).unwrap();
            let theirs = theirs.json();
            assert_same(&ours, &theirs, &format!("version {version}, {mode}"));
        }
    }
}

fn assert_same(ours: &Value, theirs: &Value, what: &str) {
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>(),
        "{what}"
    );
    for (name, value) in ours {
        let difference = value.as_f64().unwrap() - theirs[name].as_f64().unwrap();
        assert!(
            difference.abs() < 1e-9,
            "{what}: {name} is {value}, restic says {}",
            theirs[name]
        );
    }
}
