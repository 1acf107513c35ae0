//! Files that would be restored beside every volume.

use std::fs;

use serde_json::{Value, json};

use super::scene::{Scene, claim};
use super::workloads::reference;

fn failed(scene: &Scene, name: &str, target: &Value) -> String {
    scene.start_restore(name, &json!({ "target": target }));
    let restore = scene.restored(name);
    assert_eq!(restore["status"]["phase"], "Failed", "{restore:#}");
    let error = &restore["status"]["stats"][0]["error"];
    error.as_str().expect("an error of the host").to_owned()
}

#[test]
fn nothing_is_restored_into_a_container_that_goes() {
    let Some(scene) = Scene::new("landing") else {
        return;
    };
    let files = scene.volume("files");
    fs::create_dir(files.join("sub")).unwrap();
    fs::write(files.join("sub/deep"), "deep").unwrap();
    fs::write(files.join("flat"), "flat").unwrap();
    scene.configure(&json!({}));
    scene.back_up("home-1");
    scene.stage.apply(&claim("copy"));
    let target = |path: &str, more: &Value| {
        let mut target = json!({
            "ref": reference("v1", "PersistentVolumeClaim", "copy"),
            "volumeMounts": [{ "name": "copy", "mountPath": path }],
        });
        for (field, value) in more.as_object().unwrap() {
            target[field] = value.clone();
        }
        target
    };
    let error = failed(&scene, "elsewhere", &target("/other", &json!({})));
    assert!(
        error.contains("holds /stash-data, which no volume is mounted for (there are /other)")
            && error.contains("spec.target.volumeMounts"),
        "{error}"
    );
    let error = failed(&scene, "below", &target("/stash-data/sub", &json!({})));
    assert!(error.contains("holds /stash-data/flat,"), "{error}");

    let only = json!({ "rules": [{ "include": ["/stash-data/sub"] }] });
    let below = json!({ "target": target("/stash-data/sub", &only) });
    scene.bring_back("included", &below);
    let copy = scene.volume("copy");
    assert_eq!(fs::read_to_string(copy.join("deep")).unwrap(), "deep");
    let within = json!({ "args": ["--target=/other/old"] });
    scene.bring_back("within", &json!({ "target": target("/other", &within) }));
    let flat = copy.join("old/stash-data/flat");
    assert_eq!(fs::read_to_string(flat).unwrap(), "flat");
}
