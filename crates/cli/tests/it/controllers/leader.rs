//! The Lease by which one of several operators leads.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::cluster::{wait_for, wait_until};

use super::stage::{PATIENCE, Stage};

const LEASE: &str = "lease/stash-operator";

fn holder(stage: &Stage) -> Option<String> {
    let arguments = ["get", LEASE, "--namespace=default", "--output=json"];
    let output = stage.cluster().try_kubectl(&arguments);
    let lease: serde_json::Value = serde_json::from_str(&output.stdout).ok()?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

#[test]
fn a_leader_stops_as_soon_as_somebody_else_leads_and_waits_for_its_turn() {
    let options = ["--identity", "one", "--webhook-port", "0"];
    let Some(mut stage) = Stage::alone("leader", &options) else {
        return;
    };
    wait_until("the operator leads", PATIENCE, || {
        holder(&stage).as_deref() == Some("one")
    });
    let other = json!({ "spec": { "holderIdentity": "other" } }).to_string();
    let patch = format!("--patch={other}");
    let arguments = [
        "patch",
        LEASE,
        "--namespace=default",
        "--type=merge",
        &patch,
    ];
    assert_eq!(stage.cluster().try_kubectl(&arguments).code, 0);
    let began = Instant::now();
    wait_for("the end of the old leader", PATIENCE, || {
        stage.has_operator_ended().then_some(())
    });
    // Within one renewal, not only when the Lease would have run out.
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(holder(&stage).as_deref(), Some("other"));

    stage.start_operator(&options);
    wait_until("its turn", PATIENCE, || {
        holder(&stage).as_deref() == Some("one")
    });
    assert!(began.elapsed() > Duration::from_secs(15));
    assert!(!stage.has_operator_ended());
}
