//! What may not change in an object is refused by its definition: no webhook runs here.

use serde_json::json;
use testkit::cluster::wait_until;

use super::stage::{PATIENCE, Stage};

const TARGET: &str = "the workload (ref) and the alias of a BackupConfiguration that is ready cannot be changed; create another BackupConfiguration, and delete this one";
const RESTORE: &str = "a RestoreSession cannot be changed; create another RestoreSession";
const SESSION: &str = "a BackupSession belongs to one invoker; create another BackupSession";

fn patch(stage: &Stage, object: &str, patch: &str, more: &[&str]) -> Result<(), String> {
    let patch = format!("--patch={patch}");
    let arguments = [&["patch", object, "--type=merge", &patch], more].concat();
    let output = stage.namespace().try_kubectl(&arguments);
    if output.code == 0 {
        Ok(())
    } else {
        Err(output.stderr)
    }
}

fn refused(stage: &Stage, object: &str, field: &str, change: &str, message: &str) {
    let said = patch(stage, object, change, &[]).expect_err(change);
    assert!(
        said.contains(&format!("{field}: Invalid value")) && said.contains(message),
        "{object} {change}: {said}"
    );
}

fn allowed(stage: &Stage, object: &str, change: &str) {
    let result = patch(stage, object, change, &[]);
    assert_eq!(result, Ok(()), "{object} {change}");
}

#[test]
fn what_may_not_change_is_refused_by_the_api_server_alone() {
    let Some(stage) = Stage::new("changes", &[]) else {
        return;
    };
    stage.configuration("home", "apps/v1", "Deployment", &json!({}));
    stage.wait_for("home", "RepositoryFound", "False");
    // It is not ready yet.
    let alias = |name: &str| json!({ "spec": { "target": { "alias": name } } }).to_string();
    allowed(&stage, "bc/home", &alias("first"));
    stage.secret();
    stage.repository(false);
    wait_until("the configuration is ready", PATIENCE, || {
        stage.get("bc/home")["status"]["phase"] == "Ready"
    });
    for change in [
        &alias("second"),
        r#"{"spec":{"target":{"ref":{"name":"other"}}}}"#,
        r#"{"spec":{"target":{"alias":null}}}"#,
        r#"{"spec":{"target":null}}"#,
    ] {
        refused(&stage, "bc/home", "spec.target", change, TARGET);
    }
    for change in [
        r#"{"metadata":{"labels":{"team":"storage"},"finalizers":["example.org/kept"]}}"#,
        r#"{"spec":{"paused":true,"schedule":"1 1 1 1 *","repository":{"name":"other"}}}"#,
        r#"{"spec":{"target":{"paths":["/data/other"],"exclude":["*.tmp"],"args":["--one-file-system"]}}}"#,
        r#"{"spec":{"target":{"paths":["/data"]},"repository":{"name":"repo"}}}"#,
    ] {
        allowed(&stage, "bc/home", change);
    }
    the_backend_may_move(&stage);
    sessions_stay(&stage);
    restores_stay(&stage);
    // One that goes lets go of its finalizers.
    stage.kubectl(&["delete", "bc", "home", "--wait=false"]);
    allowed(&stage, "bc/home", r#"{"metadata":{"finalizers":null}}"#);
    wait_until("it is gone", PATIENCE, || stage.find("bc/home").is_none());
}

/// A store gets another name or another Secret without new objects.
fn the_backend_may_move(stage: &Stage) {
    for change in [
        r#"{"spec":{"backend":{"s3":{"endpoint":"elsewhere.invalid"}}}}"#,
        r#"{"spec":{"backend":{"s3":{"endpoint":"nowhere.invalid"}}}}"#,
    ] {
        allowed(stage, "repository/repo", change);
    }
}

fn sessions_stay(stage: &Stage) {
    stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession", "metadata": { "name": "now" },
        "spec": { "invoker": { "kind": "BackupConfiguration", "name": "nobody" }, "retryLeft": 3 },
    }));
    let other = r#"{"spec":{"invoker":{"name":"other"}}}"#;
    refused(stage, "backupsession/now", "spec.invoker", other, SESSION);
    let change = r#"{"spec":{"retryLeft":0},"metadata":{"labels":{"a":"b"}}}"#;
    allowed(stage, "backupsession/now", change);
}

fn restores_stay(stage: &Stage) {
    let rules = json!([{ "paths": ["/data"] }]);
    stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession", "metadata": { "name": "back" },
        "spec": {
            "repository": { "name": "repo" },
            "rules": rules,
            "target": {
                "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "absent" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            },
        },
    }));
    let restore = "restoresession/back";
    for change in [
        r#"{"spec":{"timeOut":"1h"}}"#,
        r#"{"spec":{"repository":{"name":"other"}}}"#,
        r#"{"spec":{"repository":{"namespace":"other"}}}"#,
        r#"{"spec":{"rules":[{"paths":["/data"],"exclude":["*.tmp"]}]}}"#,
        r#"{"spec":{"target":{"volumeMounts":[{"name":"data","mountPath":"/other"}]}}}"#,
        r#"{"spec":{"target":{"ref":{"name":"other"}}}}"#,
        r#"{"spec":{"target":null}}"#,
        r#"{"spec":{"runtimeSettings":{"pod":{"nodeSelector":{"a":"b"}}}}}"#,
    ] {
        refused(stage, restore, "spec", change, RESTORE);
    }
    let moved = json!({ "spec": { "rules": null, "target": { "rules": rules } } });
    allowed(stage, restore, &moved.to_string());
    let rules = r#"{"spec":{"target":{"rules":null}}}"#;
    refused(stage, restore, "spec", rules, RESTORE);
    let labels = r#"{"metadata":{"annotations":{"a":"b"}}}"#;
    allowed(stage, restore, labels);
    let status = r#"{"status":{"sessionDuration":"7s"}}"#;
    let updated = patch(stage, restore, status, &["--subresource=status"]);
    assert_eq!(updated, Ok(()));
}
