//! RestoreSessions that lack something.

use super::*;

fn restore(scene: &Scene, name: &str, repository: &str, target: &Value) {
    scene.stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
        "metadata": { "name": name },
        "spec": { "repository": { "name": repository }, "target": target },
    }));
}

fn into(claim: &str) -> Value {
    json!({
        "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim },
        "volumeMounts": [{ "name": "data", "mountPath": "/stash-data" }],
    })
}

#[test]
fn a_restore_waits_for_what_is_missing_and_goes_on_when_it_comes() {
    let Some(scene) = Stage::new("restores", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let stage = &scene.stage;
    scene.write("letter", "dear reader");
    for name in ["one", "two", "three"] {
        stage.apply(&claim(name));
    }
    scene.configuration("home", "repo", &json!({}));
    scene.succeed("home", "home-1");
    let backend = stage.get("repository/repo")["spec"]["backend"].clone();
    let mut without_secret = backend.clone();
    without_secret["storageSecretName"] = json!("later");
    stage.apply(&repository("no-secret", &without_secret));

    restore(&scene, "no-repository", "later", &into("one"));
    restore(&scene, "no-secret", "no-secret", &into("two"));
    restore(&scene, "no-claim", "repo", &into("later"));
    let workload = json!({
        "ref": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "volumeMounts": [{ "name": "data", "mountPath": "/stash-data" }],
    });
    restore(&scene, "no-workload", "repo", &workload);
    let with = |rule: Value| {
        let mut target = into("three");
        target["rules"] = json!([rule]);
        target
    };
    restore(
        &scene,
        "no-snapshot",
        "repo",
        &with(json!({ "snapshots": ["0123abcd"] })),
    );
    restore(
        &scene,
        "no-host",
        "repo",
        &with(json!({ "sourceHost": "host-7", "paths": ["/stash-data"] })),
    );
    restore(
        &scene,
        "no-path",
        "repo",
        &with(json!({ "paths": ["/elsewhere"] })),
    );

    scene.says("restoresession/no-repository", "RepositoryFound", "spec.repository names the Repository NAMESPACE/later, which does not exist; create it, or correct the name or namespace");
    scene.says("restoresession/no-secret", "BackendSecretFound", "the Secret NAMESPACE/later, which spec.backend.storageSecretName of the Repository NAMESPACE/no-secret names, does not exist; create it with RESTIC_PASSWORD and the keys of the backend");
    scene.says("restoresession/no-claim", "RestoreTargetFound", "spec.target.ref names the PersistentVolumeClaim later, which does not exist in this namespace or is being deleted; create it, or correct the name");
    scene.says("restoresession/no-workload", "RestoreTargetFound", "spec.target.ref names the Deployment web, which does not exist in this namespace or is being deleted; create it, or correct the name");
    for name in ["no-repository", "no-secret", "no-claim", "no-workload"] {
        scene.phase(&format!("restoresession/{name}"), "Pending");
    }
    for (name, why) in [
        (
            "no-snapshot",
            "the host host-0 was not restored: cannot find what to restore; name other snapshots in spec.target.rules: no snapshot matches `0123abcd`",
        ),
        (
            "no-host",
            "the host host-0 was not restored: the repository has no snapshot of host host-7 and path /stash-data; name what it has in sourceHost and paths of spec.target.rules",
        ),
        (
            "no-path",
            "the host host-0 was not restored: the repository has no snapshot of host host-0 and path /elsewhere; name what it has in sourceHost and paths of spec.target.rules",
        ),
    ] {
        let object = format!("restoresession/{name}");
        scene.phase(&object, "Failed");
        scene.says(&object, "RestoreCompleted", "the restore of host-0 failed; delete the RestoreSession and create it anew to try again");
        scene.warns(&object, why);
    }

    stage.apply(&repository("later", &backend));
    stage.apply(&secret("later", &json!({ "RESTIC_PASSWORD": "x" })));
    stage.apply(&claim("later"));
    for name in ["no-repository", "no-secret", "no-claim"] {
        scene.phase(&format!("restoresession/{name}"), "Succeeded");
    }
    for claim in ["one", "two", "later"] {
        assert_eq!(scene.read(claim, "letter"), "dear reader");
    }
    stage.kubectl(&["delete", "restoresession", "no-workload"]);
}
