//! Repositories, Secrets and schedules that cannot be used.

use super::*;

/// A repository in a folder of the claim `store`.
fn local(secret: &str, folder: &str) -> Value {
    json!({
        "storageSecretName": secret,
        "local": { "mountPath": "/safe", "subPath": folder, "persistentVolumeClaim": { "claimName": "store" } },
    })
}

#[test]
fn what_is_missing_is_said_with_its_field_and_heals_when_it_comes() {
    let Some(scene) = Stage::new("missing", &[]).and_then(Scene::anywhere) else {
        return;
    };
    let stage = &scene.stage;
    scene.write("letter", "dear reader");
    stage.apply(&repository("no-secret", &local("later", "no-secret")));
    let reference =
        json!({ "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "later" } });
    scene.configuration("no-repository", "later", &json!({}));
    scene.configuration("no-secret", "no-secret", &json!({}));
    scene.configuration("no-target", "repo", &json!({ "target": reference }));
    scene.configuration("never", "repo", &json!({ "schedule": "0 0 30 2 *" }));
    for name in ["no-repository", "no-secret", "no-target"] {
        scene.start_of(name, &format!("{name}-1"));
    }

    let no_repository = "spec.repository names the Repository NAMESPACE/later, which does not exist; create it, or correct the name or namespace";
    let no_secret = "the Secret NAMESPACE/later, which spec.backend.storageSecretName of the Repository NAMESPACE/no-secret names, does not exist; create it with RESTIC_PASSWORD and the keys of the backend";
    let no_target = "spec.target.ref names the PersistentVolumeClaim later, which does not exist in this namespace or is being deleted; create it, or correct the name";
    let never = "spec.schedule: not a schedule: the schedule never runs: no date matches (got `0 0 30 2 *`); write five fields such as `0 2 * * *`, a name such as `@daily`, or `@every 1h30m`";
    scene.says("bc/no-repository", "RepositoryFound", no_repository);
    scene.says("bc/no-secret", "BackendSecretFound", no_secret);
    scene.says("bc/no-target", "BackupTargetFound", no_target);
    scene.says("bc/never", "ValidationPassed", never);
    scene.says(
        "bc/never",
        "CronJobCreated",
        "no session is started while the object breaks a rule; see ValidationPassed",
    );
    scene.phase("bc/never", "Invalid");
    let before: Vec<Value> = versions(&scene);
    scene.ends("no-target-1", "Failed", "spec.target.ref of the BackupConfiguration no-target names the PersistentVolumeClaim later, which does not exist in this namespace or is being deleted; create it, or correct the name");
    scene.ends(
        "no-repository-1",
        "Skipped",
        &format!("the BackupConfiguration no-repository is not ready: {no_repository}"),
    );
    scene.ends(
        "no-secret-1",
        "Skipped",
        &format!("the BackupConfiguration no-secret is not ready: {no_secret}"),
    );
    // They are looked at again and again meanwhile; an event or a status is not written twice.
    assert_eq!(versions(&scene), before, "nothing is written again");
    let warnings = ["no-repository", "no-secret", "no-target"]
        .map(|name| scene.warnings(&format!("bc/{name}")).len());
    assert_eq!(warnings, [2, 2, 2]);

    stage.apply(&repository("later", &local("keys", "later")));
    stage.apply(&secret("later", &json!({ "RESTIC_PASSWORD": "y" })));
    stage.apply(&claim("later"));
    stage.merge("bc/never", r#"{"spec":{"schedule":"0 0 29 2 *"}}"#);
    scene.phase("bc/no-repository", "Ready");
    scene.phase("bc/no-secret", "Ready");
    scene.phase("bc/never", "Ready");
    scene.heals("bc/no-target", "BackupTargetFound");
    scene.heals("bc/never", "CronJobCreated");
    for name in ["no-repository", "no-secret", "no-target", "never"] {
        scene.start_of(name, &format!("{name}-2"));
    }
    for name in ["no-repository", "no-secret", "no-target", "never"] {
        let session = scene.end(&format!("{name}-2"));
        assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    }
}

fn versions(scene: &Scene) -> Vec<Value> {
    ["no-repository", "no-secret", "no-target", "never"]
        .map(|name| scene.stage.get(&format!("bc/{name}"))["metadata"]["resourceVersion"].clone())
        .to_vec()
}

#[test]
fn a_backend_that_refuses_is_said_once_and_works_with_the_right_secret() {
    let Some(stage) = Stage::new("refused", &[]) else {
        return;
    };
    let Some(minio) = stage.cluster().minio().map(str::to_owned) else {
        return;
    };
    let Some(scene) = Scene::anywhere(stage) else {
        return;
    };
    let stage = &scene.stage;
    scene.write("letter", "dear reader");
    serve_minio(&scene, &minio);
    let endpoint = format!("http://minio.{}.svc:9000", stage.name());
    let s3 = |secret: &str, bucket: &str| json!({ "storageSecretName": secret, "s3": { "endpoint": endpoint, "bucket": bucket, "prefix": secret } });
    let password = json!({ "RESTIC_PASSWORD": "x" });
    let keys = |id: &str, key: &str| json!({ "RESTIC_PASSWORD": "x", "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": key });
    stage.apply(&secret("empty", &json!({ "OTHER": "value" })));
    stage.apply(&secret("half", &password));
    stage.apply(&secret("stranger", &keys("stranger", "their-secret-key")));
    stage.apply(&secret("forger", &keys("somebody", "wrong-secret-key")));
    stage.apply(&secret(
        "other",
        &json!({ "RESTIC_PASSWORD": "another-password" }),
    ));
    stage.apply(&repository("empty", &local("empty", "empty")));
    for name in ["half", "stranger", "forger"] {
        stage.apply(&repository(name, &s3(name, "box")));
    }
    scene.configuration("home", "repo", &json!({}));
    let failing = ["empty", "half", "stranger", "forger"];
    for name in failing {
        scene.configuration(name, name, &json!({}));
    }
    scene.succeed("home", "home-1");
    stage.merge(
        "repository/repo",
        r#"{"spec":{"backend":{"storageSecretName":"other"}}}"#,
    );
    for name in failing {
        scene.start_of(name, &format!("{name}-1"));
    }
    scene.start_of("home", "home-2");
    scene.ends("home-2", "Failed", "cannot use the repository; put its password into RESTIC_PASSWORD of the Secret NAMESPACE/other: wrong password, or no key found, for the repository at /safe");
    scene.ends("empty-1", "Failed", "the Repository NAMESPACE/empty and its Secret empty cannot be used: data.RESTIC_PASSWORD: the repository password is missing; add `RESTIC_PASSWORD` to `stringData` and keep a copy: without it nothing can be restored");
    scene.ends("half-1", "Failed", &refused("half", "the role of the virtual machine, asked at http://169.254.169.254, cannot be used: no credentials are configured and no metadata service answers; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
    scene.ends(
        "stranger-1",
        "Failed",
        &refused(
            "stranger",
            "the server answered 403 Forbidden (InvalidAccessKeyId)",
        ),
    );
    scene.ends(
        "forger-1",
        "Failed",
        &refused(
            "forger",
            "the server answered 403 Forbidden (SignatureDoesNotMatch)",
        ),
    );
    let everything = stage.kubectl(&[
        "get",
        "bc,backupsessions,repositories,events,jobs,pods",
        "--output",
        "yaml",
    ]);
    for word in ["another-password", "their-secret-key", "wrong-secret-key"] {
        assert!(!everything.contains(word), "{word}");
    }
    // Nobody tries again before the next session.
    let sessions = stage.kubectl(&["get", "backupsessions", "--output", "name"]);
    assert_eq!(sessions.lines().count(), failing.len() + 2, "{sessions}");
    let pods = stage.kubectl(&["get", "pods", "--output", "name"]);
    let agents = pods.lines().filter(|it| it.contains("stash-backup"));
    assert_eq!(agents.count(), failing.len() + 2, "{pods}");

    stage.apply(&secret("empty", &password));
    for name in ["half", "stranger", "forger"] {
        stage.apply(&secret(name, &keys("somebody", "something")));
    }
    stage.merge("secret/other", r#"{"stringData":{"RESTIC_PASSWORD":"x"}}"#);
    for name in failing {
        scene.start_of(name, &format!("{name}-2"));
    }
    scene.start_of("home", "home-3");
    for name in ["home-3", "empty-2", "half-2", "stranger-2", "forger-2"] {
        let session = scene.end(name);
        assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    }
}

/// What is said of a Secret whose keys the store refuses.
fn refused(secret: &str, why: &str) -> String {
    format!(
        "cannot find out whether the repository exists; put keys that the backend accepts into the Secret NAMESPACE/{secret}: cannot stat config in s3:http://minio.NAMESPACE.svc:9000/box/{secret}: the credentials are refused: {why}"
    )
}

/// MinIO with the bucket `box`, without TLS.
fn serve_minio(scene: &Scene, image: &str) {
    let stage = &scene.stage;
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "minio" },
        "spec": { "selector": { "app": "minio" }, "ports": [{ "port": 9000 }] },
    }));
    stage.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "minio" },
        "spec": {
            "selector": { "matchLabels": { "app": "minio" } },
            "template": {
                "metadata": { "labels": { "app": "minio" } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "initContainers": [{
                        "name": "bucket", "image": stage.cluster().busybox(),
                        "command": ["mkdir", "/data/box"],
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                    "containers": [{
                        "name": "minio", "image": image, "args": ["server", "/data"],
                        "env": [
                            { "name": "MINIO_ROOT_USER", "value": "somebody" },
                            { "name": "MINIO_ROOT_PASSWORD", "value": "something" },
                        ],
                        "readinessProbe": { "httpGet": { "path": "/minio/health/ready", "port": 9000 }, "periodSeconds": 1 },
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                    "volumes": [{ "name": "data", "emptyDir": {} }],
                },
            },
        },
    }));
    stage
        .namespace()
        .wait_for_rollout("deployments.apps/minio", PATIENCE);
}
