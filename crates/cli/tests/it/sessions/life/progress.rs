//! How far a session is, while it runs.

use std::fs;

use super::*;

/// Enough for a while, for an agent that may use little of a core.
const FILES: u32 = 40;
const FILE_BYTES: usize = 2 << 20;

#[test]
fn a_session_shows_how_far_it_is() {
    let Some(scene) = Stage::new("progress", &[]).and_then(Scene::anywhere) else {
        return;
    };
    scene.files("files").edit(|folder| {
        let mut random = testkit::Random::new(5);
        for number in 0..FILES {
            let name = folder.join(format!("file-{number}"));
            fs::write(name, random.bytes(FILE_BYTES)).unwrap();
        }
    });
    scene.configure(&json!({ "runtimeSettings": { "container": {
        "securityContext": { "runAsUser": 0 },
        "resources": { "limits": { "cpu": "40m" } },
    } } }));
    scene.start("home-1", &json!({}));
    let mut shown: Vec<Value> = Vec::new();
    let session = wait_for("the end of the session", PATIENCE, || {
        let session = scene.session("home-1");
        let entry = session["status"]["targets"][0]["progress"][0].clone();
        if entry["percent"].is_number() && shown.last() != Some(&entry) {
            shown.push(entry);
        }
        let is_over = ["Succeeded", "Failed"].contains(&phase(&session));
        is_over.then_some(session)
    });
    println!("{shown:#?}");
    assert_eq!(phase(&session), "Succeeded", "{session:#}");
    let all = i64::try_from(FILE_BYTES).unwrap() * i64::from(FILES);
    let number = |entry: &Value, field: &str| entry[field].as_i64().unwrap();
    let middle: Vec<&Value> = shown
        .iter()
        .filter(|it| number(it, "percent") > 0 && number(it, "percent") < 100)
        .collect();
    assert!(!middle.is_empty(), "{shown:#?}");
    for entry in &middle {
        assert_eq!(entry["hostname"], "host-0");
        assert_eq!(entry["step"], "Backing up");
        assert_eq!(entry["path"], "/stash-data");
        assert_eq!(number(entry, "bytesTotal"), all);
        assert_eq!(number(entry, "filesTotal"), i64::from(FILES));
        let done = number(entry, "bytesDone");
        assert!(done > 0 && done < all, "{entry}");
        assert!(number(entry, "filesDone") <= i64::from(FILES));
        assert_eq!(number(entry, "percent"), done * 100 / all);
        let speed = number(entry, "bytesPerSecond");
        assert!(speed > 0, "{entry}");
        assert_eq!(number(entry, "secondsLeft"), (all - done) / speed);
    }
    let done = |entry: &&Value| number(entry, "bytesDone");
    assert!(middle.is_sorted_by_key(done), "{middle:#?}");

    let target = &session["status"]["targets"][0];
    assert_eq!(target["progress"], Value::Null);
    let snapshot = &target["stats"][0]["snapshots"][0];
    assert_eq!(snapshot["totalSize"], "80.000 MiB");
    assert_eq!(snapshot["fileStats"]["totalFiles"], FILES);
    assert_eq!(snapshot["fileStats"]["newFiles"], FILES);
    assert_ne!(snapshot["uploaded"], Value::Null);
    assert_ne!(snapshot["processingTime"], Value::Null);
    assert_ne!(session["status"]["sessionDuration"], Value::Null);
    let repository = scene.stage.get("repository/repo");
    assert_eq!(repository["status"]["snapshotCount"], 1);
    assert_eq!(repository["status"]["integrity"], true);
    scene.assert_free();
}
