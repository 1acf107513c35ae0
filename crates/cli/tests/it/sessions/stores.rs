//! Where repositories lie and who may use them: a store with an authority of its own, another namespace, and the end of
//! a repository.

use std::fs;

use serde_json::{Value, json};
use testkit::Scratch;
use testkit::certificates::Authority;
use testkit::cluster::{Namespace, Output, wait_for, wait_until};

use super::proof::{Tree, assert_in_new_claim, empty};
use super::scene::{PASSWORD, Scene, claim};
use crate::controllers::stage::{PATIENCE, Stage, condition};

const ACCESS_KEY: &str = "somebody";
const SECRET_KEY: &str = "a-secret-key-of-tests";

/// MinIO with a certificate of this authority; returns the address of its Service.
fn serve_minio(stage: &Stage, image: &str, authority: &Authority) -> String {
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "minio" },
        "spec": { "selector": { "app": "minio" }, "ports": [{ "port": 9000 }] },
    }));
    let address = stage.get("service/minio")["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .to_owned();
    let name = format!("minio.{}.svc", stage.name());
    let certificate = authority.server(&[&name, &address]);
    stage.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "minio-certificate" },
        "stringData": { "public.crt": certificate.chain_pem, "private.key": certificate.key_pem },
    }));
    stage.apply(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "minio" },
        "spec": {
            "selector": { "matchLabels": { "app": "minio" } },
            "template": {
                "metadata": { "labels": { "app": "minio" } },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "minio", "image": image,
                        "args": ["server", "/data", "--certs-dir", "/certificates"],
                        "env": [
                            { "name": "MINIO_ROOT_USER", "value": ACCESS_KEY },
                            { "name": "MINIO_ROOT_PASSWORD", "value": SECRET_KEY },
                        ],
                        "readinessProbe": {
                            "httpGet": { "scheme": "HTTPS", "path": "/minio/health/ready", "port": 9000 },
                            "periodSeconds": 1,
                        },
                        "volumeMounts": [
                            { "name": "data", "mountPath": "/data" },
                            { "name": "certificate", "mountPath": "/certificates" },
                        ],
                    }],
                    "volumes": [
                        { "name": "data", "emptyDir": {} },
                        { "name": "certificate", "secret": { "secretName": "minio-certificate" } },
                    ],
                },
            },
        },
    }));
    stage
        .namespace()
        .wait_for_rollout("deployments.apps/minio", PATIENCE);
    address
}

fn secret(name: &str, more: &Value) -> Value {
    let mut keys = json!({
        "RESTIC_PASSWORD": PASSWORD, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    });
    for (name, value) in more.as_object().unwrap() {
        keys[name] = value.clone();
    }
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": keys,
    })
}

/// A session of a namespace when it is over.
fn end(namespace: &Namespace, name: &str) -> Value {
    wait_for(&format!("the end of {name}"), PATIENCE, || {
        let session = namespace.get(&format!("backupsession/{name}"))?;
        let phase = session["status"]["phase"].as_str()?.to_owned();
        ["Succeeded", "Failed", "Skipped"]
            .contains(&phase.as_str())
            .then_some(session)
    })
}

fn session(name: &str) -> Value {
    json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupSession", "metadata": { "name": name },
        "spec": { "invoker": { "kind": "BackupConfiguration", "name": "home" } },
    })
}

#[test]
fn a_store_with_its_own_authority_serves_two_namespaces_as_its_policy_allows() {
    let Some(stage) = Stage::new("tls", &[]) else {
        return;
    };
    let Some(minio) = stage.cluster().minio().map(str::to_owned) else {
        return;
    };
    let Some(scene) = Scene::on(stage) else {
        return;
    };
    let stage = &scene.stage;
    let authority = Authority::new();
    let address = serve_minio(stage, &minio, &authority);
    stage.apply(&secret("store-keys", &json!({})));
    stage.apply(&json!({
        "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
        "metadata": { "name": "repo" },
        "spec": { "backend": { "storageSecretName": "store-keys", "local": null, "s3": {
            "endpoint": format!("https://minio.{}.svc:9000", stage.name()), "bucket": "box", "prefix": "of/home",
        } } },
    }));
    let tree = Tree::in_claim(&scene.files("files"), 1);
    scene.configure(&json!({}));

    believes_only_the_authority_of_the_secret(&scene, &authority);
    let other = stage.cluster().create_namespace("tls-user");
    other.apply(&claim("files").to_string());
    let tree_afar = Tree::in_claim(&other.files("files"), 2);
    serves_another_namespace_once_it_is_allowed(&scene, &other);
    assert_foreign_rights(&scene, &other);
    let store = Store::new(&scene, &authority, &address);
    is_read_by_restic(&store, &[("host-0", &tree), ("afar", &tree_afar)]);
    gives_back_what_is_lost(&scene, &tree, (&other, &tree_afar));
    let more = json!({ "repository": reference(&scene) });
    assert_in_new_claim(&scene, "afar", "/stash-data", &tree_afar, &more);
}

