use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::Pod;
use api::v1beta1::{BackupConfiguration, BackupSessionPhase as Phase};
use kube_client::ResourceExt;
use serde_json::json;
use session::labels;

use super::*;
use crate::backup_session::news;
use crate::reading::Target;
use crate::target::Workload;

const CREATED: &str = "2026-01-02T10:00:00Z";

fn at(seconds: i64) -> Timestamp {
    CREATED.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

mod hosts;
mod refused;
mod waits;

fn image() -> ImageOptions {
    ImageOptions {
        name: "stash:1".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: Vec::new(),
    }
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

fn configuration(changes: &Value) -> Arc<BackupConfiguration> {
    let mut object = json!({
        "metadata": { "name": "home", "namespace": "shop", "uid": "c", "generation": 1 },
        "spec": {
            "repository": { "name": "repo" },
            "target": {
                "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
                "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                "paths": ["/data"],
            },
            "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
            "retryConfig": { "maxRetry": 1, "delay": "1m" },
            "timeOut": "1h",
        },
        "status": { "phase": "Ready", "observedGeneration": 1 },
    });
    merge(&mut object, changes);
    Arc::new(serde_json::from_value(object).unwrap())
}

fn session(name: &str, seconds: i64, changes: &Value) -> BackupSession {
    let mut object = json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": at(seconds).to_string(),
        },
        "spec": { "invoker": { "kind": "BackupConfiguration", "name": "home" }, "retryLeft": 1 },
    });
    merge(&mut object, changes);
    serde_json::from_value(object).unwrap()
}

fn workload(replicas: i32, sidecar: Option<&str>) -> Workload {
    let mut live = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "uid": "w" },
        "spec": { "replicas": replicas, "template": { "spec": {
            "serviceAccountName": "web-account",
            "containers": [{ "name": "app" }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "files" } }],
        } } },
    });
    if let Some(name) = sidecar {
        let invoker = json!({ "kind": "BackupConfiguration", "namespace": "shop", "name": name });
        live["metadata"]["annotations"] = json!({ labels::BACKUP_INVOKER: invoker.to_string() });
        let containers = json!([{ "name": "app" }, { "name": "stash" }]);
        live["spec"]["template"]["spec"]["containers"] = containers;
        live["spec"]["template"]["metadata"] =
            json!({ "annotations": { labels::BACKUP_INVOKER_HASH: "x" } });
    }
    Workload::read(&live).unwrap()
}

fn seen(configuration: Option<Arc<BackupConfiguration>>) -> Observation {
    let repository = json!({
        "metadata": { "name": "repo", "namespace": "shop" },
        "spec": { "backend": {
            "storageSecretName": "keys", "s3": { "endpoint": "minio", "bucket": "b" },
        } },
    });
    let claim = json!({
        "metadata": { "name": "files" }, "spec": { "accessModes": ["ReadWriteOnce"] },
    });
    Observation {
        configuration,
        repository: Some(Arc::new(serde_json::from_value(repository).unwrap())),
        in_touch_since: None,
        is_allowed: true,
        siblings: Vec::new(),
        restore: None,
        target: Target::Workload(Box::new(workload(2, Some("home")))),
        jobs: Vec::new(),
        pods: Vec::new(),
        refusals: Vec::new(),
        unmounted: Vec::new(),
        claims: vec![serde_json::from_value(claim).unwrap()],
    }
}

fn by_job() -> Observation {
    let configuration = configuration(&json!({ "spec": { "task": { "name": "pvc-backup" } } }));
    Observation {
        target: Target::Workload(Box::new(workload(2, None))),
        ..seen(Some(configuration))
    }
}

fn decide(session: &BackupSession, seen: &Observation, seconds: i64) -> Plan {
    plan(session, seen, &image(), at(seconds))
}

fn phase_of(plan: &Plan) -> Phase {
    plan.status.as_ref().unwrap().phase.unwrap()
}

fn end(session: &BackupSession, plan: &Plan) -> String {
    let news = news::of_end(session, plan.status.as_ref().unwrap()).unwrap();
    format!("{}: {}", news.reason, news.message)
}

