//! One test per mistake users make: one clear problem each, with file, document, line, field, value and fix.

use api::manifest::Severity;

use crate::{load, problems};

/// A set of a Secret, a Repository and a BackupConfiguration without mistakes.
const GOOD: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: key
stringData:
  RESTIC_PASSWORD: hunter2
---
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata:
  name: disk
spec:
  backend:
    storageSecretName: key
    local:
      mountPath: /data
      hostPath:
        path: /mnt/disk
---
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata:
  name: home
spec:
  schedule: '@daily'
  repository:
    name: disk
  target:
    paths:
    - /home
  retentionPolicy:
    name: few
    keepLast: 3
    prune: true
";

/// The problems, as text, of the good set with one piece replaced.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert_eq!(
        GOOD.matches(from).count(),
        1,
        "{from:?} must stand once in the good set"
    );
    problems(&GOOD.replacen(from, to, 1))
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn assert_only(found: &[String], expected: &str) {
    assert_eq!(found, [expected]);
}

#[test]
fn the_good_set_is_good() {
    assert_eq!(problems(GOOD), []);
}

#[test]
fn malformed_yaml_is_reported_with_line_and_column_and_the_rest_is_still_checked() {
    let text =
        GOOD.replacen("hostPath:\n", "hostPath: [\n", 1)
            .replacen("keepLast: 3", "keepLast: -3", 1);
    let found = problems(&text);
    assert!(
        found[0].message.starts_with("the YAML cannot be read"),
        "{found:?}"
    );
    assert_eq!(
        (found[0].document, found[0].file.as_str()),
        (2, "test.yaml")
    );
    assert!((17..=19).contains(&found[0].line), "{found:?}");
    assert!(found[0].column > 0);
    assert!(
        found
            .iter()
            .any(|problem| problem.path == "spec.retentionPolicy.keepLast"),
        "{found:?}"
    );
}

#[test]
fn an_unknown_kind_names_the_nearest() {
    assert_only(
        &changed("kind: BackupConfiguration", "kind: BackupConfigration"),
        "test.yaml:21:1: document 3: BackupConfigration/home kind: unknown kind (got `BackupConfigration`); did you mean `BackupConfiguration`?",
    );
    let found = problems("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n");
    assert!(
        found[0]
            .to_string()
            .contains("unknown kind (got `Deployment`); remove the document"),
        "{}",
        found[0]
    );
}

#[test]
fn a_wrong_api_version_names_the_right_one() {
    let found =
        problems("apiVersion: stash.appscode.com/v1beta1\nkind: Repository\nmetadata: {name: a}\n");
    assert_eq!(
        found[0].to_string(),
        "test.yaml:1:1: document 1: Repository/a apiVersion: the kind Repository does not exist in this API version (got `stash.appscode.com/v1beta1`); write `stash.appscode.com/v1alpha1`"
    );
}

#[test]
fn a_document_without_kind_or_version_says_so() {
    let found = problems("metadata: {name: a}\n");
    let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["apiVersion", "kind"]);
    assert_eq!(
        problems("just text\n")[0].message,
        "an object is expected, not a string"
    );
}

#[test]
fn a_kind_that_needs_a_cluster_is_refused_with_that_reason() {
    let found = problems(
        "apiVersion: stash.appscode.com/v1beta1\nkind: Function\nmetadata: {name: dump}\nspec: {image: dump:1, ports: [{containerPort: 80}]}\n",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].message, "Function is known, but needs a cluster");
}

#[test]
fn an_unknown_field_names_the_nearest() {
    assert_only(
        &changed("keepLast: 3", "keepLast: 3\n    keepDayly: 7"),
        "test.yaml:34:5: document 3: BackupConfiguration/home spec.retentionPolicy.keepDayly: unknown field (got `7`); did you mean `keepDaily`?",
    );
}

