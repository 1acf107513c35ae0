//! What is backed up by whom: workloads of many Pods by their sidecars and by Jobs, volumes of nodes and claims.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::cluster::{wait_for, wait_until};

use super::scene::{PASSWORD, Scene, claim};
use crate::controllers::stage::{PATIENCE, condition};

/// Files of a folder by their names.
type Files = BTreeMap<String, Vec<u8>>;

/// What a Pod of a number has: something of its own, something that all have, and a folder.
fn contents(number: usize) -> Files {
    let seed = u32::try_from(number).unwrap() + 1;
    let noise = (0..3_000_000u32).map(|it| it.wrapping_mul(seed.wrapping_mul(2_654_435_761)));
    Files::from([
        (
            "own".to_owned(),
            noise.map(|it| it.to_be_bytes()[1]).collect(),
        ),
        ("below/number".to_owned(), number.to_string().into_bytes()),
        ("shared".to_owned(), b"the same everywhere".to_vec()),
    ])
}

fn write(folder: &Path, files: &Files) {
    fs::create_dir_all(folder.join("below")).unwrap();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    for name in ["own", "shared", "below/number"] {
        if let Ok(bytes) = fs::read(folder.join(name)) {
            files.insert(name.to_owned(), bytes);
        }
    }
    files
}

