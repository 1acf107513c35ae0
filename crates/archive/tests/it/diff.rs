//! Comparing snapshots, change by change and number by number, with restic.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use archive::diff::{DiffOptions, diff};
use archive::walk::find_tree;
use tokio_util::sync::CancellationToken;

use crate::scene::Scene;

/// The changes and the summary that we find, as restic writes them.
async fn compared(
    scene: &Scene,
    subfolder: Option<&str>,
    metadata: bool,
) -> (Vec<(String, String)>, serde_json::Value) {
    let repository = scene.open().await;
    let (from, to) = (
        scene.snapshot("latest~1").await,
        scene.snapshot("latest").await,
    );
    let from = find_tree(&repository, &from.tree, subfolder).await.unwrap();
    let to = find_tree(&repository, &to.tree, subfolder).await.unwrap();
    let mut changes = Vec::new();
    let mut note = |change: archive::diff::Change| {
        changes.push((
            String::from_utf8_lossy(&change.path).into_owned(),
            change.modifier,
        ));
    };
    let cancel = CancellationToken::new();
    let summary = diff(
        &repository,
        &from,
        &to,
        DiffOptions { metadata },
        &mut note,
        &cancel,
    )
    .await
    .unwrap();
    assert_eq!(summary.errors, Vec::<String>::new());
    (changes, serde_json::to_value(&summary).unwrap())
}

fn compared_by_restic(
    scene: &Scene,
    subfolder: &str,
    metadata: bool,
) -> (Vec<(String, String)>, serde_json::Value) {
    let snapshots = scene.restic.run(["snapshots", "--json"]).json();
    let id = |index: usize| format!("{}{subfolder}", snapshots[index]["id"].as_str().unwrap());
    let mut arguments = vec!["diff".to_owned(), "--json".to_owned(), id(0), id(1)];
    if metadata {
        arguments.push("--metadata".to_owned());
    }
    let lines = scene.restic.run(arguments).assert_success().json_lines();
    let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap().to_owned();
    let changes = lines
        .iter()
        .filter(|line| line["message_type"] == "change")
        .map(|line| (text(line, "path"), text(line, "modifier")))
        .collect();
    let mut summary = lines
        .into_iter()
        .find(|line| line["message_type"] == "statistics")
        .unwrap();
    let fields = summary.as_object_mut().unwrap();
    for field in ["message_type", "source_snapshot", "target_snapshot"] {
        fields.remove(field);
    }
    (changes, summary)
}

#[tokio::test]
async fn changes_and_counters_are_those_of_restic() {
    let Some(scene) = Scene::new() else { return };
    let source = scene.source();
    testkit::build_plain_tree(&source, 1, 30);
    for folder in ["same/deep", "sub/gone/deep", "sub/stays"] {
        fs::create_dir_all(source.join(folder)).unwrap();
    }
    for name in [
        "same/deep/file",
        "sub/gone/deep/file",
        "sub/changed",
        "sub/mode",
        "to-folder",
        "to-link",
    ] {
        fs::write(source.join(name), name).unwrap();
    }
    fs::create_dir(source.join("to-file")).unwrap();
    fs::write(source.join("to-file/in"), "in").unwrap();
    symlink("a", source.join("link")).unwrap();
    symlink("a", source.join("gone-link")).unwrap();
    scene.back_up();

    fs::remove_dir_all(source.join("sub/gone")).unwrap();
    fs::write(source.join("sub/changed"), vec![3; 3 << 20]).unwrap();
    fs::set_permissions(source.join("sub/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["to-folder", "to-link", "link", "gone-link"] {
        fs::remove_file(source.join(name)).unwrap();
    }
    fs::remove_dir_all(source.join("to-file")).unwrap();
    fs::write(source.join("to-file"), "file").unwrap();
    fs::create_dir(source.join("to-folder")).unwrap();
    fs::write(source.join("to-folder/new"), "new").unwrap();
    symlink("x", source.join("to-link")).unwrap();
    symlink("b", source.join("link")).unwrap();
    fs::create_dir_all(source.join("sub/new/deep")).unwrap();
    fs::write(source.join("sub/new/deep/file"), "new").unwrap();
    scene.back_up();

    for metadata in [false, true] {
        assert_eq!(
            compared(&scene, None, metadata).await,
            compared_by_restic(&scene, "", metadata)
        );
        assert_eq!(
            compared(&scene, Some("sub"), metadata).await,
            compared_by_restic(&scene, ":sub", metadata)
        );
    }
}

#[tokio::test]
async fn equal_snapshots_have_no_difference() {
    let Some(scene) = Scene::new() else { return };
    testkit::build_plain_tree(&scene.source(), 2, 10);
    scene.back_up();
    scene.back_up();
    let (changes, summary) = compared(&scene, None, true).await;
    assert_eq!(changes, []);
    assert_eq!((changes, summary), compared_by_restic(&scene, "", true));
}
