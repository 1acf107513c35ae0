//! Hooks that never end: the session does, by its `timeOut`, and the next one works.

use super::*;

/// How soon after its deadline a session is over.
const BOUND: Duration = Duration::from_secs(20);
const TIME_OUT: Duration = Duration::from_secs(6);

#[test]
fn a_hook_that_never_ends_does_not_outlive_the_deadline() {
    let Some(scene) = Stage::new("hangs", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.serve();
    scene.shell("echo 'dear reader' > /data/letter");
    scene.configure_workload(&json!({ "timeOut": "6s", "backupHistoryLimit": 20 }));
    let thaw = post("Always", "rm /data/frozen; echo thawed >> /data/log");
    let hooks = json!({
        "preBackup": shell("echo frozen | tee /data/frozen >> /data/log; exec sleep 1000000"),
        "postBackup": thaw,
    });
    assert_times_out(&scene, "home-1", &hooks);
    // What was frozen is thawed, although the session is over.
    wait_until("the hook after the backup has run", PATIENCE, || {
        scene.file("log") == "frozen\nthawed\n"
    });
    free(&scene);
    let request = json!({ "httpGet": { "path": "/cgi-bin/never", "port": 8080 } });
    assert_times_out(&scene, "home-2", &json!({ "preBackup": request }));
    free(&scene);
    let hooks = json!({ "postBackup": post("Always", "exec sleep 1000000") });
    assert_times_out(&scene, "home-3", &hooks);
    free(&scene);
    assert_eq!(scene.count(), 1, "only the third came to its backup");

    scene.change(&json!({ "timeOut": "2m" }));
    let session = scene.session_with("home-4", &json!({}));
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    assert_eq!(scene.dump("latest", "/data/letter"), "dear reader\n");
    scene.assert_free();
}

#[test]
fn a_job_thaws_what_it_froze_although_its_session_is_late() {
    let Some(scene) = Stage::new("frozen", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.serve();
    scene.shell("echo 'dear reader' > /data/letter");
    let hooks = json!({
        "preBackup": shell("echo frozen >> /data/log; exec sleep 1000000"),
        "postBackup": post("Always", "echo thawed after {{ .Status.Error }} >> /data/log"),
    });
    scene.configure(&json!({
        "target": workload(), "task": { "name": "pvc-backup" }, "backupHistoryLimit": 20,
        "timeOut": "6s", "hooks": hooks,
    }));
    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(phase(&session), "Failed", "{session:#}");
    let late = condition(&session, "DeadlineExceeded");
    assert_eq!(late["status"], "True", "{session:#}");
    wait_until("the Job has thawed the application", PATIENCE, || {
        let log = scene.file("log");
        log.starts_with("frozen\nthawed after")
    });
    scene.change(&json!({ "timeOut": "2m" }));
    let hooks = json!({
        "preBackup": shell("echo frozen > /data/log"),
        "postBackup": post("OnSuccess", "echo thawed >> /data/log"),
    });
    let session = scene.session_with("home-2", &hooks);
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    assert_eq!(scene.dump("latest", "/data/log"), "frozen\n");
    assert_eq!(scene.file("log"), "frozen\nthawed\n");
    scene.assert_free();
}

fn assert_times_out(scene: &Scene, name: &str, hooks: &Value) {
    let began = Instant::now();
    let session = scene.session_with(name, hooks);
    let took = began.elapsed();
    assert_eq!(phase(&session), "Failed", "{session:#}");
    let late = condition(&session, "DeadlineExceeded");
    assert_eq!(late["status"], "True", "{session:#}");
    assert!(took < TIME_OUT + BOUND, "{name} took {took:?}");
}

/// The Lease of the workload is given back: a next session need not wait for it.
fn free(scene: &Scene) {
    let began = Instant::now();
    wait_until("the Lease is free", PATIENCE, || {
        let leases = scene.stage.kubectl(&["get", "leases", "--output", "json"]);
        let leases: Value = serde_json::from_str(&leases).unwrap();
        let leases = leases["items"].as_array().unwrap();
        assert!(!leases.is_empty());
        let holder = |it: &Value| {
            let holder = it["spec"]["holderIdentity"].as_str();
            holder.unwrap_or_default().to_owned()
        };
        leases.iter().all(|it| holder(it).is_empty())
    });
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}
