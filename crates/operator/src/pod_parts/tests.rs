use api::k8s_openapi::api::core::v1::{Capabilities, SecurityContext, VolumeMount};
use api::v1beta1::{ContainerRuntimeSettings, EmptyDirSettings};
use serde_json::json;

use super::*;

fn image() -> ImageOptions {
    ImageOptions {
        name: "example/stash:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: Vec::new(),
    }
}

fn parts(image: &ImageOptions, work: Work) -> AgentParts<'_> {
    AgentParts {
        image,
        place: Place::Beside,
        work,
        args: vec!["agent".to_owned(), "sidecar".to_owned()],
        settings: None,
        temp_dir: None,
        local: None,
        mounts: vec![VolumeMount {
            name: "data".to_owned(),
            mount_path: "/data".to_owned(),
            mount_propagation: Some("HostToContainer".to_owned()),
            ..VolumeMount::default()
        }],
        around: Around::default(),
    }
}

#[test]
fn a_container_without_settings_satisfies_the_restricted_level() {
    let image = image();
    let container = parts(&image, Work::Backup).container("stash");
    insta::assert_snapshot!(serde_json::to_string_pretty(&container).unwrap());
    let volumes = parts(&image, Work::Backup).volumes().unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&volumes).unwrap());
}

#[test]
fn settings_of_the_user_are_kept_and_the_identity_of_the_pod_is_not_replaced() {
    let image = image();
    let settings: ContainerRuntimeSettings = serde_json::from_value(json!({
        "resources": { "requests": { "cpu": "100m" } },
        "securityContext": { "runAsUser": 0 },
        "nice": { "adjustment": 5 },
        "ionice": { "class": 2, "classData": 4 },
        "env": [
            { "name": "POD_NAME", "value": "forged" },
            { "name": "TMPDIR", "value": "/elsewhere" },
            { "name": "HTTPS_PROXY", "value": "http://proxy:3128" },
        ],
        "envFrom": [{ "configMapRef": { "name": "proxy" } }],
    }))
    .unwrap();
    let temp_dir = EmptyDirSettings {
        disable_caching: true,
        ..EmptyDirSettings::default()
    };
    let parts = AgentParts {
        settings: Some(&settings),
        temp_dir: Some(&temp_dir),
        ..parts(&image, Work::Backup)
    };
    insta::assert_snapshot!(serde_json::to_string_pretty(&parts.container("stash")).unwrap());
}

fn context(work: Work, user: &serde_json::Value, pod: &serde_json::Value) -> SecurityContext {
    let user = serde_json::from_value(user.clone()).unwrap();
    let workload = json!({ "spec": { "template": { "spec": { "securityContext": pod } } } });
    security_context(work, Some(user), &Around::workload(&workload, None))
}

#[test]
fn a_sidecar_takes_the_user_of_the_pod_and_never_contradicts_it() {
    let nothing = json!({});
    let plain = context(Work::Backup, &nothing, &nothing);
    assert_eq!(plain.run_as_user, None);
    assert_eq!(plain.run_as_non_root, Some(true));
    let of_app = context(Work::Backup, &nothing, &json!({ "runAsUser": 1000 }));
    assert_eq!(of_app.run_as_user, None);
    assert_eq!(of_app.run_as_non_root, Some(true));
    let of_root = context(Work::Backup, &nothing, &json!({ "runAsUser": 0 }));
    assert_eq!(of_root.run_as_non_root, None);
    assert_eq!(
        of_root.capabilities,
        Some(Capabilities {
            add: Some(vec!["DAC_OVERRIDE".to_owned()]),
            drop: Some(vec!["ALL".to_owned()]),
        })
    );
}

#[test]
fn a_restore_runs_as_root_unless_the_pod_or_the_user_says_otherwise() {
    let nothing = json!({});
    let plain = context(Work::Restore, &nothing, &json!({ "runAsUser": 1000 }));
    assert_eq!((plain.run_as_user, plain.run_as_group), (Some(0), Some(0)));
    assert_eq!(plain.run_as_non_root, Some(false));
    let added = plain.capabilities.unwrap().add.unwrap();
    assert!(added.contains(&"CHOWN".to_owned()), "{added:?}");
    let refused = context(Work::Restore, &nothing, &json!({ "runAsNonRoot": true }));
    assert_eq!(refused.run_as_user, None);
    assert_eq!(refused.capabilities.unwrap().add, None);
    let named = context(Work::Restore, &json!({ "runAsUser": 70 }), &nothing);
    assert_eq!(named.run_as_user, Some(70));
    assert_eq!(named.run_as_non_root, Some(true));
}

#[test]
fn a_privileged_container_is_forbidden_nothing() {
    let privileged = context(
        Work::Backup,
        &json!({ "privileged": true, "runAsUser": 0 }),
        &json!({}),
    );
    assert_eq!(privileged.allow_privilege_escalation, None);
    assert_eq!(privileged.capabilities, None);
    let admin = context(
        Work::Backup,
        &json!({ "capabilities": { "add": ["SYS_ADMIN"] } }),
        &json!({}),
    );
    assert_eq!(admin.allow_privilege_escalation, None);
}

#[test]
fn a_container_in_a_workload_takes_the_user_of_the_container_with_the_data() {
    let non_root = json!({ "runAsUser": 70, "runAsGroup": 71, "runAsNonRoot": true });
    let container = |name: &str, volume: &str, security: &serde_json::Value| {
        json!({ "name": name, "securityContext": security,
            "volumeMounts": [{ "name": volume, "mountPath": "/x" }] })
    };
    let workload = |pod: serde_json::Value, second: serde_json::Value| {
        json!({ "spec": { "template": { "spec": { "securityContext": pod, "containers": [
            container("other", "logs", &json!({ "runAsUser": 80, "runAsNonRoot": true })),
            container("web", "data", &second),
            container("stash", "data", &json!({ "runAsUser": 0 })),
        ] } } } })
    };
    let of = |work: Work, workload: &serde_json::Value| {
        let context = security_context(work, None, &Around::workload(workload, Some("data")));
        (
            context.run_as_user,
            context.run_as_group,
            context.run_as_non_root,
        )
    };
    let guarded = workload(json!({}), non_root);
    assert_eq!(of(Work::Backup, &guarded), (Some(70), Some(71), Some(true)));
    // Every container refuses root, so that admission may, too.
    assert_eq!(
        of(Work::Restore, &guarded),
        (Some(70), Some(71), Some(true))
    );
    let open = workload(json!({ "runAsUser": 60 }), json!({ "runAsUser": 70 }));
    assert_eq!(of(Work::Backup, &open), (Some(70), None, Some(true)));
    assert_eq!(of(Work::Restore, &open), (Some(0), Some(0), Some(false)));
    let contrary = workload(json!({ "runAsNonRoot": true }), json!({ "runAsUser": 0 }));
    assert_eq!(of(Work::Backup, &contrary), (None, None, Some(true)));
}

#[test]
fn a_pod_of_ours_works_as_the_user_it_names() {
    let of = |work: Work, pod: serde_json::Value| {
        let around = Around::own(Some(serde_json::from_value(pod).unwrap()));
        security_context(work, None, &around)
    };
    let restore = of(Work::Restore, json!({ "runAsUser": 70, "fsGroup": 70 }));
    assert_eq!(restore.run_as_user, None);
    assert_eq!(restore.run_as_non_root, Some(true));
    let root = of(Work::Restore, json!({ "fsGroup": 70 }));
    assert_eq!(root.run_as_user, Some(0));
    let refused = of(Work::Restore, json!({ "runAsNonRoot": true }));
    assert_eq!(refused.run_as_user, None);
}
