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
fn a_replica_that_is_scaled_away_ends_the_session_when_the_others_are_done() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = of_set(2);
    let started = decide(&new, &seen, 0);
    seen.target = replicas(1);
    let busy = after(&new, &started, &json!({ "target": working(10) }));
    assert_eq!(decide(&busy, &seen, 30).status, None, "host-0 works");
    let one = changed(&busy, &reported(&["host-0"]));
    let over = decide(&one, &seen, 40);
    assert_eq!(phase_of(&over), Phase::Failed);
    let said = end(&one, &over);
    assert!(said.contains("host host-1 has no Pod any more"), "{said}");
    // Nobody tells that it is scaled: it is looked at again soon.
    seen.target = replicas(2);
    let waits = decide(&one, &seen, 40);
    assert_eq!(waits.status, None, "its Pod may come");
    let limit = Again::at(Some(at(55)), at(40));
    assert_eq!(waits.again, limit);
}
