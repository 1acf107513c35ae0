use std::sync::Arc;

use api::k8s_openapi::api::core::v1::PersistentVolumeClaim;
use api::v1beta1::RestorePhase as Phase;
use serde_json::{Value, json};

use super::*;
use crate::backup_configuration::Presence;
use crate::inject::Invoker;
use crate::reading::Target;
use crate::restore_session::news;
use crate::target::Workload;
use crate::workload::PartOutcome;

const CREATED: &str = "2026-01-02T10:00:00Z";

fn at(seconds: i64) -> Timestamp {
    CREATED.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
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

fn restore(changes: &Value) -> RestoreSession {
    let mut object = json!({
        "metadata": {
            "name": "back", "namespace": "shop", "uid": "u", "generation": 1,
            "creationTimestamp": CREATED,
        },
        "spec": {
            "repository": { "name": "repo" },
            "target": {
                "ref": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
            },
            "timeOut": "1h",
        },
    });
    merge(&mut object, changes);
    serde_json::from_value(object).unwrap()
}

fn on_claim() -> RestoreSession {
    restore(&json!({ "spec": { "target": {
        "ref": { "kind": "PersistentVolumeClaim", "name": "files" },
    } } }))
}

fn me() -> Invoker {
    Invoker {
        kind: "RestoreSession".to_owned(),
        namespace: "shop".to_owned(),
        name: "back".to_owned(),
    }
}

fn seen() -> Observation {
    let repository = json!({
        "metadata": { "name": "repo", "namespace": "shop" },
        "spec": { "backend": {
            "storageSecretName": "keys", "s3": { "endpoint": "minio", "bucket": "b" },
        } },
    });
    let workload = Workload::read(&json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "db", "uid": "w" },
        "spec": { "replicas": 2, "template": { "spec": { "containers": [{ "name": "db" }] } } },
    }));
    Observation {
        repository_name: "shop/repo".to_owned(),
        repository: Some(Arc::new(serde_json::from_value(repository).unwrap())),
        in_touch_since: None,
        backup: None,
        is_allowed: true,
        secret: Some(Presence::Present),
        target: Target::Workload(Box::new(workload.unwrap())),
        winner: Some(me()),
        init: None,
        prepared: Some("w".to_owned()),
        by_hand: None,
        jobs: Vec::new(),
        pods: Vec::new(),
        refusals: Vec::new(),
        unmounted: Vec::new(),
        claims: Vec::new(),
    }
}

fn claim(name: &str) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": { "name": name }, "spec": { "accessModes": ["ReadWriteOnce"] },
    }))
    .unwrap()
}

fn image() -> ImageOptions {
    ImageOptions {
        name: "stash:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: Vec::new(),
    }
}

fn decide(restore: &RestoreSession, seen: &Observation, seconds: i64) -> Plan {
    plan(restore, seen, &image(), at(seconds))
}

fn phase_of(plan: &Plan) -> Phase {
    plan.status.as_ref().unwrap().phase.unwrap()
}

fn message(plan: &Plan, type_: &str) -> String {
    let conditions = &plan.status.as_ref().unwrap().conditions;
    let condition = find_condition(conditions, type_).unwrap();
    condition.message.clone().unwrap()
}

fn end(restore: &RestoreSession, plan: &Plan) -> String {
    let news = news::of_restore(restore, plan.status.as_ref().unwrap());
    let last = news.last().unwrap();
    format!("{}: {}", last.reason, last.message)
}

fn after(restore: &RestoreSession, plan: &Plan, changes: &Value) -> RestoreSession {
    let mut object = serde_json::to_value(restore).unwrap();
    object["status"] = serde_json::to_value(plan.status.as_ref().unwrap()).unwrap();
    merge(&mut object["status"], changes);
    serde_json::from_value(object).unwrap()
}

fn hosts(hosts: &[(&str, &str)]) -> Value {
    let stats: Vec<Value> = hosts
        .iter()
        .map(|(host, phase)| json!({ "hostname": host, "phase": phase }))
        .collect();
    json!({ "stats": stats, "progress": [] })
}

