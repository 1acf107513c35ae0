//! Sessions that nobody starts: by the minute, in another time zone, after a pause, and after an operator that was away.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::*;

/// A zone that no full hour tells from another one.
const ZONE: &str = "Asia/Kolkata";

#[test]
fn schedules_fire_by_the_clock_of_their_zone_and_not_during_a_pause() {
    let Some(scene) = Stage::new("clocks", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    let kept = |schedule: &str| json!({ "schedule": schedule, "backupHistoryLimit": 100 });
    let mut paused = kept("@every 2s");
    paused["paused"] = json!(true);
    scene.configure_as("paused", &paused);
    let minute = next_minute();
    let there = minute.to_zoned(TimeZone::get(ZONE).unwrap());
    let (hour, of_hour) = (there.hour(), there.minute());
    let zone = format!("CRON_TZ={ZONE} {of_hour} {hour} * * *");
    scene.configure_as("minute", &kept("* * * * *"));
    scene.configure_as("zone", &kept(&zone));
    assert!(Timestamp::now() < minute, "the cluster is too slow");
    pause(&scene, minute);

    for invoker in ["minute", "zone"] {
        let name = format!("{invoker}-{}", minute.as_second());
        let session = scene.end_of(&name);
        assert_eq!(phase(&session), "Succeeded", "{session:#}");
        let created = time(&session["metadata"]["creationTimestamp"]);
        let late = created - minute.as_second();
        assert!((0..20).contains(&late), "{late} seconds late");
        let snapshot = session["status"]["targets"][0]["stats"][0]["snapshots"][0]["name"].clone();
        let letter = scene.dump(snapshot.as_str().unwrap(), "/stash-data/letter");
        assert_eq!(letter, "dear reader");
    }
    assert_eq!(ticks(&scene, "zone"), BTreeSet::from([minute.as_second()]));
    assert!(ticks(&scene, "minute").iter().all(|tick| tick % 60 == 0));
}

/// A pause stops the schedule, and nothing else; afterwards it goes on, and what was left out is not made up for.
fn pause(scene: &Scene, minute: Timestamp) {
    let invoker = json!({ "kind": "BackupConfiguration", "name": "paused" });
    scene.start("by-hand", &json!({ "invoker": invoker }));
    let session = scene.end("by-hand");
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    let until = minute - SignedDuration::from_secs(4);
    wait_until("several ticks pass", PATIENCE, || Timestamp::now() > until);
    assert_eq!(ticks(scene, "paused"), BTreeSet::new());
    let resumed = Timestamp::now().as_second();
    scene
        .stage
        .merge("bc/paused", r#"{"spec":{"paused":false}}"#);
    let first = wait_for("a session after the pause", PATIENCE, || {
        ticks(scene, "paused").first().copied()
    });
    assert!(first >= resumed, "{first} is from the pause");
    scene
        .stage
        .merge("bc/paused", r#"{"spec":{"paused":true}}"#);
    let session = scene.end(&format!("paused-{first}"));
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
}

/// The first full minute for which there is time to prepare.
fn next_minute() -> Timestamp {
    let prepared = Timestamp::now().as_second() + 10;
    Timestamp::from_second((prepared / 60 + 1) * 60).unwrap()
}

#[test]
fn ticks_that_passed_without_an_operator_are_caught_up_by_one_session() {
    let Some(mut scene) = Stage::alone("away", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.write("letter", "dear reader");
    scene.configure(&json!({ "schedule": "@every 10s", "backupHistoryLimit": 100 }));
    let first = wait_for("a session", PATIENCE, || {
        ticks(&scene, "home").first().copied()
    });
    assert_eq!(phase(&scene.end(&format!("home-{first}"))), "Succeeded");
    scene.stage.kill_operator();
    let last = *ticks(&scene, "home").last().unwrap();
    wait_until("ticks pass", PATIENCE, || {
        Timestamp::now().as_second() >= last + 24
    });
    assert_eq!(ticks(&scene, "home").last(), Some(&last));
    scene
        .stage
        .start_operator(&["--identity", "back", "--webhook-port", "0"]);
    let after = wait_for("the session that catches up and the next", PATIENCE, || {
        let all = ticks(&scene, "home");
        let after: Vec<i64> = all.into_iter().filter(|it| *it > last).collect();
        (after.len() >= 2).then_some(after)
    });
    let missed = (after[0] - last) / 10;
    assert!(missed >= 2, "{after:?} after {last}");
    assert_eq!((after[0] - last) % 10, 0, "{after:?} after {last}");
    assert_eq!(after[1], after[0] + 10, "{after:?} after {last}");
    let session = scene.end(&format!("home-{}", after[0]));
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    scene.stage.merge("bc/home", r#"{"spec":{"paused":true}}"#);
    let ended: Vec<Value> = ticks(&scene, "home")
        .iter()
        .map(|tick| scene.end(&format!("home-{tick}")))
        .collect();
    let good = ended.iter().filter(|it| phase(it) == "Succeeded").count();
    assert!(scene.count() >= good.min(5), "{ended:#?}");
    let latest = scene.dump("latest", "/stash-data/letter");
    assert_eq!(latest, "dear reader");
}

/// The ticks of the sessions that a schedule has started, by their names.
fn ticks(scene: &Scene, invoker: &str) -> BTreeSet<i64> {
    let sessions = scene.sessions();
    let names = sessions
        .iter()
        .map(|it| it["metadata"]["name"].as_str().unwrap());
    names
        .filter_map(|name| name.strip_prefix(&format!("{invoker}-"))?.parse().ok())
        .collect()
}
