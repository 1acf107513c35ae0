//! Installations on a real cluster, by the chart and by plain manifests: the operator runs in its Pod under its own
//! rights, backs up and restores. These tests have the cluster to themselves, for the operator works in all of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::cluster::{Namespace, wait_for, wait_until};
use testkit::{Cluster, Scratch};

use crate::controllers::stage::{PATIENCE, configuration};
use crate::share::Share;

mod chart;
mod plain;
mod values;

/// The cluster, alone and without an installation; what is installed is removed at the end.
struct Site {
    cluster: Cluster,
    scratch: Scratch,
    _share: Share,
}

impl Site {
    fn new() -> Option<Self> {
        let cluster = Cluster::offered()?;
        if !cluster.is_own() {
            println!(
                "SKIPPED: it removes the definitions with all their objects, which only a cluster of ours bears"
            );
            return None;
        }
        let share = Share::all();
        let site = Self {
            cluster,
            scratch: Scratch::new(),
            _share: share,
        };
        // Definitions of other tests were not installed by Helm, which takes over nothing that is not its own.
        site.clear();
        Some(site)
    }

    /// Removes everything that belongs to the whole cluster, and the namespace of the operator.
    fn clear(&self) {
        for what in [
            "validatingwebhookconfigurations,mutatingwebhookconfigurations",
            "clusterroles,clusterrolebindings",
        ] {
            let names = self.cluster.kubectl(&["get", what, "--output", "name"]);
            for name in names.lines().filter(|name| name.contains("stash")) {
                self.cluster.try_kubectl(&["delete", name]);
            }
        }
        let arguments = ["delete", "namespace", "stash", "--ignore-not-found"];
        self.cluster.try_kubectl(&arguments);
        let definitions = self.definitions();
        for name in &definitions {
            self.cluster.try_kubectl(&["delete", name, "--wait=true"]);
        }
    }

    fn definitions(&self) -> Vec<String> {
        let arguments = ["get", "customresourcedefinitions", "--output", "name"];
        let names = self.cluster.kubectl(&arguments);
        names
            .lines()
            .filter(|name| name.ends_with(".stash.appscode.com"))
            .map(str::to_owned)
            .collect()
    }

    /// Name and tag of the image.
    fn image(&self) -> (&str, &str) {
        self.cluster.image().rsplit_once(':').unwrap()
    }

    fn wait_for_operator(&self) {
        self.cluster.kubectl(&[
            "rollout",
            "status",
            "deployment/stash-operator",
            "--namespace=stash",
            "--timeout=120s",
        ]);
    }

    /// Applies the examples as they are, but for what this cluster has: another image, and a namespace of the test,
    /// in which they stay.
    fn backs_up_and_restores(&self) -> Namespace {
        let namespace = self.cluster.create_namespace("installed");
        let folder = self.scratch.join("backup").display().to_string();
        let apply = |name: &str| {
            let path = root().join("examples/kubernetes").join(name);
            let text = fs::read_to_string(path).unwrap();
            let text = text
                .replace(
                    "namespace: demo",
                    &format!("namespace: {}", namespace.name()),
                )
                .replace(
                    "image: busybox:1.37",
                    &format!("image: {}", self.cluster.busybox()),
                )
                .replace("/var/lib/stash-demo", &folder);
            namespace.apply(&text);
        };
        for name in [
            "workload.yaml",
            "repository.yaml",
            "backupconfiguration.yaml",
        ] {
            apply(name);
        }
        let phase = |resource: &str| {
            let object = namespace.get(resource)?;
            object["status"]["phase"].as_str().map(str::to_owned)
        };
        wait_until("the configuration is ready", PATIENCE, || {
            phase("backupconfiguration/notes-backup").as_deref() == Some("Ready")
        });
        namespace.wait_for_rollout("deployment/notes", PATIENCE);
        assert_webhook_answers(&namespace);
        apply("backupsession.yaml");
        let end = |resource: &str| {
            let what = format!("the end of {resource}");
            let end = wait_for(&what, PATIENCE, || {
                phase(resource)
                    .filter(|it| ["Succeeded", "Failed", "Skipped"].contains(&it.as_str()))
            });
            assert_eq!(end, "Succeeded", "{:#}", namespace.get(resource).unwrap());
        };
        end("backupsession/notes-backup-now");
        let sums = || {
            let script = "cd /data && find . -type f | sort | xargs md5sum";
            namespace.exec("deployment/notes", "notes", &["sh", "-c", script])
        };
        let before = sums();
        assert_eq!(before.lines().count(), 2, "{before}");
        let remove = ["sh", "-c", "rm -r /data/*"];
        namespace.exec("deployment/notes", "notes", &remove);
        apply("restoresession.yaml");
        end("restoresession/notes-restore");
        namespace.wait_for_rollout("deployment/notes", PATIENCE);
        assert_eq!(sums(), before);
        namespace
    }

