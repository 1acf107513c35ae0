//! The CEL rules of the definitions, evaluated as an API server does.

use kube_cel::validate;
use serde_json::{Value, json};

/// The messages of the rules an object breaks.
#[expect(clippy::needless_pass_by_value, reason = "literals are passed")]
fn broken(kind: &str, spec: Value) -> Vec<String> {
    let object = json!({"kind": kind, "metadata": {"name": "x"}, "spec": spec});
    broken_by(kind, &object, None)
}

/// The messages of the rules an object breaks that comes in place of another.
fn broken_by(kind: &str, object: &Value, old: Option<&Value>) -> Vec<String> {
    let definition = api::crds()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
        .unwrap();
    let schema = definition.spec.versions[0]
        .schema
        .as_ref()
        .unwrap()
        .open_api_v3_schema
        .as_ref()
        .unwrap();
    // This evaluator knows neither types nor the function that hides them from an API server.
    let schema = serde_json::to_string(schema).unwrap().replace("dyn(", "(");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    match validate(&schema, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| error.message)
            .collect(),
    }
}

fn repository(backend: Value) -> Value {
    let mut backend = backend;
    backend["storageSecretName"] = json!("key");
    json!({"backend": backend})
}

fn local(mount_path: &str) -> Value {
    json!({"mountPath": mount_path, "hostPath": {"path": "/mnt"}})
}

#[test]
fn a_repository_has_one_backend_and_a_secret() {
    assert_eq!(
        broken("Repository", repository(json!({"local": local("/data")}))),
        [""; 0]
    );
    assert_eq!(
        broken(
            "Repository",
            repository(json!({"local": local("/stash-backup")}))
        ),
        [""; 0]
    );
    let exactly_one = "exactly one of local, s3, gcs, azure, swift, b2 and rest must be set";
    assert_eq!(broken("Repository", repository(json!({}))), [exactly_one]);
    let both = json!({"local": local("/data"), "rest": {"url": "http://h/"}});
    assert_eq!(broken("Repository", repository(both)), [exactly_one]);
    assert_eq!(
        broken("Repository", json!({"backend": {"local": local("/data")}})),
        ["storageSecretName is required"]
    );
    assert_eq!(
        broken("Repository", repository(json!({"rest": {}}))),
        ["url is required"]
    );
}

#[test]
fn mount_path_and_wipe_out_are_checked() {
    for path in ["/stash", "/stash/data"] {
        let found = broken("Repository", repository(json!({"local": local(path)})));
        assert!(
            found[0].starts_with("mountPath must not be /stash"),
            "{found:?}"
        );
    }
    let mut spec = repository(json!({"b2": {"bucket": "b"}}));
    spec["wipeOut"] = json!(true);
    assert_eq!(
        broken("Repository", spec),
        ["wipeOut is not available for the backends local and b2"]
    );
}

