//! The webhooks, served by an operator outside of the cluster.

use serde_json::{Value, json};
use testkit::cluster::{Namespace, wait_until};

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
    let Some(mut stage) = Stage::alone("webhooks", &options) else {
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
    // What is not mounted may lie elsewhere, as in manifests for databases.
    let mut managed = elsewhere.clone();
    managed["spec"]["task"] = json!({ "name": "postgres-backup-14.0" });
    managed["spec"]["target"]["ref"] = json!({
        "apiVersion": "appcatalog.appscode.com/v1alpha1", "kind": "AppBinding",
        "name": "db", "namespace": "default",
    });
    let arguments = ["create", "--dry-run=server", "-n", stage.name(), "-f", "-"];
    stage
        .cluster()
        .kubectl_with_input(&arguments, managed.to_string().as_bytes())
        .succeed("a target elsewhere that is not mounted");
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
    refuses_while_it_runs(&mut stage);
    for kind in [
        "mutatingwebhookconfiguration",
        "validatingwebhookconfiguration",
    ] {
        let arguments = ["delete", kind, "stash.appscode.com", "--ignore-not-found"];
        stage.cluster().kubectl(&arguments);
    }
}

/// What other objects forbid is refused by the API server, and passes as soon as no operator is asked.
fn refuses_while_it_runs(stage: &mut Stage) {
    let forbidden = forbidden(stage);
    let user = stage.cluster().create_namespace("webhooks-user");
    for (object, why) in &forbidden {
        let refused = user.try_apply(&object.to_string());
        assert!(
            refused.code != 0 && refused.stderr.contains(why),
            "{object}: {refused:?}"
        );
    }
    assert_eq!(user.get("bc/elsewhere"), None);
    // What reaches the policy passes.
    let policy = json!({ "spec": { "usagePolicy": { "allowedNamespaces": { "from": "All" } } } });
    stage.merge("repository/repo", &policy.to_string());
    let (foreign, _) = &forbidden[1];
    wait_until("the policy is known", PATIENCE, || {
        user.try_apply(&foreign.to_string()).code == 0
    });
    user.kubectl(&["delete", "bc", "foreign"]);
    let none = json!({ "spec": { "usagePolicy": null } });
    stage.merge("repository/repo", &none.to_string());

    // With the operator gone, everything passes, although the API server is still told to ask.
    stage.stop_operator();
    let asked = "validatingwebhookconfigurations/stash.appscode.com";
    assert!(stage.cluster().get("", asked).is_some());
    for (object, _) in &forbidden {
        assert_passes(&user, object);
    }
    let deployment = workload("apps/v1", "Deployment", stage.cluster().busybox());
    assert_passes(&user, &deployment);
    let stored = user.get("deployments.apps/web").unwrap();
    assert_eq!(container_names(&stored), ["web"]);
}

/// What the webhooks refuse in another namespace than the stage's, with words of the reason.
fn forbidden(stage: &Stage) -> [(Value, &'static str); 4] {
    let far = json!({ "repository": { "name": "repo", "namespace": stage.name() } });
    let mut elsewhere = configuration("elsewhere", "apps/v1", "Deployment", &json!({}));
    elsewhere["spec"]["target"]["ref"]["namespace"] = json!(stage.name());
    let foreign = configuration("foreign", "apps/v1", "Deployment", &far);
    let restore = json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
        "metadata": { "name": "foreign" },
        "spec": {
            "repository": far["repository"],
            "target": { "rules": [{ "paths": ["/data"] }], "ref": foreign["spec"]["target"]["ref"],
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }] },
        },
    });
    let mut twice = restore.clone();
    twice["metadata"]["name"] = json!("twice");
    twice["spec"]["repository"] = json!({ "name": "own" });
    let of_host = json!({ "targetHosts": ["host-0"], "paths": ["/data"] });
    twice["spec"]["target"]["rules"] = json!([of_host, of_host]);
    [
        (elsewhere, "spec.target.ref.namespace"),
        (foreign, "usage policy"),
        (restore, "usage policy"),
        (twice, "the host has a rule already"),
    ]
}

fn assert_passes(namespace: &Namespace, object: &Value) {
    namespace
        .try_apply(&object.to_string())
        .succeed("an apply while no operator runs");
}
