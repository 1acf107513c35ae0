//! Manifests as users write them.

use std::str::FromStr;

use api::duration::GoDuration;
use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use api::manifest::{AnyObject, DEFAULT_NAMESPACE};
use api::v1beta1::{BackupPostHookPolicy, RestorePostHookPolicy, Snapshotter};

use crate::{load, problems};

const LOCAL: &str = include_str!("manifests/local.yaml");
const CLUSTER: &str = include_str!("manifests/cluster.yaml");

#[test]
fn good_manifests_have_no_problem() {
    assert_eq!(problems(LOCAL), []);
    assert_eq!(problems(CLUSTER), []);
}

#[test]
fn every_field_arrives_and_defaults_are_filled_in() {
    let outcome = load(LOCAL);
    assert_eq!(outcome.objects.len(), 3);
    let AnyObject::BackupConfiguration(configuration) = &outcome.objects[2].object else {
        panic!("wrong kind")
    };
    assert_eq!(outcome.objects[2].origin.document, 3);
    assert_eq!(outcome.objects[2].origin.line, 26);
    let spec = &configuration.spec;
    assert_eq!(spec.driver, Some(Snapshotter::Restic));
    assert_eq!(
        spec.target.as_ref().unwrap().paths,
        ["/home/ada/documents", "/etc"]
    );
    assert_eq!(
        (
            spec.retention_policy.keep_last,
            spec.retention_policy.keep_hourly
        ),
        (5, 0)
    );
    assert_eq!(spec.retry_config.unwrap().max_retry, 1);
    assert_eq!(spec.time_out, Some(GoDuration::from_str("2h30m").unwrap()));
    let post = spec.hooks.as_ref().unwrap().post_backup.as_ref().unwrap();
    assert_eq!(post.execution_policy, BackupPostHookPolicy::OnFailure);
    assert!(post.handler.http_post.is_some());
    assert_eq!(configuration.metadata.namespace.as_deref(), Some("demo"));
}

#[test]
fn lists_and_cluster_fields_are_read() {
    let outcome = load(CLUSTER);
    let kinds: Vec<_> = outcome
        .objects
        .iter()
        .map(|manifest| manifest.object.kind())
        .collect();
    assert_eq!(
        kinds,
        [
            "Secret",
            "Repository",
            "BackupConfiguration",
            "RestoreSession",
            "BackupSession"
        ]
    );
    assert_eq!(outcome.objects[0].object.namespace(), DEFAULT_NAMESPACE);
    let AnyObject::BackupConfiguration(configuration) = &outcome.objects[2].object else {
        panic!("wrong kind")
    };
    let container = configuration
        .spec
        .runtime_settings
        .as_ref()
        .unwrap()
        .container
        .as_ref()
        .unwrap();
    let limits = container
        .resources
        .as_ref()
        .unwrap()
        .limits
        .as_ref()
        .unwrap();
    assert_eq!(limits["cpu"], Quantity("1.5".to_owned()));
    let AnyObject::RestoreSession(session) = &outcome.objects[3].object else {
        panic!("wrong kind")
    };
    assert_eq!(session.spec.effective_rules().len(), 2);
    let post = session
        .spec
        .hooks
        .as_ref()
        .unwrap()
        .post_restore
        .as_ref()
        .unwrap();
    assert_eq!(post.execution_policy, RestorePostHookPolicy::Always);
}

#[test]
fn what_was_read_is_written_and_read_again() {
    for manifest in load(LOCAL).objects.iter().chain(&load(CLUSTER).objects) {
        let text = api::manifest::to_yaml(&manifest.object.to_json().unwrap());
        let again = load(&text);
        assert_eq!(again.problems, [], "{text}");
        assert!(again.objects[0].object == manifest.object, "{text}");
    }
}

#[test]
fn json_is_read_as_well() {
    let text = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"RESTIC_PASSWORD": "x"}}"#;
    assert_eq!(load(text).objects.len(), 1);
}

#[test]
fn debug_of_a_secret_does_not_show_its_values() {
    assert_eq!(
        format!("{:?}", load(LOCAL).objects[0].object),
        "Secret/demo/disk-secret"
    );
}
