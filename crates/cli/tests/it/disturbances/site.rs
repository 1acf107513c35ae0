//! A claim with files that is backed up in two ways: by a Job, and by the sidecar of the Deployment that uses it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cluster::{wait_for, wait_until};
use testkit::{CompareOptions, ResticRepository, Scratch, assert_same_tree};

use super::agents::Agent;
use crate::cluster::agent_stage::zeros;
use crate::controllers::stage::{PATIENCE, Stage, condition};
use crate::sessions::scene::{PASSWORD, Scene};
use crate::support::ids;

/// The name of the operator: one that starts again in its Pod leads at once.
pub const OPERATOR: [&str; 4] = ["--identity", "stash-0", "--webhook-port", "0"];
/// More than anybody reads while a test runs.
const MANY_BYTES: u64 = 1 << 40;
const FEW_BYTES: u64 = 1 << 20;

/// How files are backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By a Job on the claim.
    Job,
    /// By the sidecar of the Deployment.
    Sidecar,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Job, Self::Sidecar];

    /// The configuration's name.
    pub const fn invoker(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Sidecar => "sidecar",
        }
    }

    /// Where the files are in a snapshot.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Job => "/stash-data",
            Self::Sidecar => "/data",
        }
    }
}

pub struct Site {
    pub scene: Scene,
    pub files: PathBuf,
    store: PathBuf,
}

impl Site {
    /// `None` where there is no cluster of ours, or no restic. `keep` snapshots are kept of each way.
    pub fn new(title: &str, ways: &[Way], keep: u32) -> Option<Self> {
        let scene = Scene::on(Stage::alone(title, &OPERATOR)?)?;
        let site = Self {
            files: scene.volume("files"),
            store: scene.volume("store"),
            scene,
        };
        fs::write(site.files.join("letter"), "dear reader").unwrap();
        if ways.contains(&Way::Sidecar) {
            site.scene.deploy();
        }
        for way in ways {
            let mut changes = json!({
                "retentionPolicy": { "name": "keep", "keepLast": keep, "prune": true },
                "backupHistoryLimit": 100,
            });
            if *way == Way::Sidecar {
                changes["target"] = json!({
                    "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    "paths": ["/data"],
                });
            }
            site.scene.configure_as(way.invoker(), &changes);
        }
        Some(site)
    }

    /// Begins a session.
    pub fn start(&self, way: Way, name: &str) {
        let invoker = json!({ "kind": "BackupConfiguration", "name": way.invoker() });
        self.scene
            .start(name, &json!({ "invoker": invoker, "retryLeft": 0 }));
    }

    /// Waits until a session succeeds.
    pub fn succeeded(&self, name: &str) -> Value {
        let session = self.scene.end(name);
        assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
        session
    }

    /// Waits until a session has failed because nobody worked on it any more.
    pub fn disrupted(&self, name: &str) {
        let session = self.scene.end(name);
        assert_eq!(session["status"]["phase"], "Failed", "{session:#}");
        let target = json!({ "status": session["status"]["targets"][0] });
        let disrupted = condition(&target, "BackupDisrupted");
        assert_eq!(disrupted["status"], "True", "{session:#}");
    }

    /// Begins a session that lasts until [`Site::let_end`], and waits until it reads the files. The Pod that does.
    pub fn start_long(&self, way: Way, name: &str) -> String {
        zeros(&self.files, MANY_BYTES);
        self.start(way, name);
        self.reading(name)
    }

    /// Waits until a Pod reads the files for a session; its name.
    pub fn reading(&self, name: &str) -> String {
        wait_for(&format!("progress of {name}"), PATIENCE, || {
            let entry = self.progress(name);
            (entry["bytesDone"].as_i64()? > 0).then(|| entry["pod"].as_str().unwrap().to_owned())
        })
    }

    /// What a session says of the host that is worked on.
    pub fn progress(&self, name: &str) -> Value {
        self.scene.session(name)["status"]["targets"][0]["progress"][0].clone()
    }

    /// Leaves so little to read that sessions end soon.
    pub fn let_end(&self) {
        zeros(&self.files, FEW_BYTES);
    }

    /// The agent in the Pod whose name begins so.
    pub fn agent(&self, pod: &str) -> Agent {
        Agent::of(self.scene.stage.name(), pod)
    }

    /// The Pod of the Deployment that has the sidecar; one without may still be there.
    pub fn web(&self) -> String {
        wait_for("a Pod of the Deployment", PATIENCE, || {
            let list = ["get", "pods", "--selector=app=web", "--output", "json"];
            let pods: Value = serde_json::from_str(&self.scene.stage.kubectl(&list)).unwrap();
            let pods = pods["items"].as_array().unwrap();
            let live = pods.iter().find(|pod| {
                let mut containers = pod["spec"]["containers"].as_array().unwrap().iter();
                pod["metadata"]["deletionTimestamp"].is_null()
                    && containers.any(|it| it["name"] == "stash")
            })?;
            Some(live["metadata"]["name"].as_str().unwrap().to_owned())
        })
    }

    /// Names of the repository's locks.
    pub fn locks(&self) -> BTreeSet<String> {
        let folder = fs::read_dir(self.store.join("locks"));
        let names = folder.into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        // Others are not complete yet.
        names.filter(|name| name.len() == 64).collect()
    }

    /// Stock restic on the repository.
    pub fn restic(&self) -> ResticRepository {
        self.scene.restic.repository(&self.store, PASSWORD)
    }

    /// Ids of all snapshots, as restic sees them; needs no API server.
    pub fn snapshots(&self) -> BTreeSet<String> {
        let output = self.restic().run(["snapshots", "--no-lock", "--json"]);
        output.assert_success();
        ids(&output.json()).into_iter().collect()
    }

    /// The one snapshot that a session made, as its status says.
    pub fn snapshot_of(session: &Value) -> String {
        let hosts = session["status"]["targets"][0]["stats"].as_array().unwrap();
        assert_eq!(hosts.len(), 1, "{session:#}");
        let snapshots = hosts[0]["snapshots"].as_array().unwrap();
        assert_eq!(snapshots.len(), 1, "{session:#}");
        snapshots[0]["name"].as_str().unwrap().to_owned()
    }

    /// Fails the test unless nobody holds a lock, restic finds nothing wrong, and the newest snapshot of each way is
    /// what the files are now.
    pub fn assert_whole(&self, ways: &[Way]) {
        // An agent may still be giving its last one back.
        wait_until("nobody holds a lock", Duration::from_secs(5), || {
            self.locks().is_empty()
        });
        let restic = self.restic();
        restic.assert_check_is_clean();
        for way in ways {
            let scratch = Scratch::new();
            let target = scratch.path().to_str().unwrap();
            let restore = [
                "restore",
                "latest",
                "--path",
                way.path(),
                "--target",
                target,
            ];
            restic.run(restore).assert_success();
            let restored = scratch.join(way.path().trim_start_matches('/'));
            assert_same_tree(&self.files, &restored, &CompareOptions::default());
        }
    }
}
