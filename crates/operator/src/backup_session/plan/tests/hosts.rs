//! Replicas that come and go while a session runs.

use super::*;

fn replicas(count: i32) -> Target {
    let invoker = json!({ "kind": "BackupConfiguration", "namespace": "shop", "name": "home" });
    let live = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {
            "name": "db", "uid": "w",
            "annotations": { labels::BACKUP_INVOKER: invoker.to_string() },
        },
        "spec": { "replicas": count, "template": {
            "metadata": { "annotations": { labels::BACKUP_INVOKER_HASH: "x" } },
            "spec": { "containers": [{ "name": "app" }, { "name": "stash" }] },
        } },
    });
    Target::Workload(Box::new(Workload::read(&live).unwrap()))
}

fn of_set(count: i32) -> Observation {
    let target = json!({ "ref": { "kind": "StatefulSet", "name": "db" } });
    Observation {
        target: replicas(count),
        ..seen(Some(configuration(
            &json!({ "spec": { "target": target } }),
        )))
    }
}

/// Two replicas with a claim each, which are backed up by Jobs.
pub fn by_jobs() -> Observation {
    let changes = json!({ "spec": {
        "task": { "name": "pvc-backup" }, "target": { "ref": { "kind": "StatefulSet" } },
    } });
    let live = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "web", "uid": "w" },
        "spec": {
            "replicas": 2,
            "template": { "spec": { "containers": [{ "name": "app" }] } },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" } }],
        },
    });
    let claims = json!([
        { "metadata": { "name": "data-web-0" }, "spec": { "accessModes": ["ReadWriteOnce"] } },
        { "metadata": { "name": "data-web-1" }, "spec": { "accessModes": ["ReadWriteOnce"] } },
    ]);
    Observation {
        target: Target::Workload(Box::new(Workload::read(&live).unwrap())),
        claims: serde_json::from_value(claims).unwrap(),
        ..super::seen(Some(configuration(&changes)))
    }
}

fn reported(hosts: &[&str]) -> Value {
    let stats = hosts.iter();
    let stats = stats.map(|host| json!({ "hostname": host, "phase": "Succeeded" }));
    json!({ "target": { "stats": stats.collect::<Vec<_>>(), "progress": [] } })
}

#[test]
fn a_replica_that_appears_later_stands_in_for_nobody() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = of_set(2);
    let started = decide(&new, &seen, 0);
    let target = &started.status.as_ref().unwrap().targets[0];
    assert_eq!(target.hosts, ["host-0", "host-1"]);
    let running = after(&new, &started, &json!({}));
    seen.target = replicas(3);
    let both = changed(&running, &reported(&["host-2", "host-0"]));
    let both = changed(&both, &json!({ "conditions": followed_up() }));
    assert_eq!(decide(&both, &seen, 30).status, None, "host-1 is missing");
    let all = changed(&both, &reported(&["host-2", "host-0", "host-1"]));
    assert_eq!(phase_of(&decide(&all, &seen, 40)), Phase::Succeeded);
}

#[test]
fn a_replica_that_is_scaled_away_has_failed_and_the_others_conclude() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = of_set(2);
    let started = decide(&new, &seen, 0);
    seen.target = replicas(1);
    let busy = after(&new, &started, &json!({ "target": working(10) }));
    let without = decide(&busy, &seen, 30);
    assert_eq!(phase_of(&without), Phase::Running, "host-0 works");
    let told = lost(&without);
    assert!(told.contains("host host-1 has no Pod any more"), "{told}");
    let over = decide(&conclude(&busy, &without, "host-0"), &seen, 40);
    assert_eq!(phase_of(&over), Phase::Failed);
    // Nobody tells that it is scaled: it is looked at again soon.
    seen.target = replicas(2);
    let one = changed(&busy, &reported(&["host-0"]));
    let waits = decide(&one, &seen, 40);
    assert_eq!(waits.status, None, "its Pod may come");
    let limit = Again::at(Some(at(55)), at(40));
    assert_eq!(waits.again, limit);
}

