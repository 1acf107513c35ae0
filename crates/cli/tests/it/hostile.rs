//! Repositories whose writer means harm: names that lead out, sizes that overflow, trees and indexes that are no such
//! thing. Nothing is written outside the target, nothing panics, and memory stays bounded.

use std::fs;
use std::path::Path;

use backend::{FileKind, Handle};
use repository::snapshot::Snapshot;
use repository::tree::{Node, NodeKind, Tree};
use repository::{BlobHandle, BlobId, BlobKind};

use crate::support::{Bench, Ended, block_on};

/// Stores blobs; their ids.
fn save(bench: &Bench, blobs: Vec<(BlobKind, Vec<u8>)>) -> Vec<BlobId> {
    block_on(async {
        let indexed = bench.open().await.load_index().await.unwrap();
        let writer = indexed.writer();
        let saving = writer.clone();
        let work = move || {
            let ids = blobs.iter().map(|(kind, data)| saving.save(*kind, data));
            ids.map(|saved| saved.unwrap().id).collect()
        };
        let ids = tokio::task::spawn_blocking(work).await.unwrap();
        writer.finish().await.unwrap();
        ids
    })
}

fn save_snapshot(bench: &Bench, tree: BlobId) -> String {
    let json = format!(
        r#"{{"time":"2026-01-01T00:00:00Z","tree":"{tree}","paths":["{}"],"hostname":"h"}}"#,
        bench.source().display()
    );
    let snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
    block_on(async { snapshot.save(&bench.open().await).await })
        .unwrap()
        .to_string()
}

fn file(name: &[u8], content: BlobId, bytes: u64) -> Node {
    Node {
        mode: 0o644,
        size: bytes,
        links: 1,
        content: Some(vec![content]),
        ..Node::new(name, NodeKind::File)
    }
}

fn folder(name: &[u8], subtree: BlobId) -> Node {
    Node {
        mode: 0o755,
        subtree: Some(subtree),
        ..Node::new(name, NodeKind::Dir)
    }
}

fn link(name: &[u8], target: &str) -> Node {
    Node {
        mode: 0o777,
        link_target: target.into(),
        links: 1,
        ..Node::new(name, NodeKind::Symlink)
    }
}

fn save_tree(bench: &Bench, nodes: Vec<Node>) -> BlobId {
    save(bench, vec![(BlobKind::Tree, Tree { nodes }.to_json())])[0]
}

/// Runs `stash` with little address space, so that an allocation of what a file claims to hold would end it.
fn run_small(bench: &Bench, arguments: &[&str]) -> Ended {
    let stash = bench.command(arguments);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\""])
        .arg(stash.get_program())
        .args(stash.get_args())
        .env_clear()
        .current_dir(bench.source());
    for (name, value) in stash.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    Ended::of(&mut command)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Every verb that reads trees ends by itself, with an exit code of its own.
fn assert_all_verbs_survive(bench: &Bench, snapshot: &str) {
    // Without locks, each of which takes a fifth of a second.
    let verbs: [&[&str]; 8] = [
        &["ls", "--no-lock", "-l", snapshot],
        &["ls", "--no-lock", "--json", snapshot],
        &["find", "--no-lock", "*"],
        &["dump", "--no-lock", snapshot, "/"],
        &["diff", "--no-lock", snapshot, snapshot],
        &["stats", "--no-lock", "--mode", "blobs-per-file"],
        &["check", "--no-lock", "--read-data"],
        &["prune", "--dry-run"],
    ];
    for verb in verbs {
        let ended = run_small(bench, verb);
        assert!([0, 1, 3].contains(&ended.code), "{ended}");
    }
}

