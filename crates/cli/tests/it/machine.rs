//! The main job without a cluster: `stash run`, `get`, `describe`, `trigger`, `validate`, judged by real restic.

mod closing;
mod sources;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use testkit::{CompareOptions, Random, Restic, assert_same_tree, build_plain_tree};

const PASSWORD: &str = "correct horse battery staple";

/// A machine of its own: manifests, source, repository and state in one scratch folder.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(machine.path("source")).unwrap();
        build_plain_tree(&machine.path("source"), 1, 60);
        machine.write_manifests("* * * * *", "");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_manifests(&self, schedule: &str, more_spec: &str) {
        let folder = self.folder.path().display();
        std::fs::create_dir_all(self.path("manifests")).unwrap();
        let text = format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: repository-secret, namespace: demo}}
stringData: {{RESTIC_PASSWORD: {PASSWORD}}}
---
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {{name: local, namespace: demo}}
spec:
  backend:
    local: {{hostPath: {{path: {folder}/repository}}, mountPath: /safe}}
    storageSecretName: repository-secret
---
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {{name: home, namespace: demo}}
spec:
  schedule: '{schedule}'
  repository: {{name: local}}
  target: {{paths: [{folder}/source], exclude: ['*.tmp']}}
  retentionPolicy: {{name: keep-three, keepLast: 3, prune: true}}
{more_spec}"
        );
        std::fs::write(self.path("manifests/all.yaml"), text).unwrap();
    }

    fn write_restore(&self, name: &str, rules: &str) {
        let text = format!(
            "apiVersion: stash.appscode.com/v1beta1
kind: RestoreSession
metadata: {{name: {name}, namespace: demo}}
spec:
  repository: {{name: local}}
  target:
    args: [--target={target}]
    rules: {rules}
",
            target = self.path(name).display()
        );
        std::fs::write(self.path(&format!("manifests/{name}.yaml")), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stash"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("STASH_STATE_DIR", self.path("state"))
            .env("HOME", self.folder.path());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}",
            output.status,
            both(&output)
        );
        both(&output)
    }

    fn once(&self) -> String {
        self.ok(&["run", "--once", "manifests"])
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn sessions(&self) -> Vec<serde_json::Value> {
        self.json(&["get", "backupsessions", "-o", "json"])["items"]
            .as_array()
            .unwrap()
            .clone()
    }

    fn start(&self) -> Running {
        let child = self
            .command(&["run", "manifests"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running { child: Some(child) }
    }

    fn lock_files(&self) -> usize {
        std::fs::read_dir(self.path("repository/locks")).map_or(0, Iterator::count)
    }
}

/// A `stash run` in the background, killed when the test ends.
struct Running {
    child: Option<Child>,
}

impl Running {
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    fn wait(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{what} did not happen within a minute"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn phase(object: &serde_json::Value) -> &str {
    object["status"]["phase"].as_str().unwrap_or_default()
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn manifests_become_snapshots_that_restic_reads_and_come_back() {
    let machine = Machine::new();
    let first = machine.once();
    assert!(
        first.contains("Succeeded") && first.contains("60 new"),
        "{first}"
    );
    let second = machine.once();
    assert!(
        second.contains("60 unmodified") && second.contains("0 new"),
        "{second}"
    );

    let table = machine.ok(&["get", "backupsessions"]);
    assert!(
        table.contains("INVOKER-TYPE") && table.contains("BackupConfiguration"),
        "{table}"
    );
    let repository = machine.json(&["get", "repository", "local", "-o", "json"]);
    assert_eq!(repository["status"]["integrity"], true);
    assert_eq!(repository["status"]["snapshotCount"], 2);
    assert!(
        repository["status"]["totalSize"]
            .as_str()
            .unwrap()
            .contains('B')
    );
    let snapshots = machine.ok(&["get", "snapshots"]);
    assert!(snapshots.contains("host-0"), "{snapshots}");
    assert!(
        machine
            .ok(&["describe", "backupconfiguration", "home"])
            .contains("CronJobCreated")
    );

    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let repository = restic.repository(machine.path("repository"), PASSWORD);
    repository.assert_check_is_clean();
    let listed = repository
        .run(["snapshots", "--json"])
        .assert_success()
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["hostname"], "host-0");

    machine.write_restore("back", "[{}]");
    let restored = machine.ok(&["run", "--once", "manifests/all.yaml", "manifests/back.yaml"]);
    assert!(
        restored.contains("RestoreSession back is Succeeded"),
        "{restored}"
    );
    let source = machine.path("source");
    let back = machine.path("back").join(source.strip_prefix("/").unwrap());
    assert_same_tree(&source, &back, &CompareOptions::default());
}

#[test]
fn retention_keeps_what_the_policy_says_and_nothing_of_others_is_touched() {
    let machine = Machine::new();
    machine.once();
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let repository = restic.repository(machine.path("repository"), PASSWORD);
    let source = machine.path("source");
    for _ in 0..4 {
        repository
            .run(["backup", "--host", "host-0", source.to_str().unwrap()])
            .assert_success();
    }
    for round in 0..5 {
        write(&source, "changing", &round.to_string());
        machine.once();
    }
    let listed = repository
        .run(["snapshots", "--json"])
        .assert_success()
        .json();
    let (mine, others): (Vec<_>, Vec<_>) = listed
        .as_array()
        .unwrap()
        .iter()
        .partition(|snapshot| snapshot["tags"].is_array());
    assert_eq!((mine.len(), others.len()), (3, 4));
    repository.assert_check_is_clean();
}

#[test]
fn a_wrong_password_is_told_and_nothing_is_initialised_again() {
    let machine = Machine::new();
    machine.once();
    let config = std::fs::read(machine.path("repository/config")).unwrap();
    let manifests = std::fs::read_to_string(machine.path("manifests/all.yaml")).unwrap();
    std::fs::write(
        machine.path("manifests/all.yaml"),
        manifests.replace(PASSWORD, "wrong"),
    )
    .unwrap();
    let output = machine.run(&["run", "--once", "manifests"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        both(&output).contains("wrong password"),
        "{}",
        both(&output)
    );
    assert_eq!(
        std::fs::read(machine.path("repository/config")).unwrap(),
        config
    );
    let session = machine.sessions().pop().unwrap();
    assert_eq!(phase(&session), "Failed");
}

#[test]
fn hooks_run_around_the_backup_and_a_failed_pre_hook_stops_it() {
    let machine = Machine::new();
    let log = machine.path("log");
    let hooks = |pre: &str| {
        format!(
            "  hooks:
    preBackup: {{exec: {{command: [sh, -c, '{pre}']}}}}
    postBackup:
      exec: {{command: [sh, -c, 'echo post $1 >> {log}', hook, '{{{{ .Status.Phase }}}}']}}
      executionPolicy: Always
",
            log = log.display()
        )
    };
    machine.write_manifests("@daily", &hooks(&format!("echo pre >> {}", log.display())));
    machine.once();
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        "pre\npost Succeeded\n"
    );

    machine.write_manifests("@daily", &hooks("echo no database >&2; exit 3"));
    let output = machine.run(&["run", "--once", "manifests"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(both(&output).contains("no database"), "{}", both(&output));
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .ends_with("post Failed\n")
    );
    assert_eq!(
        machine.json(&["get", "repository", "local", "-o", "json"])["status"]["snapshotCount"],
        1
    );
}

#[test]
fn a_failed_session_is_tried_again_as_often_as_it_may() {
    let machine = Machine::new();
    machine.write_manifests(
        "@daily",
        "  retryConfig: {maxRetry: 2, delay: 100ms}
  backupHistoryLimit: 10
  hooks:
    preBackup: {exec: {command: ['false']}}
",
    );
    assert_eq!(
        machine.run(&["run", "--once", "manifests"]).status.code(),
        Some(1)
    );
    let sessions = machine.sessions();
    let left: Vec<_> = sessions
        .iter()
        .map(|session| session["spec"]["retryLeft"].as_i64().unwrap())
        .collect();
    assert_eq!(left, [2, 1, 0]);
    assert_eq!(
        sessions
            .iter()
            .filter(|session| session["status"]["retried"] == true)
            .count(),
        2
    );
}

#[test]
fn time_out_ends_a_session_that_takes_too_long() {
    let machine = Machine::new();
    machine.write_manifests(
        "@daily",
        "  timeOut: 1s\n  hooks:\n    preBackup: {exec: {command: [sleep, '60']}}\n",
    );
    let started = Instant::now();
    assert_eq!(
        machine.run(&["run", "--once", "manifests"]).status.code(),
        Some(1)
    );
    assert!(started.elapsed() < Duration::from_secs(30));
    let session = machine.sessions().pop().unwrap();
    let types: Vec<_> = session["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| condition["type"].clone())
        .collect();
    assert!(types.contains(&"DeadlineExceeded".into()), "{types:?}");
}

#[test]
fn the_history_keeps_the_newest_sessions() {
    let machine = Machine::new();
    machine.write_manifests("@daily", "  backupHistoryLimit: 2\n");
    for _ in 0..4 {
        machine.once();
    }
    assert_eq!(machine.sessions().len(), 2);
}

#[test]
fn a_paused_configuration_is_left_out() {
    let machine = Machine::new();
    machine.write_manifests("@daily", "  paused: true\n");
    assert!(machine.once().contains("paused"));
    assert!(!machine.path("repository").exists());
}

#[test]
fn a_trigger_starts_a_session_and_a_signal_ends_the_controller_cleanly() {
    let machine = Machine::new();
    machine.write_manifests("@yearly", "");
    let running = machine.start();
    let state = machine.path("state/state.sqlite");
    eventually("the state", || state.exists().then_some(()));
    eventually("the configuration", || {
        machine
            .run(&["get", "bc", "home"])
            .status
            .success()
            .then_some(())
    });
    let told = machine.ok(&["trigger", "home", "--wait"]);
    assert!(told.contains("Succeeded"), "{told}");
    let second = machine.run(&["run", "manifests"]);
    assert!(
        both(&second).contains("Another `stash run`"),
        "{}",
        both(&second)
    );
    running.signal(nix::sys::signal::Signal::SIGTERM);
    let output = running.wait();
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(machine.lock_files(), 0);
    let refused = machine.run(&["trigger", "home"]);
    assert!(
        both(&refused).contains("No `stash run` is at work"),
        "{}",
        both(&refused)
    );
}

#[test]
fn a_schedule_fires_by_the_clock() {
    let machine = Machine::new();
    machine.write_manifests("@every 2s", "  backupHistoryLimit: 10\n");
    let running = machine.start();
    eventually("two sessions", || {
        let output = machine.run(&["get", "backupsessions", "-o", "json"]);
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let good = list["items"]
            .as_array()?
            .iter()
            .filter(|session| phase(session) == "Succeeded")
            .count();
        (good >= 2).then_some(())
    });
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait();
}

#[test]
fn a_killed_run_leaves_nothing_that_a_person_must_clean() {
    let machine = Machine::new();
    machine.write_manifests("@daily", "  backupHistoryLimit: 5\n");
    machine.once();
    let source = machine.path("source");
    let mut random = Random::from_environment();
    let rounds = if std::env::var_os("STASH_TEST_LONG").is_some() {
        100
    } else {
        10
    };
    for round in 0..rounds {
        write(&source, "changing", &"x".repeat(round * 4096));
        let mut child = machine
            .command(&["run", "--once", "manifests"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.below(400)));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let last = machine.once();
    assert!(last.contains("Succeeded"), "{last}");
    let open = machine
        .sessions()
        .iter()
        .filter(|session| ["Pending", "Running", ""].contains(&phase(session)))
        .count();
    assert_eq!(open, 0, "no session is left open");
    assert_eq!(machine.lock_files(), 0);
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    restic
        .repository(machine.path("repository"), PASSWORD)
        .assert_check_is_clean();
    machine.write_restore("back", "[{}]");
    machine.ok(&["run", "--once", "manifests/all.yaml", "manifests/back.yaml"]);
    let back = machine.path("back").join(source.strip_prefix("/").unwrap());
    assert_same_tree(&source, &back, &CompareOptions::default());
}

#[test]
fn every_problem_is_told_at_once_and_nothing_is_started() {
    let machine = Machine::new();
    let folder = machine.folder.path().display();
    std::fs::write(
        machine.path("manifests/all.yaml"),
        format!(
            "apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {{name: local, namespace: demo}}
spec:
  backend:
    local: {{hostPath: {{path: {folder}/repository}}, mountPath: /stash}}
    s3: {{endpoint: s3.example.org, bucket: b}}
    storageSecretName: absent
---
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {{name: home, namespace: demo}}
spec:
  schedule: 'every day'
  repository: {{name: local}}
  target: {{pathes: [/srv], args: [--verbose]}}
  retentionPolicy: {{name: nothing, prune: true}}
"
        ),
    )
    .unwrap();
    for verb in [
        &["validate", "manifests"][..],
        &["run", "--once", "manifests"],
    ] {
        let output = machine.run(verb);
        assert_eq!(output.status.code(), Some(1));
        let text = both(&output);
        for part in [
            "/stash",
            "absent",
            "--verbose",
            "every day",
            "pathes",
            "keeps nothing",
            "all.yaml",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
    assert!(!machine.path("state").exists() && !machine.path("repository").exists());
}

#[test]
fn an_unreadable_file_fails_the_host_and_is_named() {
    let machine = Machine::new();
    if testkit::is_root() {
        testkit::skip("root can read every file");
        return;
    }
    let secret = machine.path("source/secret");
    std::fs::write(&secret, "x").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let output = machine.run(&["run", "--once", "manifests"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(both(&output).contains("secret"), "{}", both(&output));
}

#[test]
fn settings_that_give_no_storage_are_refused_before_anything_starts() {
    let machine = Machine::new();
    let manifests = std::fs::read_to_string(machine.path("manifests/all.yaml")).unwrap();
    let local = manifests
        .lines()
        .find(|line| line.contains("local: {"))
        .unwrap()
        .to_owned();
    let manifests = manifests.replace(&local, "    rest: {url: 'ftp://127.0.0.1:1/'}");
    std::fs::write(machine.path("manifests/all.yaml"), manifests).unwrap();
    let output = machine.run(&["run", "--once", "manifests"]);
    assert_eq!(output.status.code(), Some(1));
    let text = both(&output);
    assert!(
        text.contains("the backend rest cannot be used") || text.contains("spec.backend.rest"),
        "{text}"
    );
    assert!(!machine.path("state").exists());
}

#[test]
fn a_repository_that_vanished_is_told_and_not_made_again() {
    let machine = Machine::new();
    machine.once();
    std::fs::rename(machine.path("repository"), machine.path("unmounted")).unwrap();
    let output = machine.run(&["run", "--once", "manifests"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        both(&output).contains("is its volume mounted?"),
        "{}",
        both(&output)
    );
    assert!(!machine.path("repository").exists());
    std::fs::rename(machine.path("unmounted"), machine.path("repository")).unwrap();
    machine.once();
}

#[test]
fn a_repository_that_moves_to_another_folder_begins_there() {
    let machine = Machine::new();
    machine.once();
    let manifests = std::fs::read_to_string(machine.path("manifests/all.yaml")).unwrap();
    let moved = manifests.replace("/repository}", "/elsewhere}");
    assert_ne!(manifests, moved);
    std::fs::write(machine.path("manifests/all.yaml"), moved).unwrap();
    machine.once();
    assert!(machine.path("elsewhere/config").exists());
}
