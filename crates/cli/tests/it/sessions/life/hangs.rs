//! Hooks that never end: the session does, by its `timeOut`, and the next one works.

use super::*;

/// How soon after its deadline a session is over.
const BOUND: Duration = Duration::from_secs(20);
/// How soon after that nobody works any more: a hook at the end has 20 seconds.
const QUIET: Duration = Duration::from_secs(40);
const TIME_OUT: Duration = Duration::from_secs(6);

#[test]
fn a_hook_that_never_ends_does_not_outlive_the_deadline() {
    let Some(scene) = Stage::new("hangs", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.serve();
    scene.shell("echo 'dear reader' > /data/letter");
    scene.configure_workload(&json!({ "timeOut": "6s", "backupHistoryLimit": 20 }));
    assert_times_out(&scene, "home-1", &freezing());
    // What was frozen is thawed, although the session is over.
    wait_for_log(&scene, "frozen\nthawed Failed\n");
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

    // A session that is deleted ends at once, and what it froze is thawed.
    scene.change(&json!({ "hooks": freezing() }));
    scene.shell("rm /data/log");
    scene.start("home-5", &json!({}));
    wait_for_log(&scene, "frozen\n");
    scene
        .stage
        .kubectl(&["delete", "backupsession", "home-5", "--wait=false"]);
    wait_for_log(&scene, "frozen\nthawed Failed\n");
    free(&scene);
}

/// Freezes for ever, and thaws.
fn freezing() -> Value {
    json!({
        "preBackup": shell("echo frozen >> /data/log; exec sleep 1000000"),
        "postBackup": post("Always", "echo thawed {{ .Status.Phase }} >> /data/log"),
    })
}

fn wait_for_log(scene: &Scene, text: &str) {
    wait_until(&format!("the log is {text:?}"), PATIENCE, || {
        let namespace = scene.stage.namespace();
        let log = namespace.try_exec("deploy/web", "web", &["cat", "/data/log"]);
        log.stdout == text
    });
}

#[test]
fn a_job_thaws_what_it_froze_although_it_is_late_or_goes() {
    let Some(scene) = Stage::new("frozen", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.serve();
    scene.shell("echo 'dear reader' > /data/letter");
    scene.configure(&json!({
        "target": workload(), "task": { "name": "pvc-backup" }, "backupHistoryLimit": 20,
        "timeOut": "6s", "hooks": freezing(),
    }));
    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(phase(&session), "Failed", "{session:#}");
    let late = condition(&session, "DeadlineExceeded");
    assert_eq!(late["status"], "True", "{session:#}");
    wait_for_log(&scene, "frozen\nthawed Failed\n");
    scene.change(&json!({ "timeOut": "2m" }));
    // The same where the Pod of the Job is taken away.
    scene.shell("rm /data/log");
    scene.start("home-2", &json!({}));
    wait_for_log(&scene, "frozen\n");
    let of_job = "--selector=batch.kubernetes.io/job-name=stash-backup-home-2-0";
    scene
        .stage
        .kubectl(&["delete", "pod", of_job, "--wait=false"]);
    wait_for_log(&scene, "frozen\nthawed Failed\n");
    let session = scene.end("home-2");
    assert_eq!(phase(&session), "Failed", "{session:#}");
    assert_says(
        &session,
        "BackupDisrupted",
        "True",
        &["stash-backup-home-2-0"],
    );
    let hooks = json!({
        "preBackup": shell("echo frozen > /data/log"),
        "postBackup": post("OnSuccess", "echo thawed >> /data/log"),
    });
    let session = scene.session_with("home-3", &hooks);
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    assert_eq!(scene.dump("latest", "/data/log"), "frozen\n");
    assert_eq!(scene.file("log"), "frozen\nthawed\n");
    scene.assert_free();
    restores_end_too(&scene);
}

/// A restore by a Job ends at its deadline as well, whichever of its hooks hangs, and the next one works.
fn restores_end_too(scene: &Scene) {
    let hangs = shell("exec sleep 1000000");
    let task = json!({ "name": "pvc-restore" });
    for (name, hook, letter) in [
        ("back-1", "preRestore", "lost\n"),
        ("back-2", "postRestore", "dear reader\n"),
    ] {
        scene.shell("echo lost > /data/letter");
        let began = Instant::now();
        let hooks = json!({ hook: hangs });
        scene.restore(
            name,
            &json!({ "task": task, "timeOut": "6s", "hooks": hooks }),
        );
        let restore = scene.end_of_restore(name);
        let took = began.elapsed();
        assert_eq!(phase(&restore), "Failed", "{restore:#}");
        let late = condition(&restore, "DeadlineExceeded");
        assert_eq!(late["status"], "True", "{restore:#}");
        assert!(took < TIME_OUT + BOUND, "{name} took {took:?}");
        assert_eq!(scene.file("letter"), letter, "{name}");
        scene.stage.kubectl(&["delete", "restoresession", name]);
    }
    scene.shell("echo lost > /data/letter");
    scene.restore("back-3", &json!({ "task": task }));
    let restore = scene.end_of_restore("back-3");
    assert_eq!(phase(&restore), "Succeeded", "{restore:#}");
    assert_eq!(scene.file("letter"), "dear reader\n");
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
    assert!(began.elapsed() < QUIET, "{:?}", began.elapsed());
}