/// The session as it is after a plan was carried out, with changes by agents.
fn after(session: &BackupSession, plan: &Plan, changes: &Value) -> BackupSession {
    let mut object = serde_json::to_value(session).unwrap();
    object["status"] = serde_json::to_value(plan.status.as_ref().unwrap()).unwrap();
    let session: BackupSession = serde_json::from_value(object).unwrap();
    changed(&session, changes)
}

/// Changes of the first target go by `target`.
fn changed(session: &BackupSession, changes: &Value) -> BackupSession {
    let mut object = serde_json::to_value(session).unwrap();
    for (key, change) in changes.as_object().unwrap() {
        match key.as_str() {
            "target" => merge(&mut object["status"]["targets"][0], change),
            "conditions" => {
                let mut all = object["status"]["conditions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                all.extend(change.as_array().unwrap().clone());
                object["status"]["conditions"] = Value::Array(all);
            }
            _ => merge(&mut object[key.as_str()], change),
        }
    }
    serde_json::from_value(object).unwrap()
}

fn good_host() -> Value {
    json!({ "stats": [{ "hostname": "host-0", "phase": "Succeeded" }], "progress": [] })
}

fn followed_up() -> Value {
    json!([
        { "type": "RetentionPolicyApplied", "status": "True", "reason": "R" },
        { "type": "RepositoryIntegrityVerified", "status": "True", "reason": "R" },
    ])
}

fn working(seconds: i64) -> Value {
    json!({ "progress": [{
        "hostname": "host-0", "pod": "web-1", "podUid": "p1", "updatedAt": at(seconds).to_string(),
    }] })
}

#[test]
fn a_session_goes_from_pending_to_succeeded() {
    let new = session("home-1", 0, &json!({}));
    let seen = seen(Some(configuration(&json!({}))));
    let started = decide(&new, &seen, 1);
    assert_eq!(phase_of(&started), Phase::Running);
    let preparation = started.preparation.as_ref().unwrap();
    let subject = &preparation.access.binding.subjects.as_ref().unwrap()[0];
    assert_eq!(subject.name, "web-account");
    let lease = preparation.lease.as_ref().unwrap();
    assert_eq!(lease.name_any(), "lock-deployment-web-backup");
    assert!(preparation.jobs.is_empty());
    let status = started.status.as_ref().unwrap();
    assert_eq!(status.targets[0].total_hosts, Some(1));
    assert_eq!(status.session_deadline, Some(Time(at(3600))));
    let adoption = started.adoption.as_ref().unwrap();
    assert_eq!(adoption["metadata"]["labels"][labels::INVOKER_NAME], "home");
    assert_eq!(adoption["metadata"]["ownerReferences"][0]["uid"], "c");

    let running = after(&new, &started, &json!({ "target": working(10) }));
    let watched = decide(&running, &seen, 20);
    assert_eq!(watched.status, None);
    assert!(matches!(watched.again, Again::After(delay) if delay <= Duration::from_secs(75)));

    let reported = changed(&running, &json!({ "target": good_host() }));
    let waiting = decide(&reported, &seen, 30);
    assert_eq!(phase_of(&waiting), Phase::Running);
    let done = changed(&reported, &json!({ "conditions": followed_up() }));
    let closed = decide(&done, &seen, 65);
    assert_eq!(phase_of(&closed), Phase::Succeeded);
    assert_eq!(
        end(&done, &closed),
        "BackupSucceeded: the session home-1 succeeded in 1m5s"
    );
    let over = after(&done, &closed, &json!({}));
    let nothing = decide(&over, &seen, 99_999);
    assert_eq!((nothing.status, nothing.retry), (None, None));
}

#[test]
fn a_session_whose_invoker_is_missing_waits_a_moment_and_fails() {
    let new = session("home-1", 0, &json!({}));
    let young = decide(&new, &seen(None), 2);
    assert_eq!(phase_of(&young), Phase::Pending);
    assert!(matches!(young.again, Again::After(_)));
    let failed = decide(&new, &seen(None), 20);
    assert_eq!(phase_of(&failed), Phase::Failed);
    insta::assert_snapshot!(end(&new, &failed));
    let batch = json!({ "spec": { "invoker": { "kind": "BackupBatch" } } });
    let batch = session("home-1", 0, &batch);
    insta::assert_snapshot!(end(&batch, &decide(&batch, &seen(None), 1)));
}

#[test]
fn an_invoker_that_is_not_ready_or_busy_skips_the_session() {
    let new = session("home-2", 0, &json!({}));
    let status = json!({ "status": { "phase": "NotReady", "conditions": [
        { "type": "RepositoryFound", "status": "False", "message": "there is no Repository" },
    ] } });
    let not_ready = seen(Some(configuration(&status)));
    assert_eq!(phase_of(&decide(&new, &not_ready, 5)), Phase::Pending);
    let skipped = decide(&new, &not_ready, 15);
    assert_eq!(phase_of(&skipped), Phase::Skipped);
    insta::assert_snapshot!(end(&new, &skipped));
    let mut busy = seen(Some(configuration(&json!({}))));
    let running = json!({ "status": { "phase": "Running" } });
    busy.siblings = vec![Arc::new(session("home-1", -60, &running))];
    let skipped = decide(&new, &busy, 1);
    assert_eq!(phase_of(&skipped), Phase::Skipped);
    assert!(skipped.adoption.is_some(), "it goes with its invoker, too");
    insta::assert_snapshot!(end(&new, &skipped));
    busy.siblings = vec![Arc::new(session("home-3", 60, &running))];
    assert_eq!(
        phase_of(&decide(&new, &busy, 1)),
        Phase::Running,
        "it is newer"
    );
    let paused = seen(Some(configuration(&json!({ "spec": { "paused": true } }))));
    assert_eq!(phase_of(&decide(&new, &paused, 1)), Phase::Running);
}

#[test]
fn a_session_waits_for_a_restore_and_for_the_sidecar_but_not_for_ever() {
    let new = session("home-1", 0, &json!({}));
    let mut busy = seen(Some(configuration(&json!({}))));
    busy.restore = Some("back".to_owned());
    assert_eq!(phase_of(&decide(&new, &busy, 1)), Phase::Pending);
    let mut bare = seen(Some(configuration(&json!({}))));
    bare.target = Target::Workload(Box::new(workload(1, None)));
    assert_eq!(phase_of(&decide(&new, &bare, 100)), Phase::Pending);
    let failed = decide(&new, &bare, 600);
    assert_eq!(phase_of(&failed), Phase::Failed);
    let refused = json!({ "status": { "conditions": [
        { "type": "StashSidecarInjected", "status": "False", "message": "no volume data" },
    ] } });
    bare.configuration = Some(configuration(&refused));
    let failed = decide(&new, &bare, 1);
    assert_eq!(
        end(&new, &failed),
        "BackupFailed: the session home-1 failed after 1s: no volume data"
    );
}

#[test]
fn what_has_no_pods_is_skipped_and_what_is_not_there_fails() {
    let new = session("home-1", 0, &json!({}));
    let mut empty = seen(Some(configuration(&json!({}))));
    empty.target = Target::Workload(Box::new(workload(0, Some("home"))));
    let skipped = decide(&new, &empty, 1);
    insta::assert_snapshot!(end(&new, &skipped));
    empty.target = Target::Missing;
    let failed = decide(&new, &empty, 1);
    insta::assert_snapshot!(end(&new, &failed));
    let status = failed.status.unwrap();
    assert_eq!(status.next_retry, Some(Time(at(61))));
}

#[test]
fn jobs_of_a_workload_of_many_hosts_get_a_lease_for_their_turns() {
    let new = session("home-1", 0, &json!({}));
    let seen = hosts::by_jobs();
    let preparation = decide(&new, &seen, 1).preparation.unwrap();
    assert_eq!(preparation.jobs.len(), 2);
    let lease = preparation.lease.unwrap().name_any();
    assert_eq!(lease, "lock-statefulset-web-backup");
    let rules = preparation.access.role.rules.unwrap();
    let is_of_lease = |rule: &api::k8s_openapi::api::rbac::v1::PolicyRule| {
        rule.resource_names.as_deref() == Some(std::slice::from_ref(&lease))
    };
    assert!(rules.iter().any(is_of_lease));
    // One host has nobody to wait for.
    assert!(
        decide(&new, &by_job(), 1)
            .preparation
            .unwrap()
            .lease
            .is_none()
    );
}

#[test]
fn a_session_that_takes_too_long_fails_and_its_jobs_end() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = by_job();
    let started = decide(&new, &seen, 1);
    let preparation = started.preparation.clone().unwrap();
    assert_eq!(preparation.jobs.len(), 1);
    assert!(preparation.access.account.is_some());
    seen.jobs.clone_from(&preparation.jobs);
    let running = after(&new, &started, &json!({ "target": working(3590) }));
    assert_eq!(
        decide(&running, &seen, 3599).ended_jobs,
        Vec::<String>::new()
    );
    let late = decide(&running, &seen, 3600);
    assert_eq!(phase_of(&late), Phase::Failed);
    assert_eq!(late.ended_jobs, ["stash-backup-home-1-0"]);
    // One that has done everything ends by itself, and keeps its log.
    let concluded = changed(
        &running,
        &json!({ "target": good_host(), "conditions": followed_up() }),
    );
    let closed = decide(&concluded, &seen, 3599);
    assert_eq!(phase_of(&closed), Phase::Succeeded);
    assert_eq!(closed.ended_jobs, Vec::<String>::new());
    insta::assert_snapshot!(end(&running, &late));
    // Also while it waits for something.
    let mut busy = seen;
    busy.restore = Some("back".to_owned());
    assert_eq!(phase_of(&decide(&new, &busy, 3600)), Phase::Failed);
}

