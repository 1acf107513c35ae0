//! Agents that are killed while they hold the repository for themselves.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use testkit::Random;

use super::agents::Agent;
use super::is_long;
use super::site::{Site, Way};
use crate::controllers::stage::PATIENCE;
use crate::support::{eventually, fill};

const LARGE_BYTES: usize = 24 << 20;
const SMALL_FILES: usize = 300;

#[test]
fn an_agent_that_is_killed_while_it_prunes_loses_nothing() {
    // A container that ends again and again is started later and later.
    let rounds = if is_long() { (12, 3) } else { (1, 1) };
    let mut random = Random::from_environment();
    let Some(site) = Site::new("prune", &Way::BOTH, 1) else {
        return;
    };
    for (way, rounds) in [(Way::Job, rounds.0), (Way::Sidecar, rounds.1)] {
        let name = |number: u32| format!("{}-{number}", way.invoker());
        let mut numbers = 1..;
        let mut next = |random: &mut Random| {
            // Half of the data is new: packs are removed, and others are written anew.
            fill(&site.files, random, LARGE_BYTES, SMALL_FILES);
            let name = name(numbers.next().unwrap());
            site.start(way, &name);
            name
        };
        site.succeeded(&next(&mut random));
        let measured = next(&mut random);
        let usual = hold_of(&site, agent(&site, way, &measured));
        site.succeeded(&measured);
        println!("{way:?}: usually held for {usual:?}");
        let mut killed = 0;
        while killed < rounds {
            let disturbed = next(&mut random);
            let moment =
                Duration::from_micros(random.below(u64::try_from(usual.as_micros()).unwrap()));
            if !kill_holding(&site, agent(&site, way, &disturbed), moment) {
                println!("{disturbed}: done within {moment:?}");
                site.succeeded(&disturbed);
                continue;
            }
            killed += 1;
            println!("{disturbed}: killed after {moment:?}");
            site.restic()
                .run(["check", "--read-data", "--no-lock"])
                .assert_success();
            if way == Way::Job {
                site.disrupted(&disturbed);
                assert_eq!(site.locks().len(), 1);
                site.start(way, &format!("{disturbed}-next"));
                site.succeeded(&format!("{disturbed}-next"));
            } else {
                // The container starts again and goes on.
                site.succeeded(&disturbed);
            }
            site.assert_whole(&[way]);
        }
    }
}

fn agent(site: &Site, way: Way, session: &str) -> Agent {
    match way {
        Way::Job => site.agent(&format!("stash-backup-{session}-0-")),
        Way::Sidecar => site.agent(&site.web()),
    }
}

/// Waits until the agent has the exclusive lock, and stops it there. The lock.
fn stopped_with_lock(site: &Site, agent: Agent) -> String {
    let mut known = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nobody takes the exclusive lock");
        let new = site.locks().into_iter().find(|lock| !known.contains(lock));
        let Some(new) = new else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        assert!(agent.freeze());
        let lock = site.restic().run(["cat", "lock", &new, "--no-lock"]);
        if lock.code == 0 && lock.json()["exclusive"] == true {
            return new;
        }
        known.insert(new);
        agent.thaw();
    }
}

/// How long an agent holds the exclusive lock that nobody disturbs.
fn hold_of(site: &Site, agent: Agent) -> Duration {
    let lock = stopped_with_lock(site, agent);
    agent.thaw();
    let began = Instant::now();
    eventually("the lock is given back", || {
        (!site.locks().contains(&lock)).then(|| began.elapsed())
    })
}

/// Kills an agent this long after it took the exclusive lock. Whether it still held it.
fn kill_holding(site: &Site, agent: Agent, moment: Duration) -> bool {
    let lock = stopped_with_lock(site, agent);
    agent.thaw();
    thread::sleep(moment);
    let is_there = agent.freeze();
    let holds = is_there && site.locks().contains(&lock);
    if holds {
        agent.kill();
    } else if is_there {
        agent.thaw();
    }
    holds
}
