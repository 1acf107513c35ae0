//! What is backed up by whom: workloads of many Pods by their sidecars and by Jobs, volumes of nodes and claims.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::Scratch;
use testkit::cluster::wait_until;

use super::proof::{Tree, assert_in_new_claim, assert_in_templates, assert_repository, empty};
use super::scene::{PASSWORD, Scene, claim};
use crate::controllers::stage::{PATIENCE, condition};

pub fn reference(version: &str, kind: &str, name: &str) -> Value {
    json!({ "apiVersion": version, "kind": kind, "name": name })
}

pub fn mounts() -> Value {
    json!([{ "name": "data", "mountPath": "/data" }])
}

/// A workload called `web`; `changes` are fields of its specification besides the Pods, `volumes` those of the Pods.
fn workload(scene: &Scene, (version, kind): (&str, &str), volumes: &Value, changes: &Value) {
    let labels = json!({ "app": "web" });
    let mut object = json!({
        "apiVersion": version, "kind": kind, "metadata": { "name": "web" },
        "spec": {
            "selector": if version == "v1" { labels.clone() } else { json!({ "matchLabels": labels }) },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "web", "image": scene.stage.cluster().busybox(),
                        "command": ["sleep", "1000000"], "volumeMounts": mounts(),
                    }],
                    "volumes": volumes,
                },
            },
        },
    });
    for (field, value) in changes.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    scene.stage.apply(&object);
}

/// A StatefulSet of Pods with a claim each.
pub fn stateful_set(scene: &Scene, replicas: usize) {
    let changes = json!({
        "replicas": replicas, "serviceName": "web", "podManagementPolicy": "Parallel",
        "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim("any")["spec"] }],
    });
    workload(scene, ("apps/v1", "StatefulSet"), &json!([]), &changes);
    rollout(scene, "statefulset");
}

fn rollout(scene: &Scene, kind: &str) {
    let namespace = scene.stage.namespace();
    namespace.wait_for_rollout(&format!("{kind}s.apps/web"), PATIENCE);
}

/// A session that succeeds, with its hosts.
fn back_up(scene: &Scene, name: &str) -> Vec<String> {
    hosts(&scene.back_up(name))
}

/// Hosts that a session reports, sorted.
fn hosts(session: &Value) -> Vec<String> {
    let stats = session["status"]["targets"][0]["stats"].as_array().unwrap();
    let mut hosts: Vec<String> = stats
        .iter()
        .map(|it| it["hostname"].as_str().unwrap().to_owned())
        .collect();
    hosts.sort();
    hosts
}

/// When the snapshots of a repository were made, in order: no two at the same time.
fn assert_in_turns(snapshots: &Value) {
    let mut times: Vec<(&str, &str)> = snapshots
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let time = |field: &str| it["summary"][field].as_str().unwrap();
            (time("backup_start"), time("backup_end"))
        })
        .collect();
    times.sort_unstable();
    for pair in times.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{times:#?}");
    }
}

/// A folder of the node: as this machine and as the node know it.
pub(super) fn folder_of_node(scene: &Scene, name: &str) -> (PathBuf, String) {
    let here = scene.volume("files").join(name);
    fs::create_dir(&here).unwrap();
    let claim = scene.stage.get("pvc/files");
    let volume = claim["spec"]["volumeName"].as_str().unwrap();
    let volume = scene.stage.get(&format!("persistentvolume/{volume}"));
    let of_claim = volume["spec"]["hostPath"]["path"].as_str().unwrap();
    (here, format!("{of_claim}/{name}"))
}

/// Trees of the claims of a StatefulSet, of another seed in each.
pub fn write_all(scene: &Scene, seeds: &[u64]) -> Vec<Tree> {
    let write = |(number, seed): (usize, &u64)| {
        Tree::in_claim(&scene.files(&format!("data-web-{number}")), *seed)
    };
    seeds.iter().enumerate().map(write).collect()
}

/// Empties the claims of a StatefulSet.
pub fn empty_all(scene: &Scene, replicas: usize) {
    for number in 0..replicas {
        scene.files(&format!("data-web-{number}")).edit(empty);
    }
}

pub fn assert_all<'a>(scene: &Scene, trees: impl IntoIterator<Item = &'a Tree>) {
    for (number, tree) in trees.into_iter().enumerate() {
        tree.assert_in_claim(scene, &format!("data-web-{number}"));
    }
}