fn pod(uid: &str, changes: &Value) -> Pod {
    let mut object = json!({
        "metadata": { "name": "web-1", "uid": uid },
        "status": { "phase": "Running" },
    });
    merge(&mut object, changes);
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_sidecar_that_vanished_is_waited_for_and_then_given_up() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    let started = decide(&new, &seen, 0);
    let running = after(&new, &started, &json!({ "target": working(100) }));
    assert_eq!(
        decide(&running, &seen, 600).status,
        None,
        "another may come"
    );
    let given_up = decide(&running, &seen, 700);
    assert_eq!(phase_of(&given_up), Phase::Failed);
    insta::assert_snapshot!(end(&running, &given_up));
    seen.pods = vec![pod("p1", &json!({}))];
    let silent = decide(&running, &seen, 400);
    insta::assert_snapshot!(end(&running, &silent));
    seen.pods = vec![pod("another", &json!({}))];
    assert_eq!(decide(&running, &seen, 400).status, None);
    // Agents write the status: whoever waits for its turn behind them is not given up.
    let fields = json!({ "metadata": { "managedFields": [
        { "manager": "stash-agent", "time": at(650).to_string() },
    ] } });
    assert_eq!(decide(&changed(&running, &fields), &seen, 700).status, None);
    seen.target = Target::Missing;
    let gone = decide(&running, &seen, 200);
    assert_eq!(phase_of(&gone), Phase::Failed, "nobody will come");
}

