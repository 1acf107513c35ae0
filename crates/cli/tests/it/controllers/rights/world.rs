//! What agents are set to work on.

use serde_json::{Value, json};
use testkit::cluster::{Client, Namespace, wait_until};

use super::agents::Agent;
use crate::controllers::stage::{PATIENCE, Stage, configuration};

/// Three namespaces: of the Repository and most invokers, of one that is elsewhere, and of nobody.
pub struct World {
    pub stage: Stage,
    pub other: Namespace,
    pub third: Namespace,
}

impl World {
    /// Workloads whose Pods never run, and Jobs whose storage is nowhere: accounts and rights do not wait for either.
    pub fn set_up(&self) {
        let stage = &self.stage;
        stage.secret();
        stage.apply(
            &json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "other" } }),
        );
        stage.apply(&lease("other"));
        stage.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "alone" },
            "spec": { "nodeSelector": { "nowhere": "at-all" }, "containers": [{ "name": "a", "image": "none" }] },
        }));
        self.other.apply(
            &json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "other" } })
                .to_string(),
        );
        self.third.kubectl(&["create", "serviceaccount", "nobody"]);
        for (name, wipe_out) in [("repo", false), ("other", false), ("gone", true)] {
            stage.apply(&repository(name, wipe_out));
        }
        for (kind, name) in [
            ("Deployment", "plain"),
            ("Deployment", "web"),
            ("StatefulSet", "db"),
            ("Deployment", "back"),
            ("Deployment", "beside"),
        ] {
            stage.apply(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } }));
            stage.apply(&workload(kind, name));
        }
        for (namespace, name) in [
            (stage.namespace(), "claim"),
            (stage.namespace(), "job"),
            (stage.namespace(), "beside"),
            (&self.other, "far"),
        ] {
            namespace.apply(&crate::sessions::scene::claim(name).to_string());
        }
        let command = json!({ "preBackup": { "exec": { "command": ["true"] } } });
        let request = json!({ "postBackup": { "httpGet": { "port": 80, "path": "/" } } });
        back_up(stage.namespace(), "plain", "Deployment", &json!({}));
        back_up(
            stage.namespace(),
            "web",
            "Deployment",
            &json!({ "hooks": command }),
        );
        back_up(
            stage.namespace(),
            "db",
            "StatefulSet",
            &json!({ "hooks": command }),
        );
        back_up(
            stage.namespace(),
            "claim",
            "PersistentVolumeClaim",
            &json!({ "hooks": command }),
        );
        let task = json!({ "hooks": request, "task": { "name": "pvc-backup" } });
        back_up(stage.namespace(), "beside", "Deployment", &task);
        let far = json!({ "repository": { "name": "repo", "namespace": stage.name() } });
        back_up(&self.other, "far", "PersistentVolumeClaim", &far);
        // Of nobody who is asked.
        back_up(stage.namespace(), "other", "Deployment", &json!({}));
        self.restore(
            "init",
            &json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "back" }),
        );
        self.restore(
            "job",
            &json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "job" }),
        );
        self.wait();
        stage.kubectl(&["delete", "repository", "gone", "--wait=false"]);
        wait_until("the Job that wipes out", PATIENCE, || {
            stage.find("jobs/stash-wipe-out-gone").is_some()
        });
    }

    fn restore(&self, name: &str, reference: &Value) {
        self.stage.apply(&json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession", "metadata": { "name": name },
            "spec": {
                "repository": { "name": "repo" },
                "target": {
                    "ref": reference, "rules": [{ "paths": ["/data"] }],
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                },
            },
        }));
    }

    /// Until the rights of all sessions are there.
    fn wait(&self) {
        let own = self.stage.namespace();
        for name in ["plain", "web", "db", "claim", "beside"] {
            wait_for_rights(own, &format!("backupconfiguration-{name}"));
        }
        wait_for_rights(&self.other, "backupconfiguration-far");
        for name in ["init", "job"] {
            wait_for_rights(own, &format!("restoresession-{name}"));
        }
    }

    /// What it is there for it can do: read the Secret, and write the status of what it works on.
    pub fn assert_works(&self, agent: &Agent, client: &Client, admin: &Client) {
        let secrets = format!("/api/v1/namespaces/{}/secrets/keys", self.stage.name());
        let answer = client.get(&secrets);
        assert_eq!(answer.code, 200, "{}: {answer:?}", agent.title);
        assert!(answer.body["data"]["RESTIC_PASSWORD"].is_string());
        let own = if agent.far.is_empty() {
            self.stage.name()
        } else {
            self.other.name()
        };
        let lines = agent.own.iter().map(|line| (own, line));
        let far = agent.far.iter().map(|line| (self.stage.name(), line));
        for (namespace, line) in lines.chain(far) {
            let Some((resource, rest)) = line.split_once("/status.stash.appscode.com [") else {
                continue;
            };
            let name = rest.trim_end_matches("]: update");
            let version = if resource == "repositories" {
                "v1alpha1"
            } else {
                "v1beta1"
            };
            let path = format!(
                "/apis/stash.appscode.com/{version}/namespaces/{namespace}/{resource}/{name}"
            );
            let object = admin.get(&path).body;
            let path = format!("{path}/status?dryRun=All");
            let answer = client.request("PUT", &path, &["Content-Type: application/json"], &object);
            // Somebody else may have written in between; both would be refused without the right.
            assert!(
                [200, 409].contains(&answer.code),
                "{} {path}: {answer:?}",
                agent.title
            );
        }
    }
}

/// A configuration and a session of it.
fn back_up(namespace: &Namespace, name: &str, kind: &str, changes: &Value) {
    let version = if kind == "PersistentVolumeClaim" {
        "v1"
    } else {
        "apps/v1"
    };
    let mut object = configuration(name, version, kind, changes);
    object["spec"]["target"]["ref"]["name"] = json!(name);
    namespace.apply(&object.to_string());
    namespace.apply(&session(name, &format!("{name}-1")).to_string());
}

fn wait_for_rights(namespace: &Namespace, name: &str) {
    wait_until(&format!("the rights of {name}"), PATIENCE, || {
        let role = namespace.get(&format!("roles/stash-{name}"));
        role.is_some_and(|role| role.to_string().contains("sessions/status"))
    });
}

fn session(invoker: &str, name: &str) -> Value {
    json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession", "metadata": { "name": name },
        "spec": { "invoker": { "kind": "BackupConfiguration", "name": invoker } },
    })
}

fn lease(name: &str) -> Value {
    json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name } })
}

fn repository(name: &str, wipe_out: bool) -> Value {
    json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository", "metadata": { "name": name },
        "spec": {
            "wipeOut": wipe_out, "usagePolicy": { "allowedNamespaces": { "from": "All" } },
            "backend": { "storageSecretName": "keys", "s3": { "endpoint": "nowhere.invalid", "bucket": name } },
        },
    })
}

fn workload(kind: &str, name: &str) -> Value {
    let mut object = crate::controllers::stage::workload("apps/v1", kind, "none");
    object["metadata"]["name"] = json!(name);
    let (spec, labels) = (&mut object["spec"], json!({ "app": name }));
    spec["replicas"] = json!(if kind == "StatefulSet" { 2 } else { 1 });
    spec["selector"]["matchLabels"] = labels.clone();
    spec["template"]["metadata"]["labels"] = labels;
    spec["template"]["spec"]["serviceAccountName"] = json!(name);
    if name == "beside" {
        spec["template"]["spec"]["volumes"] =
            json!([{ "name": "data", "persistentVolumeClaim": { "claimName": name } }]);
    }
    object
}
