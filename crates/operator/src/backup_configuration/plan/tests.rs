use std::sync::Arc;
use std::time::Duration;

use api::v1beta1::BackupConfiguration;
use serde_json::{Value, json};
use session::labels;

use super::*;
use crate::backup_configuration::schedule::Remembered;
use crate::inject::Invoker;
use crate::workload::{Outcome, PartOutcome};

const NOW: &str = "2026-01-02T10:00:30Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn configuration(changes: &Value) -> BackupConfiguration {
    let mut object = json!({
        "metadata": {
            "name": "home", "namespace": "shop", "uid": "u", "generation": 3,
            "creationTimestamp": "2026-01-02T09:59:00Z",
            "labels": { "team": "red" },
        },
        "spec": {
            "repository": { "name": "repo" },
            "schedule": "0 * * * *",
            "target": {
                "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                "paths": ["/data"],
            },
            "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
            "retryConfig": { "maxRetry": 2 },
        },
    });
    merge(&mut object, changes);
    serde_json::from_value(object).unwrap()
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, value) in changes {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes.clone(),
    }
}

fn me() -> Invoker {
    Invoker {
        kind: "BackupConfiguration".to_owned(),
        namespace: "shop".to_owned(),
        name: "home".to_owned(),
    }
}

fn good() -> Observation {
    let repository = json!({
        "metadata": { "name": "repo", "namespace": "shop" },
        "spec": { "backend": {
            "storageSecretName": "keys",
            "s3": { "endpoint": "minio", "bucket": "b" },
        } },
    });
    Observation {
        repository_name: "shop/repo".to_owned(),
        repository: Some(Arc::new(serde_json::from_value(repository).unwrap())),
        is_allowed: true,
        secret: Some(Presence::Present),
        target: Some(Presence::Present),
        winner: Some(me()),
        outcome: Some(Outcome {
            seen: String::new(),
            sidecar: PartOutcome::Present(me()),
            init: PartOutcome::Absent,
            by_hand: None,
        }),
    }
}

fn shown(plan: &Plan) -> String {
    let status = plan.status.clone().unwrap();
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .map(|condition| {
            format!(
                "{}={:?} {}: {}",
                condition.type_,
                condition.status,
                condition.reason.clone().unwrap_or_default(),
                condition.message.clone().unwrap_or_default()
            )
        })
        .collect();
    let news: Vec<&str> = plan.news.iter().map(|news| news.reason).collect();
    format!(
        "phase {:?}\n{}\nevents {news:?}\nasks again: {}",
        status.phase.unwrap(),
        conditions.join("\n"),
        plan.has_to_ask_again
    )
}

#[test]
fn a_good_configuration_is_ready_and_a_second_look_writes_nothing() {
    let before = configuration(&json!({}));
    let first = plan(&before, &good(), now());
    insta::assert_snapshot!(shown(&first));
    let after = BackupConfiguration {
        status: first.status,
        ..before
    };
    let second = plan(&after, &good(), now() + Duration::from_secs(1));
    assert_eq!(second.status, None);
    assert_eq!(second.news, Vec::new());
}

#[test]
fn what_is_missing_is_named_with_its_field_and_remedy() {
    let new = configuration(&json!({}));
    let nothing = Observation {
        repository: None,
        secret: None,
        target: Some(Presence::Missing),
        outcome: None,
        ..good()
    };
    insta::assert_snapshot!(shown(&plan(&new, &nothing, now())));
    let no_secret = Observation {
        secret: Some(Presence::Missing),
        ..good()
    };
    insta::assert_snapshot!(shown(&plan(&new, &no_secret, now())));
    let forbidden = Observation {
        secret: Some(Presence::Unknown("secrets is forbidden".to_owned())),
        ..good()
    };
    insta::assert_snapshot!(shown(&plan(&new, &forbidden, now())));
}

#[test]
fn an_invalid_configuration_says_everything_that_is_wrong_and_starts_nothing() {
    let wrong = configuration(&json!({ "spec": {
        "schedule": "0 0 30 2 *",
        "task": { "name": "postgres-backup" },
    } }));
    let denied = Observation {
        is_allowed: false,
        ..good()
    };
    let plan = plan(&wrong, &denied, now());
    assert_eq!(plan.ticks.session, None);
    insta::assert_snapshot!(shown(&plan));
}

