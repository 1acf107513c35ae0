//! A namespace, an operator for it, and the objects of a backup.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testkit::cluster::{Namespace, wait_for};
use testkit::{Cluster, Scratch};

use crate::share::Share;

pub const PATIENCE: Duration = Duration::from_mins(2);

pub struct Stage {
    namespace: Namespace,
    operator: Option<Child>,
    scratch: Scratch,
    /// Dropped last: the operator has ended by then.
    _share: Share,
}

impl Stage {
    /// `None` where there is no cluster. Operators of several tests wait for one another to lead; whichever does
    /// works for all of them.
    pub fn new(title: &str, options: &[&str]) -> Option<Self> {
        Self::with(Share::some(), title, options)
    }

    /// The cluster is this test's alone.
    pub fn alone(title: &str, options: &[&str]) -> Option<Self> {
        Self::with(Share::all(), title, options)
    }

    fn with(share: Share, title: &str, options: &[&str]) -> Option<Self> {
        let cluster = Cluster::offered()?;
        let definitions = cluster
            .command(env!("CARGO_BIN_EXE_stash"))
            .arg("crds")
            .output()
            .unwrap();
        cluster
            .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &definitions.stdout)
            .succeed("apply the definitions");
        let namespace = cluster.create_namespace(title);
        let mut stage = Self {
            namespace,
            operator: None,
            scratch: Scratch::new(),
            _share: share,
        };
        stage.start_operator(options);
        Some(stage)
    }

    /// Starts an operator in place of the one that was killed; without options, one without webhooks.
    pub fn start_operator(&mut self, options: &[&str]) {
        let without_webhooks = ["--webhook-port", "0"];
        let options = if options.is_empty() {
            &without_webhooks
        } else {
            options
        };
        // Several operators cannot have the same one.
        let without_port =
            (!options.contains(&"--metrics-port")).then_some(["--metrics-port", "0"]);
        let cluster = self.namespace.cluster();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let operator = cluster
            .command(env!("CARGO_BIN_EXE_stash"))
            .args(["operator", "--image", cluster.image()])
            .args(without_port.into_iter().flatten())
            .args(options)
            .env("POD_NAMESPACE", "default")
            .env_remove("POD_NAME")
            // Beside what it says by default: how long it waits when something has failed.
            .env("STASH_LOG", "info,operator::delays=debug")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.operator = Some(operator);
    }

    /// What all operators of this test have said.
    fn log(&self) -> std::path::PathBuf {
        self.scratch.join("operator.log")
    }

    /// The lines in which operators of this test told how long an object waits.
    pub fn delays(&self, object: &str) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap();
        let object = object.replace("NAMESPACE", self.name());
        let about = |line: &&str| line.contains("operator::delays") && line.contains(&object);
        log.lines().filter(about).map(str::to_owned).collect()
    }

    /// Whether the operator has ended by itself, which the kubelet would answer with a new start.
    pub fn has_operator_ended(&mut self) -> bool {
        let operator = self.operator.as_mut().expect("an operator was started");
        operator.try_wait().unwrap().is_some()
    }

    /// Kills the operator without a warning.
    pub fn kill_operator(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator.kill().unwrap();
            operator.wait().unwrap();
        }
    }

    /// Asks the operator to end, which lets the next one lead at once, and waits for it.
    pub fn stop_operator(&mut self) {
        let Some(mut operator) = self.operator.take() else {
            return;
        };
        if let Ok(pid) = i32::try_from(operator.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        drop(operator.wait());
    }

    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    pub fn cluster(&self) -> &Cluster {
        self.namespace.cluster()
    }

    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.namespace.kubectl(arguments)
    }

    pub fn find(&self, resource: &str) -> Option<Value> {
        self.namespace.get(resource)
    }

    pub fn get(&self, resource: &str) -> Value {
        self.find(resource)
            .unwrap_or_else(|| panic!("there is no {resource}"))
    }

    pub fn merge(&self, resource: &str, patch: &str) {
        self.kubectl(&["patch", resource, "--type", "merge", "--patch", patch]);
    }

    pub fn secret(&self) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" },
            "stringData": { "RESTIC_PASSWORD": "x" },
        }));
    }

    pub fn repository(&self, wipe_out: bool) {
        self.apply(&json!({
            "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
            "metadata": { "name": "repo" },
            "spec": { "wipeOut": wipe_out, "backend": {
                "storageSecretName": "keys",
                "s3": { "endpoint": "nowhere.invalid", "bucket": "b" },
            } },
        }));
    }

    /// A workload of the kind, called `web`, of which nothing runs where that can be said.
    pub fn workload(&self, version: &str, kind: &str) {
        self.apply(&workload(version, kind, self.cluster().busybox()));
    }

    pub fn configuration(&self, name: &str, version: &str, kind: &str, changes: &Value) {
        self.apply(&configuration(name, version, kind, changes));
    }

    pub fn apply(&self, object: &Value) {
        self.namespace.apply(&object.to_string());
    }

    /// The condition of a BackupConfiguration as soon as it has the status.
    pub fn wait_for(&self, name: &str, type_: &str, status: &str) -> Value {
        let resource = format!("bc/{name}");
        wait_for(&format!("{type_}={status} of {name}"), PATIENCE, || {
            Some(condition(&self.get(&resource), type_)).filter(|it| it["status"] == status)
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(200)..];
            println!("the operator said at last:\n{}", last.join("\n"));
        }
        self.stop_operator();
    }
}

pub fn workload(version: &str, kind: &str, image: &str) -> Value {
    let labels = json!({ "app": format!("web-{}", kind.to_lowercase()) });
    let selector = if version == "v1" {
        labels.clone()
    } else {
        json!({ "matchLabels": labels })
    };
    let mut object = json!({
        "apiVersion": version, "kind": kind, "metadata": { "name": "web" },
        "spec": {
            "selector": selector,
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [{ "name": "web", "image": image, "command": ["sleep", "1000000"] }],
                    "volumes": [{ "name": "data", "emptyDir": {} }],
                    "nodeSelector": { "nowhere": "at-all" },
                },
            },
        },
    });
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(0);
    }
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!("web");
    }
    object
}

/// A BackupConfiguration whose schedule does not fire while a test runs; `changes` replace fields of its
/// specification.
pub fn configuration(name: &str, version: &str, kind: &str, changes: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
        "metadata": { "name": name },
        "spec": {
            "repository": { "name": "repo" },
            "schedule": "0 0 1 1 *",
            "target": {
                "ref": { "apiVersion": version, "kind": kind, "name": "web" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                "paths": ["/data"],
            },
            "runtimeSettings": { "container": { "resources": {
                "requests": { "cpu": "0.1", "memory": "65536Ki" },
            } } },
            "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
        },
    });
    for (field, value) in changes.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

/// A condition of an object, or null.
pub fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|it| it["type"] == type_)
        .cloned()
        .unwrap_or_default()
}

pub fn container_names(workload: &Value) -> Vec<&str> {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array();
    containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect()
}
