//! A namespace with an operator, a claim with files, and a claim with the repository.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::Restic;
use testkit::cluster::{Files, wait_for, wait_until};

use crate::controllers::stage::{PATIENCE, Stage};

/// The password of the repository.
pub const PASSWORD: &str = "x";

/// What a test works with: a claim with files, a claim with the repository.
pub struct Scene {
    pub stage: Stage,
    pub restic: Restic,
}

impl Scene {
    /// `None` where there is no cluster of ours, or no restic.
    pub fn new(title: &str) -> Option<Self> {
        Self::on(Stage::new(title, &[])?)
    }

    /// The same on a stage that exists.
    pub fn on(stage: Stage) -> Option<Self> {
        if !stage.cluster().is_own() {
            testkit::skip("sessions: the folders of claims are looked at while they are used");
            return None;
        }
        Self::anywhere(stage)
    }

    /// On any cluster: claims are looked at by [`Scene::files`] only.
    pub fn anywhere(stage: Stage) -> Option<Self> {
        let restic = Restic::find_or_skip()?;
        let scene = Self { stage, restic };
        scene.stage.secret();
        for name in ["files", "store"] {
            scene.stage.apply(&claim(name));
        }
        scene.stage.apply(&json!({
            "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
            "metadata": { "name": "repo" },
            "spec": { "backend": {
                "storageSecretName": "keys",
                "local": { "mountPath": "/safe", "persistentVolumeClaim": { "claimName": "store" } },
            } },
        }));
        Some(scene)
    }

    /// The files of a claim, on any cluster, while nobody else works with them.
    pub fn files(&self, claim: &str) -> Files<'_> {
        self.stage.namespace().files(claim)
    }

    /// Writes a file to be backed up.
    pub fn write(&self, name: &str, text: &str) {
        let files = self.files("files");
        files.edit(|folder| fs::write(folder.join(name), text).unwrap());
    }

    /// Reads a file of a claim.
    pub fn read(&self, claim: &str, name: &str) -> String {
        let files = self.files(claim);
        files.look(|folder| fs::read_to_string(folder.join(name)).unwrap())
    }

    /// Where the files of a claim lie on this machine, once it is bound; of a cluster of ours.
    pub fn volume(&self, name: &str) -> PathBuf {
        wait_until("the claim is bound", PATIENCE, || {
            self.stage.get(&format!("pvc/{name}"))["status"]["phase"] == "Bound"
        });
        self.stage.cluster().volume(self.stage.name(), name)
    }

    /// A configuration by hand; `changes` replace fields of its specification.
    pub fn configure(&self, changes: &Value) {
        self.configure_as("home", changes);
    }

    /// The same with another name.
    pub fn configure_as(&self, name: &str, changes: &Value) {
        let mut object = json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
            "metadata": { "name": name },
            "spec": {
                "repository": { "name": "repo" },
                "target": { "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" } },
                // The volumes of this cluster belong to root.
                "runtimeSettings": { "container": { "securityContext": { "runAsUser": 0 } } },
                "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
                "backupHistoryLimit": 2,
            },
        });
        for (field, value) in changes.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.stage.apply(&object);
        wait_until("the configuration is ready", PATIENCE, || {
            self.stage.get(&format!("bc/{name}"))["status"]["phase"] == "Ready"
        });
    }

    /// A Deployment that has the files.
    pub fn deploy(&self) {
        self.apply_deployment(&json!({}));
        self.stage
            .namespace()
            .wait_for_rollout("deployments.apps/web", PATIENCE);
    }

    /// The same without waiting for its Pod, which goes to such nodes only.
    pub fn apply_deployment(&self, nodes: &Value) {
        self.stage.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": {
                "selector": { "matchLabels": { "app": "web" } },
                "strategy": { "type": "Recreate" },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": {
                        "nodeSelector": nodes,
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "web", "image": self.stage.cluster().busybox(),
                            "command": ["sleep", "1000000"],
                            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                        }],
                        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "files" } }],
                    },
                },
            },
        }));
    }

    /// A session by hand; `changes` replace fields of its specification.
    pub fn start(&self, name: &str, changes: &Value) {
        let mut object = json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession",
            "metadata": { "name": name },
            "spec": { "invoker": { "kind": "BackupConfiguration", "name": "home" } },
        });
        for (field, value) in changes.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.stage.apply(&object);
    }

    /// A session as it is now.
    pub fn session(&self, name: &str) -> Value {
        self.stage.get(&format!("backupsession/{name}"))
    }

    /// The session when it is over.
    pub fn end(&self, name: &str) -> Value {
        wait_for(&format!("the end of {name}"), PATIENCE, || {
            let session = self.session(name);
            let phase = session["status"]["phase"].as_str().unwrap_or_default();
            ["Succeeded", "Failed", "Skipped"]
                .contains(&phase)
                .then_some(session)
        })
    }

    /// A session that has succeeded.
    pub fn back_up(&self, name: &str) -> Value {
        self.start(name, &json!({}));
        let session = self.end(name);
        assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
        session
    }

    /// Begins a restore from the Repository, unless `spec` names another.
    pub fn start_restore(&self, name: &str, spec: &Value) {
        let mut object = json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
            "metadata": { "name": name },
            "spec": { "repository": { "name": "repo" } },
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.stage.apply(&object);
    }

    /// The restore when it is over.
    pub fn restored(&self, name: &str) -> Value {
        wait_for(&format!("the end of {name}"), PATIENCE, || {
            let restore = self.stage.get(&format!("restoresession/{name}"));
            let phase = restore["status"]["phase"].as_str().unwrap_or_default();
            ["Succeeded", "Failed", "Invalid"]
                .contains(&phase)
                .then_some(restore)
        })
    }

    /// Waits until a restore has succeeded.
    pub fn brought_back(&self, name: &str) -> Value {
        let restore = self.restored(name);
        assert_eq!(restore["status"]["phase"], "Succeeded", "{restore:#}");
        restore
    }

    /// A restore that has succeeded.
    pub fn bring_back(&self, name: &str, spec: &Value) {
        self.start_restore(name, spec);
        self.brought_back(name);
    }

    /// Reasons of the events about an object, sorted.
    pub fn events(&self, kind: &str, name: &str) -> Vec<String> {
        let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let text = self.stage.kubectl(&[
            "get",
            "events",
            "--field-selector",
            &selector,
            "--output",
            "jsonpath={range .items[*]}{.reason} {end}",
        ]);
        let mut reasons: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        reasons.sort();
        reasons
    }

    /// What stock restic finds in the repository.
    pub fn snapshots(&self) -> Value {
        self.files("store").look(|folder| {
            let repository = self.restic.repository(folder, PASSWORD);
            let output = repository.run(["snapshots", "--no-lock", "--json"]);
            output.assert_success();
            output.json()
        })
    }
}

/// A claim of the default StorageClass.
pub fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "10Mi" } },
        },
    })
}