#[test]
fn a_misspelled_field_does_not_cause_a_second_problem() {
    assert_only(
        &changed("keepLast: 3", "keeplast: 3"),
        "test.yaml:33:5: document 3: BackupConfiguration/home spec.retentionPolicy.keeplast: unknown field (got `3`); did you mean `keepLast`?",
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    assert_only(
        &changed(
            "mountPath: /data",
            "mountPath: /data\n      mountPath: /other",
        ),
        "test.yaml:17:7: document 2: Repository/disk spec.backend.local.mountPath: the field is set twice; remove one of the two",
    );
}

#[test]
fn wrong_types_are_refused() {
    let cases = [
        (
            "prune: true",
            "prune: 'true'",
            "spec.retentionPolicy.prune",
            "a boolean is expected, not a string",
        ),
        (
            "keepLast: 3",
            "keepLast: '3'",
            "spec.retentionPolicy.keepLast",
            "an integer is expected, not a string",
        ),
        (
            "name: few",
            "name: 2024",
            "spec.retentionPolicy.name",
            "a string is expected, not an integer",
        ),
        (
            "\n    - /home",
            " /home",
            "spec.target.paths",
            "a list is expected, not a string",
        ),
        (
            "\n        path: /mnt/disk",
            " /mnt/disk",
            "spec.backend.local.hostPath",
            "an object is expected, not a string",
        ),
        (
            "keepLast: 3",
            "keepLast: 1.5",
            "spec.retentionPolicy.keepLast",
            "an integer is expected, not a number",
        ),
        (
            "'@daily'",
            "{}",
            "spec.schedule",
            "a string is expected, not an object",
        ),
    ];
    for (from, to, path, message) in cases {
        let found = problems(&GOOD.replacen(from, to, 1));
        assert_eq!(found.len(), 1, "{to}: {found:?}");
        assert_eq!(
            (found[0].path.as_str(), found[0].message.as_str()),
            (path, message)
        );
        assert!(
            found[0].line > 0 && !found[0].fix.is_empty(),
            "{:?}",
            found[0]
        );
    }
}

#[test]
fn missing_fields_are_named_with_their_meaning() {
    assert_only(
        &changed("      mountPath: /data\n", ""),
        "test.yaml:15:5: document 2: Repository/disk spec.backend.local.mountPath: the field is required; add it: Absolute path where Pods mount the volume; the repository lies there",
    );
    let found = changed("    prune: true\n", "");
    assert!(
        found[0].contains("spec.retentionPolicy.prune: the field is required"),
        "{found:?}"
    );
}

#[test]
fn values_outside_an_enum_list_what_is_allowed() {
    assert_only(
        &changed("schedule: '@daily'", "schedule: '@daily'\n  driver: Rustic"),
        "test.yaml:26:3: document 3: BackupConfiguration/home spec.driver: the value is not allowed (got `Rustic`); did you mean `Restic`? Allowed are `Restic`, `VolumeSnapshotter`",
    );
}

#[test]
fn quantities_and_durations_are_checked() {
    let found = changed(
        "schedule: '@daily'",
        "schedule: '@daily'\n  timeOut: 5 minutes\n  tempDir: {sizeLimit: 1GB}",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("spec.timeOut: not a duration"),
        "{found:?}"
    );
    assert!(
        found[1].contains("spec.tempDir.sizeLimit: not a quantity (got `1GB`)"),
        "{found:?}"
    );
}

#[test]
fn two_backends_in_one_repository_are_refused() {
    assert_only(
        &changed(
            "    local:\n",
            "    rest: {url: 'https://host/x'}\n    local:\n",
        ),
        "test.yaml:13:3: document 2: Repository/disk spec.backend: 2 backends are set (got `local, rest`); keep one, and make a Repository of its own for each other",
    );
}

#[test]
fn no_backend_is_refused() {
    assert_only(
        &changed(
            "    local:\n      mountPath: /data\n      hostPath:\n        path: /mnt/disk\n",
            "",
        ),
        "test.yaml:13:3: document 2: Repository/disk spec.backend: no backend is set; add one of `local`, `s3`, `gcs`, `azure`, `swift`, `b2`, `rest`",
    );
}

#[test]
fn a_missing_secret_is_named() {
    assert_only(
        &changed("storageSecretName: key", "storageSecretName: keys"),
        "test.yaml:14:5: document 2: Repository/disk spec.backend.storageSecretName: there is no Secret of that name in the namespace `default` (got `keys`); did you mean `key`?",
    );
    let found = changed("    storageSecretName: key\n", "");
    assert!(
        found[0].contains("spec.backend.storageSecretName: the field is required"),
        "{found:?}"
    );
}

#[test]
fn a_secret_in_another_namespace_is_pointed_out() {
    let found = changed("  name: key\n", "  name: key\n  namespace: vault\n");
    assert!(
        found[0].contains("there is one in the namespace `vault`"),
        "{found:?}"
    );
}

#[test]
fn a_secret_without_password_is_refused() {
    let found = changed("RESTIC_PASSWORD", "RESTIC_PASWORD");
    assert!(
        found[0].starts_with("test.yaml:5:1: document 1: Secret/key data.RESTIC_PASSWORD: the repository password is missing")
            || found[0].contains("data.RESTIC_PASSWORD: the repository password is missing"),
        "{found:?}"
    );
    assert!(
        found[1].contains("did you mean `RESTIC_PASSWORD`?"),
        "{found:?}"
    );
    assert!(changed("hunter2", "''")[0].contains("the repository password is empty"));
}

#[test]
fn a_bad_schedule_is_refused() {
    assert_only(
        &changed("'@daily'", "0 25 * * *"),
        "test.yaml:25:3: document 3: BackupConfiguration/home spec.schedule: not a schedule: the hour field `25` is wrong: 25 is not between 0 and 23 (got `0 25 * * *`); write five fields such as `0 2 * * *`, a name such as `@daily`, or `@every 1h30m`",
    );
    assert!(changed("'@daily'", "0 0 30 2 *")[0].contains("the schedule never runs"));
    assert!(changed("'@daily'", "'@every 5'")[0].contains("the number `5` has no unit"));
    assert!(
        changed("'@daily'", "CRON_TZ=Mars/Base 0 0 * * *")[0]
            .contains("`Mars/Base` is not a time zone")
    );
}

#[test]
fn a_mount_path_over_the_program_is_refused() {
    for path in ["/stash", "/stash/", "/stash/data", "//stash/data"] {
        let found = changed("mountPath: /data", &format!("mountPath: {path}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("spec.backend.local.mountPath: the path must not be `/stash`"),
            "{found:?}"
        );
    }
    assert!(changed("mountPath: /data", "mountPath: /stash-backup").is_empty());
}

#[test]
fn a_policy_that_keeps_nothing_is_refused() {
    let found = changed("    keepLast: 3\n", "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("spec.retentionPolicy: the policy keeps nothing"),
        "{found:?}"
    );
    assert!(changed("keepLast: 3", "keepLast: 0")[0].contains("keeps nothing"));
    assert!(changed("keepLast: 3", "keepTags: ['']")[0].contains("keeps nothing"));
    assert!(
        changed("keepLast: 3", "keepLast: -1")[0]
            .contains("the number must be at least 0 (got `-1`)")
    );
}

#[test]
fn wipe_out_is_refused_where_it_is_not_available() {
    let found = changed(
        "    storageSecretName: key",
        "    storageSecretName: key\n  wipeOut: true",
    );
    assert!(
        found[0].contains("YAML"),
        "wrong indentation is an error of its own: {found:?}"
    );
    let found = changed("  backend:\n", "  wipeOut: true\n  backend:\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0]
            .contains("spec.wipeOut: wipeOut is not available for the backend local (got `true`)")
    );
}

#[test]
fn paths_and_targets_are_checked() {
    assert!(
        changed("- /home", "- home")[0]
            .contains("spec.target.paths[0]: the path must be absolute (got `home`)")
    );
    assert!(changed("- /home", "- /home/../etc")[0].contains("the path must not contain `..`"));
    assert!(
        changed("- /home", "- /home\n    - /home/")[0]
            .contains("spec.target.paths[1]: the path is listed twice")
    );
    assert!(
        changed("    paths:\n    - /home\n", "    alias: x\n")[0]
            .contains("neither `ref` nor `paths`")
    );
}

#[test]
fn hooks_are_checked() {
    let hooks = "  hooks:\n    preBackup: {}\n    postBackup:\n      executionPolicy: Sometimes\n      exec: {command: []}\n      httpGet: {port: 70000}\n      tcpSocket: {port: web}\n";
    let found = changed("  repository:\n", &format!("{hooks}  repository:\n"));
    let expected = [
        "spec.hooks.preBackup: the hook does nothing",
        "spec.hooks.postBackup.executionPolicy: the value is not allowed (got `Sometimes`)",
        "spec.hooks.postBackup.exec.command: the command is empty",
        "spec.hooks.postBackup.httpGet.port: not a port (got `70000`)",
        "spec.hooks.postBackup.tcpSocket.port: a named port needs `containerName` (got `web`)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, text) in found.iter().zip(expected) {
        assert!(problem.contains(text), "{problem}");
    }
}

#[test]
fn limits_of_time_retry_and_history_are_checked() {
    let more =
        "  timeOut: 0s\n  backupHistoryLimit: -1\n  retryConfig: {maxRetry: -2, delay: -5m}\n";
    let found = changed("  repository:\n", &format!("{more}  repository:\n"));
    assert_eq!(found.len(), 4, "{found:#?}");
    for path in [
        "spec.timeOut",
        "spec.backupHistoryLimit",
        "spec.retryConfig.maxRetry",
        "spec.retryConfig.delay",
    ] {
        assert!(
            found
                .iter()
                .any(|problem| problem.contains(&format!("{path}:"))),
            "{path}: {found:#?}"
        );
    }
}

#[test]
fn restore_rules_are_checked_in_both_places() {
    let text = "\
apiVersion: stash.appscode.com/v1beta1
kind: RestoreSession
metadata: {name: back}
spec:
  repository: {name: disk}
  rules:
  - snapshots: [latest]
  target:
    rules:
    - targetHosts: [a, b]
      snapshots: [abc]
      paths: [/x]
    - targetHosts: [b]
      include: [/a]
      exclude: [/a/b]
    - {}
    args: [--delete=maybe]
";
    let found: Vec<String> = load(text)
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "spec.rules: this is the old place of the rules",
        "spec.rules[0]: a second rule without `targetHosts`, after spec.target.rules[2]",
        "spec.target.rules[0]: a rule may have `snapshots` or `paths`, not both",
        "spec.target.rules[1]: a rule may have `include` or `exclude`, not both",
        "spec.target.rules[1].targetHosts[0]: the host has a rule already, spec.target.rules[0] (got `b`)",
        "spec.target.args: `--delete=maybe` is unknown; known are true and false",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, text) in found.iter().zip(expected) {
        assert!(problem.contains(text), "{problem}");
    }
}

#[test]
fn names_follow_kubernetes() {
    assert!(
        changed("  name: home", "  name: My_Home")[0]
            .contains("metadata.name: not a name Kubernetes allows (got `My_Home`)")
    );
    assert!(
        changed("metadata:\n  name: home", "metadata: {}")[0]
            .contains("metadata.name: the field is required")
    );
    assert!(
        changed("metadata:\n  name: home\n", "")[0].contains("metadata: the field is required")
    );
    assert!(
        changed("  name: home", "  name: home\n  namespace: a.b")[0].contains("metadata.namespace")
    );
}

#[test]
fn references_between_objects_are_checked() {
    assert!(changed("    name: disk", "    name: dusk")[0].contains(
        "spec.repository.name: there is no Repository of that name in the namespace `default` (got `dusk`); did you mean `disk`?"
    ));
    let other = changed(
        "    name: disk",
        "    name: disk\n    namespace: default\n  driver: Restic",
    );
    assert!(other.is_empty(), "{other:?}");
    let found = changed(
        "metadata:\n  name: home",
        "metadata:\n  name: home\n  namespace: shop",
    );
    assert!(
        found[0].contains("there is one in the namespace `default`"),
        "{found:?}"
    );
    let text = GOOD
        .replacen(
            "metadata:\n  name: home",
            "metadata:\n  name: home\n  namespace: shop",
            1,
        )
        .replacen(
            "    name: disk",
            "    name: disk\n    namespace: default",
            1,
        );
    assert!(
        problems(&text)[0]
            .message
            .contains("does not allow the namespace `shop`")
    );
    let allowed = text.replacen(
        "  backend:\n",
        "  usagePolicy: {allowedNamespaces: {from: All}}\n  backend:\n",
        1,
    );
    assert_eq!(problems(&allowed), []);
}

#[test]
fn an_object_that_exists_twice_is_refused() {
    let found = problems(&format!("{GOOD}---\n{GOOD}"));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found[0]
            .to_string()
            .contains("the object exists already, in test.yaml:1")
    );
}

