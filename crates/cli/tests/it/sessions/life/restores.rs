//! Hooks of restores, by a Job beside a workload that runs and by its init container.

use super::*;

#[test]
fn hooks_run_around_a_restore_and_keep_it_from_what_is_not_ready() {
    let Some(scene) = Stage::new("restores", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.serve();
    scene.shell("echo 'dear reader' > /data/letter");
    scene.configure_workload(&json!({}));
    scene.start("home-1", &json!({}));
    assert_eq!(phase(&scene.end("home-1")), "Succeeded");
    by_a_job(&scene);
    fails_before(&scene);
    let address = gate(&scene);
    by_an_init_container(&scene, &address);
    by_several_jobs(&scene, &address);
}

fn assert_restore_says(restore: &Value, type_: &str, status: &str, texts: &[&str]) {
    let condition = condition(restore, type_);
    assert_eq!(condition["status"], status, "{type_} of {restore:#}");
    let message = condition["message"].as_str().unwrap();
    for text in texts {
        assert!(message.contains(text), "{type_}: {text:?} in {message:?}");
    }
}

const BEFORE: &str = "PreRestoreHookExecutionSucceeded";
const AFTER: &str = "PostRestoreHookExecutionSucceeded";

/// The first hook sees what was there, the last what came back.
fn by_a_job(scene: &Scene) {
    scene.shell("echo lost > /data/letter");
    let hooks = json!({
        "preRestore": shell("cp /data/letter /data/before"),
        "postRestore": post("OnSuccess", "cp /data/letter /data/after; echo {{ .Status.Phase }} >> /data/after"),
    });
    scene.restore(
        "back-1",
        &json!({ "task": { "name": "pvc-restore" }, "hooks": hooks }),
    );
    let restore = scene.end_of_restore("back-1");
    assert_eq!(phase(&restore), "Succeeded", "{restore:#}");
    assert_restore_says(&restore, BEFORE, "True", &[]);
    assert_restore_says(&restore, AFTER, "True", &["has run"]);
    assert_eq!(scene.file("before"), "lost\n");
    assert_eq!(scene.file("letter"), "dear reader\n");
    assert_eq!(scene.file("after"), "dear reader\nSucceeded\n");
    scene.stage.kubectl(&["delete", "restoresession", "back-1"]);
}

/// Nothing is restored.
fn fails_before(scene: &Scene) {
    scene.shell("echo lost > /data/letter; rm /data/after");
    let hooks = json!({
        "preRestore": shell("echo not ready; exit 5"),
        "postRestore": post("OnFailure", "echo {{ .Status.Phase }} > /data/after"),
    });
    let task = json!({ "name": "pvc-restore" });
    scene.restore("back-2", &json!({ "task": task, "hooks": hooks }));
    let failed = scene.end_of_restore("back-2");
    assert_eq!(phase(&failed), "Failed", "{failed:#}");
    let why = ["exit status: 5", "it said: not ready"];
    assert_restore_says(&failed, BEFORE, "False", &why);
    assert_restore_says(&failed, AFTER, "True", &["has run"]);
    assert_eq!(scene.file("letter"), "lost\n");
    assert_eq!(scene.file("after"), "Failed\n");
    let hooks = json!({
        "preRestore": shell("exit 5"),
        "postRestore": post("OnSuccess", "echo wrong > /data/after"),
    });
    scene.stage.kubectl(&["delete", "restoresession", "back-2"]);
    scene.restore("back-3", &json!({ "task": task, "hooks": hooks }));
    let failed = scene.end_of_restore("back-3");
    assert_eq!(phase(&failed), "Failed", "{failed:#}");
    assert_restore_says(&failed, AFTER, "True", &["left out", "OnSuccess"]);
    assert_eq!(scene.file("after"), "Failed\n");
    scene.stage.kubectl(&["delete", "restoresession", "back-3"]);
}

/// The Pods wait until the hook passes: it asks another Pod whether all is ready.
fn by_an_init_container(scene: &Scene, address: &str) {
    let namespace = scene.stage.namespace();
    let hooks = json!({
        "preRestore": { "httpGet": { "host": address, "path": "/open", "port": 8080 } },
        "postRestore": {
            "executionPolicy": "OnFailure",
            "httpGet": { "host": address, "path": "/nothing", "port": 8080 },
        },
    });
    scene.restore("back-4", &json!({ "hooks": hooks }));
    wait_until("the hook has failed", PATIENCE, || {
        let restore = scene.stage.get("restoresession/back-4");
        let said = condition(&restore, BEFORE)["message"].clone();
        said.as_str().is_some_and(|it| it.contains("status 404"))
    });
    let ready = "--output=jsonpath={.status.readyReplicas}";
    assert_eq!(scene.stage.kubectl(&["get", "deploy", "web", ready]), "");
    assert_ne!(
        phase(&scene.stage.get("restoresession/back-4")),
        "Succeeded"
    );
    namespace.exec("gate", "", &["touch", "/tmp/www/open"]);
    wait_until("the restore succeeds", PATIENCE, || {
        phase(&scene.stage.get("restoresession/back-4")) == "Succeeded"
    });
    let restored = scene.stage.get("restoresession/back-4");
    assert_restore_says(&restored, BEFORE, "True", &[]);
    assert_restore_says(&restored, AFTER, "True", &["left out", "OnFailure"]);
    scene.rolled_out();
    assert_eq!(scene.file("letter"), "dear reader\n");
}

/// A Pod beside all others, which says whether it is open and keeps what is posted to it.
const GATE: &str = r"
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/note <<'.'
#!/bin/sh
cat >> /tmp/www/notes
printf 'Content-Type: text/plain\r\n\r\nnoted\n'
.
chmod 755 /tmp/www/cgi-bin/note
exec httpd -f -p 8080 -h /tmp/www
";

fn gate(scene: &Scene) -> String {
    let namespace = scene.stage.namespace();
    scene.stage.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "gate" },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "gate", "image": scene.stage.cluster().busybox(),
                "command": ["sh", "-c", GATE],
            }],
        },
    }));
    namespace.wait_for_condition("pod/gate", "Ready", PATIENCE);
    let pod = scene.stage.get("pod/gate");
    pod["status"]["podIP"].as_str().unwrap().to_owned()
}