#[test]
fn a_workload_is_restored_host_by_host() {
    let new = restore(&json!({}));
    let mut seen = seen();
    let checked = decide(&new, &seen, 1);
    assert_eq!(phase_of(&checked), Phase::Pending);
    let preparation = checked.preparation.as_ref().unwrap();
    assert!(
        preparation.lease.is_some(),
        "rights come before the conditions"
    );
    assert!(holds(
        checked.status.as_ref().unwrap(),
        types::RESTORE_TARGET_FOUND
    ));
    assert_eq!(checked.status.as_ref().unwrap().total_hosts, None);

    seen.init = Some(PartOutcome::Present(me()));
    let injected = decide(&after(&new, &checked, &json!({})), &seen, 2);
    assert_eq!(phase_of(&injected), Phase::Running);
    assert_eq!(injected.status.as_ref().unwrap().total_hosts, Some(2));
    let one = after(&new, &injected, &hosts(&[("host-1", "Succeeded")]));
    assert_eq!(decide(&one, &seen, 30).status, None);
    let both = after(
        &new,
        &injected,
        &hosts(&[("host-1", "Succeeded"), ("host-0", "Succeeded")]),
    );
    let done = decide(&both, &seen, 90);
    assert_eq!(phase_of(&done), Phase::Succeeded);
    assert_eq!(
        end(&both, &done),
        "RestoreSucceeded: the restore back succeeded in 1m30s"
    );
    let over = after(&both, &done, &json!({}));
    assert_eq!(decide(&over, &seen, 9999), nothing(Again::OnChange));
}

#[test]
fn a_failed_init_container_may_still_succeed_and_a_failed_job_may_not() {
    let mut seen = seen();
    seen.init = Some(PartOutcome::Present(me()));
    let new = restore(&json!({}));
    let started = decide(&new, &seen, 1);
    let both = hosts(&[("host-0", "Failed"), ("host-1", "Succeeded")]);
    let failed = decide(&after(&new, &started, &both), &seen, 5);
    assert_eq!(phase_of(&failed), Phase::Failed);
    insta::assert_snapshot!(end(&new, &failed));
    let both = hosts(&[("host-0", "Succeeded"), ("host-1", "Succeeded")]);
    let healed = decide(&after(&new, &failed, &both), &seen, 9);
    assert_eq!(phase_of(&healed), Phase::Succeeded);

    let new = on_claim();
    seen.target = Target::Claim(Box::new(claim("files")));
    let started = decide(&new, &seen, 1);
    assert_eq!(phase_of(&started), Phase::Running);
    let jobs = started.preparation.clone().unwrap().jobs;
    assert_eq!(jobs[0].name_any(), "stash-restore-back-0");
    let failed = decide(
        &after(&new, &started, &hosts(&[("host-0", "Failed")])),
        &seen,
        5,
    );
    assert_eq!(phase_of(&failed), Phase::Failed);
    let healed = after(&new, &failed, &hosts(&[("host-0", "Succeeded")]));
    assert_eq!(decide(&healed, &seen, 9).status, None);
}

#[test]
fn a_workload_that_is_made_anew_gets_what_its_init_containers_need() {
    let mut seen = seen();
    seen.init = Some(PartOutcome::Present(me()));
    let new = restore(&json!({}));
    let started = decide(&new, &seen, 1);
    let running = after(&new, &started, &json!({}));
    assert!(decide(&running, &seen, 2).preparation.is_none());
    let one = hosts(&[("host-0", "Failed"), ("host-1", "Succeeded")]);
    let failed = decide(&after(&new, &started, &one), &seen, 5);
    let failed = after(&new, &failed, &json!({}));
    // Another process has prepared it, or for another workload.
    for known in [None, Some("old".to_owned())] {
        seen.prepared = known;
        for (restore, seconds) in [(&running, 2), (&failed, 6), (&running, 3600)] {
            let preparation = decide(restore, &seen, seconds).preparation.unwrap();
            assert_eq!(preparation.workload.as_deref(), Some("w"));
            let lease = preparation.lease.unwrap();
            assert_eq!(lease.owner_references()[0].uid, "w");
            let owners = preparation.access.role.owner_references().to_vec();
            let owners: Vec<_> = owners.iter().map(|it| it.uid.as_str()).collect();
            assert_eq!(owners, ["w", "u"], "they outlive either of the two");
        }
    }
    seen.target = Target::Missing;
    assert!(decide(&failed, &seen, 7).preparation.is_none());
}

