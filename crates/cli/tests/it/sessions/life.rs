//! The life of sessions by the published settings: the clock, pauses, retries, hooks, history and progress. What each
//! of them did is read from the files of snapshots by stock restic.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::cluster::{wait_for, wait_until};

use super::scene::{PASSWORD, Scene, claim};
use crate::controllers::stage::{PATIENCE, Stage, condition};

mod clock;
mod hangs;
mod hooks;
mod progress;
mod restores;
mod retries;

/// What the application serves: a page, a place to post to, one that is always full, and one that never answers.
const SERVER: &str = r"
mkdir -p /tmp/www/cgi-bin
cd /tmp/www
echo yes > ready
cat > cgi-bin/note <<'.'
#!/bin/sh
cat > /data/posted
printf 'Content-Type: text/plain\r\n\r\nnoted\n'
.
cat > cgi-bin/full <<'.'
#!/bin/sh
printf 'Status: 507 Full\r\nContent-Type: text/plain\r\n\r\nno room\n'
.
cat > cgi-bin/never <<'.'
#!/bin/sh
exec sleep 1000000
.
chmod 755 cgi-bin/*
exec httpd -f -p $ADDRESS:8080 -h /tmp/www
";

impl Scene {
    /// A Deployment that has the files and answers requests to the address of its Pod.
    fn serve(&self) {
        self.stage.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": {
                "selector": { "matchLabels": { "app": "web" } },
                "strategy": { "type": "Recreate" },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "other", "image": self.stage.cluster().busybox(),
                            "command": ["sleep", "1000000"],
                        }, {
                            "name": "web", "image": self.stage.cluster().busybox(),
                            "command": ["sh", "-c", SERVER],
                            "env": [{ "name": "ADDRESS", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
                            "ports": [{ "name": "http", "containerPort": 8080 }],
                            "readinessProbe": {
                                "httpGet": { "path": "/ready", "port": "http" }, "periodSeconds": 1,
                            },
                            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                        }],
                        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "files" } }],
                    },
                },
            },
        }));
        self.rolled_out();
    }

    fn rolled_out(&self) {
        let namespace = self.stage.namespace();
        namespace.wait_for_rollout("deployments.apps/web", PATIENCE);
    }

    /// Backs the Deployment up by its sidecar, which is in its Pod when this returns.
    fn configure_workload(&self, changes: &Value) {
        let mut all = json!({ "target": workload() });
        for (field, value) in changes.as_object().into_iter().flatten() {
            all[field] = value.clone();
        }
        self.configure(&all);
        wait_until("the sidecar is in the template", PATIENCE, || {
            let configuration = self.stage.get("bc/home");
            condition(&configuration, "StashSidecarInjected")["status"] == "True"
        });
        self.rolled_out();
    }

    /// Changes the configuration by a merge patch, and waits until the operator knows.
    fn change(&self, spec: &Value) {
        self.stage
            .merge("bc/home", &json!({ "spec": spec }).to_string());
        let generation = self.stage.get("bc/home")["metadata"]["generation"].clone();
        wait_until("the change is seen", PATIENCE, || {
            self.stage.get("bc/home")["status"]["observedGeneration"] == generation
        });
    }

    /// A session with these hooks, when it is over.
    fn session_with(&self, name: &str, hooks: &Value) -> Value {
        let mut all = json!({ "preBackup": null, "postBackup": null });
        for (field, value) in hooks.as_object().into_iter().flatten() {
            all[field] = value.clone();
        }
        self.change(&json!({ "hooks": null }));
        self.change(&json!({ "hooks": all }));
        self.start(name, &json!({}));
        self.end(name)
    }

    /// A session that somebody else starts, when it is over.
    fn end_of(&self, name: &str) -> Value {
        wait_until(&format!("{name} is there"), PATIENCE, || {
            self.stage.find(&format!("backupsession/{name}")).is_some()
        });
        self.end(name)
    }

    /// A file of the application, by its container.
    fn file(&self, name: &str) -> String {
        let path = format!("/data/{name}");
        let namespace = self.stage.namespace();
        namespace.exec("deploy/web", "web", &["cat", &path])
    }

    /// A shell command in the application's container.
    fn shell(&self, command: &str) -> String {
        let namespace = self.stage.namespace();
        namespace.exec("deploy/web", "web", &["sh", "-c", command])
    }

    /// How many snapshots there are.
    fn count(&self) -> usize {
        self.snapshots().as_array().unwrap().len()
    }

    /// A file of a snapshot, by stock restic.
    fn dump(&self, snapshot: &str, path: &str) -> String {
        self.files("store").look(|folder| {
            let repository = self.restic.repository(folder, PASSWORD);
            let output = repository.run(["dump", "--no-lock", snapshot, path]);
            output.assert_success();
            output.stdout_text()
        })
    }

    /// The repository is whole and nobody's lock is left in it.
    fn assert_free(&self) {
        self.files("store").look(|folder| {
            let locks = std::fs::read_dir(folder.join("locks")).unwrap();
            assert_eq!(locks.count(), 0, "locks are left");
            let repository = self.restic.repository(folder, PASSWORD);
            repository.run(["check", "--read-data"]).assert_success();
        });
    }

    /// All sessions, by their names.
    fn sessions(&self) -> Vec<Value> {
        let text = self
            .stage
            .kubectl(&["get", "backupsessions", "--output", "json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Restores into the Deployment; `changes` replace fields of the specification.
    fn restore(&self, name: &str, changes: &Value) {
        let mut target = workload();
        target.as_object_mut().unwrap().remove("paths");
        let mut object = json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
            "metadata": { "name": name },
            "spec": { "repository": { "name": "repo" }, "target": target },
        });
        for (field, value) in changes.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        self.stage.apply(&object);
    }

    /// The restore when it is over.
    fn end_of_restore(&self, name: &str) -> Value {
        wait_for(&format!("the end of {name}"), PATIENCE, || {
            let restore = self.stage.get(&format!("restoresession/{name}"));
            ["Succeeded", "Failed", "Invalid"]
                .contains(&phase(&restore))
                .then_some(restore)
        })
    }
}

/// The Deployment as a target.
fn workload() -> Value {
    json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data"],
    })
}

/// A hook that runs a shell command in the application's container.
fn shell(command: &str) -> Value {
    json!({ "containerName": "web", "exec": { "command": ["sh", "-c", command] } })
}

/// The same after the backup.
fn post(policy: &str, command: &str) -> Value {
    let mut hook = shell(command);
    hook["executionPolicy"] = json!(policy);
    hook
}

fn phase(session: &Value) -> &str {
    session["status"]["phase"].as_str().unwrap_or_default()
}

/// A condition of the session's target.
fn of_target(session: &Value, type_: &str) -> Value {
    condition(&json!({ "status": session["status"]["targets"][0] }), type_)
}

/// The condition of the target has this status, and its message contains all of this.
fn assert_says(session: &Value, type_: &str, status: &str, texts: &[&str]) {
    let condition = of_target(session, type_);
    assert_eq!(condition["status"], status, "{type_} of {session:#}");
    let message = condition["message"].as_str().unwrap();
    for text in texts {
        assert!(message.contains(text), "{type_}: {text:?} in {message:?}");
    }
}

/// Seconds of a time.
fn time(text: &Value) -> i64 {
    let time: jiff::Timestamp = text.as_str().unwrap().parse().unwrap();
    time.as_second()
}

const PRE: &str = "PreBackupHookExecutionSucceeded";
const POST: &str = "PostBackupHookExecutionSucceeded";