#[test]
fn the_older_of_two_configurations_is_told_who_has_the_workload() {
    let lost = Observation {
        winner: Some(Invoker {
            name: "other".to_owned(),
            ..me()
        }),
        ..good()
    };
    insta::assert_snapshot!(shown(&plan(&configuration(&json!({})), &lost, now())));
    let failed = Observation {
        outcome: Some(Outcome {
            seen: String::new(),
            sidecar: PartOutcome::Failed(me(), "the volume is not there".to_owned()),
            init: PartOutcome::Absent,
            by_hand: None,
        }),
        ..good()
    };
    insta::assert_snapshot!(shown(&plan(&configuration(&json!({})), &failed, now())));
}

#[test]
fn a_tick_makes_one_session_and_is_remembered() {
    let due = plan(&configuration(&json!({})), &good(), now());
    let (session, tick) = due.ticks.session.unwrap();
    assert_eq!(tick, "2026-01-02T10:00:00Z".parse().unwrap());
    insta::assert_snapshot!(serde_json::to_string_pretty(&session).unwrap());
    assert_eq!(
        due.ticks.remember,
        Some(Remembered {
            last: "2026-01-02T10:00:00Z".to_owned(),
            schedule: "0 * * * *".to_owned(),
        })
    );
    assert_eq!(due.ticks.next, Some(Duration::from_secs(59 * 60 + 30)));
    let acted = configuration(&json!({ "metadata": { "annotations": {
        labels::LAST_TICK: "2026-01-02T10:00:00Z",
        labels::LAST_SCHEDULE: "0 * * * *",
    } } }));
    let later = plan(&acted, &good(), now());
    assert_eq!(later.ticks.session, None);
    assert_eq!(later.ticks.remember, None);
    assert_eq!(later.ticks.next, Some(Duration::from_secs(59 * 60 + 30)));
}

#[test]
fn ticks_wait_for_a_missing_repository_but_not_for_the_end_of_a_pause() {
    let broken = Observation {
        repository: None,
        ..good()
    };
    let waiting = plan(&configuration(&json!({})), &broken, now());
    assert_eq!(waiting.ticks.session, None);
    let last = waiting.ticks.remember.unwrap().last;
    assert_eq!(last, "2026-01-02T09:59:00Z", "it is caught up when healed");
    let paused = configuration(&json!({ "spec": { "paused": true } }));
    let plan_of_paused = plan(&paused, &good(), now());
    assert_eq!(plan_of_paused.ticks.session, None);
    assert_eq!(plan_of_paused.ticks.remember.unwrap().last, labels::PAUSED);
    let resumed = configuration(&json!({ "metadata": { "annotations": {
        labels::LAST_TICK: labels::PAUSED,
        labels::LAST_SCHEDULE: "0 * * * *",
    } } }));
    let plan_of_resumed = plan(&resumed, &good(), now());
    assert_eq!(plan_of_resumed.ticks.session, None);
    assert_eq!(plan_of_resumed.ticks.remember.unwrap().last, NOW);
}

#[test]
fn a_backend_that_cannot_be_meant_is_told_with_the_repository_and_the_field() {
    let repository = json!({
        "metadata": { "name": "repo", "namespace": "shop" },
        "spec": { "backend": {
            "storageSecretName": "keys",
            "local": { "mountPath": "backup", "hostPath": { "path": "/srv" } },
        } },
    });
    let observation = Observation {
        repository: Some(Arc::new(serde_json::from_value(repository).unwrap())),
        ..good()
    };
    let text = shown(&plan(&configuration(&json!({})), &observation, now()));
    assert!(text.starts_with("phase Invalid"), "{text}");
    assert!(
        text.contains("Repository/repo spec.backend.local.mountPath"),
        "{text}"
    );
}

#[test]
fn fields_without_effect_are_named_and_stop_nothing() {
    let more = json!({ "spec": {
        "task": { "params": [{ "name": "a", "value": "b" }] },
        "interimVolumeTemplate": { "spec": {} },
        "target": { "replicas": 3 },
    } });
    let shown = shown(&plan(&configuration(&more), &good(), now()));
    assert!(shown.starts_with("phase Ready"), "{shown}");
    for field in ["task.params", "target.replicas", "interimVolumeTemplate"] {
        let told = format!("; spec.{field}: has no effect here");
        assert!(shown.contains(&told), "{shown}");
    }
    assert!(!shown.contains("snapshotClassName"), "{shown}");
}
