//! What a session does with the repository when its data is stored: retention, check, and the Repository's status.

use serde_json::json;
use testkit::servers::offered;

use super::*;
use crate::controllers::stage::condition;

fn set_policy(machine: &Machine, policy: &str) {
    let file = machine.path("manifests/all.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("retentionPolicy: {").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    let changed = format!("{before}retentionPolicy: {{name: keep, {policy}}}{after}");
    std::fs::write(&file, changed).unwrap();
}

fn packs(machine: &Machine) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(machine.path("repository/data")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

fn bytes(file: &PathBuf) -> u64 {
    std::fs::metadata(file).unwrap().len()
}

fn newest(machine: &Machine) -> serde_json::Value {
    let sessions = machine.sessions();
    let created = |it: &&serde_json::Value| it["metadata"]["creationTimestamp"].to_string();
    sessions.iter().max_by_key(created).unwrap().clone()
}

fn repository(machine: &Machine) -> serde_json::Value {
    machine.json(&["get", "repository", "local", "-o", "json"])["status"].clone()
}

#[test]
fn a_dry_run_keeps_every_snapshot_and_without_prune_every_pack_stays() {
    let machine = Machine::new();
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let stored = restic.repository(machine.path("repository"), PASSWORD);
    let count = || {
        let listed = stored.run(["snapshots", "--json"]).assert_success().json();
        listed.as_array().unwrap().len()
    };
    let back_up = |round: u64| {
        let file = machine.path("source/changing");
        std::fs::write(file, Random::new(round).bytes(1 << 20)).unwrap();
        machine.once();
    };
    set_policy(&machine, "keepLast: 1, prune: true, dryRun: true");
    (1..=3).for_each(back_up);
    assert_eq!(count(), 3);
    let applied = condition(&newest(&machine), "RetentionPolicyApplied");
    assert_eq!(applied["status"], "True");
    let message = applied["message"].as_str().unwrap();
    assert!(message.contains("would keep 1 and remove 2"), "{message}");
    assert_eq!(repository(&machine)["snapshotsRemovedOnLastCleanup"], 0);

    set_policy(&machine, "keepLast: 1, prune: false");
    let before = packs(&machine);
    back_up(4);
    assert_eq!(count(), 1);
    assert_eq!(repository(&machine)["snapshotsRemovedOnLastCleanup"], 3);
    let after = packs(&machine);
    assert!(before.iter().all(|pack| after.contains(pack)));

    set_policy(&machine, "keepLast: 1, prune: true");
    back_up(5);
    let left = packs(&machine);
    assert!(before.iter().any(|pack| !left.contains(pack)));
    stored.assert_check_is_clean();

    let status = repository(&machine);
    let last = newest(&machine)["metadata"]["creationTimestamp"].clone();
    assert_eq!(status["lastBackupTime"], last);
    assert!(status["firstBackupTime"].as_str() < last.as_str());
}

#[test]
fn a_session_that_finds_the_repository_damaged_fails_and_says_what_is_missing() {
    let machine = Machine::new();
    machine.once();
    assert_eq!(repository(&machine)["integrity"], true);
    let largest = packs(&machine).into_iter().max_by_key(bytes).unwrap();
    std::fs::remove_file(&largest).unwrap();
    let output = machine.run(&["run", "--once", "manifests"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let session = newest(&machine);
    assert_eq!(phase(&session), "Failed", "{session:#}");
    let verified = condition(&session, "RepositoryIntegrityVerified");
    assert_eq!(verified["status"], "False");
    let message = verified["message"].as_str().unwrap();
    let pack = largest.file_name().unwrap().to_str().unwrap();
    assert!(message.contains(&pack[..8]), "{message}");
    assert_eq!(repository(&machine)["integrity"], false);
    let name = session["metadata"]["name"].as_str().unwrap();
    let told = machine.ok(&["describe", "backupsession", name]);
    assert!(told.contains("RepositoryDamaged"), "{told}");
}

#[test]
fn a_store_that_removes_nothing_fails_the_retention_and_keeps_the_data() {
    let Some(server) = offered("rest-server-append-only") else {
        return;
    };
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let machine = Machine::new();
    let place = format!("closing-{:012x}", rand::random::<u64>() >> 16);
    let (user, password) = (server.value("username"), server.value("password"));
    let file = machine.path("manifests/all.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let keys = json!({
        "RESTIC_PASSWORD": PASSWORD, "CA_CERT_DATA": server.ca_pem(),
        "REST_SERVER_USERNAME": user, "REST_SERVER_PASSWORD": password,
    });
    let text = text.lines().map(|line| {
        if line.starts_with("stringData") {
            format!("stringData: {keys}")
        } else if line.starts_with("    local:") {
            format!("    rest: {{url: '{}/{place}'}}", server.https())
        } else {
            line.to_owned()
        }
    });
    std::fs::write(&file, text.collect::<Vec<_>>().join("\n")).unwrap();
    set_policy(&machine, "keepLast: 1, prune: true");
    machine.once();
    std::fs::write(machine.path("source/later"), "later").unwrap();
    let output = machine.run(&["run", "--once", "manifests"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));

    let session = newest(&machine);
    assert_eq!(phase(&session), "Failed", "{session:#}");
    let applied = condition(&session, "RetentionPolicyApplied");
    assert_eq!(applied["status"], "False");
    assert_eq!(applied["reason"], "FailedToApplyRetentionPolicy");
    let message = applied["message"].as_str().unwrap();
    assert!(
        message.contains("append-only") || message.contains("403"),
        "{message}"
    );
    let name = session["metadata"]["name"].as_str().unwrap();
    let told = machine.ok(&["describe", "backupsession", name]);
    assert!(told.contains("RetentionFailed"), "{told}");
    let address = format!("rest:{}/{place}", server.https());
    let ca = server.ca().to_str().unwrap();
    let stored = restic.repository(&address, PASSWORD).with_variables([
        ("RESTIC_REST_USERNAME", user),
        ("RESTIC_REST_PASSWORD", password),
        ("RESTIC_CACERT", ca),
    ]);
    let listed = stored.run(["snapshots", "--no-lock", "--json"]);
    let listed = listed.assert_success().json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed:#}");
}