#[test]
fn what_cannot_be_made_anew_is_said_once_and_does_not_keep_a_restore_from_its_end() {
    let mut seen = seen();
    seen.init = Some(PartOutcome::Present(me()));
    let new = restore(&json!({}));
    let started = decide(&new, &seen, 1);
    seen.prepared = None;
    let image = image();
    let refuse = |restore: &RestoreSession, seconds: i64| {
        let planned = decide(restore, &seen, seconds);
        assert!(planned.preparation.is_some());
        let case = Case {
            restore,
            way: Way::Init,
            seen: &seen,
            image: &image,
            now: at(seconds),
        };
        let status = planned.status.or_else(|| restore.status.clone());
        start::refused(&case, status.unwrap(), "a policy forbids it")
    };
    let running = after(&new, &started, &json!({}));
    let told = refuse(&running, 2);
    assert_eq!(
        message(&told, types::STASH_INIT_CONTAINER_INJECTED),
        "a policy forbids it"
    );
    let told = after(&new, &told, &json!({}));
    let again = refuse(&told, 3);
    assert_eq!((again.status, again.has_to_ask_again), (None, true));
    let both = hosts(&[("host-0", "Succeeded"), ("host-1", "Succeeded")]);
    let mut object = serde_json::to_value(&told).unwrap();
    merge(&mut object["status"], &both);
    let done = refuse(&serde_json::from_value(object).unwrap(), 4);
    assert_eq!(phase_of(&done), Phase::Succeeded);
}

#[test]
fn an_init_container_that_a_new_workload_cannot_have_is_told_and_heals() {
    let mut seen = seen();
    seen.init = Some(PartOutcome::Present(me()));
    let new = restore(&json!({}));
    let started = decide(&new, &seen, 1);
    seen.init = Some(PartOutcome::Failed(me(), "no such volume".to_owned()));
    let refused = decide(&after(&new, &started, &json!({})), &seen, 2);
    assert_eq!(
        message(&refused, types::STASH_INIT_CONTAINER_INJECTED),
        "no such volume"
    );
    assert_eq!(phase_of(&refused), Phase::Running);
    seen.init = Some(PartOutcome::Present(me()));
    let healed = decide(&after(&new, &refused, &json!({})), &seen, 3);
    let status = healed.status.unwrap();
    assert!(holds(&status, types::STASH_INIT_CONTAINER_INJECTED));
}

#[test]
fn a_restore_that_failed_gives_way_to_the_one_that_got_the_workload_after_it() {
    let mut seen = seen();
    seen.init = Some(PartOutcome::Present(me()));
    let new = restore(&json!({}));
    let started = decide(&new, &seen, 1);
    let running = after(&new, &started, &json!({}));
    let one = hosts(&[("host-0", "Failed"), ("host-1", "Succeeded")]);
    let failed = decide(&after(&new, &started, &one), &seen, 5);
    let failed = after(&new, &failed, &json!({}));
    let Target::Workload(workload) = &mut seen.target else {
        panic!("{:?}", seen.target);
    };
    workload.init = Some(Invoker {
        name: "other".to_owned(),
        ..me()
    });
    seen.init = Some(PartOutcome::Waiting);
    assert_eq!(decide(&running, &seen, 6).status, None);
    let gave_way = decide(&failed, &seen, 6);
    assert_eq!(phase_of(&gave_way), Phase::Failed);
    insta::assert_snapshot!(format!(
        "{}\n{}",
        message(&gave_way, types::STASH_INIT_CONTAINER_INJECTED),
        message(&gave_way, types::RESTORE_COMPLETED)
    ));
    // It stays so when the other one has gone.
    let over = after(&failed, &gave_way, &json!({}));
    let over = decide(&over, &self::seen(), 7);
    assert_eq!(over, nothing(Again::OnChange));
}

#[test]
fn what_is_missing_or_wrong_is_said_and_heals() {
    let new = restore(&json!({}));
    let mut broken = seen();
    broken.repository = None;
    broken.secret = None;
    let waiting = decide(&new, &broken, 1);
    assert_eq!(phase_of(&waiting), Phase::Pending);
    assert!(waiting.has_to_ask_again && waiting.preparation.is_none());
    let found = decide(&after(&new, &waiting, &json!({})), &seen(), 2);
    assert!(found.preparation.is_some());

    let mut no_secret = seen();
    no_secret.secret = Some(Presence::Missing);
    assert!(decide(&new, &no_secret, 1).preparation.is_none());
    let mut forbidden = seen();
    forbidden.is_allowed = false;
    assert_eq!(phase_of(&decide(&new, &forbidden, 1)), Phase::Invalid);

    let rules = json!({ "spec": { "target": { "rules": [
        { "targetHosts": ["host-0"], "snapshots": ["latest"] },
        { "targetHosts": ["host-0"] },
        {}, {},
    ] } } });
    let invalid = decide(&restore(&rules), &seen(), 1);
    assert_eq!(phase_of(&invalid), Phase::Invalid);
    insta::assert_snapshot!(message(&invalid, types::VALIDATION_PASSED));
    let valid = after(&new, &invalid, &json!({}));
    assert_eq!(phase_of(&decide(&valid, &seen(), 2)), Phase::Pending);
}

