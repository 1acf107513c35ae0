//! Sessions that wait, sessions beside each other, and what is judged after the operator or the API server was away.

use api::conditions::find_condition;

use super::*;

fn running(name: &str, seconds: i64, changes: &Value) -> Arc<BackupSession> {
    let status = json!({ "status": {
        "phase": "Running",
        "targets": [{ "totalHosts": 1, "ref": { "kind": "Deployment", "name": "web" } }],
    } });
    Arc::new(changed(&session(name, seconds, &status), changes))
}

fn waiting(plan: &Plan) -> Option<String> {
    let status = plan.status.as_ref().unwrap();
    let condition = find_condition(&status.conditions, types::WAITING)?;
    assert_eq!(condition.status, ConditionStatus::True);
    condition.message.clone()
}

#[test]
fn a_session_says_which_restore_it_waits_for_until_it_starts() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    seen.restore = Some("back".to_owned());
    let waits = decide(&new, &seen, 1);
    let why = waiting(&waits).unwrap();
    assert!(
        why.contains("waits for the RestoreSession back, which restores the same data"),
        "{why}"
    );
    let told = news::of_session(waits.status.as_ref().unwrap());
    assert_eq!(told[0].message, why);
    let pending = after(&new, &waits, &json!({}));
    assert_eq!(decide(&pending, &seen, 2).status, None, "it is said once");
    let late = end(&pending, &decide(&pending, &seen, 3600));
    assert!(late.contains(&why), "{late}");
    seen.restore = None;
    let started = decide(&pending, &seen, 40);
    assert_eq!(phase_of(&started), Phase::Running);
    assert_eq!(waiting(&started), None);
}

#[test]
fn of_two_sessions_of_one_moment_exactly_one_runs_whoever_comes_first() {
    let (one, two) = (session("a", 0, &json!({})), session("b", 0, &json!({})));
    let mut seen = seen(Some(configuration(&json!({}))));
    let mut beside = |own: &BackupSession, other: Arc<BackupSession>| {
        seen.siblings = vec![other];
        phase_of(&decide(own, &seen, 1))
    };
    assert_eq!(beside(&one, Arc::new(two.clone())), Phase::Running);
    assert_eq!(beside(&two, running("a", 0, &json!({}))), Phase::Skipped);
    // The name that comes last may have been seen first.
    assert_eq!(beside(&one, running("b", 0, &json!({}))), Phase::Skipped);
}

#[test]
fn a_session_waits_until_the_one_before_it_is_closed_when_that_is_done() {
    let new = session("home-2", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    let done = json!({ "target": good_host(), "conditions": followed_up() });
    seen.siblings = vec![running("home-1", -60, &done)];
    let waits = decide(&new, &seen, 1);
    assert_eq!(phase_of(&waits), Phase::Pending);
    let why = waiting(&waits).unwrap();
    assert_eq!(why, "the session home-1 is about to be closed");
    let late = json!({ "status": { "sessionDeadline": at(-1).to_string() } });
    seen.siblings = vec![running("home-1", -60, &late)];
    assert_eq!(phase_of(&decide(&new, &seen, 1)), Phase::Pending);
}

#[test]
fn sessions_that_are_skipped_are_dropped_by_the_next_ones() {
    let new = session("home-9", 0, &json!({}));
    let limit = json!({ "spec": { "backupHistoryLimit": 2 } });
    let mut seen = seen(Some(configuration(&limit)));
    let over = |name: &str, seconds: i64, phase: &str| {
        Arc::new(session(
            name,
            seconds,
            &json!({ "status": { "phase": phase } }),
        ))
    };
    seen.siblings = vec![
        over("good-1", -700, "Succeeded"),
        over("good-2", -600, "Succeeded"),
        over("skipped-3", -500, "Skipped"),
        over("skipped-4", -400, "Skipped"),
        running("long", -300, &json!({})),
    ];
    let skipped = decide(&new, &seen, 1);
    assert_eq!(phase_of(&skipped), Phase::Skipped);
    assert_eq!(skipped.forgotten, ["skipped-3"]);
}

#[test]
fn what_was_finished_while_nobody_looked_is_not_late() {
    let new = session("home-1", 0, &json!({}));
    let seen = by_job();
    let started = decide(&new, &seen, 1);
    let done = json!({ "target": good_host(), "conditions": followed_up() });
    let concluded = after(&new, &started, &done);
    assert_eq!(phase_of(&decide(&concluded, &seen, 9999)), Phase::Succeeded);
    let stopped = json!({ "stats": [
        { "hostname": "host-0", "phase": "Failed", "error": "the hook was stopped with its session" },
    ] });
    let stopped = json!({ "target": stopped, "conditions": followed_up() });
    let stopped = after(&new, &started, &stopped);
    let said = end(&stopped, &decide(&stopped, &seen, 3601));
    assert!(said.contains("not done within spec.timeOut"), "{said}");
    let reported = after(&new, &started, &json!({ "target": good_host() }));
    assert_eq!(phase_of(&decide(&reported, &seen, 9999)), Phase::Failed);
}

#[test]
fn nobody_is_given_up_for_what_could_not_be_said() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    let started = decide(&new, &seen, 0);
    let running = after(&new, &started, &json!({ "target": working(100) }));
    seen.pods = vec![pod("p1", &json!({}))];
    assert_eq!(phase_of(&decide(&running, &seen, 1000)), Phase::Failed);
    // The API server came back a moment ago.
    seen.in_touch_since = Some(at(990));
    assert_eq!(decide(&running, &seen, 1000).status, None);
    assert_eq!(decide(&running, &seen, 1289).status, None);
    assert_eq!(phase_of(&decide(&running, &seen, 1290)), Phase::Failed);
    // One that works on another node is not gone because nobody could say so.
    seen.pods = Vec::new();
    assert_eq!(decide(&running, &seen, 1589).status, None);
    assert_eq!(phase_of(&decide(&running, &seen, 1590)), Phase::Failed);
}
