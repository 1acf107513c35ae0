//! Manifests in the shape of the published API, applied by a strict `kubectl`, and what `kubectl get` shows of them.

use serde_json::Value;
use testkit::Cluster;
use testkit::cluster::wait_until;

use crate::controllers::stage::{PATIENCE, Stage, condition};

const MANIFESTS: &str = include_str!("published.yaml");

/// The kinds: plural, short names, whether in a namespace, columns.
const KINDS: &[(&str, &[&str], bool, &str)] = &[
    (
        "repositories",
        &["repo"],
        true,
        "NAME INTEGRITY SIZE SNAPSHOT-COUNT LAST-SUCCESSFUL-BACKUP AGE",
    ),
    (
        "backupconfigurations",
        &["bc"],
        true,
        "NAME TASK SCHEDULE PAUSED PHASE AGE",
    ),
    (
        "backupsessions",
        &[],
        true,
        "NAME INVOKER-TYPE INVOKER-NAME PHASE DURATION AGE",
    ),
    ("backupbatches", &[], true, "NAME SCHEDULE PAUSED PHASE AGE"),
    ("backupblueprints", &["bb"], false, "NAME TASK SCHEDULE AGE"),
    (
        "restoresessions",
        &["restore"],
        true,
        "NAME REPOSITORY PHASE DURATION AGE",
    ),
    (
        "restorebatches",
        &[],
        true,
        "NAME REPOSITORY PHASE DURATION AGE",
    ),
    ("functions", &["fn"], false, "NAME AGE"),
    ("tasks", &["task"], false, "NAME AGE"),
];

/// Removes what has no namespace.
struct Everywhere<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Drop for Everywhere<'_> {
    fn drop(&mut self) {
        for kind in ["backupblueprint", "function", "task"] {
            let kind = format!("{kind}.stash.appscode.com");
            self.cluster.try_kubectl(&["delete", &kind, &self.name]);
        }
    }
}

#[test]
fn manifests_of_the_published_api_apply_strictly_and_are_shown_as_published() {
    let Some(stage) = Stage::new("published", &[]) else {
        return;
    };
    let _everywhere = Everywhere {
        cluster: stage.cluster(),
        name: stage.name().to_owned(),
    };
    let manifests = MANIFESTS.replace("NAME", stage.name());
    let strictly = |manifests: &str| {
        let arguments = [
            "--namespace",
            stage.name(),
            "apply",
            "--validate=strict",
            "-f",
            "-",
        ];
        stage
            .cluster()
            .kubectl_with_input(&arguments, manifests.as_bytes())
    };
    let applied = strictly(&manifests).succeed("apply the manifests");
    assert!(!applied.contains("Warning"), "{applied}");
    // A second time nothing is different: no default or conversion of ours changes what was written.
    let again = strictly(&manifests).succeed("apply the manifests again");
    assert!(
        again.lines().all(|line| line.ends_with(" unchanged")),
        "{again}"
    );

    for document in manifests.split("\n---\n") {
        let wrong = format!("{document}\n  retentionPolicies: none\n");
        let refused = strictly(&wrong);
        assert_ne!(refused.code, 0, "{wrong}");
        let message = r#"unknown field "spec.retentionPolicies""#;
        assert!(refused.stderr.contains(message), "{}", refused.stderr);
    }

    shown_as_published(&stage);
    told_what_is_not_acted_on(&stage);
}

fn shown_as_published(stage: &Stage) {
    let all = stage.kubectl(&[
        "api-resources",
        "--api-group=stash.appscode.com",
        "--output=wide",
        "--no-headers",
    ]);
    for (plural, short, is_namespaced, columns) in KINDS {
        let words: Vec<&str> = all
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(|words| words[0] == *plural)
            .unwrap();
        let (short_names, rest) = words[1..].split_at(usize::from(!short.is_empty()));
        assert_eq!(&short_names, short, "{plural}");
        assert_eq!(rest[1], is_namespaced.to_string(), "{plural}");
        let categories = rest.last().unwrap();
        for category in ["stash", "appscode"] {
            assert!(categories.contains(category), "{plural}: {categories}");
        }
        for name in short.iter().copied().chain([*plural]) {
            let name = format!("{name}.stash.appscode.com");
            let table = stage.kubectl(&["get", &name]);
            let header = table.lines().next().unwrap();
            let header: Vec<&str> = header.split_whitespace().collect();
            assert_eq!(header.join(" "), *columns, "{name}");
        }
    }
    let of_configurations = stage.kubectl(&["get", "bc", "ledger", "database", "--no-headers"]);
    assert!(of_configurations.contains("postgres-backup-14.0"));
    assert!(of_configurations.contains("7 3 1 1 *"));
    let of_restores = stage.kubectl(&["get", "restore", "ledger-back", "--no-headers"]);
    assert!(of_restores.contains("objects"), "{of_restores}");
}

/// What later versions act on says so: in a condition, or in an event where there is no status.
fn told_what_is_not_acted_on(stage: &Stage) {
    for resource in ["backupbatch/shop", "restorebatch/shop-back"] {
        wait_until(&format!("the condition of {resource}"), PATIENCE, || {
            let batch = stage.get(resource);
            let passed = condition(&batch, "ValidationPassed");
            let message = passed["message"].as_str().unwrap_or_default();
            passed["status"] == "False" && message.contains("not acted on")
        });
        assert_eq!(stage.get(resource)["status"]["phase"], "Invalid");
    }
    for name in ["database", "snapshots"] {
        wait_until(&format!("the condition of {name}"), PATIENCE, || {
            let configuration = stage.get(&format!("bc/{name}"));
            let conditions = configuration["status"]["conditions"].as_array().cloned();
            conditions.into_iter().flatten().any(|it| {
                let message = it["message"].as_str().unwrap_or_default();
                it["status"] == "False" && message.contains("not acted on")
            })
        });
    }
    for kind in ["BackupBlueprint", "Function", "Task"] {
        wait_until(&format!("the event of the {kind}"), PATIENCE, || {
            let selector = format!(
                "involvedObject.kind={kind},involvedObject.name={},reason=NotActedOn",
                stage.name()
            );
            let arguments = [
                "get",
                "events",
                "--all-namespaces",
                "--field-selector",
                &selector,
                "--output=json",
            ];
            let found: Value = serde_json::from_str(&stage.cluster().kubectl(&arguments)).unwrap();
            !found["items"].as_array().unwrap().is_empty()
        });
    }
}
