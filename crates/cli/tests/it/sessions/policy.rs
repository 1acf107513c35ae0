//! A usage policy by labels: what a label of a namespace allows goes with it, and comes back with it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::cluster::{Namespace, wait_for, wait_until};

use super::scene::{PASSWORD, Scene, claim};
use super::workloads::folder_of_node;
use crate::controllers::stage::{PATIENCE, condition};

const HOLD: &str = "touch /data/begun; while [ -e /data/hold ]; do sleep 0.2; done";
const LETTER: &[u8] = b"dear reader\0\xff";

/// A namespace that uses the Repository of another.
struct User<'a> {
    namespace: Namespace,
    scene: &'a Scene,
}

impl User<'_> {
    fn apply(&self, object: &Value) {
        self.namespace.apply(&object.to_string());
    }

    fn label(&self, label: &str) {
        let name = self.namespace.name();
        self.namespace
            .kubectl(&["label", "namespace", name, label, "--overwrite"]);
    }

    fn says(&self, status: &str) -> Value {
        wait_for(&format!("ValidationPassed={status}"), PATIENCE, || {
            let configuration = self.namespace.get("bc/home").unwrap();
            Some(condition(&configuration, "ValidationPassed")).filter(|it| it["status"] == status)
        })
    }

    fn start(&self, name: &str) {
        self.apply(&json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession",
            "metadata": { "name": name },
            "spec": { "invoker": { "kind": "BackupConfiguration", "name": "home" } },
        }));
    }

    fn ends(&self, name: &str, phase: &str) -> Value {
        let session = wait_for(&format!("the end of {name}"), PATIENCE, || {
            let session = self.session(name);
            let phase = session["status"]["phase"].as_str().unwrap_or_default();
            ["Succeeded", "Failed", "Skipped"]
                .contains(&phase)
                .then_some(session)
        });
        assert_eq!(session["status"]["phase"], phase, "{session:#}");
        session
    }

    fn session(&self, name: &str) -> Value {
        self.namespace
            .get(&format!("backupsession/{name}"))
            .unwrap()
    }

    /// What its agents are granted in the namespace of the Repository.
    fn rights(&self) -> Vec<String> {
        let text = self.scene.stage.kubectl(&[
            "get",
            "roles,rolebindings",
            "--selector=app.kubernetes.io/component=stash-foreign-access",
            "--output=name",
        ]);
        text.lines().map(str::to_owned).collect()
    }

    fn files<T>(&self, edit: impl FnOnce(&Path) -> T) -> T {
        self.namespace.files("files").edit(edit)
    }

    /// A Deployment with a file, backed up by its sidecar, which holds on while there is a file `hold`.
    fn set_up(&self) {
        self.apply(&claim("files"));
        self.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": {
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "web", "image": self.scene.stage.cluster().busybox(),
                            "command": ["sleep", "1000000"],
                            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                        }],
                        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "files" } }],
                    },
                },
            },
        }));
        self.namespace
            .wait_for_rollout("deployments.apps/web", PATIENCE);
        self.files(|folder| fs::write(folder.join("letter"), LETTER).unwrap());
        self.apply(&json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
            "metadata": { "name": "home" },
            "spec": {
                "repository": { "name": "shared", "namespace": self.scene.stage.name() },
                "target": {
                    "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    "paths": ["/data"],
                },
                "hooks": { "preBackup": { "containerName": "web", "exec": {
                    "command": ["sh", "-c", HOLD],
                } } },
                // The folder of the node belongs to root.
                "runtimeSettings": { "container": { "securityContext": { "runAsUser": 0 } } },
                "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
            },
        }));
    }
}

#[test]
fn a_label_allows_backups_into_a_foreign_repository_and_takes_that_back() {
    let Some(scene) = Scene::new("policy") else {
        return;
    };
    let (safe, safe_of_node) = folder_of_node(&scene, "safe");
    let user = User {
        namespace: scene.stage.cluster().create_namespace("tenant"),
        scene: &scene,
    };
    scene.stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
        "metadata": { "name": "shared" },
        "spec": {
            "backend": { "storageSecretName": "keys", "local": {
                "mountPath": "/safe", "hostPath": { "path": safe_of_node, "type": "Directory" },
            } },
            "usagePolicy": { "allowedNamespaces": {
                "from": "Selector",
                "selector": { "matchLabels": { "tier": "gold" } },
            } },
        },
    }));
    user.label("tier=gold");
    user.set_up();
    user.says("True");
    wait_until("the sidecar is there", PATIENCE, || {
        let configuration = user.namespace.get("bc/home").unwrap();
        condition(&configuration, "StashSidecarInjected")["status"] == "True"
    });
    user.namespace
        .wait_for_rollout("deployments.apps/web", PATIENCE);
    let generation =
        || user.namespace.get("deployment/web").unwrap()["metadata"]["generation"].clone();
    let before = generation();
    let snapshots = || {
        let repository = scene.restic.repository(&safe, PASSWORD);
        let output = repository.run(["snapshots", "--no-lock", "--json"]);
        output.assert_success();
        output.json().as_array().unwrap().len()
    };
    user.start("one");
    user.ends("one", "Succeeded");
    assert_eq!(snapshots(), 1);
    assert_eq!(user.rights().len(), 2);

    // What was begun is brought to its end.
    user.files(|folder| {
        fs::remove_file(folder.join("begun")).unwrap();
        fs::write(folder.join("hold"), "").unwrap();
    });
    user.start("two");
    wait_until("the backup is at work", PATIENCE, || {
        user.files(|folder| folder.join("begun").exists())
    });
    user.label("tier=silver");
    let said = user.says("False");
    let why = format!(
        "spec.repository.namespace: the usage policy of the Repository {}/shared does not allow the namespace {}; change spec.usagePolicy.allowedNamespaces of the Repository, or use one of this namespace",
        scene.stage.name(),
        user.namespace.name()
    );
    assert_eq!(said["message"], why);
    assert_eq!(user.rights().len(), 2);
    user.files(|folder| fs::remove_file(folder.join("hold")).unwrap());
    user.ends("two", "Succeeded");
    assert_eq!(snapshots(), 2);

    // Nothing new begins, and nothing is left of the rights.
    user.start("three");
    let skipped = user.ends("three", "Skipped");
    let skipped = condition(&skipped, "BackupSkipped");
    let message = skipped["message"].as_str().unwrap();
    assert!(message.contains(&why), "{skipped}");
    wait_until("an event says it", PATIENCE, || {
        let events = user.namespace.kubectl(&[
            "get",
            "events",
            "--field-selector=involvedObject.name=home,type=Warning",
            "--output=jsonpath={.items[*].message}",
        ]);
        events.contains(&why)
    });
    wait_until("the rights are taken back", PATIENCE, || {
        user.rights().is_empty()
    });
    assert_eq!(snapshots(), 2);

    user.label("tier=gold");
    user.says("True");
    user.start("four");
    user.ends("four", "Succeeded");
    assert_eq!(user.rights().len(), 2);
    let repository = scene.restic.repository(&safe, PASSWORD);
    let dumped = repository.run(["dump", "--no-lock", "latest", "/data/letter"]);
    dumped.assert_success();
    assert_eq!(dumped.stdout, LETTER);
    repository.run(["check", "--read-data"]).assert_success();
    // No Pod started again for any of that.
    assert_eq!(generation(), before);
}
