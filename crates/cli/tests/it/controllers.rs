//! The operator's controllers against a real API server: what becomes of workloads, BackupConfigurations and
//! Repositories. No Pod has to run for it. Every test is skipped, with a line that says so, where there is no cluster.

use serde_json::{Value, json};
use testkit::cluster::{wait_for, wait_until};

mod builtin;
mod changes;
mod leader;
mod rights;
mod schedule;
mod served;
pub mod stage;
mod webhooks;

use stage::{PATIENCE, Stage, condition, container_names};

#[test]
fn a_workload_has_a_sidecar_as_long_as_a_configuration_names_it() {
    let Some(stage) = Stage::new("sidecar", &[]) else {
        return;
    };
    let workloads = [
        ("apps/v1", "Deployment", "deployments.apps/web"),
        ("apps/v1", "StatefulSet", "statefulsets.apps/web"),
        ("apps/v1", "DaemonSet", "daemonsets.apps/web"),
        ("apps/v1", "ReplicaSet", "replicasets.apps/web"),
        ("v1", "ReplicationController", "replicationcontrollers/web"),
    ];
    stage.secret();
    stage.repository(false);
    for (version, kind, resource) in workloads {
        stage.workload(version, kind);
        let before = stage.get(resource);
        let name = format!("backup-{}", kind.to_lowercase());
        stage.configuration(&name, version, kind, &json!({}));
        let with = wait_for("the sidecar", PATIENCE, || {
            Some(stage.get(resource)).filter(|it| container_names(it) == ["web", "stash"])
        });
        stage.wait_for(&name, "StashSidecarInjected", "True");
        let change = r#"{"spec":{"schedule":"1 1 1 1 *","paused":true,"backupHistoryLimit":4,"retentionPolicy":{"keepLast":9}}}"#;
        stage.merge(&format!("bc/{name}"), change);
        let generation = stage.get(&format!("bc/{name}"))["metadata"]["generation"].clone();
        wait_until("the change is seen", PATIENCE, || {
            stage.get(&format!("bc/{name}"))["status"]["observedGeneration"] == generation
        });
        stage.kubectl(&["delete", "bc", &name]);
        let after = wait_for("the sidecar is gone", PATIENCE, || {
            Some(stage.get(resource)).filter(|it| container_names(it) == ["web"])
        });
        assert_eq!(after["spec"]["template"], before["spec"]["template"]);
        let changes = |object: &Value| object["metadata"]["generation"].as_i64().unwrap();
        // In and out, and nothing in between.
        assert_eq!(changes(&with), changes(&before) + 1);
        assert_eq!(changes(&after), changes(&before) + 2);
        assert_eq!(stash_annotations(&after), Vec::<String>::new());
    }
}

fn stash_annotations(object: &Value) -> Vec<String> {
    let annotations = object["metadata"]["annotations"].as_object();
    let names = annotations.into_iter().flat_map(|it| it.keys().cloned());
    names
        .filter(|name| name.contains("stash.appscode.com"))
        .collect()
}

#[test]
fn what_is_missing_is_said_and_heals_when_it_appears() {
    let Some(stage) = Stage::new("heal", &[]) else {
        return;
    };
    stage.configuration("home", "apps/v1", "Deployment", &json!({}));
    stage.wait_for("home", "RepositoryFound", "False");
    stage.wait_for("home", "BackupTargetFound", "False");
    stage.repository(false);
    stage.wait_for("home", "RepositoryFound", "True");
    let missing = stage.wait_for("home", "BackendSecretFound", "False");
    let message = missing["message"].as_str().unwrap();
    assert!(
        message.contains("/keys") && message.contains("RESTIC_PASSWORD"),
        "{message}"
    );
    stage.secret();
    stage.workload("apps/v1", "Deployment");
    stage.wait_for("home", "BackendSecretFound", "True");
    stage.wait_for("home", "BackupTargetFound", "True");
    stage.wait_for("home", "StashSidecarInjected", "True");
    assert_eq!(stage.get("bc/home")["status"]["phase"], "Ready");
    stage.kubectl(&["delete", "deployment", "web"]);
    stage.wait_for("home", "BackupTargetFound", "False");
    let events = stage.kubectl(&["get", "events", "--output", "jsonpath={.items[*].reason}"]);
    for reason in [
        "RepositoryNotAvailable",
        "BackendSecretNotAvailable",
        "SidecarInjectionSucceeded",
    ] {
        assert!(events.contains(reason), "no event {reason}: {events}");
    }
}