/// Stock restic reads all of the claim with the repository, and the tree of each host.
fn assert_hosts(scene: &Scene, trees: &[Tree]) {
    let names = ["host-0", "host-1", "host-2"];
    let hosts: Vec<_> = names.into_iter().zip(trees).collect();
    assert_repository(scene, &scene.volume("store"), "/data", &hosts);
}

#[test]
fn every_pod_of_a_stateful_set_is_backed_up_in_turn_and_gets_its_own_files_back() {
    let Some(scene) = Scene::new("replicas") else {
        return;
    };
    stateful_set(&scene, 2);
    let mut trees = write_all(&scene, &[1, 2]);
    let target = reference("apps/v1", "StatefulSet", "web");
    scene.configure(&json!({ "target": {
        "ref": target, "volumeMounts": mounts(), "paths": ["/data"],
    } }));
    assert_eq!(back_up(&scene, "home-1"), ["host-0", "host-1"]);

    // A Pod that appears later takes part in the next session.
    scene
        .stage
        .kubectl(&["scale", "statefulset", "web", "--replicas=3"]);
    rollout(&scene, "statefulset");
    trees.push(Tree::in_claim(&scene.files("data-web-2"), 3));
    assert_eq!(back_up(&scene, "home-2"), ["host-0", "host-1", "host-2"]);
    let snapshots = scene.snapshots();
    assert_eq!(snapshots.as_array().unwrap().len(), 5);
    assert_in_turns(&snapshots);
    assert_hosts(&scene, &trees);

    empty_all(&scene, 3);
    let back = json!({ "target": {
        "ref": target, "volumeMounts": mounts(), "rules": [{ "paths": ["/data"] }],
    } });
    scene.bring_back("back", &back);
    assert_all(&scene, &trees);
    assert_in_templates(&scene, "copy", "/data", &trees.iter().collect::<Vec<_>>());
}

#[test]
fn a_daemon_set_is_backed_up_from_a_folder_of_its_node_to_another_and_back() {
    let Some(scene) = Scene::new("nodes") else {
        return;
    };
    let (logs, logs_of_node) = folder_of_node(&scene, "logs");
    let (safe, safe_of_node) = folder_of_node(&scene, "safe");
    let tree = Tree::new(7);
    tree.write(&logs);
    scene.stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
        "metadata": { "name": "on-node" },
        "spec": { "backend": { "storageSecretName": "keys", "local": {
            "mountPath": "/safe", "subPath": "of/demo",
            "hostPath": { "path": safe_of_node, "type": "Directory" },
        } } },
    }));
    let volumes = json!([{ "name": "data", "hostPath": { "path": logs_of_node } }]);
    workload(&scene, ("apps/v1", "DaemonSet"), &volumes, &json!({}));
    rollout(&scene, "daemonset");
    let target = reference("apps/v1", "DaemonSet", "web");
    let repository = json!({ "name": "on-node" });
    scene.configure(&json!({
        "repository": repository,
        "target": {
            "ref": target, "volumeMounts": mounts(), "paths": ["/data"], "alias": "logs",
        },
        "tempDir": { "medium": "Memory", "sizeLimit": "64Mi" },
    }));
    let pods = scene.stage.kubectl(&[
        "get",
        "pods",
        "--selector=app=web",
        "--output=jsonpath={.items[0].spec.nodeName}",
    ]);
    let host = format!("logs-{}", pods.trim());
    assert_eq!(back_up(&scene, "home-1"), [host.as_str()]);
    assert_repository(&scene, &safe.join("of/demo"), "/data", &[(&host, &tree)]);

    empty(&logs);
    let back = json!({
        "repository": repository,
        "target": {
            "ref": target, "volumeMounts": mounts(), "alias": "logs",
            "rules": [{ "paths": ["/data"] }],
        },
    });
    scene.bring_back("back", &back);
    tree.assert_in(&logs);
    let more = json!({ "repository": repository });
    assert_in_new_claim(&scene, &host, "/data", &tree, &more);
}