#[test]
fn names_that_lead_out_of_the_target_are_refused() {
    let bench = Bench::new(2);
    fs::write(bench.source().join("own"), "own").unwrap();
    let content = save(&bench, vec![(BlobKind::Data, b"content".to_vec())])[0];
    let inner = save_tree(&bench, vec![file(b"evil", content, 7)]);
    let deep = save_tree(&bench, vec![folder(b"..", inner)]);
    let away = bench.scratch.folder("away");
    let away = away.to_str().unwrap();
    let hostile = [
        vec![file(b"..", content, 7)],
        vec![folder(b"..", inner)],
        vec![folder(b"sub", deep)],
        vec![folder(b".", inner)],
        vec![file(b"a/b", content, 7)],
        vec![file(b"../escape", content, 7)],
        vec![file(b"/tmp/stash-escape", content, 7)],
        vec![link(b"../link", away)],
        vec![file(b"", content, 7)],
        vec![file(b"nul\0byte", content, 7)],
        vec![link(b"x", away), folder(b"x", inner)],
        vec![folder(b"x", inner), link(b"x", away)],
    ];
    for nodes in hostile {
        let shown = format!("{nodes:?}");
        let with_good = [nodes, vec![file(b"zz-good", content, 7)]].concat();
        let snapshot = save_snapshot(&bench, save_tree(&bench, with_good));
        let outer = bench.scratch.folder("outer");
        let target = outer.join("target");
        let folder = target.to_str().unwrap();
        for more in [&[][..], &["--delete"], &["--overwrite", "if-changed"]] {
            let restore = ["restore", "--no-lock", &snapshot, "--target", folder];
            let arguments = [&restore[..], more].concat();
            let ended = run_small(&bench, &arguments);
            assert!([1, 3].contains(&ended.code), "{shown}: {ended}");
            assert_eq!(names(&outer), ["target"], "{shown}");
            assert!(names(Path::new(away)).is_empty(), "{shown}");
            assert!(!Path::new("/tmp/stash-escape").exists());
            assert!(!bench.scratch.join("escape").exists());
        }
        assert_all_verbs_survive(&bench, &snapshot);
        fs::remove_dir_all(&outer).unwrap();
        bench.run(["forget", &snapshot]).assert_code(0);
    }
}

#[test]
fn sizes_that_overflow_are_errors_of_their_files() {
    let bench = Bench::new(2);
    let content = save(&bench, vec![(BlobKind::Data, b"content".to_vec())])[0];
    let huge = |name: &[u8], bytes| file(name, content, bytes);
    let many = Node {
        content: Some(vec![content; 100_000]),
        ..file(b"many", content, u64::MAX / 2)
    };
    let nodes = vec![
        huge(b"a", u64::MAX),
        huge(b"b", u64::MAX),
        huge(b"c", 1 << 62),
        file(b"good", content, 7),
        many,
    ];
    let snapshot = save_snapshot(&bench, save_tree(&bench, nodes));
    let target = bench.scratch.join("target");
    let folder = target.to_str().unwrap();
    let ended = run_small(
        &bench,
        &["restore", "--no-lock", &snapshot, "--target", folder],
    );
    assert!([1, 3].contains(&ended.code), "{ended}");
    assert_eq!(fs::read(target.join("good")).unwrap(), b"content");
    assert_all_verbs_survive(&bench, &snapshot);
    for kind in ["zip", "tar"] {
        let arguments = ["dump", "--no-lock", "--archive", kind, &snapshot, "/"];
        let ended = run_small(&bench, &arguments);
        assert!([0, 1].contains(&ended.code), "{kind}: {}", ended.stderr);
    }
}