#[test]
fn of_two_configurations_the_newer_has_the_workload_until_it_goes() {
    let Some(stage) = Stage::new("two", &[]) else {
        return;
    };
    stage.secret();
    stage.repository(false);
    stage.workload("apps/v1", "Deployment");
    stage.configuration("older", "apps/v1", "Deployment", &json!({}));
    stage.wait_for("older", "StashSidecarInjected", "True");
    // Two of the same second are told apart by name; this one comes later in both.
    stage.configuration("the-newer", "apps/v1", "Deployment", &json!({}));
    stage.wait_for("the-newer", "StashSidecarInjected", "True");
    let lost = stage.wait_for("older", "StashSidecarInjected", "False");
    let message = lost["message"].as_str().unwrap();
    assert!(message.contains("the-newer"), "{message}");
    stage.kubectl(&["delete", "bc", "the-newer"]);
    stage.wait_for("older", "StashSidecarInjected", "True");
    let args =
        &stage.get("deployments.apps/web")["spec"]["template"]["spec"]["containers"][1]["args"];
    assert!(args.as_array().unwrap().contains(&json!("older")), "{args}");
    stage.kubectl(&["delete", "bc", "older"]);
    wait_until("the event", PATIENCE, || {
        let reasons = ["get", "events", "--output", "jsonpath={.items[*].reason}"];
        stage.kubectl(&reasons).contains("SidecarDeletionSucceeded")
    });
    let containers = &stage.get("deployments.apps/web")["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1, "{containers}");
}

#[test]
fn a_repository_lists_its_users_and_is_wiped_out_only_without_them() {
    let Some(stage) = Stage::new("wipe", &[]) else {
        return;
    };
    stage.secret();
    stage.repository(true);
    stage.configuration("home", "apps/v1", "Deployment", &json!({}));
    let repository = wait_for("the reference", PATIENCE, || {
        Some(stage.get("repositories/repo"))
            .filter(|it| it["status"]["references"][0]["name"] == "home")
    });
    assert_eq!(repository["metadata"]["finalizers"], json!(["stash"]));
    stage.kubectl(&["delete", "repository", "repo", "--wait=false"]);
    wait_until("the event", PATIENCE, || {
        let reasons = ["get", "events", "--output", "jsonpath={.items[*].reason}"];
        stage.kubectl(&reasons).contains("RepositoryInUse")
    });
    assert!(stage.find("jobs/stash-wipe-out-repo").is_none());
    stage.kubectl(&["delete", "bc", "home"]);
    wait_until("the Job", PATIENCE, || {
        stage.find("jobs/stash-wipe-out-repo").is_some()
    });
    let role = stage.get("roles/stash-wipe-out-repo");
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(rule["verbs"], json!(["get"]));
        assert_eq!(rule["resourceNames"].as_array().unwrap().len(), 1, "{rule}");
    }
    stage.merge("repository/repo", r#"{"spec":{"wipeOut":false}}"#);
    wait_until("the Repository is gone", PATIENCE, || {
        stage.find("repositories/repo").is_none()
    });
}

#[test]
fn a_foreign_repository_needs_the_permission_of_its_policy() {
    let Some(stage) = Stage::new("policy", &[]) else {
        return;
    };
    let other = stage.cluster().create_namespace("policy-user");
    stage.secret();
    stage.repository(false);
    let reference = json!({ "name": "repo", "namespace": stage.name() });
    let object = stage::configuration(
        "home",
        "apps/v1",
        "Deployment",
        &json!({ "repository": reference }),
    );
    other.apply(&object.to_string());
    let wait = |status: &str| {
        wait_until("the verdict", PATIENCE, || {
            condition(&other.get("bc/home").unwrap(), "ValidationPassed")["status"] == status
        });
    };
    wait("False");
    let policy = json!({ "spec": { "usagePolicy": { "allowedNamespaces": {
        "from": "Selector",
        "selector": { "matchLabels": { "kubernetes.io/metadata.name": other.name() } },
    } } } });
    stage.merge("repository/repo", &policy.to_string());
    wait("True");
}