#[test]
fn every_problem_is_reported_at_once_and_a_refused_object_is_not_missing() {
    let text = GOOD
        .replacen(
            "mountPath: /data",
            "mountPath: /stash\n      colour: red",
            1,
        )
        .replacen("'@daily'", "never", 1)
        .replacen("prune: true", "prune: maybe", 1)
        .replacen("keepLast: 3", "keepLast: 0", 1);
    let found: Vec<String> = problems(&text).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        load(&text).objects.len() == 1,
        "only the Secret is without errors"
    );
}

#[test]
fn values_of_secrets_appear_in_no_problem() {
    let text = "\
apiVersion: v1
kind: Secret
metadata: {name: key}
data: {RESTIC_PASSWORD: 'hunter2!'}
stringData: {AWS: [hunter2], B: 12345}
strinData: hunter2
type: {hunter2: x}
";
    let found = problems(text);
    assert!(found.len() >= 5, "{found:#?}");
    for problem in &found {
        assert!(
            !format!("{problem} {problem:?}")
                .replace("type.hunter2", "")
                .contains("hunter2"),
            "{problem}"
        );
        assert!(!problem.to_string().contains("12345"), "{problem}");
    }
}

#[test]
fn empty_documents_are_skipped() {
    assert_eq!(problems("---\n# nothing\n---\n\n---\nnull\n"), []);
}

#[test]
fn warnings_do_not_refuse_an_object() {
    let text = GOOD.replacen(
        "  RESTIC_PASSWORD: hunter2\n",
        "  RESTIC_PASSWORD: hunter2\n  EXTRA: x\n",
        1,
    );
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(
        found[0]
            .to_string()
            .contains("data.EXTRA: the backend local does not read this key")
    );
    assert_eq!(load(&text).objects.len(), 3);
}
