use api::k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, SecurityContext, VolumeMount,
};
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
        pod_security: None,
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
    let pod: PodSecurityContext = serde_json::from_value(pod.clone()).unwrap();
    security_context(work, Some(user), Some(&pod))
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
