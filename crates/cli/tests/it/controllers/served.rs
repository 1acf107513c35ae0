//! What an operator serves over plain HTTP: whether it lives, whether it is ready, and what it has counted.

use serde_json::json;
use testkit::cluster::{Output, wait_until};

use super::stage::{PATIENCE, Stage};

/// The names that docs/kubernetes.md lists, as OpenMetrics writes samples.
const METRICS: [&str; 6] = [
    "stash_operator_leading 1",
    r#"stash_operator_reconciles_total{controller="backupconfiguration",result="success"} "#,
    r"stash_operator_reconcile_duration_seconds_bucket{le=",
    r#"stash_operator_reconcile_duration_seconds_count{controller="backupconfiguration"} "#,
    "stash_operator_sessions_created_total 0",
    "stash_operator_tick_delay_seconds 0",
];

#[test]
fn an_operator_serves_its_health_and_what_it_counts() {
    let port = (10_000 + std::process::id() % 10_000).to_string();
    let options = ["--webhook-port", "0", "--metrics-port", port.as_str()];
    let Some(mut stage) = Stage::alone("served", &options) else {
        return;
    };
    let fetch = |stage: &Stage, path: &str| -> Output {
        let server = format!("--server=http://127.0.0.1:{port}");
        stage
            .cluster()
            .try_kubectl(&["get", "--raw", path, &server])
    };
    wait_until("the operator is ready", PATIENCE, || {
        fetch(&stage, "/readyz").stdout == "ready\n"
    });
    assert_eq!(fetch(&stage, "/healthz").stdout, "ok\n");
    stage.configuration("home", "apps/v1", "Deployment", &json!({}));
    stage.wait_for("home", "RepositoryFound", "False");
    wait_until("the pass is counted", PATIENCE, || {
        fetch(&stage, "/metrics").stdout.contains(METRICS[1])
    });
    let text = fetch(&stage, "/metrics").stdout;
    for name in METRICS {
        assert!(text.contains(name), "no {name} in\n{text}");
    }
    let ours = |line: &&str| !line.starts_with('#') && !line.starts_with("stash_operator_");
    assert_eq!(text.lines().find(ours), None, "a name that is not ours");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_ne!(fetch(&stage, "/debug/pprof").code, 0);
    stage.stop_operator();
    assert_ne!(fetch(&stage, "/healthz").code, 0);
}
