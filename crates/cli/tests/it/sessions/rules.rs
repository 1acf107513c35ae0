//! Rules of a restore: which host gets what of whom, and which part of it.

use serde_json::{Value, json};

use super::proof::{Tree, into_templates};
use super::scene::Scene;
use super::workloads::{assert_all, empty_all, mounts, reference, stateful_set, write_all};

/// The id of the only snapshot of a host.
fn snapshot_of(snapshots: &Value, host: &str) -> String {
    let mut of_host = snapshots.as_array().unwrap().iter();
    let mut of_host = of_host.by_ref().filter(|it| it["hostname"] == host);
    let id = of_host.next().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(of_host.count(), 0, "{snapshots:#}");
    id
}

#[test]
fn rules_give_each_host_the_snapshot_and_the_part_that_they_name() {
    let Some(scene) = Scene::new("rules") else {
        return;
    };
    stateful_set(&scene, 2);
    let target = json!({
        "ref": reference("apps/v1", "StatefulSet", "web"), "volumeMounts": mounts(),
    });
    let with = |field: &str, value: Value| {
        let mut target = target.clone();
        target[field] = value;
        target
    };
    scene.configure(&json!({
        "task": { "name": "pvc-backup" }, "target": with("paths", json!(["/data"])),
    }));
    let old = write_all(&scene, &[20, 21]);
    scene.back_up("home-1");
    let snapshots = scene.snapshots();
    let [old_0, old_1] = ["host-0", "host-1"].map(|host| snapshot_of(&snapshots, host));
    let new = write_all(&scene, &[30, 31]);
    scene.back_up("home-2");

    let parts = [
        new[0].part(&["many", "modes"], true),
        new[1].part(&["names", "large"], false),
    ];
    let restores = [
        (
            "swapped",
            json!([
                { "targetHosts": ["host-0"], "sourceHost": "host-1", "paths": ["/data"] },
                { "targetHosts": ["host-1"], "sourceHost": "host-0", "paths": ["/data"] },
            ]),
            [&new[1], &new[0]],
        ),
        // The newest snapshot of all is another's for one of the hosts.
        (
            "newest",
            json!([{ "targetHosts": [], "snapshots": ["latest"] }]),
            [&new[0], &new[1]],
        ),
        (
            "older",
            json!([
                { "targetHosts": ["host-1"], "snapshots": [old_1] },
                { "targetHosts": [], "sourceHost": "host-1", "snapshots": ["latest"] },
            ]),
            [&new[1], &old[1]],
        ),
        // A host that no rule names gets its own.
        (
            "named",
            json!([{ "targetHosts": ["host-1"], "snapshots": [old_0[..8]] }]),
            [&new[0], &old[0]],
        ),
        (
            "parts",
            json!([
                { "targetHosts": ["host-0"], "paths": ["/data"], "include": ["/data/many", "modes"] },
                { "targetHosts": [], "paths": ["/data"], "exclude": ["/data/names", "large"] },
            ]),
            [&parts[0], &parts[1]],
        ),
    ];
    for (name, rules, _) in &restores {
        scene.start_restore(name, &into_templates(name, "/data", 2, rules));
    }
    for (name, _, expected) in &restores {
        let restore = scene.brought_back(name);
        assert_eq!(restore["status"]["totalHosts"], 2, "{restore:#}");
        for (number, tree) in expected.iter().enumerate() {
            tree.assert_in_claim(&scene, &format!("{name}-{number}"));
        }
    }

    // The same in the workload itself, by its init container.
    empty_all(&scene, 2);
    let rules = json!([
        { "targetHosts": ["host-1"], "snapshots": [old_0] },
        { "targetHosts": [], "sourceHost": "host-1", "paths": ["/data"] },
    ]);
    scene.bring_back("back", &json!({ "target": with("rules", rules) }));
    assert_all(&scene, [&new[1], &old[0]]);
}

#[test]
fn each_path_has_snapshots_of_its_own_and_rules_name_those_to_restore() {
    let Some(scene) = Scene::new("paths") else {
        return;
    };
    let tree = Tree::in_claim(&scene.files("files"), 40);
    let at = |name: &str| format!("/stash-data/{name}");
    let target = json!({
        "ref": reference("v1", "PersistentVolumeClaim", "files"),
        "paths": [at("many"), at("owners"), at("links")],
    });
    scene.configure(&json!({ "target": target }));
    let session = scene.back_up("home-1");
    let host = &session["status"]["targets"][0]["stats"][0];
    assert_eq!(host["snapshots"].as_array().unwrap().len(), 3, "{host:#}");
    scene.files("files").edit(|folder| tree.write(folder));
    scene.back_up("home-2");
    assert_eq!(scene.snapshots().as_array().unwrap().len(), 6);

    let (one, two) = (json!([at("owners")]), json!([at("many"), at("links")]));
    let restores = [
        ("all", json!([]), vec!["many", "owners", "links"]),
        ("one", json!([{ "paths": one }]), vec!["owners"]),
        ("two", json!([{ "paths": two }]), vec!["many", "links"]),
    ];
    for (name, rules, _) in &restores {
        let spec = into_templates(name, "/stash-data", 1, rules);
        scene.start_restore(name, &spec);
    }
    // Rules where they were of old.
    let mut of_old = into_templates("old", "/stash-data", 1, &json!([]));
    of_old["rules"] = json!([{ "paths": one }]);
    scene.start_restore("old", &of_old);
    let old = ("old", json!([]), vec!["owners"]);
    for (name, _, present) in restores.iter().chain([&old]) {
        scene.brought_back(name);
        let part = tree.part(present, true);
        part.assert_in_claim(&scene, &format!("{name}-0"));
    }
}
