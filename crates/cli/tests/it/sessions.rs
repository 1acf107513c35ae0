//! Sessions from their object to their end on a real cluster: the operator of this machine, agents in real Pods, data
//! judged by stock restic. Every test is skipped, with a line that says so, where there is no cluster.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::cluster::{wait_for, wait_until};

mod hosts;
mod landing;
mod life;
mod local;
mod policy;
mod proof;
mod rules;
pub mod scene;
mod settings;
mod sources;
mod stores;
mod trouble;
mod workloads;

use proof::{Tree, assert_in_new_claim, assert_in_templates, assert_repository, empty};
use scene::Scene;

use crate::controllers::stage::{PATIENCE, Stage, condition};

#[test]
fn a_claim_is_backed_up_by_a_job_and_restored_into_a_new_claim() {
    let Some(scene) = Stage::new("claim", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let tree = Tree::in_claim(&scene.files("files"), 1);
    scene.configure(&json!({}));
    let session = scene.back_up("home-1");
    let target = &session["status"]["targets"][0];
    assert_eq!(target["stats"][0]["hostname"], "host-0");
    assert_eq!(target["phase"], "Succeeded");
    assert_eq!(session["metadata"]["ownerReferences"][0]["name"], "home");
    scene.files("store").look(|folder| {
        assert_repository(&scene, folder, "/stash-data", &[("host-0", &tree)]);
    });
    wait_until("the events are written", PATIENCE, || {
        scene.events("BackupSession", "home-1") == ["BackupSucceeded", "HostBackupSucceeded"]
    });

    assert_in_templates(&scene, "copy", "/stash-data", &[&tree]);
    // The claim outlives the RestoreSession.
    scene.stage.kubectl(&["delete", "restoresession", "copy"]);
    let claim = scene.stage.get("pvc/copy-0");
    assert_eq!(claim["metadata"]["ownerReferences"], Value::Null);

    scene.files("files").edit(empty);
    let target = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" });
    scene.bring_back("back", &json!({ "target": { "ref": target } }));
    tree.assert_in_claim(&scene, "files");
}

#[test]
fn a_deployment_is_backed_up_by_its_sidecar_and_restored_by_an_init_container() {
    let Some(scene) = Stage::new("deployment", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let tree = Tree::in_claim(&scene.files("files"), 2);
    scene.deploy();
    let target = json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data"],
    });
    let hooks = json!({ "preBackup": { "containerName": "web", "exec": {
        "command": ["sh", "-c", "echo hooked > /data/hook"],
    } } });
    scene.configure(&json!({ "target": target, "hooks": hooks }));
    scene.back_up("home-1");
    let add = |folder: &Path| tree.add(folder, "hook", "hooked\n");
    scene.files("files").look(add);
    tree.assert_in_claim(&scene, "files");
    scene.files("store").look(|folder| {
        assert_repository(&scene, folder, "/data", &[("host-0", &tree)]);
    });

    scene.files("files").edit(empty);
    let back =
        json!({ "target": { "ref": target["ref"], "volumeMounts": target["volumeMounts"] } });
    scene.bring_back("back", &back);
    tree.assert_in_claim(&scene, "files");
    assert_in_new_claim(&scene, "host-0", "/data", &tree, &json!({}));
    scene
        .stage
        .namespace()
        .wait_for_rollout("deployments.apps/web", PATIENCE);
}

#[test]
fn sessions_that_cannot_go_on_end_with_the_reason() {
    let Some(scene) = Stage::new("endings", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.deploy();
    let target = json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data"],
    });
    let hooks = json!({ "preBackup": { "exec": { "command": ["sleep", "1000"] } } });
    let slow = json!({ "task": { "name": "pvc-backup" }, "target": target, "hooks": hooks });
    let with = |field: &str, value: Value| {
        let mut changes = slow.clone();
        changes[field] = value;
        changes
    };
    scene.configure(&with("timeOut", json!("20s")));
    scene.start("home-1", &json!({ "retryLeft": 0 }));
    wait_until("the Job is there", PATIENCE, || {
        scene.stage.find("job/stash-backup-home-1-0").is_some()
    });
    scene.start("home-2", &json!({}));
    let second = scene.end("home-2");
    assert_eq!(second["status"]["phase"], "Skipped", "{second:#}");
    let first = scene.end("home-1");
    assert_eq!(first["status"]["phase"], "Failed", "{first:#}");
    let late = condition(&first, "DeadlineExceeded");
    assert_eq!(late["status"], "True", "{first:#}");
    wait_until("the Job is gone", PATIENCE, || {
        scene.stage.find("job/stash-backup-home-1-0").is_none()
    });

    let retry = json!({ "maxRetry": 1, "delay": "1s" });
    scene.configure(&with("retryConfig", retry));
    scene.start("home-3", &json!({ "retryLeft": 1 }));
    wait_until("the Job is there", PATIENCE, || {
        scene.stage.find("job/stash-backup-home-3-0").is_some()
    });
    scene
        .stage
        .kubectl(&["delete", "job", "stash-backup-home-3-0", "--wait=false"]);
    let third = scene.end("home-3");
    assert_eq!(third["status"]["phase"], "Failed", "{third:#}");
    let disrupted = condition(
        &json!({ "status": third["status"]["targets"][0] }),
        "BackupDisrupted",
    );
    assert_eq!(disrupted["status"], "True", "{third:#}");
    let retried = wait_for("the session is repeated", PATIENCE, || {
        let all = scene
            .stage
            .kubectl(&["get", "backupsessions", "--output", "json"]);
        let all: Value = serde_json::from_str(&all).unwrap();
        let all = all["items"].as_array().unwrap().clone();
        all.into_iter().find(|it| {
            let name = it["metadata"]["name"].as_str().unwrap();
            !["home-1", "home-2", "home-3"].contains(&name)
        })
    });
    assert_eq!(retried["spec"]["retryLeft"], 0, "{retried:#}");
    // Without the invoker there is nothing to end: its sessions go with it.
    scene.stage.kubectl(&["delete", "bc", "home"]);
    wait_until("the sessions are gone", Duration::from_mins(1), || {
        let names = scene
            .stage
            .kubectl(&["get", "backupsessions", "--output", "name"]);
        names.trim().is_empty()
    });
}
