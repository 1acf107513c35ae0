//! Stores that do not allow everything. Sessions whose keys lack a permission fail at once with the reason, and an
//! existing repository is neither taken for absent nor changed; where objects are locked, removal hides them.

use std::fs;
use std::time::{Duration, Instant};

use testkit::Random;
use testkit::servers::{Server, offered};

use super::place::Scene;
use super::places::s3;

/// Writes further keys into the Secret.
fn add_keys(scene: &Scene, original: &str, keys: &[(&str, String)]) {
    let mut text = original.to_owned();
    for (name, value) in keys {
        text.push_str(&format!("  {name}: '{value}'\n"));
    }
    fs::write(scene.path("manifests/secret.yaml"), text).unwrap();
}

/// A role that may do this and nothing else, in every bucket.
fn role(server: &Server, actions: &[&str]) -> Vec<(&'static str, String)> {
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::*"]},
    ]});
    vec![
        (
            "RESTIC_AWS_ASSUME_ROLE_ARN",
            "arn:aws:iam::123456789012:role/backup".to_owned(),
        ),
        (
            "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT",
            server.https().to_owned(),
        ),
        ("RESTIC_AWS_ASSUME_ROLE_POLICY", policy.to_string()),
    ]
}

/// How many objects of each kind there are.
fn contents(scene: &Scene) -> Vec<usize> {
    ["keys", "snapshots", "index", "packs"]
        .map(|kind| scene.on_repository(["list", kind]).lines().count())
        .to_vec()
}

#[test]
fn a_session_without_a_permission_fails_at_once_and_initialises_nothing() {
    let Some(server) = offered("minio") else {
        return;
    };
    let scene = Scene::new(s3(&server));
    fs::write(scene.path("source/file"), "the source").unwrap();
    scene.stash(["run", "--once", "manifests"]);
    let before = contents(&scene);
    let secret = fs::read_to_string(scene.path("manifests/secret.yaml")).unwrap();
    let all = [
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
    ];
    let cases = [
        (0, "permission denied"),
        (1, "permission denied"),
        (2, "permission denied"),
    ];
    for (missing, words) in cases {
        let actions: Vec<&str> = all
            .into_iter()
            .filter(|action| *action != all[missing])
            .collect();
        add_keys(&scene, &secret, &role(&server, &actions));
        fails_at_once(&scene, words);
        let said = scene.stash_fails([
            "doctor",
            "manifests/repository.yaml",
            "manifests/secret.yaml",
        ]);
        assert!(said.contains(all[missing]), "{}: {said}", all[missing]);
        assert_eq!(contents(&scene), before, "{}", all[missing]);
    }
    let token = vec![("AWS_SESSION_TOKEN", "a-token-that-has-ended".to_owned())];
    add_keys(&scene, &secret, &token);
    let said = fails_at_once(&scene, "the credentials are refused");
    assert!(!said.contains("a-token-that-has-ended"), "{said}");
    assert_eq!(contents(&scene), before);
    // The same with what is allowed after all.
    add_keys(&scene, &secret, &role(&server, &all));
    scene.stash(["run", "--once", "manifests"]);
    assert_eq!(scene.snapshots(), 2);
    scene.assert_no_secret_was_shown();
}

#[test]
fn a_bucket_that_locks_objects_is_pruned_and_stays_whole() {
    for name in ["minio", "rgw"] {
        let Some(server) = offered(name) else {
            continue;
        };
        let scene = Scene::new(s3(&server));
        let stash = |arguments: &[&str]| {
            let locking = ["-o", "s3.retention-days=1"];
            scene.on_repository(locking.iter().chain(arguments))
        };
        let source = scene.path("source");
        stash(&["init"]);
        for number in 1..3 {
            fs::write(source.join("file"), Random::new(number).bytes(1 << 20)).unwrap();
            stash(&["backup", source.to_str().unwrap()]);
        }
        assert_eq!(scene.snapshots(), 2);
        let said = stash(&["forget", "--keep-last", "1", "--prune"]);
        assert!(said.contains("Removed"), "{said}");
        assert_eq!(scene.snapshots(), 1);
        stash(&["check", "--read-data"]);
    }
}

/// A session of a machine that knows nothing of earlier ones.
fn fails_at_once(scene: &Scene, words: &str) -> String {
    fs::remove_dir_all(scene.path("state")).unwrap();
    let begin = Instant::now();
    let said = scene.stash_fails(["run", "--once", "manifests"]);
    assert!(begin.elapsed() < Duration::from_secs(30), "{said}");
    assert!(said.contains(words), "{words}: {said}");
    said
}
