//! Init containers that cannot restore: the application waits, and starts when they can or need not any more.

use super::*;

fn web() -> Value {
    json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        "paths": ["/data"],
    })
}

impl Scene {
    fn restore_web(&self, name: &str, rule: &Value) {
        let mut target = web();
        target.as_object_mut().unwrap().remove("paths");
        target["rules"] = json!([rule]);
        self.stage.apply(&json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
            "metadata": { "name": name },
            "spec": { "repository": { "name": "repo" }, "target": target },
        }));
    }

    /// The one Pod of the workload, when there is only one.
    fn pod(&self) -> Option<Value> {
        let pods = self
            .stage
            .kubectl(&["get", "pods", "--selector=app=web", "--output=json"]);
        let pods: Value = serde_json::from_str(&pods).unwrap();
        match pods["items"].as_array().unwrap().as_slice() {
            [pod] => Some(pod.clone()),
            _ => None,
        }
    }

    /// The restore says that it failed and is tried again, and the application waits meanwhile.
    fn is_blocked(&self, restore: &str, why: &str) {
        let object = format!("restoresession/{restore}");
        self.warns(&object, why);
        self.warns(&object, "it is tried again until it succeeds");
        // The agent tells faster than the kubelet.
        wait_until("the init container is known to run", PATIENCE, || {
            let pod = self.pod().unwrap();
            pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object()
        });
        let pod = self.pod().unwrap();
        for container in pod["status"]["containerStatuses"].as_array().unwrap() {
            assert!(container["state"]["waiting"].is_object(), "{pod:#}");
            assert_eq!(container["restartCount"], 0, "{pod:#}");
        }
    }

    /// The application runs, and what was to be restored or not is as it should be.
    fn runs_with(&self, files: &str) {
        wait_until("the application runs", PATIENCE, || {
            let Some(pod) = self.pod() else { return false };
            let is_gone = pod["metadata"]["deletionTimestamp"].is_string();
            let containers = pod["status"]["containerStatuses"].as_array();
            !is_gone
                && containers.is_some_and(|it| {
                    !it.is_empty() && it.iter().all(|it| it["state"]["running"].is_object())
                })
        });
        let listed = self
            .stage
            .namespace()
            .exec("deployment/web", "web", &["ls", "/data"]);
        assert_eq!(listed.trim(), files);
    }

    /// Deletes the workload with all that belongs to it.
    fn lose_the_workload(&self) {
        let arguments = ["delete", "deployment", "web", "--cascade=foreground"];
        self.stage.kubectl(&arguments);
    }

    fn has_init_container(&self) -> bool {
        let deployment = self.stage.get("deployment/web");
        deployment["spec"]["template"]["spec"]["initContainers"] != Value::Null
    }

    fn lose_the_files(&self) {
        let command = ["sh", "-c", "rm -r /data/*"];
        self.stage
            .namespace()
            .exec("deployment/web", "web", &command);
    }
}

fn password(scene: &Scene, text: &str) {
    let patch = json!({ "stringData": { "RESTIC_PASSWORD": text } });
    scene.stage.merge("secret/keys", &patch.to_string());
}

