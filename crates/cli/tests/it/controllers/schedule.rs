//! Sessions by the clock.

use serde_json::{Value, json};
use testkit::cluster::wait_for;

use super::stage::{PATIENCE, Stage};

#[test]
fn a_schedule_starts_sessions_and_a_pause_is_not_caught_up() {
    let Some(stage) = Stage::new("clock", &[]) else {
        return;
    };
    stage.secret();
    stage.repository(false);
    stage.workload("apps/v1", "Deployment");
    let changes = json!({ "schedule": "@every 2s", "retryConfig": { "maxRetry": 3 } });
    stage.configuration("home", "apps/v1", "Deployment", &changes);
    // Their history is kept by others: what is counted are names, which tell the ticks.
    let first = wait_for("a session", PATIENCE, || sessions(&stage).pop());
    assert_eq!(first["spec"]["retryLeft"], 3);
    assert_eq!(first["spec"]["invoker"]["name"], "home");
    let labels = &first["metadata"]["labels"];
    assert_eq!(labels["stash.appscode.com/invoker-name"], "home");
    assert_eq!(labels["stash.appscode.com/target-kind"], "Deployment");
    let owner = &first["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "BackupConfiguration");
    wait_for("the next session", PATIENCE, || {
        sessions(&stage).pop().filter(|it| tick(it) > tick(&first))
    });
    stage.merge("bc/home", r#"{"spec":{"paused":true}}"#);
    wait_for("the pause is seen", PATIENCE, || {
        let annotations = stage.get("bc/home")["metadata"]["annotations"].clone();
        (annotations["stash.appscode.com/last-tick"] == "paused").then_some(())
    });
    let last = sessions(&stage).iter().map(tick).max().unwrap_or_default();
    // Several ticks pass by the clock of the operator, which names the sessions.
    let resume = last + 7;
    wait_for("time passes", PATIENCE, || {
        (now(&stage) >= resume).then_some(())
    });
    stage.merge("bc/home", r#"{"spec":{"paused":false}}"#);
    let next = wait_for("a session after the pause", PATIENCE, || {
        let later = sessions(&stage).into_iter().filter(|it| tick(it) > last);
        later.min_by_key(tick)
    });
    assert!(tick(&next) >= resume, "{} is from the pause", tick(&next));
}

/// The sessions of the namespace, the newest last.
fn sessions(stage: &Stage) -> Vec<Value> {
    let text = stage.kubectl(&["get", "backupsessions", "--output", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let mut items = list["items"].as_array().cloned().unwrap_or_default();
    items.sort_by_key(tick);
    items
}

fn tick(session: &Value) -> i64 {
    let name = session["metadata"]["name"].as_str().unwrap_or_default();
    let (_, seconds) = name.rsplit_once('-').unwrap();
    seconds.parse().unwrap()
}

/// The time by the clock of the API server: the creation of an object.
fn now(stage: &Stage) -> i64 {
    let text = stage.kubectl(&[
        "create",
        "configmap",
        "now",
        "--output",
        "jsonpath={.metadata.creationTimestamp}",
    ]);
    stage.kubectl(&["delete", "configmap", "now"]);
    text.trim().parse::<jiff::Timestamp>().unwrap().as_second()
}