#[test]
fn a_session_that_nobody_concludes_says_that_its_hook_may_not_have_run() {
    let told = |hooks: &Value, has_begun: bool| {
        let hooks = json!({ "spec": { "hooks": hooks } });
        let mut seen = seen(Some(configuration(&hooks)));
        let new = session("home-1", 0, &json!({}));
        let started = decide(&new, &seen, 0);
        let busy = json!({ "target": working(10) });
        let busy = if has_begun { busy } else { json!({}) };
        let busy = after(&new, &started, &busy);
        seen.target = Target::Missing;
        let over = decide(&busy, &seen, 3000);
        assert_eq!(phase_of(&over), Phase::Failed);
        end(&busy, &over).contains("post-backup hook ran")
    };
    let post = |policy: &str| {
        let request = json!({ "port": 80 });
        json!({ "postBackup": { "httpGet": request, "executionPolicy": policy } })
    };
    assert!(told(&post("Always"), true) && told(&post("OnFailure"), true));
    assert!(!told(&post("OnSuccess"), true) && !told(&json!({}), true));
    assert!(!told(&post("Always"), false), "no pre hook ran either");
}

#[test]
fn a_job_that_ends_without_a_report_fails_the_session_with_the_reason_of_its_pod() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = by_job();
    let started = decide(&new, &seen, 0);
    let running = after(&new, &started, &json!({ "target": working(10) }));
    let gone = decide(&running, &seen, 12);
    insta::assert_snapshot!(end(&running, &gone));
    let mut job = started.preparation.unwrap().jobs.remove(0);
    job.status = serde_json::from_value(json!({ "conditions": [
        { "type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit" },
    ] }))
    .unwrap();
    seen.jobs = vec![job];
    let evicted = json!({
        "metadata": { "name": "stash-backup-home-1-0-x", "ownerReferences": [
            { "apiVersion": "batch/v1", "kind": "Job", "name": "stash-backup-home-1-0", "uid": "j" },
        ] },
        "status": { "phase": "Failed", "reason": "Evicted", "message": "the node is low on memory" },
    });
    seen.pods = vec![pod("p1", &evicted)];
    let failed = decide(&running, &seen, 12);
    assert_eq!(failed.ended_jobs, Vec::<String>::new());
    insta::assert_snapshot!(end(&running, &failed));
    let reported = changed(
        &running,
        &json!({ "target": good_host(), "conditions": followed_up() }),
    );
    assert_eq!(phase_of(&decide(&reported, &seen, 13)), Phase::Succeeded);
    let unfinished = changed(&running, &json!({ "target": good_host() }));
    insta::assert_snapshot!(end(&unfinished, &decide(&unfinished, &seen, 13)));
}

