use api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use api::v1beta1::RestoreSession;
use serde_json::{Value, json};

use super::*;
use crate::target::Workload;

fn image() -> ImageOptions {
    ImageOptions {
        name: "stash:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: vec!["pull".to_owned()],
    }
}

fn repository(namespace: &str, backend: &Value) -> Repository {
    serde_json::from_value(json!({
        "metadata": { "name": "repo", "namespace": namespace },
        "spec": { "backend": backend },
    }))
    .unwrap()
}

fn s3() -> Repository {
    repository("shop", &json!({ "s3": { "endpoint": "e", "bucket": "b" } }))
}

fn claim(name: &str, mode: &str) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "shop" },
        "spec": { "accessModes": [mode] },
    }))
    .unwrap()
}

fn pod(name: &str, claim: &str, node: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": { "nodeName": node, "containers": [], "volumes": [
            { "name": "data", "persistentVolumeClaim": { "claimName": claim } },
        ] },
        "status": { "phase": "Running" },
    }))
    .unwrap()
}

fn mounts(list: &Value) -> Vec<VolumeMount> {
    serde_json::from_value(list.clone()).unwrap()
}

fn build(
    data: &HostData,
    work: Work,
    settings: &Value,
    repository: &Repository,
) -> Result<Job, JobError> {
    let settings: RuntimeSettings = serde_json::from_value(settings.clone()).unwrap();
    let image = image();
    job(&JobParts {
        name: "stash-backup-home-1-0".to_owned(),
        namespace: "shop",
        labels: BTreeMap::from([("ours".to_owned(), "yes".to_owned())]),
        owner: None,
        work,
        args: vec!["agent".to_owned(), "backup".to_owned()],
        image: &image,
        repository,
        settings: Some(&settings),
        temp_dir: None,
        interim: None,
        account: "stash-backupconfiguration-home".to_owned(),
        data,
    })
}

fn pod_of(job: Job) -> PodSpec {
    job.spec.unwrap().template.spec.unwrap()
}

#[test]
fn a_claim_is_read_where_its_pod_runs() {
    let pods = [pod("other", "x", "node-1"), pod("web", "data", "node-2")];
    let host = || (Work::Backup, "host-0".to_owned());
    let data = of_claim(&claim("data", "ReadWriteOnce"), &[], &pods, host()).unwrap();
    assert_eq!(data.node.as_deref(), Some("node-2"));
    let job = build(&data, Work::Backup, &json!({}), &s3()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&job).unwrap());
    let shared = of_claim(&claim("data", "ReadWriteMany"), &[], &pods, host()).unwrap();
    assert_eq!(shared.node, None);
    let alone = of_claim(&claim("data", "ReadWriteOncePod"), &[], &pods, host());
    assert!(
        alone
            .unwrap_err()
            .to_string()
            .contains("the Pod web uses it")
    );
}

#[test]
fn a_restore_writes_as_root_and_mounts_as_the_target_says() {
    let mounts = mounts(&json!([{ "name": "any", "mountPath": "/srv", "subPath": "a" }]));
    let host = (Work::Restore, "host-0".to_owned());
    let data = of_claim(&claim("data", "ReadWriteOnce"), &mounts, &[], host).unwrap();
    let pod = pod_of(build(&data, Work::Restore, &json!({}), &s3()).unwrap());
    let container = &pod.containers[0];
    let mount = container.volume_mounts.as_ref().unwrap();
    let mount = mount.iter().find(|it| it.name == "stash-volume").unwrap();
    assert_eq!(mount.mount_path, "/srv");
    assert_eq!(mount.sub_path.as_deref(), Some("a"));
    assert_eq!(mount.read_only, None);
    let security = container.security_context.as_ref().unwrap();
    assert_eq!(security.run_as_user, Some(0));
}

