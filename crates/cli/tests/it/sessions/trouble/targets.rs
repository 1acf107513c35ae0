//! Targets and Repositories that go while they are used, and a workload that two want.

use super::*;

/// What goes is noticed within this time.
const SOON: Duration = Duration::from_secs(20);

const SLOW: &[&str] = &[
    "sh",
    "-c",
    "touch /data/begun; while [ ! -e /data/go ]; do sleep 0.2; done",
];

fn workload() -> Value {
    json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data"],
    })
}

fn waits_for(scene: &Scene, session: &str) {
    wait_until("the backup is at work", PATIENCE, || {
        let session = scene.session(session);
        session["status"]["targets"][0]["progress"][0]["hostname"] == "host-0"
    });
}

#[test]
fn a_workload_that_two_want_or_that_goes_while_it_is_backed_up() {
    let Some(scene) = Stage::new("targets", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let stage = &scene.stage;
    scene.write("letter", "dear reader");
    scene.deploy();
    let hooks = json!({ "preBackup": { "containerName": "web", "exec": { "command": SLOW } } });
    scene.configuration("older", "repo", &json!({ "target": workload() }));
    scene.heals("bc/older", "StashSidecarInjected");
    scene.configuration(
        "z-newer",
        "repo",
        &json!({ "target": workload(), "hooks": hooks }),
    );
    let lost = "the Deployment web belongs to the BackupConfiguration z-newer, which is newer; a workload carries one sidecar: delete one of the two";
    scene.says("bc/older", "StashSidecarInjected", lost);
    scene.start_of("older", "older-1");
    scene.ends("older-1", "Failed", lost);

    scene.heals("bc/z-newer", "StashSidecarInjected");
    stage
        .namespace()
        .wait_for_rollout("deployments.apps/web", PATIENCE);
    scene.start_of("z-newer", "newer-1");
    waits_for(&scene, "newer-1");
    let began = Instant::now();
    stage.kubectl(&["delete", "deployment", "web", "--wait=false"]);
    scene.says("bc/z-newer", "BackupTargetFound", "spec.target.ref names the Deployment web, which does not exist in this namespace or is being deleted; create it, or correct the name");
    scene.ends(
        "newer-1",
        "Failed",
        "that worked for host host-0 is gone; the Deployment web was deleted while the session ran",
    );
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    stage.kubectl(&["delete", "bc", "z-newer"]);
    scene.deploy();
    scene.heals("bc/older", "BackupTargetFound");
    scene.heals("bc/older", "StashSidecarInjected");
    scene.succeed("older", "older-2");
}

#[test]
fn a_claim_or_a_repository_that_goes_while_it_is_used() {
    let Some(scene) = Stage::new("gone", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let stage = &scene.stage;
    scene.write("letter", "dear reader");
    scene.deploy();
    let hooks = json!({ "preBackup": { "containerName": "web", "exec": { "command": SLOW } } });
    let by_job = json!({ "task": { "name": "pvc-backup" }, "target": workload(), "hooks": hooks });
    scene.configuration("home", "repo", &by_job);
    scene.configuration("claim", "repo", &json!({}));
    scene.phase("bc/home", "Ready");
    scene.phase("bc/claim", "Ready");
    scene.start_of("home", "home-1");
    waits_for(&scene, "home-1");
    let backend = stage.get("repository/repo")["spec"]["backend"].clone();
    let began = Instant::now();
    stage.kubectl(&["delete", "pvc", "files", "--wait=false"]);
    stage.kubectl(&["delete", "repository", "repo"]);
    // The claim is there as long as Pods have it.
    let no_claim = "spec.target.ref names the PersistentVolumeClaim files, which does not exist in this namespace or is being deleted; create it, or correct the name";
    scene.says("bc/claim", "BackupTargetFound", no_claim);
    let no_repository = "spec.repository names the Repository NAMESPACE/repo, which does not exist; create it, or correct the name or namespace";
    for name in ["home", "claim"] {
        scene.says(&format!("bc/{name}"), "RepositoryFound", no_repository);
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    stage
        .namespace()
        .exec("deploy/web", "", &["touch", "/data/go"]);
    let session = scene.end("home-1");
    // What has begun goes on with what it knows.
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");

    // A finished Pod keeps its claim until its Job goes.
    stage.kubectl(&["delete", "backupsession", "home-1"]);
    stage.kubectl(&["delete", "deployment", "web"]);
    wait_until("the claim is gone", PATIENCE, || {
        stage.find("pvc/files").is_none()
    });
    stage.apply(&claim("files"));
    stage.apply(&repository("repo", &backend));
    scene.heals("bc/claim", "BackupTargetFound");
    scene.write("letter", "dear reader");
    scene.phase("bc/claim", "Ready");
    scene.succeed("claim", "claim-1");
    stage.merge("bc/home", r#"{"spec":{"hooks":null}}"#);
    scene.deploy();
    scene.heals("bc/home", "BackupTargetFound");
    scene.phase("bc/home", "Ready");
    scene.succeed("home", "home-2");
    assert_eq!(scene.snapshots().as_array().unwrap().len(), 3);
}
