//! Names that somebody else has, or had a moment ago, and namespaces that go.

use std::fs;

use super::*;

/// Keeps the old Job where it is.
const HOLD: &str = "example.com/hold";

#[test]
fn a_restore_made_anew_under_its_name_waits_for_the_old_job_and_succeeds() {
    let Some(scene) = Stage::new("anew", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let lose = || {
        let files = scene.files("files");
        files.edit(|folder| fs::remove_file(folder.join("letter")).unwrap());
    };
    let spec = json!({
        "target": {
            "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" },
            "rules": [{ "paths": ["/stash-data"] }],
        },
        "runtimeSettings": { "container": { "securityContext": { "runAsUser": 0 } } },
    });
    scene.write("letter", "dear reader");
    scene.configuration("home", "repo", &json!({}));
    scene.succeed("home", "home-1");
    lose();
    scene.bring_back("back", &spec);
    assert_eq!(scene.read("files", "letter"), "dear reader");

    // The old Job stays for a while, which is told, and the restore begins when it is gone.
    lose();
    let finalizers = |list: &Value| json!({ "metadata": { "finalizers": list } }).to_string();
    let job = "job/stash-restore-back-0";
    scene.stage.merge(job, &finalizers(&json!([HOLD])));
    scene.stage.kubectl(&["delete", "restoresession", "back"]);
    scene.start_restore("back", &spec);
    wait_until("the restore says what it waits for", PATIENCE, || {
        let restore = scene.stage.get("restoresession/back");
        let made = condition(&restore, "RestoreJobCreated");
        let message = made["message"].as_str().unwrap_or_default();
        made["status"] == "False" && message.contains("is still being deleted")
    });
    scene.stage.merge(job, &finalizers(&Value::Null));
    scene.brought_back("back");
    assert_eq!(scene.read("files", "letter"), "dear reader");

    // So it is with one that only just ended.
    lose();
    scene.stage.kubectl(&["delete", "restoresession", "back"]);
    scene.bring_back("back", &spec);
    assert_eq!(scene.read("files", "letter"), "dear reader");
}

#[test]
fn configurations_with_long_names_that_begin_alike_are_both_backed_up() {
    let Some(scene) = Stage::new("alike", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.stage.apply(&claim("more"));
    let names = ["1", "2"].map(|number| format!("{}-{number}-{}", "a".repeat(28), "z".repeat(29)));
    for (name, claim) in names.iter().zip(["files", "more"]) {
        assert_eq!(name.len(), 60);
        let reference =
            json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim });
        let changes = json!({ "target": { "ref": reference }, "schedule": "* * * * *" });
        scene.configuration(name, "repo", &changes);
    }
    for name in &names {
        wait_until("a session of the schedule has succeeded", PATIENCE, || {
            let all = scene
                .stage
                .kubectl(&["get", "backupsessions", "--output=json"]);
            let all: Value = serde_json::from_str(&all).unwrap();
            all["items"].as_array().unwrap().iter().any(|it| {
                it["spec"]["invoker"]["name"] == name.as_str()
                    && it["status"]["phase"] == "Succeeded"
            })
        });
    }
}

#[test]
fn a_namespace_goes_although_its_repository_is_used_elsewhere() {
    let Some(stage) = Stage::new("elsewhere", &[]) else {
        return;
    };
    let safe = stage.cluster().create_namespace("safe");
    let backend = json!({ "storageSecretName": "keys", "s3": { "endpoint": "http://127.0.0.1:1", "bucket": "b", "prefix": "p" } });
    let mut object = repository("repo", &backend);
    object["spec"]["wipeOut"] = json!(true);
    object["spec"]["usagePolicy"] = json!({ "allowedNamespaces": { "from": "All" } });
    safe.apply(&object.to_string());
    stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
        "metadata": { "name": "home" },
        "spec": {
            "repository": { "name": "repo", "namespace": safe.name() },
            "target": { "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" } },
            "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
        },
    }));
    wait_until("the Repository knows its user", PATIENCE, || {
        let repository = safe.get("repository/repo").unwrap();
        repository["metadata"]["finalizers"] == json!(["stash"])
            && repository["status"]["references"][0]["name"] == "home"
    });
    let gone = || safe.get("repository/repo").is_none();
    // Somebody uses it: a deletion waits.
    safe.kubectl(&["delete", "repository", "repo", "--wait=false"]);
    let said = || {
        let events = safe.kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"]);
        events.contains("RepositoryInUse")
    };
    wait_until("the deletion says what it waits for", PATIENCE, said);
    assert!(!gone());
    // The namespace does not wait for those who are not in it.
    stage
        .cluster()
        .kubectl(&["delete", "namespace", safe.name(), "--wait=false"]);
    wait_until("the Repository goes with its namespace", PATIENCE, gone);
    wait_until("the namespace is gone", PATIENCE, || {
        let found = stage
            .cluster()
            .try_kubectl(&["get", "namespace", safe.name()]);
        found.code != 0
    });
}
