//! Pods that vanish in the midst of a backup.

use std::time::{Duration, Instant};

use super::site::{Site, Way};

#[test]
fn pods_that_vanish_leave_neither_sessions_nor_locks_behind() {
    let Some(site) = Site::new("vanished", &Way::BOTH, 1) else {
        return;
    };
    // Retention has a snapshot to remove later on, for which it needs the repository for itself.
    for way in Way::BOTH {
        site.start(way, &format!("{}-1", way.invoker()));
    }
    site.succeeded("job-1");
    site.succeeded("sidecar-1");
    let web = site.web();
    let pods = Way::BOTH.map(|way| site.start_long(way, &format!("{}-2", way.invoker())));
    assert_eq!(pods[1], web);
    // Nothing is said or given back.
    for pod in &pods {
        assert!(site.agent(pod).freeze());
    }
    assert_eq!(site.locks().len(), 2);
    site.let_end();
    let began = Instant::now();
    site.scene
        .stage
        .kubectl(&["delete", "pods", "--grace-period=1", &pods[0], &pods[1]]);
    // A Job is not tried again; whether the session is, its configuration says.
    site.disrupted("job-2");
    assert!(began.elapsed() < Duration::from_mins(1));
    // The next Pod of a Deployment goes on.
    site.succeeded("sidecar-2");
    assert_ne!(site.web(), web);
    site.start(Way::Job, "job-3");
    site.succeeded("job-3");
    site.start(Way::Sidecar, "sidecar-3");
    site.succeeded("sidecar-3");
    assert!(began.elapsed() < Duration::from_mins(2));
    site.assert_whole(&Way::BOTH);
}
