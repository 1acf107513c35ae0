//! The files of a volume claim, from outside of the Pods that use it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{Namespace, wait_until};
use crate::Scratch;

const PATIENCE: Duration = Duration::from_mins(2);
const POD: &str = "files";
const FOLDER: &str = "/files";

/// The files of a claim. On a cluster of ours they are a folder of this machine; on any other a Pod carries a copy out
/// and in, so that nobody else may write meanwhile.
#[derive(Debug)]
pub struct Files<'a> {
    namespace: &'a Namespace,
    claim: String,
    by_pod: bool,
}

impl Namespace {
    /// The files of a claim of this namespace.
    pub fn files(&self, claim: &str) -> Files<'_> {
        Files {
            namespace: self,
            claim: claim.to_owned(),
            by_pod: !self.cluster().is_own(),
        }
    }

    /// The same by a Pod, whatever the cluster.
    pub fn files_by_pod(&self, claim: &str) -> Files<'_> {
        Files {
            by_pod: true,
            ..self.files(claim)
        }
    }
}

impl Files<'_> {
    /// Whether a Pod carries copies, which have contents, modes and links, but not all that a file can have.
    pub fn is_by_pod(&self) -> bool {
        self.by_pod
    }

    /// Looks at them; what is changed by that may be lost.
    pub fn look<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        if !self.by_pod {
            return look(&self.folder());
        }
        let copy = Scratch::new();
        let pod = Carrier::start(self);
        pod.carry_out(copy.path());
        drop(pod);
        look(copy.path())
    }

    /// Changes them.
    pub fn edit<T>(&self, edit: impl FnOnce(&Path) -> T) -> T {
        if !self.by_pod {
            return edit(&self.folder());
        }
        let copy = Scratch::new();
        let pod = Carrier::start(self);
        pod.carry_out(copy.path());
        let result = edit(copy.path());
        pod.carry_in(copy.path());
        result
    }

    fn folder(&self) -> PathBuf {
        wait_until("the claim is bound", PATIENCE, || {
            let claim = self
                .namespace
                .get(&format!("persistentvolumeclaims/{}", self.claim));
            claim.is_some_and(|claim| claim["status"]["phase"] == "Bound")
        });
        self.namespace
            .cluster()
            .volume(self.namespace.name(), &self.claim)
    }
}

/// A Pod that mounts a claim; removed when it is dropped.
struct Carrier<'a> {
    namespace: &'a Namespace,
}

impl<'a> Carrier<'a> {
    fn start(files: &Files<'a>) -> Self {
        let namespace = files.namespace;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": POD },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "carrier", "image": namespace.cluster().busybox(),
                    "command": ["sleep", "1000000"],
                    "volumeMounts": [{ "name": "files", "mountPath": FOLDER }],
                }],
                "volumes": [{ "name": "files", "persistentVolumeClaim": { "claimName": files.claim } }],
            },
        });
        namespace.apply(&pod.to_string());
        namespace.wait_for_condition(&format!("pod/{POD}"), "Ready", PATIENCE);
        Self { namespace }
    }

    fn carry_out(&self, folder: &Path) {
        let mut packs = self.tar(&["-c", "-f", "-", "."]);
        let mut packing = packs.stdout(Stdio::piped()).spawn().unwrap();
        let archive = packing.stdout.take().unwrap();
        let unpacked = Command::new("tar")
            .args(["-x", "-p", "-f", "-", "-C"])
            .arg(folder)
            .stdin(archive)
            .status()
            .unwrap();
        assert!(packing.wait().unwrap().success() && unpacked.success());
    }

    fn carry_in(&self, folder: &Path) {
        let empty = format!("rm -rf {FOLDER}/* {FOLDER}/.[!.]* {FOLDER}/..?*");
        self.namespace.exec(POD, "", &["sh", "-c", &empty]);
        let mut packing = Command::new("tar")
            .args(["-c", "-f", "-", "-C"])
            .arg(folder)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let archive = packing.stdout.take().unwrap();
        let unpacked = self
            .tar(&["-x", "-p", "-f", "-"])
            .stdin(archive)
            .status()
            .unwrap();
        assert!(packing.wait().unwrap().success() && unpacked.success());
    }

    /// `tar` in the Pod, with the files as its folder.
    fn tar(&self, arguments: &[&str]) -> Command {
        let cluster = self.namespace.cluster();
        let mut command = cluster.command(&cluster.kubectl);
        command
            .args(["exec", "--stdin", "--namespace", self.namespace.name(), POD])
            .args(["--", "tar", "-C", FOLDER])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Carrier<'_> {
    fn drop(&mut self) {
        let removed = self
            .namespace
            .try_kubectl(&["delete", "pod", POD, "--wait=true"]);
        if removed.code != 0 {
            println!("removing the Pod {POD}: {}", removed.stderr);
        }
    }
}
