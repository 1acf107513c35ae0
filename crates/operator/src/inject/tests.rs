use api::v1alpha1::Repository;
use api::v1beta1::BackupConfiguration;
use serde_json::json;

use super::*;

fn image() -> ImageOptions {
    ImageOptions {
        name: "example/stash:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: Vec::new(),
    }
}

fn workload() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "shop" },
        "spec": {
            "selector": { "matchLabels": { "app": "web" } },
            "futureField": { "of": "a newer Kubernetes" },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "containers": [{ "name": "web", "image": "web:1" }],
                    "volumes": [{ "name": "data", "emptyDir": {} }],
                },
            },
        },
    })
}

fn configuration() -> BackupConfiguration {
    serde_json::from_value(json!({
        "metadata": { "name": "home", "namespace": "shop" },
        "spec": {
            "repository": { "name": "repo" },
            "schedule": "*/5 * * * *",
            "target": {
                "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                "paths": ["/data"],
            },
            "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
        },
    }))
    .unwrap()
}

fn restore() -> RestoreSession {
    serde_json::from_value(json!({
        "metadata": { "name": "back", "namespace": "shop" },
        "spec": {
            "repository": { "name": "repo" },
            "target": {
                "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            },
        },
    }))
    .unwrap()
}

fn repository(local: bool) -> Repository {
    let backend = if local {
        json!({ "local": { "mountPath": "/safe", "subPath": "a", "hostPath": { "path": "/srv" } } })
    } else {
        json!({ "s3": { "endpoint": "minio", "bucket": "b" } })
    };
    serde_json::from_value(json!({
        "metadata": { "name": "repo", "namespace": "shop" },
        "spec": { "backend": backend },
    }))
    .unwrap()
}

fn with_sidecar(workload: &Value, configuration: &BackupConfiguration, local: bool) -> Value {
    let part = sidecar(workload, configuration, &repository(local), &image()).unwrap();
    let wanted = Wanted::Present(Box::new(part));
    inject(workload, &wanted, &Wanted::AsItIs, &image()).unwrap()
}

fn with_init(workload: &Value, local: bool) -> Value {
    let part = init_container(workload, &restore(), &repository(local), &image()).unwrap();
    let wanted = Wanted::Present(Box::new(part));
    inject(workload, &Wanted::AsItIs, &wanted, &image()).unwrap()
}

fn without(workload: &Value) -> Value {
    inject(workload, &Wanted::Absent, &Wanted::Absent, &image()).unwrap()
}

#[test]
fn a_workload_gets_a_sidecar_and_an_init_container_with_volumes_of_their_own() {
    let result = with_init(&with_sidecar(&workload(), &configuration(), true), true);
    insta::assert_snapshot!(serde_json::to_string_pretty(&result).unwrap());
}

#[test]
fn injecting_again_changes_nothing_and_removing_leaves_no_trace() {
    let before = workload();
    for local in [false, true] {
        let once = with_init(&with_sidecar(&before, &configuration(), local), local);
        let twice = with_init(&with_sidecar(&once, &configuration(), local), local);
        assert_eq!(once, twice);
        assert_eq!(without(&once), before);
    }
    assert_eq!(without(&before), before);
}

#[test]
fn a_sidecar_and_an_init_container_come_and_go_apart() {
    let before = workload();
    let both = with_init(&with_sidecar(&before, &configuration(), true), true);
    let sidecar_only = inject(&both, &Wanted::AsItIs, &Wanted::Absent, &image()).unwrap();
    assert_eq!(
        sidecar_only,
        with_sidecar(&before, &configuration(), true),
        "the init container left something behind"
    );
    let init_only = inject(&both, &Wanted::Absent, &Wanted::AsItIs, &image()).unwrap();
    assert_eq!(init_only, with_init(&before, true));
}

#[test]
fn schedule_pause_and_retention_do_not_change_the_template() {
    let once = with_sidecar(&workload(), &configuration(), false);
    let mut changed = configuration();
    changed.spec.schedule = "@daily".to_owned();
    changed.spec.paused = true;
    changed.spec.retention_policy.keep_last = 1;
    changed.spec.backup_history_limit = Some(9);
    assert_eq!(with_sidecar(&once, &changed, false), once);
}

#[test]
fn defaults_that_the_api_server_fills_in_are_no_reason_to_write() {
    let mut stored = with_sidecar(&workload(), &configuration(), true);
    let container = &mut stored["spec"]["template"]["spec"]["containers"][1];
    container["terminationMessagePath"] = json!("/dev/termination-log");
    container["resources"] = json!({});
    stored["spec"]["template"]["spec"]["volumes"][3]["hostPath"]["type"] = json!("");
    assert_eq!(with_sidecar(&stored, &configuration(), true), stored);
}

#[test]
fn what_is_ours_is_put_right_when_somebody_changed_it() {
    let good = with_sidecar(&workload(), &configuration(), true);
    let mut changed = good.clone();
    changed["spec"]["template"]["spec"]["containers"][1]["image"] = json!("other:1");
    assert_eq!(with_sidecar(&changed, &configuration(), true), good);
    let cloud = with_sidecar(&good, &configuration(), false);
    assert_eq!(
        cloud["spec"]["template"]["spec"]["volumes"]
            .as_array()
            .unwrap()
            .len(),
        3,
        "the volume of the local backend goes with it"
    );
}

#[test]
fn an_init_container_that_others_moved_is_the_first_again() {
    let mut both = with_init(&workload(), false);
    let list = both["spec"]["template"]["spec"]["initContainers"]
        .as_array_mut()
        .unwrap();
    list.insert(0, json!({ "name": "migrate", "image": "web:1" }));
    let result = with_init(&both, false);
    let names: Vec<_> = result["spec"]["template"]["spec"]["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["stash-init", "migrate"]);
}

#[test]
fn pull_secrets_of_the_workload_outlive_ours() {
    let mut before = workload();
    before["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{ "name": "mine" }]);
    let image = ImageOptions {
        pull_secrets: vec!["mine".to_owned(), "ours".to_owned()],
        ..image()
    };
    let part = sidecar(&before, &configuration(), &repository(false), &image).unwrap();
    let wanted = Wanted::Present(Box::new(part));
    let with = inject(&before, &wanted, &Wanted::Absent, &image).unwrap();
    assert_eq!(
        with["spec"]["template"]["spec"]["imagePullSecrets"],
        json!([{ "name": "mine" }, { "name": "ours" }])
    );
    assert_eq!(
        inject(&with, &wanted, &Wanted::Absent, &image).unwrap(),
        with
    );
    let gone = inject(&with, &Wanted::Absent, &Wanted::Absent, &image).unwrap();
    assert_eq!(gone, before);
}

#[test]
fn what_does_not_fit_in_is_named() {
    let error = |workload: &Value, configuration: &BackupConfiguration, repository: &Repository| {
        let part = sidecar(workload, configuration, repository, &image());
        let result = part.and_then(|part| {
            let wanted = Wanted::Present(Box::new(part));
            inject(workload, &wanted, &Wanted::AsItIs, &image())
        });
        result.unwrap_err().to_string()
    };
    let mut unknown = configuration();
    let target = unknown.spec.target.as_mut().unwrap();
    target.volume_mounts[0].name = "date".to_owned();
    insta::assert_snapshot!(error(&workload(), &unknown, &repository(false)));
    let mut twice = configuration();
    let target = twice.spec.target.as_mut().unwrap();
    target.volume_mounts[0].mount_path = "/safe/".to_owned();
    insta::assert_snapshot!(error(&workload(), &twice, &repository(true)));
    let mut all = configuration();
    all.spec.target.as_mut().unwrap().paths = vec!["/".to_owned()];
    let holds = error(&workload(), &all, &repository(true));
    assert!(holds.starts_with("/ holds the Repository"), "{holds}");
    let mut taken = workload();
    taken["spec"]["template"]["spec"]["containers"][0]["name"] = json!("stash");
    insta::assert_snapshot!(error(&taken, &configuration(), &repository(false)));
    assert_eq!(without(&taken), taken, "a container of others stays");
    let foreign: Repository = serde_json::from_value(json!({
        "metadata": { "name": "repo", "namespace": "backups" },
        "spec": { "backend": { "local": { "mountPath": "/safe",
            "persistentVolumeClaim": { "claimName": "disk" } } } },
    }))
    .unwrap();
    insta::assert_snapshot!(error(&workload(), &configuration(), &foreign));
}

fn volume_names(workload: &Value) -> Vec<&str> {
    let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array();
    let names = volumes.into_iter().flatten();
    names.filter_map(|volume| volume["name"].as_str()).collect()
}

#[test]
fn a_claim_that_both_containers_need_is_one_volume_and_stays_as_long_as_one_needs_it() {
    let repository: Repository = serde_json::from_value(json!({
        "metadata": { "name": "repo", "namespace": "shop" },
        "spec": { "backend": { "local": {
            "mountPath": "/safe", "persistentVolumeClaim": { "claimName": "store" },
        } } },
    }))
    .unwrap();
    let sidecar = |workload: &Value| {
        let part = sidecar(workload, &configuration(), &repository, &image()).unwrap();
        let wanted = Wanted::Present(Box::new(part));
        inject(workload, &wanted, &Wanted::AsItIs, &image()).unwrap()
    };
    let init = |workload: &Value, sidecar: &Wanted| {
        let part = init_container(workload, &restore(), &repository, &image()).unwrap();
        let wanted = Wanted::Present(Box::new(part));
        inject(workload, sidecar, &wanted, &image()).unwrap()
    };
    let before = workload();
    let both = init(&sidecar(&before), &Wanted::AsItIs);
    let ours = |workload: &Value| {
        let names = volume_names(workload).into_iter();
        names
            .filter(|name| name.ends_with("local"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(ours(&both), ["stash-local"]);
    let mounts = both["spec"]["template"]["spec"]["initContainers"][0]["volumeMounts"].clone();
    let mounts = mounts.as_array().unwrap();
    assert!(
        mounts
            .iter()
            .any(|it| it["name"] == "stash-local" && it["mountPath"] == "/safe")
    );
    assert_eq!(sidecar(&both), both);
    assert_eq!(init(&both, &Wanted::AsItIs), both);
    // The sidecar goes and the init container stays, looked after or not.
    let left = inject(&both, &Wanted::Absent, &Wanted::AsItIs, &image()).unwrap();
    assert_eq!(ours(&left), ["stash-local"]);
    assert_eq!(ours(&init(&both, &Wanted::Absent)), ["stash-local"]);
    assert_eq!(without(&left), before);
    assert_eq!(without(&both), before);
    // The workload's own volume is used as well.
    let mut own = workload();
    own["spec"]["template"]["spec"]["volumes"] = json!([
        { "name": "data", "emptyDir": {} },
        { "name": "shelf", "persistentVolumeClaim": { "claimName": "store" } },
    ]);
    let with = sidecar(&own);
    assert_eq!(ours(&with), Vec::<String>::new());
    assert_eq!(sidecar(&with), with);
    assert_eq!(without(&with), own);
}