#[test]
fn fields_without_effect_are_named_and_stop_nothing() {
    let more = json!({ "spec": {
        "task": { "params": [{ "name": "a", "value": "b" }] },
        "interimVolumeTemplate": { "spec": {} },
        "runtimeSettings": { "container": { "lifecycle": {} } },
        "target": { "replicas": 3 },
        "rules": [{ "paths": ["/old"] }],
    } });
    let ready = decide(&restore(&more), &seen(), 1);
    assert_ne!(phase_of(&ready), Phase::Invalid);
    let told = message(&ready, types::VALIDATION_PASSED);
    let lifecycle = "lifecycle): has no effect here";
    for field in ["task.params", "target.replicas", "interimVolumeTemplate"] {
        assert!(
            told.contains(&format!("spec.{field}: has no effect here")),
            "{told}"
        );
    }
    assert!(
        told.contains(lifecycle) && told.contains("the old place"),
        "{told}"
    );
    let plain = decide(&restore(&json!({})), &seen(), 1);
    assert!(!message(&plain, types::VALIDATION_PASSED).contains("no effect"));
}

#[test]
fn two_restores_of_one_workload_do_not_run_at_once() {
    let mut seen = seen();
    let other = Invoker {
        name: "other".to_owned(),
        ..me()
    };
    seen.winner = Some(other.clone());
    seen.init = Some(PartOutcome::Present(other));
    let waiting = decide(&restore(&json!({})), &seen, 1);
    assert_eq!(phase_of(&waiting), Phase::Pending);
    insta::assert_snapshot!(message(&waiting, types::STASH_INIT_CONTAINER_INJECTED));
}

fn templates() -> RestoreSession {
    restore(&json!({ "spec": { "target": {
        "ref": null,
        "replicas": 2,
        "volumeClaimTemplates": [{
            "metadata": { "name": "data-${POD_ORDINAL}" },
            "spec": { "accessModes": ["ReadWriteOnce"] },
        }],
    } } }))
}

#[test]
fn claims_of_templates_are_made_with_a_job_each_unless_they_are_somebody_elses() {
    let new = templates();
    let mut seen = seen();
    seen.target = Target::NotAsked;
    let started = decide(&new, &seen, 1);
    assert_eq!(phase_of(&started), Phase::Running);
    let preparation = started.preparation.unwrap();
    assert_eq!((preparation.claims.len(), preparation.jobs.len()), (2, 2));
    // A crash before the status was written: the claims are there and ours.
    seen.claims.clone_from(&preparation.claims);
    assert_eq!(phase_of(&decide(&new, &seen, 1)), Phase::Running);
    seen.claims = vec![claim("data-1")];
    let refused = decide(&new, &seen, 1);
    assert_eq!(phase_of(&refused), Phase::Pending);
    assert!(refused.preparation.is_none() && refused.has_to_ask_again);
    insta::assert_snapshot!(message(&refused, types::RESTORE_JOB_CREATED));
}

