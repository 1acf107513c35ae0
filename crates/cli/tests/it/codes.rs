//! Exit codes, one for each kind of failure, and what is said with them.

use std::fs;
use std::io::Write;

use crate::scene::{Scene, run};
use crate::support::{PASSWORD, eventually};

#[test]
fn a_folder_without_a_repository_is_10_and_stays_as_it_is() {
    let scene = Scene::empty();
    for verb in [
        vec!["snapshots"],
        vec!["backup", "source"],
        vec!["check"],
        vec!["prune"],
        vec!["key", "list"],
    ] {
        let output = scene.stash(&verb);
        output.assert_code(10);
        assert!(output.stderr_text().contains("stash init"), "{output}");
    }
    assert!(!scene.repository().exists());
}

#[test]
fn a_wrong_password_is_12_and_a_json_message_says_so() {
    let scene = Scene::new();
    let mut command = scene.command(["snapshots", "--json"]);
    command.env("RESTIC_PASSWORD", "wrong");
    let output = run(command, &[]);
    output.assert_code(12);
    assert_eq!(output.message("exit_error")["code"], 12);
}

#[test]
fn a_lock_of_somebody_else_is_11_and_names_its_holder() {
    let scene = Scene::with_snapshot();
    // A backup that waits for its input holds the lock.
    let mut command = scene.command(["backup", "--stdin"]);
    command.stdin(std::process::Stdio::piped());
    let mut holder = command.spawn().unwrap();
    wait_for(|| scene.locks() == 1);

    let output = scene.stash(["prune"]);
    output.assert_code(11);
    assert!(
        output.stderr_text().contains(&holder.id().to_string()),
        "{output}"
    );
    scene.stash(["forget", "--keep-last", "1"]).assert_code(11);
    scene.stash(["key", "remove", "abcd"]).assert_code(11);
    scene.stash(["snapshots"]).assert_code(0);
    scene.stash(["unlock"]).assert_code(0);
    assert_eq!(
        scene.files_in("locks").len(),
        1,
        "unlock removed the lock of a living process"
    );

    finish(&mut holder);
    assert_eq!(scene.locks(), 0);
}

#[test]
fn no_lock_is_for_readers_and_a_backup_takes_its_lock_all_the_same() {
    let scene = Scene::with_snapshot();
    let mut command = scene.command(["backup", "--stdin", "--no-lock"]);
    command.stdin(std::process::Stdio::piped());
    let mut holder = command.spawn().unwrap();
    wait_for(|| scene.locks() == 1);
    scene.stash(["prune"]).assert_code(11);
    finish(&mut holder);
}

#[test]
fn waiting_for_a_lock_ends_when_it_is_free() {
    let scene = Scene::with_snapshot();
    let mut command = scene.command(["backup", "--stdin"]);
    command.stdin(std::process::Stdio::piped());
    let mut holder = command.spawn().unwrap();
    wait_for(|| scene.locks() == 1);
    let waiting = scene.command(["prune", "--retry-lock", "1m"]);
    let waiting = std::thread::spawn(move || run(waiting, &[]));
    std::thread::sleep(std::time::Duration::from_millis(700));
    finish(&mut holder);
    waiting.join().unwrap().assert_code(0);
}

#[test]
fn files_that_cannot_be_read_are_3_and_listed() {
    let scene = Scene::new();
    scene.write("good", b"good");
    let output = scene.stash(["backup", "source", "missing", "--json"]);
    output.assert_code(3);
    let error = output.message("error");
    assert_eq!(error["item"], "missing");
    assert_eq!(error["during"], "archival");
    assert_eq!(output.message("exit_error")["code"], 3);
    assert_eq!(output.message("summary")["files_new"], 1);
    let output = scene.stash(["backup", "source", "missing"]);
    output.assert_code(3);
    assert!(output.stderr_text().contains("missing"), "{output}");
    assert_eq!(scene.snapshots().len(), 2, "what could be read is saved");
}

#[test]
fn mistakes_on_the_command_line_are_1() {
    let scene = Scene::with_snapshot();
    for mistake in [
        vec!["no-such-verb"],
        vec!["backup"],
        vec!["backup", "missing"],
        vec!["backup", "source", "--exclude-larger-than", "huge"],
        vec!["restore", "latest"],
        vec!["restore", "nosuch", "--target", "x"],
        vec![
            "restore",
            "latest",
            "--target",
            "x",
            "--include",
            "a",
            "--exclude",
            "b",
        ],
        vec!["check", "--read-data-subset", "3/2"],
        vec!["prune", "--max-unused", "120%"],
        vec!["dump", "latest", "/nosuch"],
        vec!["ls", "latest", "relative"],
        vec!["key", "remove", "abcd"],
        vec!["stats", "--mode", "nosuch"],
    ] {
        let output = scene.stash(&mistake);
        output.assert_code(1);
        assert!(!output.stderr.is_empty(), "{output}");
    }
    assert_eq!(scene.snapshots().len(), 1);
    assert!(!scene.scratch.join("x").exists());
}

