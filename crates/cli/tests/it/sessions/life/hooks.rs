//! Hooks of backups: what they do is in the snapshot, and what fails is said.

use super::*;

#[test]
fn hooks_run_around_a_backup_and_say_why_they_fail() {
    let Some(scene) = Stage::new("hooks", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.serve();
    scene.shell("echo 'dear reader' > /data/letter");
    scene.configure_workload(&json!({ "backupHistoryLimit": 20 }));
    all_kinds_pass(&scene);
    a_command_fails(&scene);
    requests_fail(&scene);
    the_end_fails(&scene);
    scene.assert_free();
}

/// In their order, with templates, to the address of the Pod.
fn all_kinds_pass(scene: &Scene) {
    let session = scene.session_with(
        "home-1",
        &json!({
            "preBackup": {
                "containerName": "web",
                "exec": { "command": ["sh", "-c", "echo {{ .Name }} of {{ .Invoker.Name | upper }} > /data/hook"] },
                "httpGet": { "path": "/ready", "port": "http" },
                "httpPost": {
                    "path": "/cgi-bin/note", "port": 8080,
                    "body": "{{ .Target.Kind }} {{ .Target.Name }} {{ .Status.Phase }}",
                },
                "tcpSocket": { "port": "http" },
            },
            "postBackup": post("OnSuccess", "echo {{ .Status.Phase }} >> /data/after"),
        }),
    );
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    assert_says(&session, PRE, "True", &[]);
    assert_says(&session, POST, "True", &["has run"]);
    assert_eq!(scene.dump("latest", "/data/letter"), "dear reader\n");
    assert_eq!(scene.dump("latest", "/data/hook"), "home-1 of HOME\n");
    assert_eq!(
        scene.dump("latest", "/data/posted"),
        "Deployment web Running"
    );
    assert_eq!(scene.file("after"), "Succeeded\n");
    let target = &session["status"]["targets"][0];
    let name = &target["stats"][0]["snapshots"][0]["name"];
    let listing = scene.snapshots();
    assert!(
        listing[0]["id"]
            .as_str()
            .unwrap()
            .starts_with(name.as_str().unwrap())
    );
    assert_actions(&session, "initialised");
}

/// The actions of the target, and what became of them.
fn assert_actions(session: &Value, found: &str) {
    let target = &session["status"]["targets"][0];
    let before = json!(["InitializeBackendRepository"]);
    assert_eq!(target["preBackupActions"], before, "{session:#}");
    let after = json!(["ApplyRetentionPolicy", "VerifyRepositoryIntegrity"]);
    assert_eq!(target["postBackupActions"], after, "{session:#}");
    for (type_, text) in [
        ("BackendRepositoryInitialized", found),
        ("RetentionPolicyApplied", "kept 1 and removed 0 snapshots"),
        ("RepositoryIntegrityVerified", "no errors were found"),
    ] {
        let condition = condition(session, type_);
        assert_eq!(condition["status"], "True", "{type_}: {session:#}");
        let message = condition["message"].as_str().unwrap();
        assert!(message.contains(text), "{type_}: {message}");
    }
}

/// Before the backup: there is none.
fn a_command_fails(scene: &Scene) {
    let session = scene.session_with(
        "home-2",
        &json!({
            "preBackup": shell("echo no room >&2; exit 3"),
            "postBackup": {
                "executionPolicy": "OnFailure",
                "httpPost": {
                    "path": "/cgi-bin/note", "port": 8080,
                    "body": "{{ .Status.Phase }} {{ .RetryLeft }}: {{ .Status.Error }}",
                },
            },
        }),
    );
    assert_eq!(phase(&session), "Failed", "{session:#}");
    let why = ["exit status: 3", "it said: no room"];
    assert_says(&session, PRE, "False", &why);
    assert_says(&session, POST, "True", &["has run"]);
    let stats = &session["status"]["targets"][0]["stats"][0];
    assert_eq!(stats["phase"], "Failed");
    assert!(stats["error"].as_str().unwrap().contains("no room"));
    let posted = scene.file("posted");
    assert!(posted.starts_with("Failed 0: "), "{posted}");
    assert!(posted.contains("exit status: 3"), "{posted}");
    assert_eq!(condition(&session, "RetentionPolicyApplied"), Value::Null);
    assert_eq!(scene.count(), 1);
    wait_until("the events are written", PATIENCE, || {
        let events = scene.events("BackupSession", "home-2");
        events.contains(&"PreBackupHookFailed".to_owned())
    });
}

/// A page that is not there, a place that is full, a port where nobody listens, a container that does not exist.
fn requests_fail(scene: &Scene) {
    for (name, hook, texts) in [
        (
            "home-3",
            json!({ "httpGet": { "path": "/nothing", "port": 8080 } }),
            ["/nothing", "status 404"],
        ),
        (
            "home-4",
            json!({ "httpPost": { "path": "/cgi-bin/full", "port": 8080, "body": "x" } }),
            ["status 507", "it said: no room"],
        ),
        (
            "home-5",
            json!({ "tcpSocket": { "port": 9 } }),
            [":9", "refused"],
        ),
        (
            "home-6",
            json!({ "containerName": "nobody", "exec": { "command": ["true"] } }),
            ["it has no container nobody", "Pod web-"],
        ),
        (
            "home-7",
            json!({ "containerName": "web", "tcpSocket": { "port": "mail" } }),
            ["`mail`", "container web"],
        ),
    ] {
        let hooks = json!({
            "preBackup": hook, "postBackup": post("OnSuccess", "echo wrong >> /data/after"),
        });
        let session = scene.session_with(name, &hooks);
        assert_eq!(phase(&session), "Failed", "{session:#}");
        assert_says(&session, PRE, "False", &texts);
        assert_says(&session, POST, "True", &["left out", "OnSuccess"]);
    }
    assert_eq!(scene.file("after"), "Succeeded\n");
    assert_eq!(scene.count(), 1);
}

/// After the backup: the snapshot is there, and the session has failed all the same.
fn the_end_fails(scene: &Scene) {
    let session = scene.session_with(
        "home-8",
        &json!({ "postBackup": post("Always", "echo still frozen; exit 4") }),
    );
    assert_eq!(phase(&session), "Failed", "{session:#}");
    let why = ["exit status: 4", "it said: still frozen"];
    assert_says(&session, POST, "False", &why);
    assert_eq!(
        session["status"]["targets"][0]["stats"][0]["phase"],
        "Succeeded"
    );
    assert_eq!(
        condition(&session, "RetentionPolicyApplied")["status"],
        "True"
    );
    assert_eq!(scene.count(), 2);
    let session = scene.session_with(
        "home-9",
        &json!({ "postBackup": post("OnFailure", "echo wrong >> /data/after") }),
    );
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    assert_says(&session, POST, "True", &["left out", "OnFailure"]);
    assert_eq!(scene.dump("latest", "/data/after"), "Succeeded\n");
}

#[test]
fn every_host_has_its_hook_before_and_all_together_one_after() {
    let Some(scene) = Stage::new("each", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.stage.apply(&json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "web" },
        "spec": {
            "replicas": 2, "serviceName": "web", "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "web", "image": scene.stage.cluster().busybox(),
                        "command": ["sleep", "1000000"],
                        "volumeMounts": [
                            { "name": "data", "mountPath": "/data" },
                            { "name": "common", "mountPath": "/common" },
                        ],
                    }],
                    "volumes": [{ "name": "common", "persistentVolumeClaim": { "claimName": "files" } }],
                },
            },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim("any")["spec"] }],
        },
    }));
    let target = json!({
        "ref": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data"],
    });
    let hooks = json!({
        "preBackup": { "exec": { "command": ["sh", "-c", "hostname | tee /data/host >> /common/before"] } },
        "postBackup": {
            "executionPolicy": "OnSuccess",
            "exec": { "command": ["sh", "-c", "echo {{ .Status.Phase }} >> /common/after"] },
        },
    });
    scene.configure(&json!({ "target": target, "hooks": hooks }));
    wait_until("the sidecar is in the template", PATIENCE, || {
        condition(&scene.stage.get("bc/home"), "StashSidecarInjected")["status"] == "True"
    });
    let namespace = scene.stage.namespace();
    namespace.wait_for_rollout("statefulsets.apps/web", PATIENCE);
    scene.start("home-1", &json!({}));
    let session = scene.end("home-1");
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    let common = |name: &str| {
        let path = format!("/common/{name}");
        namespace.exec("web-0", "web", &["cat", &path])
    };
    let before = common("before");
    let mut before: Vec<&str> = before.lines().collect();
    before.sort_unstable();
    assert_eq!(before, ["web-0", "web-1"]);
    assert_eq!(common("after"), "Succeeded\n");
    let snapshots = scene.snapshots();
    let snapshots = snapshots.as_array().unwrap();
    let mut hosts: Vec<String> = snapshots
        .iter()
        .map(|it| scene.dump(it["id"].as_str().unwrap(), "/data/host"))
        .collect();
    hosts.sort();
    assert_eq!(hosts, ["web-0\n", "web-1\n"]);
    let applied = condition(&session, "RetentionPolicyApplied");
    let message = applied["message"].as_str().unwrap();
    assert!(message.contains("kept 2 and removed 0"), "{message}");

    // What fails for one of them fails all, and is no reason not to back up the others.
    let hook = |command: &str| json!({ "exec": { "command": ["sh", "-c", command] } });
    let mut after = hook("echo {{ .Status.Phase }} >> /common/after");
    after["executionPolicy"] = json!("OnFailure");
    let session = scene.session_with(
        "home-2",
        &json!({ "preBackup": hook("test $(hostname) = web-0"), "postBackup": after }),
    );
    assert_eq!(phase(&session), "Failed", "{session:#}");
    assert_says(&session, PRE, "False", &["exit status: 1"]);
    assert_says(&session, POST, "True", &["has run"]);
    assert_eq!(common("after"), "Succeeded\nFailed\n");
    let mut phases: Vec<(&str, &str)> = session["status"]["targets"][0]["stats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |field: &str| it[field].as_str().unwrap();
            (text("hostname"), text("phase"))
        })
        .collect();
    phases.sort_unstable();
    assert_eq!(phases, [("host-0", "Succeeded"), ("host-1", "Failed")]);
    assert_eq!(condition(&session, "RetentionPolicyApplied"), Value::Null);
    assert_eq!(scene.count(), 3);
    scene.assert_free();
}