#[test]
fn a_job_whose_pod_cannot_start_is_given_up_with_the_reason() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = by_job();
    let started = decide(&new, &seen, 0);
    let running = after(&new, &started, &json!({}));
    seen.jobs = started.preparation.unwrap().jobs;
    seen.pods = vec![pod(
        "p",
        &json!({ "status": { "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
              "message": "0/1 nodes are available" },
        ] } }),
    )];
    assert_eq!(decide(&running, &seen, 599).status, None);
    let given_up = decide(&running, &seen, 600);
    insta::assert_snapshot!(end(&running, &given_up));
}

#[test]
fn an_invoker_that_is_deleted_ends_its_session() {
    let new = session("home-1", 0, &json!({}));
    let started = decide(&new, &seen(Some(configuration(&json!({})))), 0);
    let running = after(&new, &started, &json!({}));
    let ended = decide(&running, &seen(None), 5);
    insta::assert_snapshot!(end(&running, &ended));
}

#[test]
fn a_failed_session_is_repeated_once_and_at_its_time() {
    let failed = json!({ "status": {
        "phase": "Failed", "nextRetry": at(60).to_string(),
        "conditions": [{ "type": "BackupHistoryCleaned", "status": "True" }],
    } });
    let failed = session("home-1", 0, &failed);
    let seen = seen(Some(configuration(&json!({}))));
    let early = decide(&failed, &seen, 59);
    assert_eq!(early.retry, None);
    assert_eq!(early.again, Again::After(Duration::from_secs(1)));
    let due = decide(&failed, &seen, 60);
    let retry = due.retry.clone().unwrap();
    assert_eq!(retry.spec.retry_left, Some(0));
    assert_eq!(retry.name_any(), format!("home-{}", at(60).as_second()));
    assert_eq!(due.status.as_ref().unwrap().retried, Some(true));
    let retried = after(&failed, &due, &json!({}));
    assert_eq!(decide(&retried, &seen, 61).retry, None);
}

#[test]
fn the_history_keeps_the_last_good_and_bad_session_and_those_that_are_repeated() {
    let over = |name: &str, seconds, status: Value| {
        Arc::new(session(name, seconds, &json!({ "status": status })))
    };
    let limit = json!({ "spec": { "backupHistoryLimit": 1, "retryConfig": null } });
    let mut seen = seen(Some(configuration(&limit)));
    seen.siblings = vec![
        over("home-1", -40, json!({ "phase": "Succeeded" })),
        over("home-2", -30, json!({ "phase": "Failed" })),
        over(
            "home-3",
            -20,
            json!({ "phase": "Failed", "nextRetry": at(99).to_string() }),
        ),
        over("home-4", -10, json!({ "phase": "Failed" })),
    ];
    let new = session("home-5", 0, &json!({}));
    let started = decide(&new, &seen, 1);
    let done = after(
        &new,
        &started,
        &json!({ "target": good_host(), "conditions": followed_up() }),
    );
    let closed = decide(&done, &seen, 5);
    assert_eq!(closed.forgotten, ["home-2", "home-1"]);
    let nothing = json!({ "spec": { "backupHistoryLimit": 0, "retryConfig": null } });
    seen.configuration = Some(configuration(&nothing));
    let closed = decide(&done, &seen, 5);
    assert_eq!(closed.forgotten, ["home-5", "home-4", "home-2", "home-1"]);
}

