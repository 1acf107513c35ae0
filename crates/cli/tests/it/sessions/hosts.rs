//! Replicas that come and go while a session runs.

use serde_json::{Value, json};
use testkit::cluster::wait_until;

use super::scene::Scene;
use super::workloads::{assert_all, empty_all, mounts, reference, stateful_set, write_all};
use crate::cluster::agent_stage::zeros;
use crate::controllers::stage::PATIENCE;

/// More than anybody reads while a test runs.
const MANY_BYTES: u64 = 1 << 40;

fn fill(scene: &Scene, replicas: usize, bytes: u64) {
    for number in 0..replicas {
        zeros(&scene.volume(&format!("data-web-{number}")), bytes);
    }
}

fn scale(scene: &Scene, replicas: usize) {
    let replicas_option = format!("--replicas={replicas}");
    scene
        .stage
        .kubectl(&["scale", "statefulset", "web", &replicas_option]);
    wait_until("the Pods are there", PATIENCE, || {
        let set = scene.stage.get("statefulset/web");
        let status = &set["status"];
        status["observedGeneration"] == set["metadata"]["generation"]
            && status["replicas"] == json!(replicas)
            && status["readyReplicas"] == json!(replicas)
    });
}

fn start_long(scene: &Scene, replicas: usize, name: &str) {
    fill(scene, replicas, MANY_BYTES);
    scene.start(name, &json!({ "retryLeft": 0 }));
    wait_until("somebody reads", PATIENCE, || {
        let progress = &scene.session(name)["status"]["targets"][0]["progress"];
        let mut hosts = progress.as_array().into_iter().flatten();
        hosts.any(|entry| entry["bytesDone"].as_i64().unwrap_or(0) > 0)
    });
}

fn end(scene: &Scene, replicas: usize, name: &str) -> Value {
    fill(scene, replicas, 1 << 20);
    scene.end(name)
}

fn hosts(session: &Value, field: &str) -> Vec<String> {
    let target = &session["status"]["targets"][0];
    let list = target[field].as_array().unwrap().iter();
    let name = |it: &Value| it.as_str().or(it["hostname"].as_str()).unwrap().to_owned();
    let mut names: Vec<String> = list.map(name).collect();
    names.sort();
    names
}

fn of_host<'a>(session: &'a Value, host: &str) -> &'a Value {
    let stats = session["status"]["targets"][0]["stats"].as_array().unwrap();
    stats.iter().find(|it| it["hostname"] == host).unwrap()
}

#[test]
fn a_session_waits_for_the_replicas_it_began_with_and_for_no_others() {
    let Some(scene) = Scene::new("scaled") else {
        return;
    };
    stateful_set(&scene, 2);
    scene.configure(&json!({ "target": {
        "ref": reference("apps/v1", "StatefulSet", "web"), "volumeMounts": mounts(),
        "paths": ["/data"],
    } }));
    wait_until("both have the sidecar", PATIENCE, || {
        let status = &scene.stage.get("statefulset/web")["status"];
        status["updateRevision"] == status["currentRevision"] && status["readyReplicas"] == 2
    });
    let both = ["host-0", "host-1"];
    start_long(&scene, 2, "more");
    scale(&scene, 3);
    let session = end(&scene, 2, "more");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    assert_eq!(hosts(&session, "hosts"), both);
    assert_eq!(hosts(&session, "stats"), both);

    // The third takes part from now on; without it a session does not count as whole.
    start_long(&scene, 3, "fewer");
    assert_eq!(
        hosts(&scene.session("fewer"), "hosts"),
        ["host-0", "host-1", "host-2"]
    );
    scale(&scene, 2);
    let session = end(&scene, 2, "fewer");
    assert_eq!(session["status"]["phase"], "Failed", "{session:#}");
    let lost = of_host(&session, "host-2")["error"].to_string();
    assert!(lost.contains("scaled down"), "{session:#}");

    empty_all(&scene, 2);
    let trees = write_all(&scene, &[1, 2]);
    assert_eq!(hosts(&scene.back_up("next"), "stats"), both);
    empty_all(&scene, 2);
    scene.bring_back(
        "back",
        &json!({ "target": {
            "ref": reference("apps/v1", "StatefulSet", "web"), "volumeMounts": mounts(),
            "rules": [{ "paths": ["/data"] }],
        } }),
    );
    assert_all(&scene, &trees);
    let restore = scene.stage.get("restoresession/back");
    assert_eq!(restore["status"]["hosts"], json!(both));
}

#[test]
fn what_other_jobs_back_up_is_kept_when_one_is_deleted() {
    let Some(scene) = Scene::new("lost-job") else {
        return;
    };
    stateful_set(&scene, 2);
    scene.configure(&json!({ "task": { "name": "pvc-backup" }, "target": {
        "ref": reference("apps/v1", "StatefulSet", "web"), "volumeMounts": mounts(),
        "paths": ["/data"],
    } }));
    start_long(&scene, 2, "home-1");
    let at_work = |session: &Value| {
        let progress = &session["status"]["targets"][0]["progress"];
        let mut entries = progress.as_array().into_iter().flatten();
        let works = |it: &&Value| it["bytesDone"].as_i64().unwrap_or(0) > 0;
        entries.find(works).map(|it| it["hostname"].clone())
    };
    let working = at_work(&scene.session("home-1")).unwrap();
    let idle = usize::from(working == "host-0");
    let job = format!("stash-backup-home-1-{idle}");
    scene.stage.kubectl(&["delete", "job", &job]);
    let session = end(&scene, 2, "home-1");
    assert_eq!(session["status"]["phase"], "Failed", "{session:#}");
    let whole = of_host(&session, working.as_str().unwrap());
    assert_eq!(whole["phase"], "Succeeded", "{session:#}");
    let lost = of_host(&session, &format!("host-{idle}"))["error"].to_string();
    assert!(lost.contains(&format!("{job} was deleted")), "{session:#}");
    assert_eq!(scene.snapshots()[0]["hostname"], working);

    let session = scene.back_up("home-2");
    assert_eq!(hosts(&session, "stats"), ["host-0", "host-1"]);
}
