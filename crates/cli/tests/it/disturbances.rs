//! What goes wrong around sessions on a real cluster: sessions end by themselves and nothing is lost. These tests have
//! the cluster to themselves. Every test is skipped, with a line that says so, where there is no cluster.

use std::fs;

use serde_json::json;

use crate::controllers::stage::Stage;
use crate::sessions::scene::Scene;

#[test]
fn an_operator_that_is_killed_goes_on_where_it_was() {
    let Some(mut scene) = Stage::alone("killed", &[]).and_then(Scene::on) else {
        return;
    };
    fs::write(scene.volume("files").join("letter"), "dear reader").unwrap();
    scene.configure(&json!({}));
    scene.start("home-1", &json!({}));
    scene.stage.kill_operator();
    scene.stage.start_operator(&[]);
    let session = scene.end("home-1");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    assert_eq!(scene.snapshots().as_array().unwrap().len(), 1);
}
