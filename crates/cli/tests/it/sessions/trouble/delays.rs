//! How often trouble that stays is looked at again.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use testkit::cluster::wait_for;

use super::*;

/// Nothing waits longer.
const LONGEST: Duration = Duration::from_mins(1);
/// How much later than announced a pass may be on a machine that is busy.
const LATE: Duration = Duration::from_secs(4);

/// A pass that found the trouble.
#[derive(Debug, Clone, Copy)]
struct Pass {
    at: Timestamp,
    failures: u32,
    /// How long the object is to wait now.
    wait: Duration,
}

#[test]
fn trouble_that_stays_is_looked_at_less_and_less_often_but_every_minute() {
    // Whoever leads writes the log.
    let Some(scene) = Stage::alone("delays", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let stage = &scene.stage;
    let mut backend = stage.get("repository/repo")["spec"]["backend"].clone();
    backend["storageSecretName"] = json!("later");
    stage.apply(&repository("no-secret", &backend));
    scene.configuration("lost", "no-secret", &json!({}));
    let seen = passes_until(&scene, 6);
    for (pass, next) in seen.iter().zip(&seen[1..]) {
        assert_eq!(next.failures, pass.failures + 1, "{seen:#?}");
        assert!(expected(pass.failures).contains(&pass.wait), "{seen:#?}");
        let gap = Duration::try_from(next.at.duration_since(pass.at)).unwrap();
        println!("looked at again after {gap:?}");
        // The first ones may be hurried by what the operator itself has written.
        let is_punctual = gap <= pass.wait + LATE && (pass.failures < 3 || gap >= pass.wait);
        assert!(is_punctual, "{gap:?} after {pass:?}: {seen:#?}");
    }

    // A change is looked at at once, and does not make anything wait for longer than ever.
    for number in 7..10 {
        let label = format!("changed={number}");
        stage.kubectl(&["annotate", "bc/lost", "--overwrite", &label]);
        let last = *passes_until(&scene, number).last().unwrap();
        assert!(expected(last.failures).contains(&last.wait), "{last:?}");
    }

    // What has healed begins anew.
    stage.apply(&secret("later", &json!({ "RESTIC_PASSWORD": "x" })));
    stage.kubectl(&["annotate", "bc/lost", "healed=yes"]);
    scene.phase("bc/lost", "Ready");
    stage.kubectl(&["delete", "secret", "later"]);
    // That the Secret is there is believed for a while, but not after a change of what is wanted.
    stage.merge("bc/lost", r#"{"spec":{"backupHistoryLimit":4}}"#);
    wait_until("the first delay comes again", PATIENCE, || {
        let again = &passes(&scene)[1..];
        again.iter().any(|pass| pass.failures == 1)
    });
}

/// The waits that are right after so many failures; each is at least as long as any before it.
fn expected(failures: u32) -> RangeInclusive<Duration> {
    let full = Duration::from_secs(1 << (failures - 1)).min(LONGEST);
    // Whole milliseconds are told.
    full / 2..=full
}

fn passes_until(scene: &Scene, failures: u32) -> Vec<Pass> {
    wait_for(&format!("pass {failures}"), PATIENCE, || {
        let passes = passes(scene);
        (passes.last()?.failures >= failures).then_some(passes)
    })
}

fn passes(scene: &Scene) -> Vec<Pass> {
    let lines = scene
        .stage
        .delays("what BackupConfiguration NAMESPACE/lost ");
    lines.iter().map(|line| parse(line)).collect()
}

fn parse(line: &str) -> Pass {
    let number = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}=")).unwrap();
        rest.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    Pass {
        at: line.split(' ').next().unwrap().parse().unwrap(),
        failures: number("failures"),
        wait: Duration::from_millis(number("milliseconds").into()),
    }
}
