//! Repository strings of all services, what is told while a storage fails, what it cost, and the cache.

use std::time::{Duration, Instant};

use crate::scene::Scene;

/// Nobody listens there: no port so low is ever given to a program that takes any.
const NOWHERE: &str = "rest:http://127.0.0.1:1/repository/";

#[test]
fn what_is_no_repository_is_refused_with_a_remedy() {
    let scene = Scene::empty();
    for (repository, remedy) in [
        ("sftp:user@host:/path", "sshfs"),
        ("rclone:remote:path", "rclone serve restic"),
        ("s4:host/bucket", "`local:`"),
        ("b2:bucket:path", "B2_ACCOUNT_ID"),
    ] {
        let output = scene.stash(["-r", repository, "snapshots"]);
        output.assert_code(1).assert_no_panic();
        let text = output.stderr_text();
        assert!(text.contains(remedy), "{text}");
    }
}

#[test]
fn a_storage_that_does_not_answer_is_told_while_it_is_waited_for_and_when_it_is_given_up() {
    let scene = Scene::empty();
    let start = Instant::now();
    let waiting = scene.stash(["-r", NOWHERE, "--retry-storage", "1s", "snapshots"]);
    waiting.assert_code(1).assert_no_panic();
    let text = waiting.stderr_text();
    assert!(text.contains("trying again in"), "{text}");
    assert!(text.contains("given up after"), "{text}");
    assert!(text.contains("firewall"), "{text}");
    let at_once = scene.stash(["-r", NOWHERE, "--retry-storage", "0s", "snapshots"]);
    at_once.assert_code(1);
    let text = at_once.stderr_text();
    assert!(!text.contains("trying again in"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn an_option_that_does_not_exist_is_named_before_and_after_the_verb() {
    let scene = Scene::empty();
    for arguments in [
        ["-o", "local.conections=3", "snapshots"],
        ["snapshots", "--option", "local.conections=3"],
    ] {
        let output = scene.stash(arguments);
        output.assert_code(1);
        let text = output.stderr_text();
        assert!(text.contains("local.conections"), "{text}");
    }
}

#[test]
fn who_asks_for_more_learns_what_the_storage_cost_beside_the_data() {
    let scene = Scene::with_snapshot();
    let output = scene.stash(["snapshots", "--json", "-v"]);
    output.assert_code(0);
    assert!(output.json().is_array());
    let usage = output.stderr_text();
    let usage: serde_json::Value = serde_json::from_str(usage.trim()).unwrap();
    assert_eq!(usage["message_type"], "storage_usage");
    assert!(usage["operations"]["read"]["received_bytes"].as_u64() > Some(0));
    let quiet = scene.stash(["snapshots"]);
    assert!(!quiet.stderr_text().contains("Storage requests"));
    let text = scene.stash(["snapshots", "-v"]).stderr_text();
    assert!(text.contains("Storage requests"), "{text}");
}

#[test]
fn a_cache_is_kept_where_it_is_named_and_not_otherwise() {
    let scene = Scene::with_snapshot();
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let named = cache.to_str().unwrap();
    scene
        .stash(["--no-cache", "--cache-dir", named, "ls", "latest"])
        .assert_code(0);
    assert!(!cache.exists());
    scene
        .stash(["--cache-dir", named, "ls", "latest"])
        .assert_code(0);
    assert!(cache.join("CACHEDIR.TAG").exists());
    // A file where the cache should be costs a warning, not the run.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = scene.stash(["--cache-dir", file.to_str().unwrap(), "ls", "latest"]);
    output.assert_code(0);
    let text = output.stderr_text();
    assert!(
        text.contains("Warning:") && text.contains("cache"),
        "{text}"
    );
}