#[expect(clippy::needless_pass_by_value, reason = "literals are passed")]
fn backup(changes: Value) -> Value {
    let mut spec = json!({
        "repository": {"name": "r"},
        "target": {"paths": ["/home"]},
        "retentionPolicy": {"name": "p", "keepLast": 1, "prune": true},
    });
    for (name, value) in changes.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

#[test]
fn a_backup_configuration_is_checked() {
    assert_eq!(
        broken("BackupConfiguration", backup(json!({"timeOut": "1h30m"}))),
        [""; 0]
    );
    let cases = [
        (
            json!({"timeOut": "0s"}),
            "timeOut must be longer than nothing",
        ),
        (
            json!({"repository": {}}),
            "repository.name is required unless driver is VolumeSnapshotter",
        ),
        (
            json!({"target": {"alias": "x"}}),
            "a target needs ref or paths",
        ),
        (
            json!({"target": {"paths": ["home"]}}),
            "paths must be absolute and without `..`",
        ),
        (
            json!({"target": {"paths": ["/home/.."]}}),
            "paths must be absolute and without `..`",
        ),
        (
            json!({"hooks": {"preBackup": {}}}),
            "a hook needs at least one of exec, httpGet, httpPost and tcpSocket",
        ),
        (
            json!({"hooks": {"postBackup": {"executionPolicy": "Always"}}}),
            "a hook needs at least one of exec, httpGet, httpPost and tcpSocket",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(broken("BackupConfiguration", backup(change)), [message]);
    }
    let found = broken(
        "BackupConfiguration",
        backup(json!({"retentionPolicy": {"name": "p", "prune": true}})),
    );
    assert!(
        found[0].starts_with("the policy keeps nothing"),
        "{found:?}"
    );
}

#[test]
fn restore_rules_are_checked() {
    let restore = |rules: Value| json!({"repository": {"name": "r"}, "target": {"rules": rules}});
    assert_eq!(
        broken(
            "RestoreSession",
            restore(json!([{"targetHosts": ["a"]}, {}]))
        ),
        [""; 0]
    );
    assert_eq!(
        broken("RestoreSession", restore(json!([{}, {}]))),
        ["at most one rule may be without targetHosts"]
    );
    assert_eq!(
        broken(
            "RestoreSession",
            restore(json!([{"snapshots": ["a"], "paths": ["/x"]}]))
        ),
        ["a rule may have snapshots or paths, not both"]
    );
}

#[test]
fn what_a_ready_configuration_is_about_stays() {
    let configuration = |phase: &str, alias: &str, paused: bool| {
        let spec =
            backup(json!({"target": {"alias": alias, "paths": ["/home"]}, "paused": paused}));
        json!({"kind": "BackupConfiguration", "metadata": {"name": "x"}, "spec": spec, "status": {"phase": phase}})
    };
    let change = |old: &Value, new: &Value| broken_by("BackupConfiguration", new, Some(old));
    let ready = configuration("Ready", "a", false);
    let refused = [
        "the workload (ref) and the alias of a BackupConfiguration that is ready cannot be changed; create another BackupConfiguration, and delete this one",
    ];
    assert_eq!(change(&ready, &configuration("Ready", "b", false)), refused);
    assert_eq!(
        change(&ready, &configuration("NotReady", "b", true)),
        refused
    );
    let mut without = ready.clone();
    without["spec"].as_object_mut().unwrap().remove("target");
    assert_eq!(change(&ready, &without), refused);
    assert_eq!(change(&without, &ready), refused);
    assert_eq!(
        change(&ready, &configuration("NotReady", "a", true)),
        [""; 0]
    );
    let mut paths = ready.clone();
    paths["spec"]["target"]["paths"] = json!(["/srv"]);
    paths["spec"]["target"]["exclude"] = json!(["*.tmp"]);
    assert_eq!(change(&ready, &paths), [""; 0]);
    let not_ready = configuration("NotReady", "a", false);
    assert_eq!(
        change(&not_ready, &configuration("Ready", "b", false)),
        [""; 0]
    );
    let mut new = ready.clone();
    new.as_object_mut().unwrap().remove("status");
    assert_eq!(change(&new, &configuration("Ready", "b", false)), [""; 0]);
}

#[test]
fn a_restore_stays_as_it_is_but_its_rules_may_move() {
    let restore = |spec: Value| {
        let mut spec = spec;
        spec["repository"] = json!({"name": "r"});
        json!({"kind": "RestoreSession", "metadata": {"name": "x"}, "spec": spec})
    };
    let rules = json!([{"paths": ["/a"]}]);
    let old = restore(json!({"target": {"alias": "a"}, "rules": rules}));
    let change = |new: Value| broken_by("RestoreSession", &restore(new), Some(&old));
    let refused = ["a RestoreSession cannot be changed; create another RestoreSession"];
    assert_eq!(
        change(json!({"target": {"alias": "a", "rules": rules}})),
        [""; 0]
    );
    assert_eq!(
        change(json!({"target": {"alias": "a", "rules": []}, "rules": rules, "driver": "Restic"})),
        [""; 0]
    );
    for new in [
        json!({"target": {"alias": "b"}, "rules": rules}),
        json!({"target": {"alias": "a"}}),
        json!({"target": {"alias": "a", "rules": rules}, "rules": rules}),
        json!({"target": {"alias": "a", "replicas": 1}, "rules": rules}),
        json!({"target": {"alias": "a"}, "rules": rules, "timeOut": "1h"}),
        json!({"target": {"alias": "a"}, "rules": rules, "hooks": {}}),
        json!({"rules": rules}),
    ] {
        let shown = new.to_string();
        assert_eq!(change(new), refused, "{shown}");
    }
}
