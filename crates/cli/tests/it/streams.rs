//! Streams in and out: stdin, commands, lists of files, archives, closed pipes.

use std::io::Read;
use std::process::Command;

use crate::scene::{Scene, run};

#[test]
fn a_stream_is_saved_and_dumped_byte_for_byte() {
    let scene = Scene::new();
    let content = testkit::Random::new(5).bytes(5 << 20);
    scene
        .stash_with_input(
            ["backup", "--stdin", "--stdin-filename", "dumps/db.sql"],
            &content,
        )
        .assert_code(0);
    assert!(
        scene
            .stash(["dump", "latest", "/dumps/db.sql"])
            .assert_code(0)
            .stdout
            == content
    );
    let command = [
        "backup",
        "--stdin-from-command",
        "--stdin-filename",
        "said",
        "--",
        "sh",
        "-c",
        "echo hello",
    ];
    scene.stash(command).assert_code(0);
    assert_eq!(
        scene
            .stash(["dump", "latest", "said"])
            .assert_code(0)
            .stdout,
        b"hello\n"
    );
}

#[test]
fn a_command_that_fails_leaves_no_snapshot() {
    let scene = Scene::new();
    for command in ["echo half; exit 3", "kill -9 $$"] {
        let output = scene.stash(["backup", "--stdin-from-command", "--", "sh", "-c", command]);
        output.assert_code(1);
    }
    scene
        .stash(["backup", "--stdin-from-command", "--", "/no/such/program"])
        .assert_code(1);
    assert!(scene.snapshots().is_empty());
    assert!(scene.locks() == 0);
}

#[test]
fn a_dump_stops_quietly_when_its_reader_has_gone() {
    let scene = Scene::new();
    scene.write("large", &testkit::Random::new(6).bytes(30 << 20));
    scene.back_up();
    for arguments in [
        vec!["dump", "latest", "/source/large"],
        vec!["dump", "latest", "/source"],
        vec!["ls", "latest"],
    ] {
        let mut child = scene.command(&arguments).spawn().unwrap();
        let mut first = [0; 4];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        child.wait().unwrap();
        assert_eq!(said, "", "{arguments:?}");
        assert!(scene.locks() == 0);
    }
}

#[test]
fn a_folder_comes_as_tar_or_zip_and_a_target_file_appears_only_when_complete() {
    let scene = Scene::with_snapshot();
    let folder = scene.scratch.folder("unpacked");
    scene
        .stash(["dump", "--target", "out.tar", "latest", "/source"])
        .assert_code(0);
    let archive = scene.scratch.join("out.tar");
    let status = Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(&folder)
        .status()
        .unwrap();
    assert!(status.success());
    let notes = std::fs::read(folder.join("source/notes.txt")).unwrap();
    assert_eq!(notes, b"first\n");
    let zip = scene.stash(["dump", "--archive", "zip", "latest", "/source"]);
    assert!(zip.assert_code(0).stdout.starts_with(b"PK"));

    std::fs::remove_dir_all(scene.repository().join("data")).unwrap();
    std::fs::write(scene.scratch.join("kept.tar"), "as it was").unwrap();
    scene
        .stash(["dump", "--target", "kept.tar", "latest", "/source"])
        .assert_code(1);
    assert_eq!(
        std::fs::read(scene.scratch.join("kept.tar")).unwrap(),
        b"as it was"
    );
}

#[test]
fn lists_of_files_are_read_in_all_three_forms() {
    let scene = Scene::new();
    for name in ["a.txt", "b.txt", "c.log", "odd *name"] {
        scene.write(name, name.as_bytes());
    }
    std::fs::write(
        scene.scratch.join("patterns"),
        "# a comment\n source/*.txt \n\n",
    )
    .unwrap();
    std::fs::write(scene.scratch.join("verbatim"), "source/odd *name\n").unwrap();
    std::fs::write(scene.scratch.join("raw"), b"source/c.log\0").unwrap();
    let arguments = [
        "backup",
        "--files-from",
        "patterns",
        "--files-from-verbatim",
        "verbatim",
        "--files-from-raw",
        "raw",
    ];
    scene.stash(arguments).assert_code(0);
    let listed = scene.stash(["ls", "latest"]).stdout_text();
    for name in ["a.txt", "b.txt", "c.log", "odd *name"] {
        assert!(listed.contains(&format!("/source/{name}")), "{listed}");
    }
    let output = scene.stash_with_input(["backup", "--files-from", "-"], b"source/a.txt\n");
    output.assert_code(0);
    std::fs::write(scene.scratch.join("raw"), b"source/c.log\0source/a").unwrap();
    scene
        .stash(["backup", "--files-from-raw", "raw"])
        .assert_code(1);
}

#[test]
fn excludes_tags_host_and_time_reach_the_snapshot() {
    let scene = Scene::new();
    for name in [
        "keep",
        "drop.tmp",
        "Drop.BAK",
        "cache/CACHEDIR.TAG",
        "cache/x",
        "no/.nobackup",
        "no/x",
        "large",
    ] {
        let content: &[u8] = match name {
            "cache/CACHEDIR.TAG" => b"Signature: 8a477f597d28d172789f06886806bc55",
            "large" => &[1; 3000],
            _ => b"x",
        };
        scene.write(name, content);
    }
    let mut command = scene.command([
        "backup",
        "source",
        "--exclude",
        "*.tmp",
        "--iexclude",
        "*.bak",
        "--exclude-caches",
        "--exclude-if-present",
        ".nobackup",
        "--exclude-larger-than",
        "2k",
        "--tag",
        "a,b",
        "--tag",
        "c",
        "--time",
        "2020-02-29 12:00:00",
    ]);
    command.env("RESTIC_HOST", "elsewhere");
    run(command, &[]).assert_code(0);
    let listed = scene.stash(["ls", "latest"]).stdout_text();
    let names: Vec<&str> = listed.lines().skip(1).collect();
    assert_eq!(
        names,
        [
            "/source",
            "/source/cache",
            "/source/cache/CACHEDIR.TAG",
            "/source/keep",
            "/source/no",
            "/source/no/.nobackup"
        ]
    );
    let snapshot = &scene
        .stash(["snapshots", "--json", "--host", "elsewhere", "--tag", "a,c"])
        .json()[0];
    assert_eq!(snapshot["tags"], serde_json::json!(["a", "b", "c"]));
    assert!(
        snapshot["time"]
            .as_str()
            .unwrap()
            .starts_with("2020-02-29T12:00:00"),
        "{snapshot}"
    );
    assert_eq!(snapshot["excludes"], serde_json::json!(["*.tmp"]));
    assert_eq!(
        scene
            .stash(["snapshots", "--json", "--host", "other"])
            .json(),
        serde_json::json!([])
    );
}