/// The Repository as any namespace may name it.
fn reference(scene: &Scene) -> Value {
    json!({ "name": "repo", "namespace": scene.stage.name() })
}

fn believes_only_the_authority_of_the_secret(scene: &Scene, authority: &Authority) {
    let stage = &scene.stage;
    scene.start("home-1", &json!({}));
    let failed = scene.end("home-1");
    assert_eq!(failed["status"]["phase"], "Failed", "{failed:#}");
    let said = failed["status"]["targets"][0]["stats"][0]["error"].to_string();
    assert!(
        said.contains("certificate") && said.contains("CA_CERT_DATA"),
        "{said}"
    );
    stage.apply(&secret(
        "store-keys",
        &json!({ "CA_CERT_DATA": authority.pem() }),
    ));
    scene.start("home-2", &json!({}));
    let session = scene.end("home-2");
    assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
}

fn serves_another_namespace_once_it_is_allowed(scene: &Scene, other: &Namespace) {
    let stage = &scene.stage;
    let configuration = json!({
        "apiVersion": "stash.appscode.com/v1beta1", "kind": "BackupConfiguration",
        "metadata": { "name": "home" },
        "spec": {
            "repository": reference(scene),
            "target": { "alias": "afar", "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" } },
            "runtimeSettings": { "container": { "securityContext": { "runAsUser": 0 } } },
            "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
        },
    });
    other.apply(&configuration.to_string());
    other.apply(&session("home-1").to_string());
    let skipped = end(other, "home-1");
    assert_eq!(skipped["status"]["phase"], "Skipped", "{skipped:#}");
    let why = condition(&skipped, "BackupSkipped")["message"].to_string();
    assert!(why.contains("usagePolicy"), "{why}");
    let policy = json!({ "spec": { "usagePolicy": { "allowedNamespaces": {
        "from": "Selector",
        "selector": { "matchLabels": { "kubernetes.io/metadata.name": other.name() } },
    } } } });
    stage.merge("repository/repo", &policy.to_string());
    wait_until("the configuration is ready", PATIENCE, || {
        other.get("bc/home").unwrap()["status"]["phase"] == "Ready"
    });
    other.apply(&session("home-2").to_string());
    let allowed = end(other, "home-2");
    assert_eq!(allowed["status"]["phase"], "Succeeded", "{allowed:#}");
}

/// Stock restic at the store.
struct Store<'a> {
    scene: &'a Scene,
    address: &'a str,
    trusted: Scratch,
}

impl<'a> Store<'a> {
    fn new(scene: &'a Scene, authority: &Authority, address: &'a str) -> Self {
        let trusted = Scratch::new();
        fs::write(trusted.join("authority.pem"), authority.pem()).unwrap();
        Self {
            scene,
            address,
            trusted,
        }
    }