#[test]
fn everything_that_the_user_sets_reaches_the_pod() {
    let settings = json!({
        "pod": {
            "podLabels": { "team": "red", "ours": "no" },
            "podAnnotations": { "note": "a" },
            "nodeSelector": { "disk": "ssd" },
            "automountServiceAccountToken": true,
            "securityContext": { "fsGroup": 5 },
            "imagePullSecrets": [{ "name": "mine" }],
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    { "matchExpressions": [{ "key": "zone", "operator": "Exists" }] },
                    { "matchExpressions": [{ "key": "disk", "operator": "Exists" }] },
                ],
            } } },
            "schedulerName": "own",
            "tolerations": [{ "key": "backup", "operator": "Exists" }],
            "priorityClassName": "low",
            "priority": 3,
            "readinessGates": [{ "conditionType": "x/y" }],
            "runtimeClassName": "kata",
            "enableServiceLinks": false,
            "topologySpreadConstraints": [
                { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" },
            ],
        },
        "container": {
            "resources": { "requests": { "cpu": "1" } },
            "nice": { "adjustment": 5 },
            "env": [{ "name": "A", "value": "b" }],
        },
    });
    let pods = [pod("web", "data", "node-2")];
    let host = (Work::Backup, "host-0".to_owned());
    let data = of_claim(&claim("data", "ReadWriteOnce"), &[], &pods, host).unwrap();
    let job = build(&data, Work::Backup, &settings, &s3()).unwrap();
    let template = job.spec.unwrap().template;
    insta::assert_snapshot!(serde_json::to_string_pretty(&template).unwrap());
    let named = json!({ "pod": { "nodeName": "node-9" } });
    let pod = pod_of(build(&data, Work::Backup, &named, &s3()).unwrap());
    assert_eq!(pod.node_name.as_deref(), Some("node-9"));
    assert_eq!(pod.affinity, None);
}

fn workload(kind: &str, replicas: i32) -> Workload {
    Workload::read(&json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": "db", "uid": "u" },
        "spec": {
            "replicas": replicas,
            "volumeClaimTemplates": [{ "metadata": { "name": "data" } }],
            "template": { "spec": {
                "securityContext": { "runAsUser": 70, "fsGroup": 70 },
                "containers": [{
                    "name": "db",
                    "securityContext": { "runAsUser": 999 },
                    "volumeMounts": [{ "name": "data", "mountPath": "/var/lib/db" }],
                }],
                "volumes": [
                    { "name": "config", "persistentVolumeClaim": { "claimName": "conf" } },
                    { "name": "scratch", "emptyDir": {} },
                    { "name": "host", "hostPath": { "path": "/srv" } },
                    { "name": "stash-tmp-dir", "emptyDir": {} },
                ],
            } },
        },
    }))
    .unwrap()
}

#[test]
fn each_pod_of_a_stateful_set_is_a_job_with_its_own_claim() {
    let claims = [
        claim("data-db-0", "ReadWriteOnce"),
        claim("data-db-1", "ReadWriteOnce"),
    ];
    let pods = [
        pod("db-0", "data-db-0", "n0"),
        pod("db-1", "data-db-1", "n1"),
    ];
    let mounts = mounts(&json!([{ "name": "data", "mountPath": "/data" }]));
    let around = (&claims[..], &pods[..]);
    let all = of_workload(
        &workload("StatefulSet", 2),
        Some("pg"),
        &mounts,
        around,
        Work::Backup,
    )
    .unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|data| {
            let claim = data.volumes[0].persistent_volume_claim.as_ref().unwrap();
            (
                data.host.as_str(),
                claim.claim_name.as_str(),
                data.node.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("pg-0", "data-db-0", Some("n0")),
            ("pg-1", "data-db-1", Some("n1"))
        ]
    );
    let security = all[0].security.as_ref().unwrap();
    assert_eq!(security.run_as_user, Some(999));
    assert_eq!(
        security.fs_group_change_policy.as_deref(),
        Some("OnRootMismatch")
    );
    assert_eq!(all[0].mounts[0].read_only, Some(true));
    let missing = of_workload(
        &workload("StatefulSet", 3),
        None,
        &mounts,
        around,
        Work::Backup,
    );
    assert_eq!(
        missing.unwrap_err().to_string(),
        "the volume claim data-db-2 does not exist"
    );
}