#[test]
fn rights_are_given_for_the_sessions_that_are_open() {
    let new = session("home-2", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    seen.siblings = vec![
        Arc::new(session(
            "home-1",
            -10,
            &json!({ "status": { "phase": "Succeeded" } }),
        )),
        Arc::new(session("home-3", 10, &json!({}))),
    ];
    let started = decide(&new, &seen, 1);
    let role = started.preparation.unwrap().access.role;
    let rules = role.rules.unwrap();
    let status = rules
        .iter()
        .find(|rule| rule.resources == Some(vec!["backupsessions/status".to_owned()]));
    let names = status.unwrap().resource_names.clone().unwrap();
    assert_eq!(names, ["home-2", "home-3"]);
}

#[test]
fn a_refusal_by_the_api_server_ends_the_session() {
    let new = session("home-1", 0, &json!({}));
    let seen = seen(Some(configuration(&json!({}))));
    let image = image();
    let case = Case {
        session: &new,
        seen: &seen,
        image: &image,
        now: at(1),
    };
    let plan = refused(&case, "jobs are forbidden by a quota");
    assert_eq!(phase_of(&plan), Phase::Failed);
    assert!(end(&new, &plan).ends_with("jobs are forbidden by a quota"));
}

#[test]
fn news_follow_from_the_status_alone() {
    let status = json!({ "status": {
        "targets": [{
            "stats": [
                { "hostname": "host-0", "phase": "Succeeded",
                  "snapshots": [{ "name": "0123456789abcdef", "path": "/data" }] },
                { "hostname": "host-1", "phase": "Failed", "error": "no such path" },
            ],
            "conditions": [
                { "type": "PostBackupHookExecutionSucceeded", "status": "False", "message": "exit code 1" },
            ],
        }],
        "conditions": [
            { "type": "RetentionPolicyApplied", "status": "False", "message": "locked" },
        ],
    } });
    let session = session("home-1", 0, &status);
    let lines: Vec<String> = news::of_session(session.status.as_ref().unwrap())
        .iter()
        .map(|news| format!("{:?} {}: {}", news.kind, news.reason, news.message))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_session_whose_workload_is_deleted_ends_with_its_pods() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    let started = decide(&new, &seen, 1);
    seen.target = Target::Missing;
    let idle = after(&new, &started, &json!({}));
    insta::assert_snapshot!(end(&idle, &decide(&idle, &seen, 5)));
    let running = after(&new, &started, &json!({ "target": working(10) }));
    seen.pods = vec![serde_json::from_value(json!({ "metadata": { "uid": "p1" } })).unwrap()];
    let leaving = decide(&running, &seen, 12);
    assert_eq!(leaving.status, None, "its Pod may still report");
    assert_eq!(leaving.again, Again::After(Duration::from_secs(5)));
    seen.pods.clear();
    insta::assert_snapshot!(end(&running, &decide(&running, &seen, 17)));
}

#[test]
fn a_job_is_not_waited_for_that_gets_no_volumes_any_more() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = by_job();
    let started = decide(&new, &seen, 1);
    seen.jobs = started.preparation.as_ref().unwrap().jobs.clone();
    seen.target = Target::Missing;
    let running = after(&new, &started, &json!({}));
    let pod = |spec: &Value| vec![serde_json::from_value(json!({ "spec": spec })).unwrap()];
    seen.pods = pod(&json!({ "nodeName": "a", "containers": [] }));
    assert_eq!(decide(&running, &seen, 5).status, None);
    seen.pods = pod(&json!({ "containers": [] }));
    insta::assert_snapshot!(end(&running, &decide(&running, &seen, 5)));
}