#[test]
fn an_application_waits_for_its_restore_until_that_works_or_is_given_up() {
    let Some(mut scene) = Stage::new("blocked", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.deploy();
    scene.configuration("home", "repo", &json!({ "target": web() }));
    scene.heals("bc/home", "StashSidecarInjected");
    scene.succeed("home", "home-1");
    scene.lose_the_files();

    // A password that does not open the repository is told, and when it is corrected the restore goes on.
    password(&scene, "wrong");
    scene.restore_web("back", &json!({ "paths": ["/data"] }));
    scene.is_blocked(
        "back",
        "put its password into RESTIC_PASSWORD of the Secret",
    );
    password(&scene, PASSWORD);
    scene.phase("restoresession/back", "Succeeded");
    scene.runs_with("letter");

    // A restore that can never work holds the application back until somebody deletes it.
    scene.lose_the_files();
    scene.restore_web("never", &json!({ "snapshots": ["0123abcd"] }));
    scene.is_blocked("never", "no snapshot matches");
    scene.stage.kubectl(&["delete", "restoresession", "never"]);
    scene.runs_with("");

    // So it is when nobody is there to see the deletion.
    scene.restore_web("again", &json!({ "snapshots": ["0123abcd"] }));
    scene.is_blocked("again", "no snapshot matches");
    scene.stage.kill_operator();
    scene.stage.kubectl(&["delete", "restoresession", "again"]);
    scene.stage.start_operator(&[]);
    scene.runs_with("");
    scene.restore_web("last", &json!({ "paths": ["/data"] }));
    scene.phase("restoresession/last", "Succeeded");
    scene.runs_with("letter");
}

/// What lets the container see that the restore is gone stays as long as the container does.
#[test]
fn a_pod_starts_that_is_made_when_its_restore_and_the_operator_are_gone() {
    let Some(mut scene) = Stage::alone("kept", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.deploy();
    scene.configuration("home", "repo", &json!({}));
    scene.succeed("home", "home-1");

    scene.restore_web("gone", &json!({ "snapshots": ["0123abcd"] }));
    scene.is_blocked("gone", "no snapshot matches");
    let role = "role/stash-restoresession-gone";
    let owner = scene.stage.get(role)["metadata"]["ownerReferences"][0]["kind"].clone();
    assert_eq!(owner, "Deployment");
    scene.stage.kill_operator();
    scene.stage.kubectl(&["delete", "restoresession", "gone"]);
    scene.runs_with("letter");
    scene
        .stage
        .kubectl(&["delete", "pods", "--selector=app=web"]);
    scene.runs_with("letter");
    assert!(scene.stage.find(role).is_some());
    scene.stage.start_operator(&[]);
    wait_until("the rights are taken back", PATIENCE, || {
        scene.stage.find(role).is_none()
            && scene
                .stage
                .find("rolebinding/stash-restoresession-gone")
                .is_none()
    });
    scene.runs_with("letter");
}

/// Whoever deletes a workload that waits, and applies it again, has no application without its data either.
#[test]
fn a_workload_that_is_made_anew_waits_for_its_restore_as_the_one_before() {
    let Some(scene) = Stage::new("anew", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.deploy();
    scene.configuration("home", "repo", &json!({ "target": web() }));
    scene.heals("bc/home", "StashSidecarInjected");
    scene.succeed("home", "home-1");
    let all = json!({ "paths": ["/data"] });

    // After a failure.
    scene.lose_the_files();
    password(&scene, "wrong");
    scene.restore_web("failed", &all);
    let why = "put its password into RESTIC_PASSWORD of the Secret";
    scene.is_blocked("failed", why);
    scene.lose_the_workload();
    scene.apply_deployment(&json!({}));
    wait_until("there is a new Pod", PATIENCE, || scene.pod().is_some());
    scene.is_blocked("failed", why);
    password(&scene, PASSWORD);
    scene.phase("restoresession/failed", "Succeeded");
    scene.runs_with("letter");
    scene.stage.kubectl(&["delete", "restoresession", "failed"]);

    // While its Pod has not begun.
    scene.lose_the_files();
    scene.lose_the_workload();
    scene.apply_deployment(&json!({ "nowhere": "yes" }));
    scene.restore_web("early", &all);
    scene.phase("restoresession/early", "Running");
    scene.lose_the_workload();
    scene.apply_deployment(&json!({}));
    scene.phase("restoresession/early", "Succeeded");
    scene.runs_with("letter");
    scene.stage.kubectl(&["delete", "restoresession", "early"]);

    // What another restore has brought is not written over, also when that one has gone.
    scene.restore_web("never", &json!({ "snapshots": ["0123abcd"] }));
    scene.is_blocked("never", "no snapshot matches");
    scene.restore_web("better", &all);
    scene.phase("restoresession/better", "Succeeded");
    scene.runs_with("letter");
    scene.says(
        "restoresession/never",
        "StashInitContainerInjected",
        "the Deployment web was given to the RestoreSession better after this one had failed; delete this one, and Pods that still wait for it if Kubernetes does not replace them",
    );
    scene.stage.kubectl(&["delete", "restoresession", "better"]);
    wait_until("the init container has gone", PATIENCE, || {
        !scene.has_init_container()
    });
    wait_until("both are told", PATIENCE, || {
        let events = scene.events("Deployment", "web");
        ["Injection", "Deletion"].iter().all(|what| {
            let reason = format!("InitContainer{what}Succeeded");
            events.contains(&reason)
        })
    });
    scene.lose_the_workload();
    scene.apply_deployment(&json!({}));
    scene.runs_with("letter");
    assert!(!scene.has_init_container());
}