    fn restic(&self, prefix: &str, arguments: &[&str]) -> Output {
        let output = self
            .scene
            .stage
            .cluster()
            .command(self.scene.restic.binary())
            .arg("--cacert")
            .arg(self.trusted.join("authority.pem"))
            .args(["--no-cache", "--json", "-r"])
            .arg(format!("s3:https://{}:9000/box/{prefix}", self.address))
            .args(arguments)
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .output()
            .unwrap();
        Output {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Hosts with what was written there.
fn is_read_by_restic(store: &Store<'_>, hosts: &[(&str, &Tree)]) {
    let checked = ["check", "--read-data"];
    store.restic("of/home", &checked).succeed("check");
    for (host, tree) in hosts {
        tree.assert_by_restic(host, "/stash-data", |arguments| {
            store.restic("of/home", arguments).succeed("restore");
        });
    }
}

fn gives_back_what_is_lost(scene: &Scene, tree: &Tree, (other, afar): (&Namespace, &Tree)) {
    let stage = &scene.stage;
    scene.files("files").edit(empty);
    other.files("files").edit(empty);
    let restore = |alias: &Value| {
        json!({
            "apiVersion": "stash.appscode.com/v1beta1", "kind": "RestoreSession",
            "metadata": { "name": "back" },
            "spec": { "repository": reference(scene), "target": {
                "alias": alias, "ref": { "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "files" },
            } },
        })
    };
    stage.apply(&restore(&Value::Null));
    other.apply(&restore(&json!("afar")).to_string());
    for (namespace, tree) in [(stage.namespace(), tree), (other, afar)] {
        wait_until("the restore succeeds", PATIENCE, || {
            let restore = namespace.get("restoresession/back").unwrap();
            let phase = restore["status"]["phase"].clone();
            assert!(phase != "Failed" && phase != "Invalid", "{restore:#}");
            phase == "Succeeded"
        });
        namespace
            .files("files")
            .look(|folder| tree.assert_in(folder));
    }
}

/// The agents of the other namespace may read the Repository and its Secret, and write nothing but the status.
fn assert_foreign_rights(scene: &Scene, other: &Namespace) {
    let account = format!(
        "system:serviceaccount:{}:stash-backupconfiguration-home",
        other.name()
    );
    for (verb, what, expected) in [
        ("get", "repositories.stash.appscode.com/repo", "yes"),
        ("get", "secrets/store-keys", "yes"),
        ("get", "secrets/keys", "no"),
        ("list", "secrets", "no"),
        ("update", "repositories.stash.appscode.com/repo", "no"),
        ("get", "backupsessions.stash.appscode.com/home-2", "no"),
        ("get", "pods", "no"),
        ("delete", "pods", "no"),
    ] {
        let arguments = ["auth", "can-i", verb, what, "--as", &account];
        let output = scene.stage.namespace().try_kubectl(&arguments);
        assert_eq!(output.stdout.trim(), expected, "{verb} {what}");
    }
}

#[test]
fn a_repository_that_is_wiped_out_takes_no_other_along() {
    let Some(stage) = Stage::new("wiped", &[]) else {
        return;
    };
    let Some(minio) = stage.cluster().minio().map(str::to_owned) else {
        return;
    };
    let Some(scene) = Scene::on(stage) else {
        return;
    };
    let stage = &scene.stage;
    let authority = Authority::new();
    let address = serve_minio(stage, &minio, &authority);
    let keys = json!({ "CA_CERT_DATA": authority.pem() });
    stage.apply(&secret("store-keys", &keys));
    scene.write("letter", "dear reader");
    for (name, prefix) in [("doomed", "of/home"), ("sibling", "of/home-2")] {
        stage.apply(&json!({
            "apiVersion": "stash.appscode.com/v1alpha1", "kind": "Repository",
            "metadata": { "name": name },
            "spec": { "wipeOut": name == "doomed", "backend": { "storageSecretName": "store-keys", "s3": {
                "endpoint": format!("https://minio.{}.svc:9000", stage.name()), "bucket": "box", "prefix": prefix,
            } } },
        }));
        scene.configure(&json!({ "repository": { "name": name } }));
        scene.start(&format!("{name}-1"), &json!({}));
        let session = scene.end(&format!("{name}-1"));
        assert_eq!(session["status"]["phase"], "Succeeded", "{session:#}");
    }
    let store = Store::new(&scene, &authority, &address);
    store
        .restic("of/home", &["check", "--read-data"])
        .succeed("check");
    stage.kubectl(&["delete", "bc", "home"]);
    // It waits as long as another Repository names the same place.
    let mut twin = stage.get("repository/doomed");
    twin["metadata"] = json!({ "name": "twin" });
    twin["spec"]["wipeOut"] = json!(false);
    twin["spec"]["backend"]["s3"]["endpoint"] = json!("https://minio:9000");
    twin.as_object_mut().unwrap().remove("status");
    stage.apply(&twin);
    stage.kubectl(&["delete", "repository", "doomed", "--wait=false"]);
    wait_until("the other Repository is told", PATIENCE, || {
        let events = scene.events("Repository", "doomed");
        events.contains(&"RepositoryInUse".to_owned())
    });
    // It waits while the password does not open the repository, and says so.
    let password = |text: &str| {
        let patch = json!({ "stringData": { "RESTIC_PASSWORD": text } });
        stage.merge("secret/store-keys", &patch.to_string());
    };
    password("wrong");
    stage.kubectl(&["delete", "repository", "twin"]);
    wait_until("the failure is told", PATIENCE, || {
        let events = scene.events("Repository", "doomed");
        events.iter().any(|reason| reason.contains("Fail"))
    });
    store
        .restic("of/home", &["check", "--read-data"])
        .succeed("check");
    password(PASSWORD);
    wait_until("the Repository is gone", PATIENCE * 2, || {
        stage.find("repositories/doomed").is_none()
    });
    let events = scene.events("Repository", "doomed");
    for reason in ["WipeOutStarted", "WipeOutSucceeded"] {
        assert!(events.iter().any(|it| it == reason), "{events:?}");
    }
    // restic's code for a repository that does not exist.
    assert_eq!(store.restic("of/home", &["snapshots"]).code, 10);
    // Without wipeOut the data stays.
    stage.kubectl(&["delete", "repository", "sibling"]);
    store
        .restic("of/home-2", &["check", "--read-data"])
        .succeed("check");
    for kind in ["jobs", "roles", "rolebindings"] {
        wait_until("nothing of the removal is left", PATIENCE, || {
            let names = stage.kubectl(&["get", kind, "--output", "name"]);
            !names.contains("wipe-out")
        });
    }
}