#[test]
fn trees_that_are_no_trees_are_told_with_their_name() {
    let bench = Bench::new(2);
    let name = |number: &str| format!(r#"{{"nodes":[{{"name":"x","type":"file",{number}}}]}}"#);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let broken = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{\"nodes\":5}".to_owned(),
        "{\"nodes\":[5]}".to_owned(),
        format!("{{\"nodes\":{deep}}}"),
        name(r#""size":99999999999999999999999"#),
        name(r#""size":-1"#),
        name(r#""size":1e30"#),
        name(r#""uid":4294967296"#),
        name(r#""mtime":"99999-99-99T99:99:99Z""#),
        name(r#""content":["zz"]"#),
        name(r#""content":"null""#),
    ];
    for (number, json) in broken.into_iter().enumerate() {
        let shown: String = json.chars().take(80).collect();
        // Blanks at the end make each a blob of its own.
        let json = json + &" ".repeat(number);
        let tree = save(&bench, vec![(BlobKind::Tree, json.into_bytes())])[0];
        let snapshot = save_snapshot(&bench, tree);
        let target = bench.scratch.join("target");
        let folder = target.to_str().unwrap();
        let ended = run_small(
            &bench,
            &["restore", "--no-lock", &snapshot, "--target", folder],
        );
        // An empty list of entries is a tree, whatever stands for it.
        let is_refused = [1, 3].contains(&ended.code);
        assert!(is_refused || shown == "null", "{shown}: {ended}");
        assert!(
            !is_refused || ended.text().contains(&tree.to_string()[..8]),
            "{shown}: {ended}"
        );
        assert_all_verbs_survive(&bench, &snapshot);
        bench.run(["forget", &snapshot]).assert_code(0);
    }
}

#[test]
fn indexes_that_lie_are_errors_and_take_no_memory() {
    let bench = Bench::new(2);
    let data = b"content that compresses ".repeat(2000);
    let bytes = u64::try_from(data.len()).unwrap();
    let content = save(&bench, vec![(BlobKind::Data, data)])[0];
    let snapshot = save_snapshot(&bench, save_tree(&bench, vec![file(b"x", content, bytes)]));
    let old = bench.files_in("index");
    let originals: Vec<_> = old.iter().map(|path| fs::read(path).unwrap()).collect();
    let (location, tree_index) = block_on(async {
        let repository = bench.open().await;
        let indexed = repository.load_index().await.unwrap();
        let handle = BlobHandle {
            kind: BlobKind::Data,
            id: content,
        };
        let mut trees = Vec::new();
        for (id, _) in repository.list(FileKind::Index).await.unwrap() {
            let json = repository.load_unpacked(FileKind::Index, &id).await;
            let json = String::from_utf8(json.unwrap()).unwrap();
            if !json.contains(&content.to_string()) {
                trees.push(id);
            }
        }
        (indexed.lookup(&handle).unwrap(), trees)
    });
    assert_eq!(
        tree_index.len(),
        1,
        "the tree was stored by a second writer"
    );
    let pack = location.pack;
    let (offset, length) = (location.offset, location.length);
    let max = u32::MAX;
    let lies = [
        (offset, length, max),
        (offset, length, 1),
        (offset, length, 0),
        (0, max - 1, 100),
        (max - 100, 90, 1000),
        (max, max, max),
        (offset, 0, 5),
        (offset, 31, 5),
        (offset + 1, length - 1, 48_000),
    ];
    for (offset, length, uncompressed) in lies {
        let json = format!(
            r#"{{"packs":[{{"id":"{pack}","blobs":[{{"id":"{content}","type":"data","offset":{offset},"length":{length},"uncompressed_length":{uncompressed}}}]}}]}}"#
        );
        let name = block_on(async {
            let repository = bench.open().await;
            let saved = repository
                .save_unpacked(FileKind::Index, json.as_bytes())
                .await
                .unwrap();
            for (id, _) in repository.list(FileKind::Index).await.unwrap() {
                if id != saved && !tree_index.contains(&id) {
                    let handle = Handle::new(FileKind::Index, id.to_hex());
                    repository.backend().remove(&handle).await.unwrap();
                }
            }
            saved
        });
        let target = bench.scratch.join("target");
        let folder = target.to_str().unwrap();
        let ended = run_small(
            &bench,
            &["restore", "--no-lock", &snapshot, "--target", folder],
        );
        assert!([1, 3].contains(&ended.code), "{json}: {ended}");
        run_small(&bench, &["check", "--no-lock", "--read-data"]).assert_code(1);
        assert_all_verbs_survive(&bench, &snapshot);
        // Whatever prune makes of it, it must not remove what the snapshot needs.
        let ended = run_small(&bench, &["prune", "--max-unused", "0"]);
        assert!([0, 1].contains(&ended.code), "{ended}");
        assert!(
            pack_file(&bench, &pack.to_hex()).exists(),
            "{json}: {ended}"
        );
        let _ = fs::remove_file(bench.repository().join("index").join(name.to_hex()));
    }
    // With its own index back, everything is.
    for (path, original) in old.iter().zip(originals) {
        if !path.exists() {
            fs::write(path, original).unwrap();
        }
    }
    bench.run(["check", "--read-data"]).assert_code(0);
    let target = bench.restore(&snapshot, "whole");
    assert_eq!(fs::metadata(target.join("x")).unwrap().len(), bytes);
}

fn pack_file(bench: &Bench, name: &str) -> std::path::PathBuf {
    bench.repository().join("data").join(&name[..2]).join(name)
}
