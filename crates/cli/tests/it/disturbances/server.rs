//! An API server that is away.

use std::thread;
use std::time::{Duration, Instant};

use testkit::cluster::wait_until;

use super::is_long;
use super::site::{OPERATOR, Site, Way};
use crate::controllers::stage::PATIENCE;

#[test]
fn backups_go_on_while_the_api_server_is_away() {
    let absence = Duration::from_secs(if is_long() { 60 } else { 20 });
    let Some(mut site) = Site::new("away", &Way::BOTH, 1) else {
        return;
    };
    let web = site.web();
    for way in Way::BOTH {
        site.start_long(way, &format!("{}-1", way.invoker()));
    }
    let cluster = site.scene.stage.cluster().clone();
    cluster.stop_program("kube-apiserver");
    let began = Instant::now();
    site.let_end();
    let (mut starts, mut stored) = (0, None);
    while began.elapsed() < absence || stored.is_none() {
        assert!(began.elapsed() < absence * 3, "no backup ends");
        // Without its Lease it ends; the next one waits until there is an API server.
        if site.scene.stage.has_operator_ended() {
            starts += 1;
            site.scene.stage.start_operator(&OPERATOR);
        }
        if stored.is_none() && site.snapshots().len() == 2 {
            stored = Some(began.elapsed());
        }
        thread::sleep(Duration::from_millis(200));
    }
    println!("stored after {stored:?}; the operator was started {starts} times");
    cluster.start_program("kube-apiserver");
    wait_until("the API server is ready", PATIENCE, || {
        cluster.try_kubectl(&["get", "--raw", "/readyz"]).code == 0
    });
    let back = Instant::now();
    for way in Way::BOTH {
        let session = site.succeeded(&format!("{}-1", way.invoker()));
        assert!(site.snapshots().contains(&Site::snapshot_of(&session)));
    }
    println!("reported {:?} after it came back", back.elapsed());
    // Kubernetes itself takes up to a minute until it makes Pods of Jobs again.
    let next: &[Way] = if is_long() {
        &Way::BOTH
    } else {
        &[Way::Sidecar]
    };
    for way in next {
        let name = format!("{}-2", way.invoker());
        site.start(*way, &name);
        site.succeeded(&name);
        println!("{name} succeeded {:?} after it came back", back.elapsed());
    }
    site.assert_whole(next);
    assert!(starts <= 1 && !site.scene.stage.has_operator_ended());
    let pod = site.scene.stage.get(&format!("pod/{web}"));
    let containers = pod["status"]["containerStatuses"].as_array().unwrap();
    assert!(
        containers.iter().all(|it| it["restartCount"] == 0),
        "{pod:#}"
    );
}