/// The last of several Jobs runs the hook for all of them, once, for what became of all.
fn by_several_jobs(scene: &Scene, address: &str) {
    let from = |host: &str, snapshot: &str| json!({ "targetHosts": [host], "sourceHost": "host-0", "snapshots": [snapshot] });
    let notes = || {
        let namespace = scene.stage.namespace();
        namespace.exec("gate", "", &["cat", "/tmp/www/notes"])
    };
    for (name, second, policy, phase_of_all, noted) in [
        ("back-5", "latest", "OnSuccess", "Succeeded", "Succeeded;"),
        (
            "back-6",
            "0000beef",
            "OnFailure",
            "Failed",
            "Succeeded;Failed;",
        ),
        (
            "back-7",
            "0000beef",
            "OnSuccess",
            "Failed",
            "Succeeded;Failed;",
        ),
    ] {
        let target = json!({
            "replicas": 2,
            "volumeMounts": [{ "name": name, "mountPath": "/data" }],
            "volumeClaimTemplates": [{
                "metadata": { "name": format!("{name}-${{POD_ORDINAL}}") },
                "spec": claim("any")["spec"],
            }],
            "rules": [from("host-0", "latest"), from("host-1", second)],
        });
        let hooks = json!({ "postRestore": {
            "executionPolicy": policy,
            "httpPost": {
                "host": address, "path": "/cgi-bin/note", "port": 8080,
                "body": "{{ .Status.Phase }};",
            },
        } });
        scene.restore(name, &json!({ "target": target, "hooks": hooks }));
        let restore = scene.end_of_restore(name);
        assert_eq!(phase(&restore), phase_of_all, "{restore:#}");
        assert_eq!(notes(), noted, "{name}");
        let text = if name == "back-7" {
            "left out"
        } else {
            "has run"
        };
        assert_restore_says(&restore, AFTER, "True", &[text]);
        let letter = scene.read(&format!("{name}-0"), "letter");
        assert_eq!(letter, "dear reader\n");
    }
}
