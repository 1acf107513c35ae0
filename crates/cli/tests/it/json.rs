//! The shapes of `--json`, key by key those of restic on the same repository.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scene::Scene;

/// Types in the place of values: two results of the same shape become equal.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
        // Elements may differ in what they leave out, so that the set of shapes counts.
        Value::Array(items) => {
            let shapes: BTreeSet<String> = items.iter().map(|item| sorted(&shape(item))).collect();
            shapes.into_iter().map(Value::String).collect()
        }
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

/// The text of a value with its keys in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let map: std::collections::BTreeMap<&String, String> = map
                .iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            format!("{map:?}")
        }
        other => other.to_string(),
    }
}

fn assert_same_shape(ours: &Value, theirs: &Value, what: &str) {
    assert_eq!(
        sorted(&shape(ours)),
        sorted(&shape(theirs)),
        "{what}\nours {ours}\ntheirs {theirs}"
    );
}

/// Two snapshots, the second with something new, something changed and something gone.
fn scene() -> Scene {
    let scene = Scene::with_snapshot();
    scene.write("notes.txt", b"second\n");
    scene.write("new/file", b"new");
    std::fs::remove_file(scene.source().join("folder/big.bin")).unwrap();
    std::os::unix::fs::symlink("notes.txt", scene.source().join("link")).unwrap();
    scene.back_up();
    scene
}

#[test]
fn reading_verbs_print_what_restic_prints() {
    let scene = scene();
    let Some(restic) = scene.beside() else { return };
    let ids = scene.snapshots();
    let blob = first_word_after(&restic.run(["list", "blobs"]).stdout_text(), "data");
    let tree = first_word_after(&restic.run(["list", "blobs"]).stdout_text(), "tree");
    for arguments in [
        vec!["snapshots", "--json"],
        vec!["snapshots", "--json", "--group-by", "host"],
        vec!["snapshots", "--json", "--latest", "1"],
        vec!["snapshots", "--json", &ids[0]],
        vec!["stats", "--json"],
        vec!["stats", "--json", "--mode", "files-by-contents"],
        vec!["stats", "--json", "--mode", "blobs-per-file"],
        vec!["stats", "--json", "--mode", "raw-data"],
        vec!["find", "--json", "notes*", "link"],
        vec!["find", "--json", "nothing"],
        vec!["find", "--json", "--blob", &blob],
        vec!["find", "--json", "--tree", &tree],
        vec!["check", "--json"],
        vec!["key", "list", "--json"],
        vec!["forget", "--json", "--dry-run", "--keep-last", "1"],
        vec!["cat", "config"],
        vec!["cat", "snapshot", &ids[0]],
    ] {
        let (ours, theirs) = (scene.stash(&arguments), restic.run(&arguments));
        ours.assert_code(theirs.code);
        let (ours, theirs) = (
            without_counters(ours.json()),
            without_counters(theirs.json()),
        );
        assert_same_shape(&ours, &theirs, &arguments.join(" "));
        let is_timeless = !["stats", "key"].contains(&arguments[0]);
        if is_timeless {
            assert_eq!(ours, theirs, "{arguments:?}");
        }
    }
    for arguments in [
        vec!["ls", "--json", "latest"],
        vec!["ls", "--json", "latest", "/source/new"],
        vec!["diff", "--json", &ids[0], &ids[1]],
        vec!["diff", "--json", "--metadata", &ids[0], &ids[1]],
    ] {
        let (ours, theirs) = (scene.stash(&arguments), restic.run(&arguments));
        ours.assert_code(theirs.code);
        assert_eq!(ours.messages(), theirs.json_lines(), "{arguments:?}");
    }
}

fn without_counters(mut value: Value) -> Value {
    // Counters in reasons are those of 0.18; 0.19 leaves them out.
    for group in value.as_array_mut().into_iter().flatten() {
        for reason in group
            .get_mut("reasons")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            reason.as_object_mut().unwrap().remove("counters");
        }
    }
    value
}

