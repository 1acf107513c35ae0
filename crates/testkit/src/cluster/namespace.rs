//! A namespace of one test.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde_json::Value;

use super::{Cluster, Output, wait_until};

/// A namespace with a name that no other test has. Dropping it removes it and everything in it, without waiting for
/// that; a test that failed prints its Pods, its events and the ends of its logs first.
#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    pub(super) fn create(cluster: &Cluster, title: &str) -> Self {
        let name = format!(
            "{title}-{:08x}",
            RandomState::new().build_hasher().finish() >> 32
        );
        cluster.kubectl(&["create", "namespace", &name]);
        let namespace = Self {
            cluster: cluster.clone(),
            name,
        };
        // Pods are refused before it is there.
        wait_until("the default ServiceAccount", Duration::from_mins(1), || {
            namespace.get("serviceaccounts/default").is_some()
        });
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Runs `kubectl` in this namespace, whatever it says.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Output {
        self.cluster.try_kubectl(&self.within(arguments))
    }

    /// Runs `kubectl` in this namespace and returns what it wrote; a failure fails the test.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&self.within(arguments))
    }

    /// Applies manifests that name no namespace, or this one.
    pub fn apply(&self, yaml: &str) {
        self.try_apply(yaml).succeed("kubectl apply");
    }

    /// Applies manifests, whatever comes of it.
    pub fn try_apply(&self, yaml: &str) -> Output {
        let arguments = self.within(&["apply", "--filename", "-"]);
        self.cluster.kubectl_with_input(&arguments, yaml.as_bytes())
    }

    /// An object as JSON, or nothing when it does not exist.
    pub fn get(&self, resource: &str) -> Option<Value> {
        self.cluster.get(&self.name, resource)
    }

    /// Runs a command in a container, whatever comes of it; an empty container is the Pod's first. `pod` may be
    /// `deploy/web`.
    pub fn try_exec(&self, pod: &str, container: &str, command: &[&str]) -> Output {
        let mut arguments = vec!["exec", pod];
        if !container.is_empty() {
            arguments.extend(["--container", container]);
        }
        arguments.push("--");
        arguments.extend(command);
        self.try_kubectl(&arguments)
    }

    /// Runs a command in a container and returns what it wrote; a failure fails the test.
    pub fn exec(&self, pod: &str, container: &str, command: &[&str]) -> String {
        self.try_exec(pod, container, command)
            .succeed(&format!("{} in {pod}", command.join(" ")))
    }

    /// What a container has written; an empty container is the Pod's first.
    pub fn logs(&self, pod: &str, container: &str) -> String {
        let mut arguments = vec!["logs", pod];
        if !container.is_empty() {
            arguments.extend(["--container", container]);
        }
        self.kubectl(&arguments)
    }

    /// Waits until a condition of an object is True, for example `Ready` of `pod/a` or `Available` of `deploy/web`.
    pub fn wait_for_condition(&self, resource: &str, condition: &str, patience: Duration) {
        let condition = format!("--for=condition={condition}");
        let timeout = format!("--timeout={}s", patience.as_secs());
        self.kubectl(&["wait", resource, &condition, &timeout]);
    }

    /// Waits until a Deployment, StatefulSet or DaemonSet runs as described.
    pub fn wait_for_rollout(&self, workload: &str, patience: Duration) {
        let timeout = format!("--timeout={}s", patience.as_secs());
        self.kubectl(&["rollout", "status", workload, &timeout]);
    }

    fn within<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        // Before the arguments: what follows `--` belongs to the command in the container.
        ["--namespace", &self.name]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect()
    }

    fn describe(&self) {
        let pods = self.try_kubectl(&["get", "pods", "--output", "name"]);
        let mut questions = vec![
            vec!["get", "all", "--output", "wide"],
            vec!["get", "events", "--sort-by", ".lastTimestamp"],
        ];
        for pod in pods.stdout.lines() {
            questions.push(vec![
                "logs",
                pod,
                "--all-containers",
                "--prefix",
                "--tail",
                "30",
            ]);
        }
        for arguments in questions {
            let output = self.try_kubectl(&arguments);
            println!(
                "kubectl {} in {}:\n{}{}",
                arguments.join(" "),
                self.name,
                output.stdout,
                output.stderr
            );
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.describe();
        }
        let arguments = ["delete", "namespace", &self.name, "--wait=false"];
        let output = self.cluster.try_kubectl(&arguments);
        if output.code != 0 {
            println!("removing the namespace {}: {}", self.name, output.stderr);
        }
    }
}