#[test]
fn volumes_that_no_job_can_mount_are_refused_by_name() {
    let error = |kind: &str, name: &str| {
        let mounts = mounts(&json!([{ "name": name, "mountPath": "/data" }]));
        let none: (&[PersistentVolumeClaim], &[Pod]) = (&[], &[]);
        let result = of_workload(&workload(kind, 1), None, &mounts, none, Work::Backup);
        result.unwrap_err().to_string()
    };
    insta::assert_snapshot!(
        [
            error("Deployment", "scratch"),
            error("Deployment", "nothing"),
            error("Deployment", "config"),
            error("DaemonSet", "host"),
        ]
        .join("\n")
    );
}

#[test]
fn a_folder_of_a_node_is_read_on_that_node() {
    let mut running = pod("db-x-y", "z", "n7");
    running.metadata.owner_references = serde_json::from_value(json!([
        { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "db-77f", "uid": "r" },
    ]))
    .unwrap();
    let mounts = mounts(&json!([{ "name": "host", "mountPath": "/data" }]));
    let around: (&[PersistentVolumeClaim], &[Pod]) = (&[], &[running]);
    let deployment = workload("Deployment", 1);
    let all = of_workload(&deployment, None, &mounts, around, Work::Backup).unwrap();
    assert_eq!(all[0].node.as_deref(), Some("n7"));
    let restored = of_workload(&deployment, None, &mounts, around, Work::Restore).unwrap();
    let security = restored[0].security.as_ref().unwrap();
    assert_eq!((security.run_as_user, security.fs_group), (None, Some(70)));
}

#[test]
fn a_backend_in_a_claim_elsewhere_or_at_a_taken_place_is_refused() {
    let host = (Work::Backup, "host-0".to_owned());
    let data = of_claim(&claim("data", "ReadWriteOnce"), &[], &[], host).unwrap();
    let local = |path: &str| {
        json!({ "local": {
            "mountPath": path,
            "persistentVolumeClaim": { "claimName": "store" },
        } })
    };
    let foreign = build(
        &data,
        Work::Backup,
        &json!({}),
        &repository("vault", &local("/safe")),
    );
    assert!(matches!(foreign, Err(JobError::ForeignClaim { .. })));
    let same = build(
        &data,
        Work::Backup,
        &json!({}),
        &repository("shop", &local("/stash-data/")),
    );
    assert!(matches!(same, Err(JobError::SamePath { path }) if path == "/stash-data"));
    let good = build(
        &data,
        Work::Backup,
        &json!({}),
        &repository("shop", &local("/safe")),
    );
    let volumes = pod_of(good.unwrap()).volumes.unwrap();
    assert!(volumes.iter().any(|volume| volume.name == "stash-local"));
}

fn restore(target: &Value) -> RestoreSession {
    serde_json::from_value(json!({
        "metadata": { "name": "back", "namespace": "shop", "uid": "u1" },
        "spec": { "repository": { "name": "repo" }, "target": target },
    }))
    .unwrap()
}

#[test]
fn claims_are_made_for_every_replica_and_never_taken_from_others() {
    let restore = restore(&json!({
        "replicas": 2,
        "volumeMounts": [{ "name": "data-db", "mountPath": "/data" }],
        "volumeClaimTemplates": [{
            "metadata": { "name": "data-db-${POD_ORDINAL}", "labels": { "team": "red" } },
            "spec": { "accessModes": ["ReadWriteOnce"] },
        }],
    }));
    let target = restore.spec.target.as_ref().unwrap();
    assert_eq!(template_problems(target, "shop"), []);
    let all = claims(&restore, target);
    let seen: Vec<_> = all
        .iter()
        .map(|claims| (claims.data.host.clone(), claims.claims[0].name_any()))
        .collect();
    assert_eq!(
        seen,
        [
            ("host-0".to_owned(), "data-db-0".to_owned()),
            ("host-1".to_owned(), "data-db-1".to_owned())
        ]
    );
    let made = &all[0].claims[0];
    assert_eq!(made.metadata.owner_references, None, "data outlives it");
    assert_eq!(made.labels()["team"], "red");
    assert_eq!(all[0].data.volumes[0].name, "data-db");
    assert_eq!(all[0].foreign(&restore, std::slice::from_ref(made)), None);
    let other = claim("data-db-0", "ReadWriteOnce");
    assert_eq!(all[0].foreign(&restore, &[other]), Some("data-db-0"));
}

