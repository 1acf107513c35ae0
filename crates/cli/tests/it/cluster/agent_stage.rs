//! A namespace with a repository, and agents as processes of this machine: the test plays operator and kubelet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cluster::{Namespace, wait_for};
use testkit::{Cluster, Scratch};

use crate::share::Share;

pub const PASSWORD: &str = "correct horse battery staple";
const PATIENCE: Duration = Duration::from_mins(2);

/// Everything that agents of one test work with.
pub struct Stage {
    pub namespace: Namespace,
    pub scratch: Scratch,
    _share: Share,
}

/// A sidecar, Job or init container that is killed with the test.
pub struct Agent {
    child: Child,
    log: PathBuf,
}

impl Stage {
    /// `None` where there is no cluster.
    pub fn new(title: &str) -> Option<Self> {
        let cluster = Cluster::offered()?;
        let share = Share::without_operators();
        let crds = cluster
            .command(env!("CARGO_BIN_EXE_stash"))
            .arg("crds")
            .output()
            .unwrap();
        cluster
            .kubectl_with_input(&["apply", "--server-side", "-f", "-"], &crds.stdout)
            .succeed("apply the definitions");
        let stage = Self {
            namespace: cluster.create_namespace(title),
            scratch: Scratch::new(),
            _share: share,
        };
        stage.scratch.folder("repository");
        stage.scratch.folder("source");
        stage.apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"},
            "stringData": {"RESTIC_PASSWORD": PASSWORD}}),
        );
        stage
            .apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "useless"}}));
        let folder = stage.repository();
        stage.apply(
            &json!({"apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
            "metadata": {"name": "repository"},
            "spec": {"backend": {"storageSecretName": "secret",
                "local": {"mountPath": folder, "hostPath": {"path": folder}}}}}),
        );
        Some(stage)
    }

    pub fn repository(&self) -> PathBuf {
        self.scratch.join("repository")
    }

    pub fn source(&self) -> PathBuf {
        self.scratch.join("source")
    }

    pub fn locks(&self) -> usize {
        fs::read_dir(self.repository().join("locks")).map_or(0, Iterator::count)
    }

    pub fn apply(&self, object: &Value) {
        self.namespace.apply(&object.to_string());
    }

    /// A configuration for a workload that needs not exist, and what the operator makes beside it.
    pub fn configure(&self, name: &str, kind: &str, keep: u32) {
        self.apply(
            &json!({"apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
            "metadata": {"name": name}, "spec": {
                "schedule": "0 0 1 1 *",
                "repository": {"name": "repository"},
                "retentionPolicy": {"name": "few", "keepLast": keep, "prune": true},
                "target": {"ref": {"apiVersion": "apps/v1", "kind": kind, "name": name}, "paths": [self.source()]},
            }}),
        );
        let lease = format!("lock-{}-{name}-backup", kind.to_lowercase());
        self.lease(&lease);
    }

    pub fn lease(&self, name: &str) {
        self.apply(
            &json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {}}),
        );
    }

    /// A session that the operator has started.
    pub fn session(&self, name: &str, invoker: &str, hosts: u32) {
        self.apply(&json!({"apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession",
            "metadata": {"name": name, "labels": {
                "stash.appscode.com/invoker-type": "BackupConfiguration",
                "stash.appscode.com/invoker-name": invoker,
            }},
            "spec": {"invoker": {"apiGroup": "stash.appscode.com", "kind": "BackupConfiguration", "name": invoker}}}));
        self.set_status(
            &format!("backupsession/{name}"),
            &json!({"phase": "Running", "targets": [{"totalHosts": hosts}]}),
        );
    }

    pub fn set_status(&self, resource: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        self.namespace.kubectl(&[
            "patch",
            resource,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &patch,
        ]);
    }

    /// A Pod that never starts: its name and uid are all that agents need of it.
    pub fn pod(&self, name: &str) -> String {
        self.apply(
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "schedulingGates": [{"name": "stash.appscode.com/never"}],
            "containers": [{"name": "app", "image": "none"}, {"name": "stash", "image": "none"}],
        }}),
        );
        let pod = self.namespace.get(&format!("pod/{name}")).unwrap();
        pod["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// An agent in a Pod.
    pub fn start(&self, pod: &str, uid: &str, arguments: &[&str]) -> Agent {
        let log = self.scratch.join(format!("{pod}.log"));
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = self
            .namespace
            .cluster()
            .command(env!("CARGO_BIN_EXE_stash"))
            .arg("agent")
            .args(arguments)
            .env("POD_NAME", pod)
            .env("POD_NAMESPACE", self.namespace.name())
            .env("POD_UID", uid)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Agent { child, log }
    }

    pub fn sidecar(&self, pod: &str, uid: &str, invoker: &str) -> Agent {
        let kind = "BackupConfiguration";
        let arguments = ["sidecar", "--invoker-kind", kind, "--invoker-name", invoker];
        self.start(pod, uid, &arguments)
    }

    /// The first target of a session once the check that follows it is done.
    pub fn concluded(&self, session: &str) -> Value {
        wait_for("the session's conclusion", PATIENCE, || {
            let session = self.namespace.get(&format!("backupsession/{session}"))?;
            let conditions = session["status"]["conditions"].as_array()?;
            conditions
                .iter()
                .find(|it| it["type"] == "RepositoryIntegrityVerified")?;
            let target = session["status"]["targets"][0].clone();
            target["progress"].is_null().then_some(target)
        })
    }

    /// Waits until a session shows that bytes were read.
    pub fn wait_for_progress(&self, session: &str) -> Value {
        wait_for("progress", PATIENCE, || {
            let session = self.namespace.get(&format!("backupsession/{session}"))?;
            let progress = &session["status"]["targets"][0]["progress"][0];
            (progress["bytesDone"].as_i64()? > 0).then(|| progress.clone())
        })
    }
}

/// A file that takes long to read and no room; smaller, it takes little.
pub fn zeros(folder: &Path, bytes: u64) {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("zeros"))
        .unwrap();
    file.set_len(bytes).unwrap();
}

impl Agent {
    /// Ends it without a warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        self.wait()
    }

    pub fn wait(&mut self) -> Option<i32> {
        let ended = wait_for("the agent's end", PATIENCE, || {
            self.child.try_wait().unwrap()
        });
        ended.code()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // One that has ended already is no trouble.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}