fn empty(folder: &Path) {
    fs::remove_dir_all(folder.join("below")).unwrap();
    fs::remove_file(folder.join("own")).unwrap();
    fs::remove_file(folder.join("shared")).unwrap();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

fn reference(version: &str, kind: &str, name: &str) -> Value {
    json!({ "apiVersion": version, "kind": kind, "name": name })
}

fn mounts() -> Value {
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

/// A StatefulSet of three Pods with a claim each.
fn stateful_set(scene: &Scene) {
    let changes = json!({
        "replicas": 3, "serviceName": "web", "podManagementPolicy": "Parallel",
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
    scene.start(name, &json!({}));
    let session = scene.end(name);
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    hosts(&session)
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

/// A restore that succeeds.
fn restore(scene: &Scene, name: &str, spec: &Value) {
    let mut object = json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
        "metadata": { "name": name },
        "spec": { "repository": { "name": "repo" } },
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    scene.stage.apply(&object);
    let restore = wait_for("the end of the restore", PATIENCE, || {
        let restore = scene.stage.get(&format!("restoresession/{name}"));
        let phase = restore["status"]["phase"].as_str().unwrap_or_default();
        ["Succeeded", "Failed", "Invalid"]
            .contains(&phase)
            .then_some(restore)
    });
    assert_eq!(restore["status"]["phase"], "Succeeded", "{restore:#}");
}

/// Stock restic reads all of a repository, and finds nobody at work.
fn check(scene: &Scene, folder: &Path) {
    let repository = scene.restic.repository(folder, PASSWORD);
    let checked = repository.run(["check", "--read-data"]);
    checked.assert_success();
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

#[test]
fn every_pod_of_a_stateful_set_is_backed_up_in_turn_and_gets_its_own_files_back() {
    let Some(scene) = Scene::new("replicas") else {
        return;
    };
    stateful_set(&scene);
    let folder = |number: usize| scene.volume(&format!("data-web-{number}"));
    for number in 0..3 {
        write(&folder(number), &contents(number));
    }
    let target = reference("apps/v1", "StatefulSet", "web");
    scene.configure(&json!({ "target": {
        "ref": target, "volumeMounts": mounts(), "paths": ["/data"],
    } }));
    assert_eq!(back_up(&scene, "home-1"), ["host-0", "host-1", "host-2"]);

    // A Pod that appears later takes part in the next session.
    scene
        .stage
        .kubectl(&["scale", "statefulset", "web", "--replicas=4"]);
    rollout(&scene, "statefulset");
    write(&folder(3), &contents(3));
    assert_eq!(
        back_up(&scene, "home-2"),
        ["host-0", "host-1", "host-2", "host-3"]
    );
    check(&scene, &scene.volume("store"));
    let snapshots = scene.snapshots();
    assert_eq!(snapshots.as_array().unwrap().len(), 7);
    assert_in_turns(&snapshots);

    for number in 0..4 {
        empty(&folder(number));
    }
    restore(
        &scene,
        "back",
        &json!({ "target": {
            "ref": target, "volumeMounts": mounts(), "rules": [{ "paths": ["/data"] }],
        } }),
    );
    for number in 0..4 {
        assert!(read(&folder(number)) == contents(number), "of Pod {number}");
    }

    // Rules send what one host had to all.
    rollout(&scene, "statefulset");
    scene.stage.kubectl(&["delete", "restoresession", "back"]);
    for number in 0..4 {
        empty(&folder(number));
    }
    let rules = json!([{ "targetHosts": [], "sourceHost": "host-0", "paths": ["/data"] }]);
    restore(
        &scene,
        "spread",
        &json!({ "target": {
            "ref": target, "volumeMounts": mounts(), "rules": rules,
        } }),
    );
    for number in 0..4 {
        assert!(read(&folder(number)) == contents(0), "of Pod {number}");
    }
}

#[test]
fn a_daemon_set_is_backed_up_from_a_folder_of_its_node_to_another_and_back() {
    let Some(scene) = Scene::new("nodes") else {
        return;
    };
    let (logs, logs_of_node) = folder_of_node(&scene, "logs");
    let (safe, safe_of_node) = folder_of_node(&scene, "safe");
    write(&logs, &contents(7));
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
    scene.configure(&json!({
        "repository": { "name": "on-node" },
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
    assert_eq!(back_up(&scene, "home-1"), [format!("logs-{}", pods.trim())]);
    check(&scene, &safe.join("of/demo"));

    empty(&logs);
    restore(
        &scene,
        "back",
        &json!({
            "repository": { "name": "on-node" },
            "target": {
                "ref": target, "volumeMounts": mounts(), "alias": "logs",
                "rules": [{ "paths": ["/data"] }],
            },
        }),
    );
    assert!(read(&logs) == contents(7));
}

#[test]
fn jobs_back_up_a_stateful_set_in_turns_and_nothing_of_it_starts_again() {
    let Some(scene) = Scene::new("jobs") else {
        return;
    };
    stateful_set(&scene);
    for number in 0..3 {
        let folder = scene.volume(&format!("data-web-{number}"));
        write(&folder, &contents(number));
    }
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
    scene.configure(&json!({
        "task": { "name": "pvc-backup" },
        "target": {
            "ref": reference("apps/v1", "StatefulSet", "web"), "volumeMounts": mounts(),
            "paths": ["/data"],
        },
        "interimVolumeTemplate": {
            "metadata": { "name": "between" }, "spec": claim("any")["spec"],
        },
    }));
    assert_eq!(back_up(&scene, "home-1"), ["host-0", "host-1", "host-2"]);
    assert_eq!(pods(), before);
    assert_eq!(generation(), generation_before);
    let snapshots = scene.snapshots();
    assert_eq!(snapshots.as_array().unwrap().len(), 3);
    assert_in_turns(&snapshots);
    let store = scene.volume("store");
    check(&scene, &store);
    let copy = testkit::Scratch::new();
    let repository = scene.restic.repository(&store, PASSWORD);
    for number in 0..3 {
        let to = copy.path().join(number.to_string());
        let host = format!("host-{number}");
        repository
            .run([
                "restore",
                "latest",
                "--host",
                &host,
                "--target",
                to.to_str().unwrap(),
            ])
            .assert_success();
        assert!(read(&to.join("data")) == contents(number), "of {host}");
    }
    let session = scene.session("home-1");
    let applied = condition(&session, "RetentionPolicyApplied");
    assert_eq!(applied["status"], "True", "{session:#}");
}

#[test]
fn a_claim_keeps_its_own_backups_in_a_folder_that_is_not_backed_up() {
    let Some(scene) = Scene::new("within") else {
        return;
    };
    let files = scene.volume("files");
    write(&files, &contents(1));
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
    let safe = files.join("kept/safe");
    check(&scene, &safe);
    let repository = scene.restic.repository(&safe, PASSWORD);
    let listed = repository.run(["ls", "latest", "--no-lock"]);
    listed.assert_success();
    assert!(
        !listed.stdout_text().contains("kept"),
        "{}",
        listed.stdout_text()
    );

    fs::remove_file(files.join("own")).unwrap();
    restore(
        &scene,
        "back",
        &json!({
            "repository": { "name": "within" },
            "task": { "name": "pvc-restore" },
            "target": { "ref": target, "rules": [{ "paths": ["/stash-data"] }] },
        }),
    );
    assert!(read(&files) == contents(1));
    check(&scene, &safe);
}

#[test]
fn replicas_without_a_deployment_are_backed_up_once_their_pod_is_new() {
    for (version, kind) in [("apps/v1", "ReplicaSet"), ("v1", "ReplicationController")] {
        let Some(scene) = Scene::new("sets") else {
            return;
        };
        write(&scene.volume("files"), &contents(5));
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
        assert_eq!(scene.snapshots()[0]["paths"][0], "/data");
        check(&scene, &scene.volume("store"));
    }
}