#[test]
fn templates_that_cannot_work_are_refused_with_the_field() {
    let problems = |target: &Value| -> Vec<String> {
        let restore = restore(target);
        let target = restore.spec.target.as_ref().unwrap();
        template_problems(target, "shop")
            .into_iter()
            .map(|problem| problem.path)
            .collect()
    };
    let template = |name: &str| json!([{ "metadata": { "name": name }, "spec": {} }]);
    let mounts = json!([{ "name": "data", "mountPath": "/data" }]);
    assert_eq!(
        problems(&json!({ "volumeClaimTemplates": template(""), "volumeMounts": mounts })),
        [
            "spec.target.volumeClaimTemplates[0].metadata.name",
            "spec.target.volumeMounts[0].name"
        ]
    );
    assert_eq!(
        problems(
            &json!({ "volumeClaimTemplates": template("data"), "volumeMounts": mounts, "replicas": 2 })
        ),
        ["spec.target.volumeClaimTemplates[0].metadata.name"]
    );
    assert_eq!(
        problems(&json!({ "volumeClaimTemplates": template("data") })),
        ["spec.target.volumeMounts"]
    );
}

fn local(sub_path: &str) -> Repository {
    repository(
        "shop",
        &json!({ "local": {
            "mountPath": "/safe", "subPath": sub_path,
            "persistentVolumeClaim": { "claimName": "data" },
        } }),
    )
}

#[test]
fn a_claim_that_is_data_and_backend_is_one_volume_of_the_pod() {
    let mounts = mounts(&json!([{ "name": "any", "mountPath": "/srv", "subPath": "files" }]));
    let host = (Work::Backup, "host-0".to_owned());
    let data = of_claim(&claim("data", "ReadWriteOnce"), &mounts, &[], host).unwrap();
    let pod = pod_of(build(&data, Work::Backup, &json!({}), &local("safe")).unwrap());
    let volumes = pod.volumes.unwrap();
    let of_claims: Vec<_> = volumes
        .iter()
        .filter(|it| it.persistent_volume_claim.is_some())
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(of_claims, ["stash-volume"]);
    let seen: Vec<_> = pod.containers[0]
        .volume_mounts
        .iter()
        .flatten()
        .filter(|it| it.name == "stash-volume")
        .map(|it| (it.mount_path.as_str(), it.sub_path.as_deref(), it.read_only))
        .collect();
    assert_eq!(
        seen,
        [
            ("/safe", Some("safe"), None),
            ("/srv", Some("files"), Some(true))
        ]
    );
}

#[test]
fn a_backup_that_would_contain_its_repository_is_refused() {
    let check = |sub_path: &str, target: Value| {
        let target: api::v1beta1::BackupTarget = serde_json::from_value(target).unwrap();
        let host = (Work::Backup, "host-0".to_owned());
        let claim = claim("data", "ReadWriteOnce");
        let data = of_claim(&claim, &target.volume_mounts, &[], host).unwrap();
        check_apart(&data, &local(sub_path), &target).map_err(|error| error.to_string())
    };
    let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "data" });
    let all = json!({ "ref": claim });
    assert!(check("a/safe", all.clone()).unwrap_err().contains(
        "/stash-data holds the Repository repo, which lies in the same volume claim data, so that every backup would contain all earlier ones; add /stash-data/a/safe to spec.target.exclude"
    ));
    assert!(check("", all).is_err());
    let excluded = json!({ "ref": claim, "exclude": ["/stash-data/a/"] });
    assert_eq!(check("a/safe", excluded.clone()), Ok(()));
    assert!(check("ab/safe", excluded).is_err());
    let other = json!({ "ref": claim, "paths": ["/stash-data/files"] });
    assert_eq!(check("a/safe", other.clone()), Ok(()));
    assert!(check("files/safe", other).is_err());
    let folder = json!({
        "ref": claim,
        "volumeMounts": [{ "name": "any", "mountPath": "/srv", "subPath": "files" }],
    });
    assert_eq!(check("safe", folder.clone()), Ok(()));
    assert!(check("files/safe", folder).is_err());
}
