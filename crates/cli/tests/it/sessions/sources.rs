//! Two claims in one Repository are both `host-0`: each gets its own files back, and a third one those of nobody.

use std::fs;

use serde_json::{Value, json};
use testkit::cluster::wait_for;

use super::scene::{Scene, claim};
use crate::controllers::stage::{PATIENCE, Stage};

fn reference(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name })
}

fn write(scene: &Scene, claim: &str, text: &str) {
    let files = scene.files(claim);
    files.edit(|folder| fs::write(folder.join("letter"), text).unwrap());
}

#[test]
fn each_of_two_claims_gets_its_own_files_back_and_a_third_those_of_nobody() {
    let Some(scene) = Stage::new("sources", &[]).and_then(Scene::anywhere) else {
        return;
    };
    for name in ["more", "new"] {
        scene.stage.apply(&claim(name));
    }
    write(&scene, "files", "of files");
    write(&scene, "more", "of more");
    scene.configure(&json!({}));
    let of_more = json!({ "target": { "ref": reference("more") } });
    scene.configure_as("other", &of_more);
    scene.back_up("home-1");
    let other = json!({ "invoker": { "kind": "BackupConfiguration", "name": "other" } });
    scene.start("other-1", &other);
    let newest = scene.end("other-1");
    assert_eq!(newest["status"]["phase"], "Succeeded", "{newest:#}");

    // The newest snapshot of the host is the other's, under the same path.
    let latest = json!([{ "snapshots": ["latest"] }]);
    let rules = [json!([]), latest, json!([{ "paths": ["/stash-data"] }])];
    for (number, rules) in rules.iter().enumerate() {
        write(&scene, "files", "lost");
        let target = json!({ "ref": reference("files"), "rules": rules });
        scene.bring_back(&format!("back-{number}"), &json!({ "target": target }));
        assert_eq!(scene.read("files", "letter"), "of files", "{rules}");
    }

    let target = json!({ "ref": reference("new") });
    scene.start_restore("guess", &json!({ "target": target }));
    let failed = wait_for("the end of the restore", PATIENCE, || {
        let restore = scene.stage.get("restoresession/guess");
        (restore["status"]["phase"] == "Failed").then_some(restore)
    });
    let said = failed["status"]["stats"][0]["error"].as_str().unwrap();
    for name in ["/files", "/more", "snapshots of spec.target.rules"] {
        assert!(said.contains(name), "{said}");
    }
    let stats = &newest["status"]["targets"][0]["stats"][0];
    let id = &stats["snapshots"][0]["name"];
    let target = json!({ "ref": reference("new"), "rules": [{ "snapshots": [id] }] });
    scene.bring_back("named", &json!({ "target": target }));
    assert_eq!(scene.read("new", "letter"), "of more");
}
