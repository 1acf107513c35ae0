//! Pod Security `restricted`: what needs no rights gets none, and what is refused is said with its remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use testkit::cluster::wait_until;

use super::list;
use crate::controllers::stage::{PATIENCE, condition};
use crate::sessions::proof::{Tree, assert_repository, empty};
use crate::sessions::scene::{Scene, claim};

/// The user of the files, and of the workload.
const USER: u32 = 1234;

/// A namespace that refuses what is not `restricted`, and files that belong to a user.
fn scene(title: &str) -> Option<(Scene, Tree)> {
    let scene = Scene::new(title)?;
    scene.stage.kubectl(&[
        "label",
        "namespace",
        scene.stage.name(),
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    let tree = Tree::of_user(3, USER);
    scene.files("files").edit(|folder| tree.write(folder));
    scene.files("store").edit(open_for_all);
    Some((scene, tree))
}

/// Whoever backs up can create the repository.
fn open_for_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
}

/// A Deployment that is admitted: its container says all of it, its Pod nothing.
fn deploy(scene: &Scene) {
    scene.stage.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "type": "Recreate" },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "web", "image": scene.stage.cluster().busybox(),
                        "command": ["sleep", "1000000"],
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                        "securityContext": {
                            "runAsUser": USER, "runAsGroup": USER, "runAsNonRoot": true,
                            "allowPrivilegeEscalation": false,
                            "capabilities": { "drop": ["ALL"] },
                            "seccompProfile": { "type": "RuntimeDefault" },
                        },
                    }],
                    "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "files" } }],
                },
            },
        },
    }));
    scene
        .stage
        .namespace()
        .wait_for_rollout("deployments.apps/web", PATIENCE);
}

#[test]
fn a_claim_of_a_user_is_backed_up_as_that_user() {
    let Some((scene, tree)) = scene("user") else {
        return;
    };
    let as_user = json!({ "pod": { "securityContext": {
        "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
    } } });
    scene.configure(&json!({ "runtimeSettings": as_user }));
    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    let pods = list(&scene, "batch.kubernetes.io/job-name=stash-backup-home-1-0");
    assert_eq!(pods[0]["spec"]["securityContext"]["runAsUser"], USER);
    meets_restricted(&pods[0]["spec"]["containers"][0]);

    let store = scene.volume("store");
    assert_repository(&scene, &store, "/stash-data", &[("host-0", &tree)]);

    // A restore as that user, because the namespace would refuse root.
    scene.files("files").edit(empty);
    let target = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" });
    scene.bring_back(
        "back",
        &json!({ "target": { "ref": target }, "runtimeSettings": as_user }),
    );
    tree.assert_in_claim(&scene, "files");

    // Without the settings the agent is nobody, who may not read the files.
    scene.stage.apply(&claim("other"));
    scene.files("other").edit(open_for_all);
    scene.stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
        "metadata": { "name": "other" },
        "spec": { "backend": {
            "storageSecretName": "keys",
            "local": { "mountPath": "/safe", "persistentVolumeClaim": { "claimName": "other" } },
        } },
    }));
    scene.configure(&json!({ "runtimeSettings": {}, "repository": { "name": "other" } }));
    scene.start("home-2", &json!({}));
    let denied = scene.end("home-2");
    assert_eq!(denied["status"]["phase"], "Failed", "{denied:#}");
    let error = denied["status"]["targets"][0]["stats"][0]["error"].as_str();
    let error = error.unwrap();
    for part in [
        "/stash-data/folder-",
        "the agent runs as user 65534",
        "spec.runtimeSettings.container.securityContext.runAsUser",
        "BackupConfiguration home",
    ] {
        assert!(error.contains(part), "{error}");
    }

    // Where that is expected, the session succeeds and says what is missing.
    let tolerate = "stash.appscode.com/tolerate-unreadable-files=true";
    scene.stage.kubectl(&["annotate", "bc", "home", tolerate]);
    let tolerant = scene.back_up("home-3");
    let stats = &tolerant["status"]["targets"][0]["stats"][0];
    let error = stats["error"].as_str().unwrap();
    assert!(
        error.contains("could not be read and are not in snapshot"),
        "{error}"
    );
    wait_until("the event", PATIENCE, || {
        let events = scene.events("BackupSession", "home-3");
        events.contains(&"FilesNotReadable".to_owned())
    });
}

#[test]
fn a_deployment_that_meets_restricted_gets_a_sidecar_and_a_restore_that_do() {
    let Some((scene, tree)) = scene("admitted") else {
        return;
    };
    deploy(&scene);
    let target = json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data"],
    });
    scene.configure(&json!({ "target": target, "runtimeSettings": {} }));
    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    let template = scene.stage.get("deployment/web")["spec"]["template"]["spec"].clone();
    let sidecar = &template["containers"][1];
    assert_eq!(sidecar["name"], "stash");
    assert_eq!(sidecar["securityContext"]["runAsUser"], USER);
    meets_restricted(sidecar);

    assert_repository(
        &scene,
        &scene.volume("store"),
        "/data",
        &[("host-0", &tree)],
    );
    scene.files("files").edit(empty);
    scene.bring_back(
        "back",
        &json!({ "target": { "ref": target["ref"], "volumeMounts": target["volumeMounts"] } }),
    );
    tree.assert_in_claim(&scene, "files");
    let template = scene.stage.get("deployment/web")["spec"]["template"]["spec"].clone();
    meets_restricted(&template["initContainers"][0]);
    scene.stage.kubectl(&["delete", "restoresession", "back"]);
    scene
        .stage
        .namespace()
        .wait_for_rollout("deployments.apps/web", PATIENCE);
}

#[test]
fn a_job_whose_pod_is_refused_ends_its_session_with_the_reason() {
    let Some((scene, _)) = scene("refused") else {
        return;
    };
    let as_root = json!({ "container": { "securityContext": { "runAsUser": 0 } } });
    scene.configure(&json!({ "runtimeSettings": as_root }));
    scene.stage.apply(&claim("other"));
    scene.stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
        "metadata": { "name": "back" },
        "spec": {
            "repository": { "name": "repo" },
            "target": { "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "other" } },
        },
    }));
    scene.start("home-1", &json!({}));
    wait_until("the restore ends", PATIENCE, || {
        scene.stage.get("restoresession/back")["status"]["phase"] == "Failed"
    });
    let restore = scene.stage.get("restoresession/back");
    explains(&restore["status"]["stats"][0]["error"]);
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Failed", "{session:#}");
    let target = json!({ "status": session["status"]["targets"][0] });
    explains(&condition(&target, "BackupDisrupted")["message"]);
}

/// What was refused, why, and where that is set.
fn explains(message: &Value) {
    let message = message.as_str().unwrap();
    for part in ["Job stash-", "violates PodSecurity", "spec.runtimeSettings"] {
        assert!(message.contains(part), "{message}");
    }
}

fn meets_restricted(container: &Value) {
    let security = &container["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }));
    assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(security["runAsNonRoot"], true);
}
