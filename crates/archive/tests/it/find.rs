//! Finding entries and objects, compared with restic, and walking a snapshot as `ls` does.

use std::collections::BTreeSet;
use std::fs;

use archive::filter::{Case, PatternList};
use archive::find::{FindQuery, ObjectQuery, find, find_objects};
use archive::walk::{Step, TreeWalk, WalkError, find_tree, path_text};
use repository::BlobKind;
use repository::snapshot::Snapshot;
use tokio_util::sync::CancellationToken;

use crate::scene::Scene;

fn prepared() -> Option<Scene> {
    let scene = Scene::new()?;
    let source = scene.source();
    testkit::build_plain_tree(&source, 4, 40);
    fs::create_dir_all(source.join("Some/Deep/folder")).unwrap();
    for name in [
        "Some/Deep/folder/File.TXT",
        "Some/file.txt",
        "Some/Deep/old.txt",
    ] {
        fs::write(source.join(name), name).unwrap();
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let file = fs::File::options()
        .write(true)
        .open(source.join("Some/Deep/old.txt"))
        .unwrap();
    file.set_modified(old).unwrap();
    scene.back_up();
    Some(scene)
}

async fn found(scene: &Scene, query: &FindQuery) -> Vec<String> {
    let (repository, snapshot) = (scene.open().await, scene.snapshot("latest").await);
    let mut paths = Vec::new();
    let mut note = |path: &[u8], _: &repository::tree::Node| paths.push(path_text(path));
    find(
        &repository,
        &snapshot.tree,
        query,
        &mut note,
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    paths
}

fn found_by_restic(scene: &Scene, arguments: &[&str]) -> Vec<String> {
    let output = scene
        .restic
        .run([&["find", "--json"], arguments].concat())
        .json();
    let Some(matches) = output[0]["matches"].as_array() else {
        return Vec::new();
    };
    matches
        .iter()
        .map(|found| found["path"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn patterns_find_what_restic_finds() {
    let Some(scene) = prepared() else { return };
    let patterns = [
        "*.txt",
        "file.txt",
        "Deep",
        "/Some/*/old*",
        "/Some/**/File.TXT",
        "nothing",
        "some",
    ];
    for case in [Case::Sensitive, Case::Insensitive] {
        for pattern in patterns {
            let query = FindQuery {
                patterns: PatternList::compile(&[pattern], case).unwrap(),
                ..FindQuery::default()
            };
            let mut arguments = vec![pattern];
            if case == Case::Insensitive {
                arguments.push("--ignore-case");
            }
            assert_eq!(
                found(&scene, &query).await,
                found_by_restic(&scene, &arguments),
                "{pattern} {case:?}"
            );
        }
    }
    let both = FindQuery {
        patterns: PatternList::compile(&["*.txt", "folder"], Case::Sensitive).unwrap(),
        ..FindQuery::default()
    };
    assert_eq!(
        found(&scene, &both).await,
        found_by_restic(&scene, &["*.txt", "folder"])
    );
}

#[tokio::test]
async fn times_limit_what_is_found() {
    let Some(scene) = prepared() else { return };
    let year = |year: i64| {
        Some(repository::time::Time::from_unix(
            (year - 1970) * 31_556_952,
            0,
            jiff::tz::Offset::UTC,
        ))
    };
    let patterns = || PatternList::compile(&["*.txt"], Case::Insensitive).unwrap();
    let older = FindQuery {
        patterns: patterns(),
        newest: year(2010),
        ..FindQuery::default()
    };
    assert_eq!(found(&scene, &older).await, ["/Some/Deep/old.txt"]);
    let newer = FindQuery {
        patterns: patterns(),
        oldest: year(2010),
        ..FindQuery::default()
    };
    assert_eq!(
        found(&scene, &newer).await,
        found_by_restic(&scene, &["-i", "*.txt", "--oldest", "2010-01-01"])
    );
}

type Found = BTreeSet<(String, String, String, String)>;

async fn objects(scene: &Scene, query: &ObjectQuery) -> Found {
    let (repository, snapshot) = (scene.open().await, scene.snapshot("latest").await);
    let mut objects = BTreeSet::new();
    let mut note = |found: archive::find::FoundObject| {
        let kind = if found.kind == BlobKind::Data {
            "blob"
        } else {
            "tree"
        };
        let parent = found
            .parent_tree
            .map(|tree| tree.to_hex())
            .unwrap_or_default();
        objects.insert((
            kind.to_owned(),
            found.id.to_hex(),
            path_text(&found.path),
            parent,
        ));
    };
    find_objects(
        &repository,
        &snapshot.tree,
        query,
        &mut note,
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    objects
}

fn objects_by_restic(scene: &Scene, arguments: &[&str]) -> Found {
    let output = scene
        .restic
        .run([&["find", "--json"], arguments].concat())
        .assert_success()
        .json();
    let text =
        |found: &serde_json::Value, key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let all = output.as_array().unwrap().iter();
    all.map(|found| {
        (
            text(found, "object_type"),
            text(found, "id"),
            text(found, "path"),
            text(found, "parent_tree"),
        )
    })
    .collect()
}

#[tokio::test]
async fn blobs_trees_and_packs_are_found_where_restic_finds_them() {
    let Some(scene) = prepared() else { return };
    let repository = scene.open().await;
    let snapshot = scene.snapshot("latest").await;
    let subtree = find_tree(&repository, &snapshot.tree, Some("Some/Deep"))
        .await
        .unwrap();
    let tree = repository.load_tree(&subtree).await.unwrap();
    let blob = tree.find(b"old.txt").unwrap().content.as_ref().unwrap()[0].to_hex();
    for id in [&blob[..8], &blob] {
        let query = ObjectQuery::blobs(&[id.to_owned()]).unwrap();
        assert_eq!(
            objects(&scene, &query).await,
            objects_by_restic(&scene, &["--blob", id])
        );
    }
    for tree in [subtree, snapshot.tree] {
        let query = ObjectQuery::trees(&[tree.to_hex()]).unwrap();
        assert_eq!(
            objects(&scene, &query).await,
            objects_by_restic(&scene, &["--tree", &tree.to_hex()])
        );
    }
    for pack in repository.index().packs() {
        let query = ObjectQuery::packs(&repository, &[pack.to_hex()]).unwrap();
        let ours = objects(&scene, &query).await;
        let theirs = objects_by_restic(&scene, &["--pack", &pack.to_hex()]);
        assert_eq!(ours, theirs);
    }
    assert!(ObjectQuery::packs(&repository, &["0".repeat(64)]).is_err());
}

async fn listed(scene: &Scene, snapshot: &Snapshot) -> Vec<(String, serde_json::Value)> {
    let mut walk = TreeWalk::new(&scene.open().await, snapshot.tree);
    let mut listed = Vec::new();
    while let Some(step) = walk.next().await {
        if let Step::Node { path, node, .. } = step {
            listed.push((
                path_text(&path),
                serde_json::json!({ "mode": node.go_mode(), "uid": node.uid }),
            ));
        }
    }
    listed
}

#[tokio::test]
async fn a_walk_meets_every_entry_in_the_order_of_restics_ls() {
    let Some(scene) = Scene::new() else { return };
    testkit::build_everything_tree(&scene.source(), 9);
    scene.back_up();
    let snapshot = scene.snapshot("latest").await;
    let theirs: Vec<_> = scene
        .restic
        .run(["ls", "--json", "latest"])
        .json_lines()
        .into_iter()
        .filter(|line| line["message_type"] == "node")
        .map(|node| {
            let path = node["path"].as_str().unwrap().to_owned();
            (path, serde_json::json!({ "mode": node["mode"].as_u64().unwrap_or_default(), "uid": node["uid"] }))
        })
        .collect();
    let ours = listed(&scene, &snapshot).await;
    // JSON cannot hold names that are not UTF-8; theirs are replaced as ours, if by other marks.
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if !ours.0.contains('\u{fffd}') {
            assert_eq!(ours, theirs);
        }
    }
}

#[tokio::test]
async fn a_path_that_does_not_exist_names_its_first_missing_part() {
    let Some(scene) = prepared() else { return };
    let (repository, snapshot) = (scene.open().await, scene.snapshot("latest").await);
    let error = find_tree(&repository, &snapshot.tree, Some("Some/none/x"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, WalkError::NotFound { path } if path == "/Some/none"),
        "{error}"
    );
    let error = find_tree(&repository, &snapshot.tree, Some("Some/file.txt/x"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, WalkError::NotADirectory { path, .. } if path == "/Some/file.txt"),
        "{error}"
    );
    assert_eq!(
        find_tree(&repository, &snapshot.tree, Some("/"))
            .await
            .unwrap(),
        snapshot.tree
    );
}
