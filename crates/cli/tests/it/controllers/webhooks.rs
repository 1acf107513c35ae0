//! The webhooks, served by an operator outside of the cluster.

use serde_json::json;
use testkit::cluster::wait_until;

use super::stage::{PATIENCE, Stage, container_names, workload};

/// What is said of another target.
const NEW_TARGET: &str = "spec.target: the target of a BackupConfiguration that is ready cannot be changed; create another BackupConfiguration, and delete this one";
/// What is said of another RestoreSession in place of this one.
const NEW_RESTORE: &str = "spec: a RestoreSession cannot be changed; create another RestoreSession";

#[test]
fn webhooks_inject_at_once_and_refuse_what_other_objects_forbid() {
    let port = (20_000 + std::process::id() % 10_000).to_string();
    let url = format!("https://127.0.0.1:{port}");
    let options = [
        "--webhook-port",
        port.as_str(),
        "--webhook-url",
        url.as_str(),
    ];
    let Some(stage) = Stage::new("webhooks", &options) else {
        return;
    };
    if !stage.cluster().is_own() {
        testkit::skip("webhooks: the API server of another cluster does not reach this machine");
        return;
    }
    stage.secret();
    stage.repository(false);
    stage.configuration("home", "apps/v1", "Deployment", &json!({}));
    stage.wait_for("home", "CronJobCreated", "True");
    wait_until("the configuration is ready", PATIENCE, || {
        stage.get("bc/home")["status"]["phase"] == "Ready"
    });
    wait_until("the webhook answers", PATIENCE, || {
        // They fail open: until one answers, the change passes, and is taken back.
        let target = |path: &str| {
            let patch = json!({ "spec": { "target": { "paths": [path] } } }).to_string();
            stage
                .namespace()
                .try_kubectl(&["patch", "bc/home", "--type", "merge", "--patch", &patch])
        };
        let refused = target("/data/other");
        let is_refused = refused.code != 0 && refused.stderr.contains(NEW_TARGET);
        if !is_refused {
            target("/data");
        }
        is_refused
    });
    wait_until("the configuration is ready again", PATIENCE, || {
        stage.get("bc/home")["status"]["phase"] == "Ready"
    });
    // Dry runs reach webhooks and no controller: the sidecar is the webhook's.
    let object = workload("apps/v1", "Deployment", stage.cluster().busybox()).to_string();
    let arguments = [
        "apply",
        "--dry-run=server",
        "--output",
        "json",
        "--namespace",
        stage.name(),
        "-f",
        "-",
    ];
    let dry = stage
        .cluster()
        .kubectl_with_input(&arguments, object.as_bytes());
    let dry: serde_json::Value = serde_json::from_str(&dry.succeed("a dry run")).unwrap();
    assert_eq!(container_names(&dry), ["web", "stash"]);
    stage.workload("apps/v1", "Deployment");
    stage.wait_for("home", "StashSidecarInjected", "True");
    let stored = stage.get("deployments.apps/web");
    assert_eq!(
        stored["metadata"]["generation"], 1,
        "the controller found nothing to do"
    );
    assert_eq!(stored["spec"]["template"], dry["spec"]["template"]);

    let restore = json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
        "metadata": { "name": "back" },
        "spec": {
            "repository": { "name": "repo" },
            "rules": [{ "paths": ["/data"] }],
            "target": { "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "absent" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }] },
        },
    });
    stage.apply(&restore);
    let spec = stage.get("restoresessions/back")["spec"].clone();
    assert_eq!(spec["target"]["rules"], json!([{ "paths": ["/data"] }]));
    assert_eq!(spec["rules"], json!(null));
    stage.apply(&restore);
    let changed = [
        "patch",
        "restoresessions/back",
        "--type",
        "merge",
        "--patch",
        r#"{"spec":{"timeOut":"1h"}}"#,
    ];
    let refused = stage.namespace().try_kubectl(&changed);
    assert!(refused.stderr.contains(NEW_RESTORE), "{}", refused.stderr);
    for kind in [
        "mutatingwebhookconfiguration",
        "validatingwebhookconfiguration",
    ] {
        let arguments = ["delete", kind, "stash.appscode.com", "--ignore-not-found"];
        stage.cluster().kubectl(&arguments);
    }
}