fn first_word_after(text: &str, word: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(word)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn init_says_what_restic_says() {
    let (ours, theirs) = (Scene::empty(), Scene::empty());
    let Some(restic) = theirs.beside() else {
        return;
    };
    let ours = ours.stash(["init", "--json"]).assert_code(0).json();
    assert_same_shape(&ours, &restic.run(["init", "--json"]).json(), "init");
}

#[test]
fn backup_prints_what_restic_prints() {
    for arguments in [
        vec!["backup", "--json", "source"],
        vec!["backup", "--json", "-vv", "source"],
        vec!["backup", "--json", "--dry-run", "-vv", "source"],
    ] {
        let (ours, theirs) = (scene(), scene());
        let Some(restic) = theirs.beside() else {
            return;
        };
        for scene in [&ours, &theirs] {
            scene.write("folder/more", b"more");
        }
        let ours = ours.stash(&arguments);
        let mut command = restic.command(&arguments);
        let theirs = command.current_dir(theirs.scratch.path()).output().unwrap();
        ours.assert_code(theirs.status.code().unwrap());
        let mut theirs = messages(&theirs.stdout);
        if arguments.contains(&"--dry-run") {
            // restic names a snapshot that does not exist.
            for message in &mut theirs {
                message.as_object_mut().unwrap().remove("snapshot_id");
            }
        }
        assert_eq!(known(&ours.messages()), known(&theirs), "{arguments:?}");
        let numbers = |messages: &[Value]| {
            let summary = messages
                .iter()
                .find(|message| message["message_type"] == "summary")
                .unwrap()
                .clone();
            [
                "files_new",
                "files_changed",
                "files_unmodified",
                "dirs_new",
                "dirs_changed",
                "dirs_unmodified",
                "data_blobs",
                "tree_blobs",
                "total_files_processed",
                "total_bytes_processed",
            ]
            .map(|field| summary[field].clone())
        };
        assert_eq!(numbers(&ours.messages()), numbers(&theirs), "{arguments:?}");
    }
}

fn messages(stdout: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The shapes of messages with their action and item; status messages come by the clock and are left out.
fn known(messages: &[Value]) -> BTreeSet<String> {
    let told = messages
        .iter()
        // Ours alone, on stderr, of a type of its own.
        .filter(|message| message["message_type"] != "storage_usage")
        .filter(|message| message["message_type"] != "status");
    told.map(|message| {
        let word = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {} {}",
            word("message_type"),
            word("action"),
            word("item"),
            sorted(&shape(message))
        )
    })
    .collect()
}

#[test]
fn restore_prints_what_restic_prints() {
    let scene = scene();
    let Some(restic) = scene.beside() else { return };
    for arguments in [
        vec!["restore", "latest", "--json", "-vv", "--target", "out"],
        vec!["restore", "latest", "--json", "-vv", "--target", "out"],
        vec![
            "restore",
            "latest",
            "--json",
            "--target",
            "out",
            "--dry-run",
            "--delete",
            "-vv",
        ],
        vec![
            "restore",
            "latest:source",
            "--json",
            "--target",
            "other",
            "--include",
            "/new",
        ],
    ] {
        let ours_at = scene.scratch.folder("ours");
        let theirs_at = scene.scratch.folder("theirs");
        let mut command = scene.command(&arguments);
        let ours = crate::scene::run(
            {
                command.current_dir(ours_at);
                command
            },
            &[],
        );
        let theirs = restic
            .command(&arguments)
            .current_dir(theirs_at)
            .output()
            .unwrap();
        ours.assert_code(theirs.status.code().unwrap());
        assert_eq!(
            known(&ours.messages()),
            known(&messages(&theirs.stdout)),
            "{arguments:?}"
        );
    }
}

#[test]
fn failures_say_what_restic_says() {
    let scene = Scene::with_snapshot();
    let Some(restic) = scene.beside() else { return };
    for arguments in [
        vec!["forget", "--json"],
        vec!["restore", "nosuch", "--target", "x", "--json"],
        vec!["init", "--json"],
        vec!["backup", "missing", "--json"],
    ] {
        let (ours, theirs) = (scene.stash(&arguments), restic.run(&arguments));
        ours.assert_code(theirs.code);
        let theirs = messages(&theirs.stderr);
        let theirs = theirs
            .iter()
            .find(|message| message["message_type"] == "exit_error");
        if let Some(theirs) = theirs {
            assert_same_shape(&ours.message("exit_error"), theirs, &arguments.join(" "));
            assert_eq!(ours.message("exit_error")["code"], theirs["code"]);
        }
    }
}
