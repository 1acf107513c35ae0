//! Sessions that wait for each other: backups and restores of the same data, and sessions of one configuration.

use super::*;
use crate::cluster::agent_stage::zeros;

/// More than anybody reads while a test runs.
const MANY_BYTES: u64 = 1 << 40;

fn web(path: &str) -> Value {
    json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": path }],
    })
}

impl Scene {
    /// The object waits, and says so once, in its condition and in an event.
    fn waits(&self, object: &str, reason: &str, text: &str) {
        wait_until(&format!("{object} waits"), PATIENCE, || {
            let waiting = condition(&self.stage.get(object), "Waiting");
            waiting["status"] == "True" && waiting["reason"] == reason && waiting["message"] == text
        });
        assert_eq!(self.stage.get(object)["status"]["phase"], "Pending");
        let (_, name) = object.split_once('/').unwrap();
        let kind = if reason == "WaitsForBackup" {
            "RestoreSession"
        } else {
            "BackupSession"
        };
        wait_until(&format!("an event about {object}"), NOTICED, || {
            let events = self.events(kind, name);
            events.iter().filter(|it| **it == reason).count() == 1
        });
    }

    fn is_waiting_no_more(&self, object: &str) {
        let waiting = condition(&self.stage.get(object), "Waiting");
        assert_eq!(waiting["status"], Value::Null, "{object}: {waiting}");
    }
}

#[test]
fn backups_and_restores_of_the_same_data_wait_for_each_other() {
    let Some(scene) = Scene::new("waits") else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.deploy();
    scene.configure(&json!({}));
    scene.back_up("home-1");

    // The claim is backed up; the Deployment that mounts it is to be restored.
    let files = scene.volume("files");
    zeros(&files, MANY_BYTES);
    scene.start("home-2", &json!({}));
    wait_until("the backup reads", PATIENCE, || {
        let progress = &scene.session("home-2")["status"]["targets"][0]["progress"][0];
        progress["bytesDone"].as_i64() > Some(0)
    });
    scene.start_restore("back", &json!({ "target": web("/stash-data") }));
    scene.waits(
        "restoresession/back",
        "WaitsForBackup",
        "the restore waits for the BackupSession home-2, which backs up the same data; it starts when that one is over or deleted",
    );
    let deployment = scene.stage.get("deployment/web");
    let init = &deployment["spec"]["template"]["spec"]["initContainers"];
    assert_eq!(init, &Value::Null, "the application is left alone");
    zeros(&files, 1);
    assert_eq!(scene.end("home-2")["status"]["phase"], "Succeeded");
    fs::remove_file(files.join("letter")).unwrap();
    scene.brought_back("back");
    let letter = fs::read_to_string(files.join("letter")).unwrap();
    assert_eq!(letter, "dear reader");
    scene.is_waiting_no_more("restoresession/back");

    // The init container of another restore goes with that one, though the first is still there.
    scene.start_restore("again", &json!({ "target": web("/stash-data") }));
    scene.brought_back("again");
    scene.stage.kubectl(&["delete", "restoresession/again"]);
    wait_until("the init container has gone", PATIENCE, || {
        let deployment = scene.stage.get("deployment/web");
        deployment["spec"]["template"]["spec"]["initContainers"] == Value::Null
    });
    scene.stage.kubectl(&["delete", "restoresession/back"]);

    // The claim is being restored, and the Deployment is to be backed up.
    let nowhere = json!({ "pod": { "nodeSelector": { "nowhere": "yes" } } });
    let claim =
        json!({ "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" } });
    scene.start_restore(
        "stuck",
        &json!({ "target": claim, "runtimeSettings": nowhere }),
    );
    wait_until("the restore has its Job", PATIENCE, || {
        scene.stage.get("restoresession/stuck")["status"]["totalHosts"] == 1
    });
    let mut target = web("/data");
    target["paths"] = json!(["/data"]);
    scene.configure_as("web", &json!({ "target": target }));
    scene.start_of("web", "web-1");
    scene.waits(
        "backupsession/web-1",
        "WaitsForRestore",
        "the backup waits for the RestoreSession stuck, which restores the same data; it starts when that one has succeeded or is deleted",
    );
    scene.stage.kubectl(&["delete", "restoresession/stuck"]);
    let session = scene.end("web-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    scene.is_waiting_no_more("backupsession/web-1");
}

#[test]
fn of_sessions_created_at_the_same_moment_exactly_one_runs() {
    let Some(scene) = Stage::new("twins", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.configure(&json!({ "backupHistoryLimit": 20 }));
    for (round, names) in [["a-1", "b-1", "c-1"], ["c-2", "b-2", "a-2"]]
        .iter()
        .enumerate()
    {
        let sessions = names.map(|name| {
            json!({
                "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession",
                "metadata": { "name": name },
                "spec": { "invoker": { "kind": "BackupConfiguration", "name": "home" } },
            })
        });
        scene
            .stage
            .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": sessions }));
        let mut phases = names.map(|name| scene.end(name)["status"]["phase"].clone());
        phases.sort_by_key(ToString::to_string);
        assert_eq!(phases, ["Skipped", "Skipped", "Succeeded"], "{names:?}");
        let snapshots = scene.snapshots();
        assert_eq!(snapshots.as_array().unwrap().len(), round + 1);
    }
}

#[test]
fn a_wipe_out_that_cannot_work_says_why() {
    let Some(stage) = Stage::new("wiping", &[]) else {
        return;
    };
    stage.apply(&secret("keys", &json!({ "RESTIC_PASSWORD": PASSWORD })));
    stage.repository(true);
    stage.merge(
        "repository/repo",
        r#"{"spec":{"backend":{"storageSecretName":"later"}}}"#,
    );
    wait_until("the Repository waits for its data", PATIENCE, || {
        stage.get("repository/repo")["metadata"]["finalizers"][0] == "stash"
    });
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "full" },
        "spec": { "hard": { "pods": "0" } },
    }));
    wait_until("the quota holds", PATIENCE, || {
        stage.get("resourcequota/full")["status"]["hard"]["pods"] == "0"
    });
    stage.kubectl(&["delete", "repository/repo", "--wait=false"]);
    let says = |texts: &[&str]| {
        wait_until(&format!("an event says {texts:?}"), PATIENCE, || {
            let events = stage.kubectl(&[
                "get",
                "events",
                "--field-selector=reason=WipeOutFailed",
                "--output=jsonpath={range .items[*]}{.message}{\"\\n\"}{end}",
            ]);
            events
                .lines()
                .any(|line| texts.iter().all(|text| line.contains(text)))
        });
    };
    says(&["Kubernetes creates no Pod for it", "exceeded quota"]);
    stage.kubectl(&["delete", "resourcequota/full"]);
    // The agent's own words.
    says(&["it is tried again", "the Secret", "later"]);
    stage.merge("repository/repo", r#"{"spec":{"wipeOut":false}}"#);
    wait_until("it goes without its data", PATIENCE, || {
        stage.find("repository/repo").is_none()
    });
}
