//! A node without its kubelet, and one that is drained.

use std::time::{Duration, Instant};

use testkit::cluster::wait_until;

use super::is_long;
use super::site::{Site, Way};
use crate::controllers::stage::PATIENCE;

#[test]
fn sessions_outlive_the_kubelet() {
    let absence = Duration::from_secs(if is_long() { 30 } else { 5 });
    let Some(site) = Site::new("kubelet", &Way::BOTH, 1) else {
        return;
    };
    for way in Way::BOTH {
        site.start_long(way, &format!("{}-1", way.invoker()));
    }
    let cluster = site.scene.stage.cluster().clone();
    cluster.stop_program("kubelet");
    let began = Instant::now();
    let read = |way: Way| {
        let progress = site.progress(&format!("{}-1", way.invoker()));
        progress["bytesDone"].as_i64().unwrap()
    };
    let before = Way::BOTH.map(read);
    wait_until("agents go on and say so", PATIENCE, || {
        let now = Way::BOTH.map(read);
        now[0] > before[0] && now[1] > before[1] && began.elapsed() >= absence
    });
    site.let_end();
    // Agents have said everything before anybody knows that their Pods have ended.
    site.succeeded("job-1");
    site.succeeded("sidecar-1");
    site.start(Way::Sidecar, "sidecar-2");
    site.succeeded("sidecar-2");
    site.start(Way::Job, "job-2");
    cluster.start_program("kubelet");
    site.succeeded("job-2");
    site.assert_whole(&Way::BOTH);
}

#[test]
fn sessions_on_a_node_that_is_drained_end_and_the_next_ones_work() {
    let Some(site) = Site::new("drained", &Way::BOTH, 1) else {
        return;
    };
    for way in Way::BOTH {
        site.start_long(way, &format!("{}-1", way.invoker()));
    }
    let stage = &site.scene.stage;
    let node = stage.cluster().node().to_owned();
    let web = site.web();
    for pods in [
        "app=web",
        "batch.kubernetes.io/job-name=stash-backup-job-1-0",
    ] {
        let pods = format!("--pod-selector={pods}");
        stage.kubectl(&["drain", &node, "--delete-emptydir-data", "--force", &pods]);
    }
    // Agents that are asked to end give back what they hold.
    assert!(site.locks().is_empty());
    site.disrupted("job-1");
    site.let_end();
    stage.kubectl(&["uncordon", &node]);
    site.succeeded("sidecar-1");
    assert_ne!(site.web(), web);
    for way in Way::BOTH {
        let name = format!("{}-2", way.invoker());
        site.start(way, &name);
        site.succeeded(&name);
    }
    site.assert_whole(&Way::BOTH);
}
