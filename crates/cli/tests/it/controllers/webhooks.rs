//! The webhooks, served by an operator outside of the cluster.

use serde_json::json;
use testkit::cluster::wait_until;

use super::stage::{PATIENCE, Stage, configuration, container_names, workload};

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
    let mut elsewhere = configuration("elsewhere", "apps/v1", "Deployment", &json!({}));
    elsewhere["spec"]["target"]["ref"]["namespace"] = json!("default");
    wait_until("the webhook answers", PATIENCE, || {
        // They fail open: until one answers, this passes.
        let arguments = ["create", "--dry-run=server", "-n", stage.name(), "-f", "-"];
        let refused = stage
            .cluster()
            .kubectl_with_input(&arguments, elsewhere.to_string().as_bytes());
        refused.code != 0 && refused.stderr.contains("spec.target.ref.namespace")
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
    for kind in [
        "mutatingwebhookconfiguration",
        "validatingwebhookconfiguration",
    ] {
        let arguments = ["delete", kind, "stash.appscode.com", "--ignore-not-found"];
        stage.cluster().kubectl(&arguments);
    }
}