#[test]
fn forget_without_a_policy_is_refused() {
    let scene = Scene::with_snapshot();
    for arguments in [
        vec!["forget"],
        vec!["forget", "--prune"],
        vec!["forget", "--keep-last", "0"],
        vec!["forget", "--unsafe-allow-remove-all"],
        vec!["forget", "--keep-tag", "nosuch"],
    ] {
        scene.stash(&arguments).assert_code(1);
    }
    assert_eq!(scene.snapshots().len(), 1);
}

#[test]
fn an_existing_repository_is_not_initialised_again() {
    let scene = Scene::with_snapshot();
    let config = fs::read(scene.repository().join("config")).unwrap();
    let keys = scene.files_in("keys");
    let output = scene.stash(["init", "--json"]);
    output.assert_code(1);
    assert_eq!(output.message("exit_error")["code"], 1);
    assert_eq!(fs::read(scene.repository().join("config")).unwrap(), config);
    assert_eq!(scene.files_in("keys"), keys);
}

#[test]
fn a_signal_is_130_and_leaves_no_lock_and_no_snapshot() {
    let scene = Scene::with_snapshot();
    for signal in ["INT", "TERM"] {
        let mut command = scene.command(["backup", "--stdin"]);
        command.stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        wait_for(|| scene.locks() == 1);
        let kill = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130));
        assert!(scene.locks() == 0, "{signal}");
        assert_eq!(scene.snapshots().len(), 1);
    }
}

#[test]
fn help_and_version_are_0_and_on_stdout() {
    let scene = Scene::empty();
    for arguments in [
        vec!["--help"],
        vec!["backup", "--help"],
        vec!["--version"],
        vec!["key", "add", "--help"],
    ] {
        let output = scene.stash(&arguments);
        output.assert_code(0);
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{output}"
        );
    }
    assert!(
        scene.stash(["crds"]).assert_code(0).json()["items"]
            .as_array()
            .unwrap()
            .len()
            >= 9
    );
    scene.stash(["completions", "bash"]).assert_code(0);
    scene.stash(["man"]).assert_code(0);
}

#[test]
fn a_password_can_come_from_a_file_or_a_command() {
    let scene = Scene::new();
    fs::write(scene.scratch.join("password"), format!("{PASSWORD}\n")).unwrap();
    for (variable, value) in [
        ("RESTIC_PASSWORD_FILE", "password"),
        ("RESTIC_PASSWORD_COMMAND", "cat 'password'"),
    ] {
        let mut command = scene.command(["snapshots"]);
        command.env_remove("RESTIC_PASSWORD").env(variable, value);
        run(command, &[]).assert_code(0);
    }
    let mut command = scene.command(["snapshots"]);
    command.env_remove("RESTIC_PASSWORD");
    let output = run(command, &[]);
    output.assert_code(1);
    assert!(output.stderr_text().contains("RESTIC_PASSWORD"), "{output}");
}

#[test]
fn keys_are_added_changed_and_removed() {
    let scene = Scene::with_snapshot();
    fs::write(scene.scratch.join("second"), "second").unwrap();
    let add = [
        "key",
        "add",
        "--new-password-file",
        "second",
        "--user",
        "bob",
        "--host",
        "h",
    ];
    scene.stash(add).assert_code(0);
    let keys = scene.stash(["key", "list", "--json"]).assert_code(0).json();
    let keys = keys.as_array().unwrap().clone();
    assert_eq!(keys.len(), 2);
    let (current, other): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key["current"] == true);
    assert_eq!(other[0]["userName"], "bob");
    scene
        .stash(["key", "remove", current[0]["id"].as_str().unwrap()])
        .assert_code(1);
    scene
        .stash(["key", "remove", other[0]["id"].as_str().unwrap()])
        .assert_code(0);
    scene
        .stash(["key", "passwd", "--new-password-file", "second"])
        .assert_code(0);
    scene.stash(["snapshots"]).assert_code(12);
    let mut command = scene.command(["snapshots"]);
    command.env("RESTIC_PASSWORD", "second");
    run(command, &[]).assert_code(0);
}

/// Gives a backup of standard input its input and waits for its end.
fn finish(child: &mut std::process::Child) {
    child.stdin.take().unwrap().write_all(b"some").unwrap();
    assert!(child.wait().unwrap().success());
}

fn wait_for(condition: impl Fn() -> bool) {
    eventually("it", || condition().then_some(()));
}
