//! Listing snapshots, entry by entry and field by field, with restic.

use std::fs;

use archive::ls::{FoundNode, ListOptions, ListedNode, list};
use repository::tree::Node;
use tokio_util::sync::CancellationToken;

use crate::scene::Scene;

async fn listed(scene: &Scene, options: &ListOptions) -> Vec<(Vec<u8>, Node)> {
    let (repository, snapshot) = (scene.open().await, scene.snapshot("latest").await);
    let mut listed = Vec::new();
    let mut note = |path: &[u8], node: &Node| listed.push((path.to_vec(), node.clone()));
    list(
        &repository,
        &snapshot.tree,
        options,
        &mut note,
        &CancellationToken::new(),
    )
    .await
    .unwrap();
    listed
}

/// JSON whose texts are plain: those that are no UTF-8 are replaced by other marks in other programs.
fn plain(json: Vec<serde_json::Value>) -> Vec<String> {
    let texts = json.into_iter().map(|value| value.to_string());
    texts.filter(|text| !text.contains('\u{fffd}')).collect()
}

#[tokio::test]
async fn all_fields_are_those_of_restic_in_their_order() {
    let Some(scene) = Scene::new() else { return };
    testkit::build_everything_tree(&scene.source(), 21);
    scene.back_up();
    let ours = listed(&scene, &ListOptions::default()).await;
    let theirs = scene.restic.run(["ls", "--json", "latest"]).json_lines();
    let theirs = theirs
        .into_iter()
        .filter(|line| line["message_type"] == "node")
        .collect();
    let json =
        |(path, node): &(Vec<u8>, Node)| serde_json::to_value(ListedNode::new(path, node)).unwrap();
    assert_eq!(plain(ours.iter().map(json).collect()), plain(theirs));

    let found = scene.restic.run(["find", "--json", "*"]).json();
    let found = found[0]["matches"].as_array().unwrap().clone();
    let json =
        |(path, node): &(Vec<u8>, Node)| serde_json::to_value(FoundNode::new(path, node)).unwrap();
    assert_eq!(plain(ours.iter().map(json).collect()), plain(found));
}

#[tokio::test]
async fn directories_are_listed_as_restic_lists_them() {
    let Some(scene) = Scene::new() else { return };
    for name in ["a/b/c", "a/b2", "ab/c"] {
        fs::create_dir_all(scene.source().join(name)).unwrap();
        fs::write(scene.source().join(name).join("file"), name).unwrap();
    }
    scene.back_up();
    for directories in [
        &[][..],
        &["/a"],
        &["/a/b"],
        &["/a/b", "/ab"],
        &["/"],
        &["/none"],
        &["/a/"],
        &["/a/b/c/file"],
    ] {
        for recursive in [false, true] {
            let options = ListOptions {
                directories: directories
                    .iter()
                    .map(|path| path.as_bytes().to_vec())
                    .collect(),
                recursive,
            };
            let ours: Vec<_> = listed(&scene, &options)
                .await
                .into_iter()
                .map(|(path, _)| String::from_utf8(path).unwrap())
                .collect();
            let mut arguments = vec!["ls", "--quiet", "latest"];
            if recursive {
                arguments.push("--recursive");
            }
            arguments.extend(directories);
            let theirs = scene.restic.run(arguments).stdout_text();
            let theirs: Vec<_> = theirs
                .lines()
                .filter(|line| line.starts_with('/'))
                .collect();
            assert_eq!(ours, theirs, "{directories:?} {recursive}");
        }
    }
}