#[test]
fn a_job_that_is_gone_or_failed_fails_its_host() {
    let new = templates();
    let mut seen = seen();
    seen.target = Target::NotAsked;
    let started = decide(&new, &seen, 1);
    let jobs = started.preparation.clone().unwrap().jobs;
    let running = after(&new, &started, &json!({}));
    seen.jobs = jobs.clone();
    assert_eq!(decide(&running, &seen, 60).status, None);
    // Pods that begin after all would write over what has been done since.
    let given_up = decide(&running, &seen, 601);
    assert_eq!(phase_of(&given_up), Phase::Failed);
    assert_eq!(given_up.ended_jobs.len(), jobs.len());
    let mut failed = jobs[0].clone();
    failed.status = serde_json::from_value(json!({ "conditions": [
        { "type": "Failed", "status": "True", "message": "backoff limit" },
    ] }))
    .unwrap();
    seen.jobs = vec![failed];
    let over = decide(&running, &seen, 60);
    assert_eq!(phase_of(&over), Phase::Failed);
    assert_eq!(over.ended_jobs, Vec::<String>::new(), "its log is kept");
    let status = over.status.as_ref().unwrap();
    let lines: Vec<String> = status
        .stats
        .iter()
        .map(|it| format!("{}: {}", it.hostname, it.error.clone().unwrap_or_default()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_restore_that_takes_too_long_fails_and_its_jobs_end() {
    let new = on_claim();
    let mut seen = seen();
    seen.target = Target::Claim(Box::new(claim("files")));
    let started = decide(&new, &seen, 1);
    seen.jobs = started.preparation.clone().unwrap().jobs;
    let running = after(&new, &started, &json!({}));
    let late = decide(&running, &seen, 3600);
    assert_eq!(phase_of(&late), Phase::Failed);
    assert_eq!(late.ended_jobs, ["stash-restore-back-0"]);
    insta::assert_snapshot!(end(&running, &late));
    let in_time = after(&new, &started, &hosts(&[("host-0", "Succeeded")]));
    assert_eq!(phase_of(&decide(&in_time, &seen, 3600)), Phase::Succeeded);
    // The agent stops at the deadline as well, and may be the first to say so.
    let stopped = after(&new, &started, &hosts(&[("host-0", "Failed")]));
    let stopped = decide(&stopped, &seen, 3600);
    assert_eq!(phase_of(&stopped), Phase::Failed);
    let status = stopped.status.as_ref().unwrap();
    assert!(holds(status, types::DEADLINE_EXCEEDED));
}

#[test]
fn several_jobs_take_turns_where_the_last_one_runs_a_hook_for_all() {
    let mut seen = seen();
    seen.target = Target::NotAsked;
    let without = decide(&templates(), &seen, 1).preparation.unwrap();
    assert_eq!(without.lease, None);
    let mut with = templates();
    with.spec.hooks = serde_json::from_value(json!({
        "postRestore": { "httpGet": { "host": "chat", "port": 80 } },
    }))
    .unwrap();
    let with = decide(&with, &seen, 1).preparation.unwrap();
    let lease = with.lease.unwrap().name_any();
    assert_eq!(lease, "lock-restoresession-back-restore");
    let rules = with.access.role.rules.unwrap();
    let names = rules.into_iter().filter_map(|rule| rule.resource_names);
    assert!(names.flatten().any(|name| name == lease));
}

#[test]
fn a_pod_that_never_starts_fails_its_host_until_it_does() {
    let mut seen = seen();
    seen.init = Some(PartOutcome::Present(me()));
    let new = restore(&json!({}));
    let started = decide(&new, &seen, 0);
    let one = after(&new, &started, &hosts(&[("host-1", "Succeeded")]));
    assert_eq!(decide(&one, &seen, 599).status, None);
    let given_up = decide(&one, &seen, 600);
    assert_eq!(phase_of(&given_up), Phase::Failed);
    let both = hosts(&[("host-1", "Succeeded"), ("host-0", "Succeeded")]);
    let healed = decide(&after(&new, &given_up, &both), &seen, 700);
    assert_eq!(phase_of(&healed), Phase::Succeeded);
}

#[test]
fn a_restore_says_which_backup_it_waits_for_and_begins_nothing_before() {
    for new in [restore(&json!({})), on_claim()] {
        let mut seen = seen();
        if new.spec != restore(&json!({})).spec {
            seen.target = Target::Claim(Box::new(claim("files")));
        }
        seen.backup = Some("home-1".to_owned());
        let waits = decide(&new, &seen, 1);
        assert_eq!(phase_of(&waits), Phase::Pending);
        assert!(waits.preparation.is_none());
        let why = message(&waits, types::WAITING);
        assert!(
            why.contains("waits for the BackupSession home-1, which backs up the same data"),
            "{why}"
        );
        let told = news::of_restore(&new, waits.status.as_ref().unwrap());
        assert!(told.iter().any(|it| it.message == why));
        let pending = after(&new, &waits, &json!({}));
        assert_eq!(decide(&pending, &seen, 2).status, None, "it is said once");
        let late = decide(&pending, &seen, 3600);
        let late = message(&late, types::DEADLINE_EXCEEDED);
        assert!(late.contains(&why), "{late}");
        seen.backup = None;
        let started = decide(&pending, &seen, 3);
        assert!(started.preparation.is_some());
        let conditions = &started.status.as_ref().unwrap().conditions;
        assert!(find_condition(conditions, types::WAITING).is_none());
    }
}
