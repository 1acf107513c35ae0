//! What the user sets for Pods and containers: that it arrives, and that it has its effect.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::cluster::{wait_for, wait_until};

use super::proof::{Tree, assert_repository};
use super::scene::{Scene, claim};
use crate::controllers::stage::PATIENCE;

mod published;
mod restricted;

/// Settings of the container that runs in a Pod of the workload or of a Job.
fn container() -> Value {
    json!({
        "resources": {
            "requests": { "cpu": "20m", "memory": "32Mi" },
            "limits": { "cpu": "2", "memory": "512Mi" },
        },
        "securityContext": { "runAsUser": 0, "readOnlyRootFilesystem": true },
        "env": [{ "name": "NO_PROXY", "value": "local.invalid" }],
        "envFrom": [{ "configMapRef": { "name": "proxy" } }],
        "nice": { "adjustment": 7 },
        "ionice": { "class": 2, "classData": 6 },
    })
}

#[test]
fn a_sidecar_has_the_settings_of_its_container_and_works_gently() {
    let Some(scene) = Scene::new("gentle") else {
        return;
    };
    let tree = Tree::in_claim(&scene.files("files"), 1);
    scene.stage.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "proxy" },
        "data": { "FTP_PROXY": "ftp.invalid" },
    }));
    scene.deploy();
    // The workload's own containers get no token; the agent has one of its own.
    scene.stage.merge(
        "deployment/web",
        r#"{"spec":{"template":{"spec":{"automountServiceAccountToken":false}}}}"#,
    );
    scene.configure(&json!({
        "target": {
            "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            "paths": ["/data"],
        },
        "runtimeSettings": { "container": container() },
        "tempDir": { "medium": "Memory", "sizeLimit": "64Mi", "disableCaching": true },
    }));
    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    assert_repository(
        &scene,
        &scene.volume("store"),
        "/data",
        &[("host-0", &tree)],
    );

    let pod = wait_for("the Pod with the sidecar", PATIENCE, || {
        let pods = list(&scene, "app=web");
        pods.into_iter().find(|pod| {
            pod["spec"]["containers"][1]["name"] == "stash"
                && pod["metadata"]["deletionTimestamp"].is_null()
        })
    });
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    let sidecar = &pod["spec"]["containers"][1];
    has_container_settings(sidecar);
    assert_eq!(variable(sidecar, "STASH_CACHE_DIR"), None);
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let scratch = volumes.iter().find(|it| it["name"] == "stash-tmp-dir");
    let memory = json!({ "medium": "Memory", "sizeLimit": "64Mi" });
    assert_eq!(scratch.unwrap()["emptyDir"], memory);

    // Gentler than the application by that much, wherever this cluster runs.
    let name = pod["metadata"]["name"].as_str().unwrap();
    let beside = scene.stage.namespace();
    let application = nice(&beside.exec(name, "web", &["cat", "/proc/1/stat"]));
    let process = process(scene.stage.name());
    for thread in threads(&process) {
        let stat = fs::read_to_string(thread.join("stat")).unwrap();
        assert_eq!(nice(&stat), (application + 7).min(19), "{stat}");
        assert_eq!(
            ionice(&thread),
            "best-effort: prio 6",
            "{}",
            thread.display()
        );
    }
    let mounts = fs::read_to_string(process.join("mounts")).unwrap();
    let of_scratch = mounts.lines().find(|line| line.contains(" /stash-tmp "));
    assert!(of_scratch.unwrap().contains(" tmpfs "), "{mounts}");
}

