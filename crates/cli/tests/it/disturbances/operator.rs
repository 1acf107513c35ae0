//! Operators that are killed.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use testkit::Random;
use testkit::cluster::wait_until;

use super::is_long;
use super::site::{Site, Way};
use crate::controllers::stage::{PATIENCE, container_names};

/// Every so many kills it is another operator that takes over, when the Lease of the killed one has run out.
const ROUNDS_OF_ONE: u32 = 5;

#[test]
fn sessions_end_well_whenever_the_operator_is_killed() {
    let rounds = if is_long() { 50 } else { 5 };
    let mut random = Random::from_environment();
    let Some(mut site) = Site::new("killed", &Way::BOTH, 1000) else {
        return;
    };
    let mut made = BTreeSet::new();
    let usual = Way::BOTH.map(|way| undisturbed(&site, way, &mut made));
    println!("undisturbed: {usual:?}");
    let (mut killed, mut longest) = (0, Duration::ZERO);
    for number in 1.. {
        if killed == rounds {
            break;
        }
        let choice = random.index(Way::BOTH.len());
        let (way, usual) = (Way::BOTH[choice], usual[choice]);
        // The operator itself is at work at the beginning, for a small part of the time.
        let early = usual / (1 << random.below(5));
        let moment = part_of(*random.pick(&[usual, early]), &mut random);
        let absence = part_of(Duration::from_secs(3), &mut random);
        let name = format!("{}-{number}", way.invoker());
        site.start(way, &name);
        let begun = Instant::now();
        thread::sleep(moment);
        site.scene.stage.kill_operator();
        let session = site.scene.session(&name);
        let phase = session["status"]["phase"].as_str().unwrap_or("none");
        // A session that was faster is looked at like the others, but it was not disturbed.
        killed += u32::from(phase != "Succeeded");
        thread::sleep(absence);
        let identity = format!("stash-{}", killed / ROUNDS_OF_ONE);
        let options = ["--identity", &identity, "--webhook-port", "0"];
        site.scene.stage.start_operator(&options);
        let started = Instant::now();
        made.insert(Site::snapshot_of(&site.succeeded(&name)));
        longest = longest.max(begun.elapsed());
        println!(
            "{name}: killed after {moment:?} in phase {phase}, away for {absence:?}, over {:?} after {identity} began",
            started.elapsed()
        );
    }
    println!(
        "{killed} disturbed sessions, {} snapshots; the longest session took {longest:?}",
        made.len()
    );
    assert_eq!(site.snapshots(), made);
    site.assert_whole(&Way::BOTH);
    assert_nothing_stays(&site);
}

/// How long a session takes that nobody disturbs: the second, which finds everything prepared.
fn undisturbed(site: &Site, way: Way, made: &mut BTreeSet<String>) -> Duration {
    let [_, usual] = ["first", "second"].map(|which| {
        let name = format!("{}-{which}", way.invoker());
        site.start(way, &name);
        let started = Instant::now();
        made.insert(Site::snapshot_of(&site.succeeded(&name)));
        started.elapsed()
    });
    usual
}

fn part_of(whole: Duration, random: &mut Random) -> Duration {
    Duration::from_millis(random.below(u64::try_from(whole.as_millis()).unwrap()))
}

/// Nothing works any more, there is one of what each configuration needs, and everything goes with it.
fn assert_nothing_stays(site: &Site) {
    let stage = &site.scene.stage;
    let names = |resources: &str| {
        let text = stage.kubectl(&["get", resources, "--output", "name"]);
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    wait_until("only the Deployment's Pod runs", PATIENCE, || {
        let running = "--field-selector=status.phase!=Succeeded";
        let pods = stage.kubectl(&["get", "pods", running, "--output", "name"]);
        pods.lines().count() == 1
    });
    assert_eq!(
        names("roles,leases"),
        [
            "lease.coordination.k8s.io/lock-deployment-web-backup",
            "role.rbac.authorization.k8s.io/stash-backupconfiguration-job",
            "role.rbac.authorization.k8s.io/stash-backupconfiguration-sidecar",
        ]
    );
    stage.kubectl(&["delete", "bc", "--all"]);
    wait_until("the sidecar is gone", PATIENCE, || {
        container_names(&stage.get("deployments.apps/web")) == ["web"]
    });
    // The Lease goes with the workload whose Pods take turns by it.
    stage.kubectl(&["delete", "deployment", "web"]);
    wait_until("everything is gone", PATIENCE, || {
        names("backupsessions,jobs,roles,rolebindings,leases,serviceaccounts,pods")
            == ["serviceaccount/default"]
    });
}