#[test]
fn a_node_that_goes_has_failed_once_the_daemon_set_does_without_it() {
    let invoker = json!({ "kind": "BackupConfiguration", "namespace": "shop", "name": "home" });
    let daemons = |count: i32| {
        let live = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {
                "name": "web", "uid": "w",
                "annotations": { labels::BACKUP_INVOKER: invoker.to_string() },
            },
            "spec": { "template": {
                "metadata": { "annotations": { labels::BACKUP_INVOKER_HASH: "x" } },
                "spec": { "containers": [{ "name": "app" }, { "name": "stash" }] },
            } },
            "status": { "desiredNumberScheduled": count },
        });
        Target::Workload(Box::new(Workload::read(&live).unwrap()))
    };
    let on = |node: &str| -> Pod {
        let owner =
            json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web", "uid": "w" });
        let object = json!({
            "metadata": { "name": node, "uid": node, "ownerReferences": [owner] },
            "spec": { "nodeName": node, "containers": [] },
            "status": { "phase": "Running" },
        });
        serde_json::from_value(object).unwrap()
    };
    let target = json!({ "spec": { "target": { "ref": { "kind": "DaemonSet" } } } });
    let mut seen = seen(Some(configuration(&target)));
    (seen.target, seen.pods) = (daemons(2), vec![on("a"), on("b")]);
    let new = session("home-1", 0, &json!({}));
    let started = decide(&new, &seen, 0);
    let running = after(&new, &started, &json!({}));
    assert_eq!(running.status.clone().unwrap().targets[0].hosts, ["a", "b"]);
    // Its Pod may come back to the node.
    seen.pods = vec![on("a")];
    assert_eq!(decide(&running, &seen, 30).status, None);
    seen.target = daemons(1);
    let without = decide(&running, &seen, 30);
    assert_eq!(phase_of(&without), Phase::Running, "a may work");
    let told = lost(&without);
    assert!(
        told.contains("left a node") && told.contains("host b"),
        "{told}"
    );
    let over = decide(&conclude(&running, &without, "a"), &seen, 40);
    assert_eq!(phase_of(&over), Phase::Failed);
    // Another node has come instead.
    (seen.target, seen.pods) = (daemons(2), vec![on("a"), on("c")]);
    assert!(lost(&decide(&running, &seen, 30)).contains("host b"));
}

/// Why the one host that has reported is lost.
fn lost(plan: &Plan) -> String {
    let stats = &plan.status.as_ref().unwrap().targets[0].stats;
    assert_eq!(stats.len(), 1);
    stats[0].error.clone().unwrap()
}

/// The session when another host has reported beside the one that is lost.
fn conclude(session: &BackupSession, plan: &Plan, host: &str) -> BackupSession {
    let mut stats = plan.status.as_ref().unwrap().targets[0].stats.clone();
    let good = json!({ "hostname": host, "phase": "Succeeded" });
    stats.push(serde_json::from_value(good).unwrap());
    after(
        session,
        plan,
        &json!({ "target": { "stats": stats, "progress": [] } }),
    )
}

#[test]
fn a_job_that_is_lost_has_failed_and_the_others_conclude() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = by_jobs();
    let started = decide(&new, &seen, 0);
    let mut jobs = started.preparation.as_ref().unwrap().jobs.clone();
    assert_eq!(jobs.len(), 2);
    seen.jobs = vec![jobs.remove(1)];
    let running = after(&new, &started, &json!({}));
    let without = decide(&running, &seen, 30);
    assert_eq!(phase_of(&without), Phase::Running, "host-1 may work");
    let told = lost(&without);
    assert!(
        told.contains("Job stash-backup-home-1-0 was deleted"),
        "{told}"
    );
    let over = decide(&conclude(&running, &without, "host-1"), &seen, 40);
    assert_eq!(phase_of(&over), Phase::Failed);
    let neither = Observation {
        jobs: Vec::new(),
        ..seen
    };
    assert_eq!(phase_of(&decide(&running, &neither, 40)), Phase::Failed);
}

#[test]
fn hosts_that_have_all_reported_wait_for_whoever_concludes_the_session() {
    let new = session("home-1", 0, &json!({}));
    let seen = of_set(2);
    let started = decide(&new, &seen, 0);
    let both = after(&new, &started, &reported(&["host-0", "host-1"]));
    assert_eq!(phase_of(&decide(&both, &seen, 30)), Phase::Running);
    let over = decide(&both, &seen, 600);
    assert_eq!(phase_of(&over), Phase::Failed, "nobody came");
}