#[test]
fn jobs_back_up_a_stateful_set_in_turns_and_nothing_of_it_starts_again() {
    let Some(scene) = Scene::new("jobs") else {
        return;
    };
    stateful_set(&scene, 3);
    let trees = write_all(&scene, &[1, 2, 3]);
    let pods = || {
        let path = "{range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount} {.spec.containers[*].name} {end}";
        let output = format!("--output=jsonpath={path}");
        scene
            .stage
            .kubectl(&["get", "pods", "--selector=app=web", &output])
    };
    let before = pods();
    let generation = || scene.stage.get("statefulset/web")["metadata"]["generation"].clone();
    let generation_before = generation();
    let task = |name: &str| json!({ "name": name });
    let target = reference("apps/v1", "StatefulSet", "web");
    scene.configure(&json!({
        "task": task("pvc-backup"),
        "target": { "ref": target, "volumeMounts": mounts(), "paths": ["/data"] },
        "interimVolumeTemplate": {
            "metadata": { "name": "between" }, "spec": claim("any")["spec"],
        },
    }));
    assert_eq!(back_up(&scene, "home-1"), ["host-0", "host-1", "host-2"]);
    let snapshots = scene.snapshots();
    assert_eq!(snapshots.as_array().unwrap().len(), 3);
    assert_in_turns(&snapshots);
    assert_hosts(&scene, &trees);
    let session = scene.session("home-1");
    let applied = condition(&session, "RetentionPolicyApplied");
    assert_eq!(applied["status"], "True", "{session:#}");

    // The Pods run on while their files come back.
    empty_all(&scene, 3);
    let back = json!({
        "task": task("pvc-restore"),
        "target": { "ref": target, "volumeMounts": mounts(), "rules": [{ "paths": ["/data"] }] },
    });
    scene.bring_back("back", &back);
    assert_all(&scene, &trees);
    assert_in_templates(&scene, "copy", "/data", &trees.iter().collect::<Vec<_>>());
    assert_eq!(pods(), before);
    assert_eq!(generation(), generation_before);
}

#[test]
fn a_claim_keeps_its_own_backups_in_a_folder_that_is_not_backed_up() {
    let Some(scene) = Scene::new("within") else {
        return;
    };
    let files = scene.volume("files");
    let home = files.join("home");
    fs::create_dir(&home).unwrap();
    let tree = Tree::new(1);
    tree.write(&home);
    scene.stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
        "metadata": { "name": "within" },
        "spec": { "backend": { "storageSecretName": "keys", "local": {
            "mountPath": "/safe", "subPath": "kept/safe",
            "persistentVolumeClaim": { "claimName": "files" },
        } } },
    }));
    let target = reference("v1", "PersistentVolumeClaim", "files");
    let configure = |target: Value| {
        scene.configure(&json!({ "repository": { "name": "within" }, "target": target }));
    };
    configure(json!({ "ref": target }));
    scene.start("home-1", &json!({ "retryLeft": 0 }));
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Failed", "{session:#}");
    let conditions = session["status"].to_string();
    let told = "add /stash-data/kept/safe to spec.target.exclude";
    assert!(conditions.contains(told), "{session:#}");

    configure(json!({ "ref": target, "exclude": ["/stash-data/kept"] }));
    assert_eq!(back_up(&scene, "home-2"), ["host-0"]);
    let repository = scene.restic.repository(files.join("kept/safe"), PASSWORD);
    repository.assert_check_is_clean();
    let copy = Scratch::new();
    let to = copy.path().to_str().unwrap();
    repository
        .run(["restore", "latest", "--target", to])
        .assert_success();
    let entries = fs::read_dir(copy.join("stash-data")).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["home"]);
    tree.assert_in(&copy.join("stash-data/home"));

    fs::remove_dir_all(&home).unwrap();
    let back = json!({
        "repository": { "name": "within" },
        "task": { "name": "pvc-restore" },
        "target": { "ref": target, "rules": [{ "paths": ["/stash-data"] }] },
    });
    scene.bring_back("back", &back);
    tree.assert_in(&home);
    repository.assert_check_is_clean();
}

#[test]
fn replicas_without_a_deployment_are_backed_up_once_their_pod_is_new() {
    for (version, kind) in [("apps/v1", "ReplicaSet"), ("v1", "ReplicationController")] {
        let Some(scene) = Scene::new("sets") else {
            return;
        };
        let tree = Tree::in_claim(&scene.files("files"), 5);
        let volumes =
            json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "files" } }]);
        workload(&scene, (version, kind), &volumes, &json!({ "replicas": 1 }));
        scene.configure(&json!({ "target": {
            "ref": reference(version, kind, "web"), "volumeMounts": mounts(), "paths": ["/data"],
        } }));
        let resource = kind.to_lowercase();
        wait_until("the template has the sidecar", PATIENCE, || {
            let object = scene.stage.get(&format!("{resource}/web"));
            object["spec"]["template"]["spec"]["containers"][1]["name"] == "stash"
        });
        // Its controller replaces no Pods when the template changes.
        scene
            .stage
            .kubectl(&["delete", "pods", "--selector=app=web"]);
        assert_eq!(back_up(&scene, "home-1"), ["host-0"]);
        assert_hosts(&scene, &[tree]);
    }
}