    /// What the operator wrote for the whole cluster goes by itself when it was removed; objects of users stay.
    fn wait_until_only_definitions_are_left(&self, kept: &Namespace) {
        wait_until("the webhooks are gone", PATIENCE, || {
            let kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations";
            let names = self.cluster.kubectl(&["get", kinds, "--output", "name"]);
            !names.contains("stash")
        });
        for kind in ["clusterroles", "clusterrolebindings"] {
            let names = self.cluster.kubectl(&["get", kind, "--output", "name"]);
            assert!(!names.contains("stash"), "{names}");
        }
        assert_eq!(self.definitions().len(), 9);
        for resource in [
            "backupconfiguration/notes-backup",
            "restoresession/notes-restore",
        ] {
            let object = kept.get(resource).expect(resource);
            assert!(
                object["metadata"]["deletionTimestamp"].is_null(),
                "{object:#}"
            );
        }
    }

    fn write(&self, name: &str, content: &Value) -> PathBuf {
        let path = self.scratch.join(name);
        fs::write(&path, content.to_string()).unwrap();
        path
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for arguments in [
                vec!["describe", "pods", "--namespace=stash"],
                vec![
                    "logs",
                    "deployment/stash-operator",
                    "--namespace=stash",
                    "--tail=40",
                ],
            ] {
                let output = self.cluster.try_kubectl(&arguments);
                println!("{}{}", output.stdout, output.stderr);
            }
        }
        self.clear();
    }
}

/// A mistake that only the webhook sees is refused: it answers, and its certificate is believed.
fn assert_webhook_answers(namespace: &Namespace) {
    let mut elsewhere = configuration("elsewhere", "apps/v1", "Deployment", &json!({}));
    elsewhere["spec"]["target"]["ref"]["namespace"] = json!("default");
    let arguments = [
        "create",
        "--dry-run=server",
        "--namespace",
        namespace.name(),
        "--filename=-",
    ];
    wait_until("the webhook refuses", PATIENCE, || {
        let cluster = namespace.cluster();
        let output = cluster.kubectl_with_input(&arguments, elsewhere.to_string().as_bytes());
        output.code != 0 && output.stderr.contains("spec.target.ref.namespace")
    });
}

/// The root of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Objects of a text with several documents, by kind and name; what tells who installed them is left out.
fn objects(cluster: &Cluster, text: &str) -> BTreeMap<String, Value> {
    let arguments = [
        "create",
        "--dry-run=client",
        "--output=json",
        "--filename=-",
    ];
    let json = cluster
        .kubectl_with_input(&arguments, text.as_bytes())
        .succeed("kubectl create --dry-run=client");
    let mut found = BTreeMap::new();
    for object in serde_json::Deserializer::from_str(&json).into_iter::<Value>() {
        let object = object.unwrap();
        let items = object["items"].as_array().cloned();
        for mut object in items.unwrap_or_else(|| vec![object]) {
            remove_labels(&mut object);
            let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
            found.insert(format!("{kind} {name}"), object);
        }
    }
    found
}

/// Leaves of the labels of the object only the one that others select by.
fn remove_labels(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("creationTimestamp");
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|name, _| name == "app.kubernetes.io/component");
        if labels.is_empty() {
            metadata.remove("labels");
        }
    }
}
