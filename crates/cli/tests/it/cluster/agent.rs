//! Agents against a real API server: what they do about sessions, and when they are disturbed.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Restic;
use testkit::cluster::wait_for;

use super::agent_stage::{PASSWORD, Stage, zeros};

const MANY_BYTES: u64 = 100 << 30;
const FEW_BYTES: u64 = 1 << 20;

#[test]
fn the_pods_of_a_stateful_set_take_turns_and_one_of_them_concludes() {
    let Some(stage) = Stage::new("agent-turns") else {
        return;
    };
    fs::write(stage.source().join("file"), "text").unwrap();
    stage.configure("db", "StatefulSet", 5);
    let sidecars: Vec<_> = (0..3)
        .map(|number| {
            let pod = format!("db-{number}");
            let uid = stage.pod(&pod);
            stage.sidecar(&pod, &uid, "db")
        })
        .collect();
    stage.session("db-1", "db", 3);
    let target = stage.concluded("db-1");
    let hosts: Vec<_> = target["stats"].as_array().unwrap().iter().collect();
    let mut names: Vec<_> = hosts
        .iter()
        .map(|host| host["hostname"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["host-0", "host-1", "host-2"]);
    assert!(hosts.iter().all(|host| host["phase"] == "Succeeded"));
    assert_eq!(target["phase"], "Succeeded");
    let status = stage.namespace.get("repository/repository").unwrap()["status"].clone();
    assert_eq!(status["snapshotCount"], 3);
    assert_eq!(status["integrity"], true);
    for sidecar in sidecars {
        assert_eq!(sidecar.stop(), Some(0));
    }
    assert_eq!(stage.locks(), 0);
    if let Some(restic) = Restic::find_or_skip() {
        let repository = restic.repository(stage.repository(), PASSWORD);
        repository.assert_check_is_clean();
    }
}

#[test]
fn a_sidecar_that_was_killed_begins_its_host_anew_and_the_session_succeeds() {
    let Some(stage) = Stage::new("agent-killed") else {
        return;
    };
    zeros(&stage.source(), MANY_BYTES);
    stage.configure("web", "Deployment", 5);
    let uid = stage.pod("web-1");
    let sidecar = stage.sidecar("web-1", &uid, "web");
    stage.session("web-1", "web", 1);
    let progress = stage.wait_for_progress("web-1");
    assert_eq!(progress["podUid"], uid.as_str());
    assert_eq!(progress["hostname"], "host-0");
    sidecar.kill();
    zeros(&stage.source(), FEW_BYTES);
    let again = stage.sidecar("web-1", &uid, "web");
    let target = stage.concluded("web-1");
    assert_eq!(target["stats"].as_array().unwrap().len(), 1);
    assert_eq!(target["phase"], "Succeeded");
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn a_lock_of_a_pod_that_is_gone_delays_nobody() {
    let Some(stage) = Stage::new("agent-lock") else {
        return;
    };
    zeros(&stage.source(), MANY_BYTES);
    stage.configure("web", "Deployment", 1);
    let uid = stage.pod("web-1");
    let sidecar = stage.sidecar("web-1", &uid, "web");
    stage.session("web-1", "web", 1);
    stage.wait_for_progress("web-1");
    sidecar.kill();
    stage.namespace.kubectl(&[
        "delete",
        "pod/web-1",
        "backupsession/web-1",
        "--grace-period=0",
        "--force",
    ]);
    assert_eq!(stage.locks(), 1, "the lock of the killed sidecar");
    zeros(&stage.source(), FEW_BYTES);
    let uid = stage.pod("web-2");
    let sidecar = stage.sidecar("web-2", &uid, "web");
    stage.session("web-2", "web", 1);
    stage.concluded("web-2");
    assert_eq!(stage.locks(), 1, "a shared lock is in nobody's way");
    // Retention has to remove a snapshot now, for which it needs the exclusive lock.
    let began = Instant::now();
    stage.session("web-3", "web", 1);
    let target = stage.concluded("web-3");
    assert_eq!(target["phase"], "Succeeded");
    assert!(began.elapsed() < Duration::from_mins(1));
    assert!(sidecar.log().contains("its holder is gone"));
    assert_eq!(sidecar.stop(), Some(0));
    assert_eq!(stage.locks(), 0);
}

#[test]
fn a_sidecar_that_is_asked_to_stop_leaves_its_host_to_the_next_pod() {
    let Some(stage) = Stage::new("agent-stop") else {
        return;
    };
    zeros(&stage.source(), MANY_BYTES);
    stage.configure("web", "Deployment", 5);
    let uid = stage.pod("web-1");
    let sidecar = stage.sidecar("web-1", &uid, "web");
    stage.session("web-1", "web", 1);
    stage.wait_for_progress("web-1");
    assert_eq!(sidecar.stop(), Some(0));
    assert_eq!(stage.locks(), 0);
    let lease = stage.namespace.get("lease/lock-deployment-web-backup");
    assert_eq!(lease.unwrap()["spec"]["holderIdentity"], "");
    let session = stage.namespace.get("backupsession/web-1").unwrap();
    assert!(session["status"]["targets"][0]["stats"].is_null());
    zeros(&stage.source(), FEW_BYTES);
    let uid = stage.pod("web-2");
    let next = stage.sidecar("web-2", &uid, "web");
    assert_eq!(stage.concluded("web-1")["phase"], "Succeeded");
    assert_eq!(next.stop(), Some(0));
}

#[test]
fn a_job_stops_at_the_deadline_of_its_session() {
    let Some(stage) = Stage::new("agent-deadline") else {
        return;
    };
    zeros(&stage.source(), MANY_BYTES);
    stage.configure("claim", "PersistentVolumeClaim", 5);
    let uid = stage.pod("job-1");
    let deadline = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(8);
    stage.session("late", "claim", 1);
    stage.set_status(
        "backupsession/late",
        &json!({"sessionDeadline": deadline.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}),
    );
    let arguments = [
        "backup",
        "--session",
        "late",
        "--target-index",
        "0",
        "--host",
        "host-0",
    ];
    let mut job = stage.start("job-1", &uid, &arguments);
    assert_eq!(job.wait(), Some(0), "a failure that was reported");
    assert!(jiff::Timestamp::now() >= deadline - jiff::SignedDuration::from_secs(1));
    let session = stage.namespace.get("backupsession/late").unwrap();
    let host = &session["status"]["targets"][0]["stats"][0];
    assert_eq!(host["phase"], "Failed");
    assert_eq!(stage.locks(), 0);
}

#[test]
fn an_init_container_blocks_until_the_data_is_there_or_the_session_is_gone() {
    let Some(stage) = Stage::new("agent-init") else {
        return;
    };
    fs::write(stage.source().join("file"), "text").unwrap();
    stage.configure("claim", "PersistentVolumeClaim", 5);
    let uid = stage.pod("job-1");
    stage.session("first", "claim", 1);
    let mut job = stage.start(
        "job-1",
        &uid,
        &["backup", "--session", "first", "--host", "host-0"],
    );
    assert_eq!(job.wait(), Some(0));
    let use_secret = |name: &str| {
        let patch = json!({"spec": {"backend": {"storageSecretName": name}}}).to_string();
        stage.namespace.kubectl(&[
            "patch",
            "repository/repository",
            "--type=merge",
            "--patch",
            &patch,
        ]);
    };
    stage.lease("lock-deployment-web-restore");
    let start = |name: &str, status: &Value, how: &[&str]| {
        let folder = stage.scratch.join("restored");
        let target = format!("--target={}", folder.display());
        stage.apply(&json!({"apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
            "metadata": {"name": name}, "spec": {"repository": {"name": "repository"}, "target": {
                "ref": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "args": [target],
                "volumeMounts": [{"name": "data", "mountPath": folder}]}}}));
        stage.set_status(&format!("restoresession/{name}"), status);
        let pod = format!("web-{name}");
        let uid = stage.pod(&pod);
        stage.start(
            &pod,
            &uid,
            &[&["restore", "--restore-session", name], how].concat(),
        )
    };
    let running = json!({"totalHosts": 1, "phase": "Running"});
    let restore = |name: &str| start(name, &running, &["--init"]);
    let phase_of = |name: &str| {
        let session = stage.namespace.get(&format!("restoresession/{name}"))?;
        let phase = session["status"]["stats"][0]["phase"].as_str()?;
        Some(phase.to_owned())
    };
    let failed = |name: &str| {
        wait_for("a failed attempt", Duration::from_mins(1), || {
            phase_of(name).filter(|phase| phase == "Failed")
        })
    };
    use_secret("useless");
    let mut healed = restore("healed");
    let mut given_up = restore("given-up");
    failed("healed");
    failed("given-up");
    assert!(healed.is_running() && given_up.is_running());
    stage
        .namespace
        .kubectl(&["delete", "restoresession/given-up"]);
    assert_eq!(given_up.wait(), Some(0));
    use_secret("secret");
    assert_eq!(healed.wait(), Some(0));
    assert_eq!(phase_of("healed").as_deref(), Some("Succeeded"));
    let source = stage.source();
    let file = source.strip_prefix("/").unwrap().join("file");
    let restored = stage.scratch.join("restored").join(file);
    assert_eq!(fs::read_to_string(&restored).unwrap(), "text");

    // A Job that begins when its host has been given up writes nothing.
    fs::write(&restored, "newer").unwrap();
    let lost = json!({"totalHosts": 1, "phase": "Failed", "stats": [
        {"hostname": "host-0", "phase": "Failed", "error": "its Job was deleted"},
    ]});
    let mut late = start("late", &lost, &["--host", "host-0"]);
    assert_eq!(late.wait(), Some(0));
    assert_eq!(fs::read_to_string(&restored).unwrap(), "newer");
}
