//! Repositories on volumes of Pods that nobody else has, or that cannot be mounted.

use std::fs;

use serde_json::{Value, json};
use testkit::cluster::wait_until;

use super::scene::{PASSWORD, Scene};
use crate::controllers::stage::{PATIENCE, Stage, condition};

const KEY: &str = "/data/key";

fn repository(scene: &Scene, local: &Value) {
    scene.stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
        "metadata": { "name": "fleeting" },
        "spec": { "backend": { "storageSecretName": "keys", "local": local } },
    }));
}

#[test]
fn files_in_an_empty_dir_come_back_as_long_as_their_pod_lives() {
    let Some(scene) = Stage::new("empty-dir", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let noise: Vec<u8> = (0..3_000_000u32)
        .map(|it| it.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect();
    scene.files("files").edit(|folder| {
        fs::create_dir_all(folder.join("files/below")).unwrap();
        fs::write(folder.join("files/below/noise"), &noise).unwrap();
        fs::write(folder.join("key"), PASSWORD).unwrap();
    });
    scene.deploy();
    // A place within the data would be backed up with it.
    repository(
        &scene,
        &json!({ "mountPath": "/data/files/safe", "emptyDir": {} }),
    );
    let target = json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data/files"],
    });
    scene.configure(&json!({ "repository": { "name": "fleeting" }, "target": target }));
    let refused = scene
        .stage
        .wait_for("home", "StashSidecarInjected", "False");
    assert_eq!(
        refused["message"],
        "/data/files holds the Repository fleeting, which is mounted there, so that every backup would contain all earlier ones; add /data/files/safe to spec.target.exclude, name other folders in spec.target.paths, or change the mountPath of the local backend"
    );
    repository(&scene, &json!({ "mountPath": "/safe", "emptyDir": {} }));
    scene.stage.wait_for("home", "StashSidecarInjected", "True");
    let namespace = scene.stage.namespace();
    namespace.wait_for_rollout("deployments.apps/web", PATIENCE);

    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    let files = scene.files("files");
    files.edit(|folder| fs::remove_dir_all(folder.join("files/below")).unwrap());
    let stash = |arguments: &[&str]| {
        let repository = ["/stash", "--repo", "/safe", "--password-file", KEY];
        let command = [&repository[..], arguments].concat();
        namespace.exec("deploy/web", "stash", &command)
    };
    stash(&["restore", "latest", "--target", "/"]);
    stash(&["check", "--read-data"]);
    let restored = files.look(|folder| fs::read(folder.join("files/below/noise")).unwrap());
    assert!(restored == noise, "{} bytes", restored.len());

    // A new Pod has none of it, which is no reason to begin anew unasked.
    scene
        .stage
        .kubectl(&["rollout", "restart", "deployment", "web"]);
    namespace.wait_for_rollout("deployments.apps/web", PATIENCE);
    scene.start("home-2", &json!({ "retryLeft": 0 }));
    let session = scene.end("home-2");
    assert_eq!(session["status"]["phase"], "Failed", "{session:#}");
    let gone = condition(&session, "BackendRepositoryInitialized");
    let remedy = "`stash -r /safe init` makes a new one";
    assert!(
        gone["message"].as_str().unwrap().ends_with(remedy),
        "{session:#}"
    );
    stash(&["init"]);
    scene.start("home-3", &json!({}));
    let session = scene.end("home-3");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    let snapshots: Value = serde_json::from_str(&stash(&["snapshots", "--json"])).unwrap();
    assert_eq!(snapshots.as_array().unwrap().len(), 1, "{snapshots:#}");
}

#[test]
fn a_share_that_cannot_be_mounted_ends_the_session_with_the_reason() {
    let Some(scene) = Stage::new("share", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    // No name server knows it, so that a node that can mount shares says so at once as well.
    let share = json!({ "server": "nowhere.invalid", "path": "/export" });
    repository(
        &scene,
        &json!({ "mountPath": "/safe", "subPath": "of/demo", "nfs": share }),
    );
    scene.configure(&json!({ "repository": { "name": "fleeting" }, "timeOut": "20s" }));
    scene.start("home-1", &json!({ "retryLeft": 0 }));
    let job = "job/stash-backup-home-1-0";
    wait_until("the Job is there", PATIENCE, || {
        scene.stage.find(job).is_some()
    });
    let pod = scene.stage.get(job)["spec"]["template"]["spec"].clone();
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = json!({ "name": "stash-local", "nfs": share });
    assert!(volumes.contains(&volume), "{volumes:#?}");
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = json!({ "name": "stash-local", "mountPath": "/safe", "subPath": "of/demo" });
    assert!(mounts.contains(&mount), "{mounts:#?}");

    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Failed", "{session:#}");
    let late = condition(&session, "DeadlineExceeded");
    let message = late["message"].as_str().unwrap_or_default();
    for part in [
        "within spec.timeOut of 20s: the Pod stash-backup-home-1-0-",
        "waits (FailedMount)",
        "\"stash-local\"",
        "nowhere.invalid:/export",
    ] {
        assert!(message.contains(part), "{session:#}");
    }
    wait_until("the Job is gone", PATIENCE, || {
        scene.stage.find(job).is_none()
    });

    // A place that is there works.
    scene.configure_as("other", &json!({}));
    let other = json!({ "kind": "BackupConfiguration", "name": "other" });
    scene.start("other-1", &json!({ "invoker": other }));
    let session = scene.end("other-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
}
