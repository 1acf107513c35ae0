//! Sessions that fail and are repeated, and which sessions stay.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

const DELAY: i64 = 6;

#[test]
fn a_failed_session_is_repeated_after_its_delay_until_the_cause_is_gone() {
    let Some(scene) = Stage::new("retries", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.serve();
    scene.configure_workload(&json!({
        "retryConfig": { "maxRetry": 2, "delay": "6s" },
        "backupHistoryLimit": 20,
        "hooks": {
            "preBackup": shell("test -e /data/go"),
            "postBackup": post("OnFinalRetryFailure", "echo {{ .Name }} {{ .RetryLeft }} >> /data/final"),
        },
    }));
    scene.start("home-1", &json!({ "retryLeft": 2 }));
    let second = repetition(&scene, "home-1");
    assert_eq!(phase(&scene.end(&second)), "Failed");
    scene.shell("touch /data/final; echo gone > /data/go");
    let third = repetition(&scene, &second);
    let session = scene.end(&third);
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    assert_eq!(session["spec"]["retryLeft"], 0);
    assert_eq!(scene.dump("latest", "/data/go"), "gone\n");
    assert_eq!(scene.file("final"), "", "the last repetition did not fail");
    assert_eq!(scene.count(), 1);

    // The last one that fails ends it.
    scene.shell("rm /data/go");
    scene.start("home-2", &json!({ "retryLeft": 0 }));
    let session = scene.end("home-2");
    assert_eq!(phase(&session), "Failed", "{session:#}");
    assert_eq!(session["status"]["nextRetry"], Value::Null);
    assert_eq!(session["status"]["retried"], Value::Null);
    assert_eq!(scene.file("final"), "home-2 0\n");
    history(&scene, &third);
}

#[test]
fn a_job_that_may_not_write_is_repeated_when_it_may() {
    let Some(scene) = Scene::new("writable") else {
        return;
    };
    scene.write("letter", "dear reader");
    let allow = |claim, mode| {
        let mode = Permissions::from_mode(mode);
        fs::set_permissions(scene.volume(claim), mode).unwrap();
    };
    allow("files", 0o755);
    allow("store", 0o700);
    let ordinary = json!({ "securityContext": { "runAsUser": 65534, "runAsNonRoot": true } });
    scene.configure(&json!({
        "runtimeSettings": { "container": ordinary },
        "retryConfig": { "maxRetry": 1, "delay": "4s" },
    }));
    scene.start("home-1", &json!({ "retryLeft": 1 }));
    let failed = scene.end("home-1");
    assert_eq!(phase(&failed), "Failed", "{failed:#}");
    let initialised = condition(&failed, "BackendRepositoryInitialized");
    assert_eq!(initialised["status"], "False", "{failed:#}");
    let why = initialised["message"].as_str().unwrap();
    assert!(why.contains("/safe") && why.contains("denied"), "{why}");
    allow("store", 0o777);
    let next = time(&failed["status"]["nextRetry"]);
    let session = scene.end_of(&format!("home-{next}"));
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    assert_eq!(scene.dump("latest", "/stash-data/letter"), "dear reader");
    scene.assert_free();
}

/// The session that repeats a failed one, as soon as it is there.
fn repetition(scene: &Scene, name: &str) -> String {
    let failed = scene.end(name);
    assert_eq!(phase(&failed), "Failed", "{failed:#}");
    assert_says(&failed, PRE, "False", &["exit status: 1"]);
    assert_says(&failed, POST, "True", &["left out", "OnFinalRetryFailure"]);
    let left = failed["spec"]["retryLeft"].as_i64().unwrap();
    let known: BTreeSet<String> = names(scene);
    let next = time(&failed["status"]["nextRetry"]);
    let cleaned = condition(&failed, "BackupHistoryCleaned");
    let ended = time(&cleaned["lastTransitionTime"]);
    assert!((next - ended - DELAY).abs() <= 1, "{failed:#}");
    let name_of_next = format!("home-{next}");
    assert!(!known.contains(&name_of_next), "{known:?}");
    let session = wait_for("the repetition", PATIENCE, || {
        scene.stage.find(&format!("backupsession/{name_of_next}"))
    });
    assert!(
        time(&session["metadata"]["creationTimestamp"]) >= next,
        "{session:#}"
    );
    assert_eq!(session["spec"]["retryLeft"], left - 1);
    let labels = &session["metadata"]["labels"];
    assert_eq!(
        labels["stash.appscode.com/invoker-type"],
        "BackupConfiguration"
    );
    assert_eq!(labels["stash.appscode.com/invoker-name"], "home");
    assert_eq!(session["metadata"]["ownerReferences"][0]["name"], "home");
    wait_until("the failed session knows", PATIENCE, || {
        scene.session(name)["status"]["retried"] == true
    });
    let more: Vec<String> = names(scene).difference(&known).cloned().collect();
    assert_eq!(more, [name_of_next.as_str()]);
    name_of_next
}

/// Of the sessions so far: the last two, then the last good and the last bad, then none; snapshots stay.
fn history(scene: &Scene, good: &str) {
    scene.change(&json!({ "backupHistoryLimit": 1, "retryConfig": null }));
    scene.start("home-3", &json!({}));
    scene.end("home-3");
    let wanted = BTreeSet::from([good.to_owned(), "home-3".to_owned()]);
    wait_until("the last good and the last bad stay", PATIENCE, || {
        names(scene) == wanted
    });
    scene.change(&json!({ "hooks": null, "backupHistoryLimit": 0 }));
    let before = scene.count();
    scene.start("home-4", &json!({}));
    wait_until("no session stays", PATIENCE, || names(scene).is_empty());
    assert_eq!(scene.count(), before + 1);
    scene.assert_free();
}

fn names(scene: &Scene) -> BTreeSet<String> {
    let sessions = scene.sessions();
    let name = |it: &Value| it["metadata"]["name"].as_str().unwrap().to_owned();
    sessions.iter().map(name).collect()
}
