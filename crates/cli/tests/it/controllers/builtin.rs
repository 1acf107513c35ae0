//! The Functions and Tasks that come with the operator: they come back as they were, and those of others stay.

use serde_json::{Value, json};
use testkit::cluster::wait_for;

use super::stage::{PATIENCE, Stage};

const OBJECTS: [&str; 5] = [
    "function/pvc-backup",
    "function/pvc-restore",
    "function/update-status",
    "task/pvc-backup",
    "task/pvc-restore",
];

#[test]
fn a_built_in_task_or_function_comes_back_when_it_is_deleted_or_changed() {
    let Some(stage) = Stage::new("builtin", &[]) else {
        return;
    };
    let mine = stage.name();
    let own = |kind: &str, spec: Value| {
        stage.apply(&json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": kind,
            "metadata": { "name": mine }, "spec": spec,
        }));
    };
    own("Function", json!({ "image": "example/own:1" }));
    own("Task", json!({ "steps": [{ "name": mine }] }));
    let before = OBJECTS.map(|it| wait_for(it, PATIENCE, || stage.find(it)));
    for (name, before) in OBJECTS.iter().zip(&before) {
        stage.kubectl(&["delete", name, "--wait=false"]);
        let after = wait_for(&format!("another {name}"), PATIENCE, || {
            let found = stage.find(name)?;
            (found["metadata"]["uid"] != before["metadata"]["uid"]).then_some(found)
        });
        assert_eq!(after["spec"], before["spec"]);
        let change = if name.starts_with("task/") {
            r#"{"spec":{"steps":[{"name":"evil"}]}}"#
        } else {
            r#"{"spec":{"image":"example/evil:1","args":["evil"]}}"#
        };
        stage.merge(name, change);
        let restored = wait_for(&format!("the old {name}"), PATIENCE, || {
            Some(stage.get(name)).filter(|it| it["spec"] == before["spec"])
        });
        assert_eq!(restored["metadata"]["uid"], after["metadata"]["uid"]);
    }
    // It has looked at them, too, and left them alone.
    let own = [format!("function/{mine}"), format!("task/{mine}")];
    assert_eq!(stage.get(&own[0])["spec"]["image"], "example/own:1");
    assert_eq!(stage.get(&own[1])["spec"]["steps"][0]["name"], mine);
    for name in &own {
        assert_eq!(stage.get(name)["metadata"]["generation"], 1);
        stage.kubectl(&["delete", name]);
    }
}