#[test]
fn a_job_has_the_settings_of_its_pod_and_an_interim_volume() {
    let Some(scene) = Scene::new("pods") else {
        return;
    };
    let tree = Tree::in_claim(&scene.files("files"), 1);
    scene.stage.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "proxy" },
        "data": { "FTP_PROXY": "ftp.invalid" },
    }));
    scene.stage.apply(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "backups" },
    }));
    let here = json!({ "kubernetes.io/hostname": scene.stage.cluster().node() });
    let affinity = json!({ "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 3,
        "preference": { "matchExpressions": [{ "key": "disk", "operator": "In", "values": ["fast"] }] },
    }] } });
    let pod = json!({
        "podLabels": { "team": "storage" },
        "podAnnotations": { "example.com/note": "nightly" },
        "nodeSelector": here,
        "serviceAccountName": "backups",
        "securityContext": { "fsGroup": 2000, "supplementalGroups": [3000] },
        "imagePullSecrets": [{ "name": "registry" }],
        "affinity": affinity,
        "tolerations": [{ "key": "backups", "operator": "Exists", "effect": "NoSchedule" }],
        "priorityClassName": "system-cluster-critical",
        "enableServiceLinks": false,
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "team": "storage" } },
        }],
    });
    scene.configure(&json!({
        "runtimeSettings": { "pod": pod, "container": container() },
        "tempDir": { "sizeLimit": "128Mi" },
        "interimVolumeTemplate": {
            "metadata": { "name": "interim" },
            "spec": claim("any")["spec"],
        },
    }));
    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    let store = scene.volume("store");
    assert_repository(&scene, &store, "/stash-data", &[("host-0", &tree)]);

    let pods = list(&scene, "batch.kubernetes.io/job-name=stash-backup-home-1-0");
    let (of_pod, spec) = (&pods[0]["metadata"], &pods[0]["spec"]);
    assert_eq!(of_pod["labels"]["team"], "storage");
    assert_eq!(of_pod["annotations"]["example.com/note"], "nightly");
    for field in [
        "nodeSelector",
        "serviceAccountName",
        "securityContext",
        "imagePullSecrets",
        "affinity",
        "priorityClassName",
        "enableServiceLinks",
        "topologySpreadConstraints",
    ] {
        assert_eq!(spec[field], pod[field], "{field}");
    }
    let tolerations = spec["tolerations"].as_array().unwrap();
    assert!(tolerations.contains(&pod["tolerations"][0]), "{spec:#}");
    let container = &spec["containers"][0];
    has_container_settings(container);
    assert_eq!(
        variable(container, "STASH_CACHE_DIR"),
        Some("/stash-tmp/cache")
    );
    let volumes = spec["volumes"].as_array().unwrap();
    let volume = |name: &str| volumes.iter().find(|it| it["name"] == name).unwrap();
    let limited = json!({ "sizeLimit": "128Mi" });
    assert_eq!(volume("stash-tmp-dir")["emptyDir"], limited);
    let mounts = container["volumeMounts"].as_array().unwrap();
    let interim = mounts.iter().find(|it| it["name"] == "stash-interim");
    assert_eq!(interim.unwrap()["mountPath"], "/stash-interim-volume");
    let made = "home-1-interim";
    assert_eq!(
        volume("stash-interim")["persistentVolumeClaim"]["claimName"],
        made
    );
    let owners = scene.stage.get(&format!("pvc/{made}"))["metadata"]["ownerReferences"].clone();
    assert_eq!(owners[0]["name"], "home-1");
    scene.stage.kubectl(&["delete", "backupsession", "home-1"]);
    wait_until("the interim volume goes with its session", PATIENCE, || {
        scene.stage.find(&format!("pvc/{made}")).is_none()
    });
}

/// Compares a container of ours with what was set.
fn has_container_settings(present: &Value) {
    let wanted = container();
    assert_eq!(present["resources"], wanted["resources"]);
    assert_eq!(present["envFrom"], wanted["envFrom"]);
    assert_eq!(variable(present, "NO_PROXY"), Some("local.invalid"));
    let security = &present["securityContext"];
    assert_eq!(security["runAsUser"], 0);
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let all = container["env"].as_array()?;
    all.iter().find(|it| it["name"] == name)?["value"].as_str()
}

/// The Pods with a label.
fn list(scene: &Scene, selector: &str) -> Vec<Value> {
    let question = ["get", "pods", "--selector", selector, "--output", "json"];
    let all: Value = serde_json::from_str(&scene.stage.kubectl(&question)).unwrap();
    all["items"].as_array().unwrap().clone()
}

/// The agent of a namespace among the processes of this machine, where the node of our cluster is.
fn process(namespace: &str) -> PathBuf {
    let is_agent = |process: &Path| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let around = fs::read(process.join("environ")).unwrap_or_default();
        let says = |text: &[u8], word: &str| {
            text.split(|byte| *byte == 0)
                .any(|it| it == word.as_bytes())
        };
        says(&command, "sidecar") && says(&around, &format!("POD_NAMESPACE={namespace}"))
    };
    wait_for("the process of the sidecar", PATIENCE, || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.map(|entry| entry.path()).find(|path| is_agent(path))
    })
}

fn threads(process: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(process.join("task")).unwrap().flatten();
    all.map(|entry| entry.path()).collect()
}

/// The nice value is the 19th field of `stat`; the second, the name in brackets, may hold spaces.
fn nice(stat: &str) -> i32 {
    let rest = stat.rsplit_once(") ").unwrap().1;
    rest.split(' ').nth(16).unwrap().parse().unwrap()
}

fn ionice(thread: &Path) -> String {
    let id = thread.file_name().unwrap();
    let output = Command::new("ionice").arg("-p").arg(id).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
