//! Repositories that real restic wrote, kept in `tests/fixtures/repositories`: every version stays readable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend::LocalBackend;
use repository::snapshot::{SnapshotFilter, find_all, load_all};
use repository::tree::{Node, NodeKind, Tree};
use repository::{BlobHandle, BlobId, BlobKind, Id, IndexedRepository, OpenOptions, Repository};
use secrecy::SecretString;

/// Name, format version and whether blobs are compressed.
const REPOSITORIES: [(&str, u32, bool); 4] = [
    ("restic-0.19.1-version1", 1, false),
    ("restic-0.19.1-version2-auto", 2, true),
    ("restic-0.19.1-version2-max", 2, true),
    ("restic-0.19.1-version2-off", 2, false),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/repositories")
}

async fn open(name: &str) -> IndexedRepository {
    let backend = Arc::new(LocalBackend::new(folder().join(name)));
    let repository = Repository::open(
        backend,
        &SecretString::from("fixture"),
        &OpenOptions::default(),
    )
    .await
    .unwrap();
    repository.load_index().await.unwrap()
}

#[test]
fn every_repository_in_the_folder_is_listed() {
    let entries = std::fs::read_dir(folder()).unwrap().map(Result::unwrap);
    let folders: BTreeSet<_> = entries
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<_> = REPOSITORIES
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    assert_eq!(folders, listed);
}

#[tokio::test]
async fn versions_and_compression_are_as_written() {
    for (name, version, is_compressed) in REPOSITORIES {
        let repository = open(name).await;
        assert_eq!(repository.config().version(), version, "{name}");
        let is_data_compressed = repository.index().iter().any(|(handle, location)| {
            handle.kind == BlobKind::Data && location.uncompressed_length.is_some()
        });
        assert_eq!(is_data_compressed, is_compressed, "{name}");
    }
}

#[tokio::test]
async fn snapshots_are_read_with_the_offsets_of_their_makers() {
    for (name, ..) in REPOSITORIES {
        let repository = open(name).await;
        let snapshots = load_all(&repository).await.unwrap();
        let shown: Vec<_> = snapshots
            .iter()
            .map(|(_, snapshot)| {
                (
                    snapshot.time.to_string(),
                    snapshot.tags.join(","),
                    snapshot.hostname.as_str(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "2023-11-14T23:13:20+01:00".to_owned(),
                    "first".to_owned(),
                    "fixture"
                ),
                (
                    "2023-11-15T12:00:00-05:00".to_owned(),
                    "second".to_owned(),
                    "fixture"
                ),
            ],
            "{name}"
        );
        let second = &snapshots[1].1;
        assert_eq!(second.parent, Some(snapshots[0].0));
        assert_eq!(second.program_version, "restic 0.19.1");
        assert_eq!(second.summary.as_ref().unwrap().files_new, 1);
    }
}

#[tokio::test]
async fn every_file_has_its_content_and_every_tree_its_bytes() {
    let contents = std::fs::read_to_string(folder().join("contents.sha256")).unwrap();
    let contents: BTreeMap<_, _> = contents
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(hash, path)| (path, hash))
        .collect();
    for (name, ..) in REPOSITORIES {
        let repository = open(name).await;
        let second = find_all(
            &repository,
            &["latest".to_owned()],
            &SnapshotFilter::default(),
        )
        .await
        .unwrap()
        .remove(0);
        let files = read_files(&repository, second.1.tree).await;
        for (path, hash) in &contents {
            assert_eq!(Id::of(&files[*path].1).to_hex(), *hash, "{name} {path}");
        }
        let kinds: Vec<_> = files
            .iter()
            .map(|(path, (node, _))| (path.as_str(), node.kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("folder", NodeKind::Dir),
                ("folder/empty", NodeKind::Dir),
                ("folder/link", NodeKind::Symlink),
                ("folder/not utf8 \u{fffd}", NodeKind::File),
                ("folder/näme <&> \\", NodeKind::File),
                ("folder/small", NodeKind::File),
                ("folder/small too", NodeKind::File),
                ("random", NodeKind::File),
                ("second", NodeKind::File),
                ("text", NodeKind::File),
            ],
            "{name}"
        );
        let (first, other) = (&files["folder/small"].0, &files["folder/small too"].0);
        assert_eq!(
            (first.links, first.inode, first.device_id),
            (2, other.inode, other.device_id)
        );
        assert_eq!(files["folder/link"].0.link_target, b"../text");
        assert_eq!(files["text"].0.mtime.unwrap().unix_seconds(), 1_700_000_000);
    }
}

/// All nodes below a tree with their content, by path.
async fn read_files(
    repository: &IndexedRepository,
    root: BlobId,
) -> BTreeMap<String, (Node, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), root)];
    while let Some((path, id)) = folders.pop() {
        let json = repository
            .load_blob(&BlobHandle {
                kind: BlobKind::Tree,
                id,
            })
            .await
            .unwrap();
        let tree = Tree::from_json(&json).unwrap();
        assert_eq!(tree.to_json(), json);
        for node in tree.nodes {
            let path = format!("{path}{}", node.name_lossy());
            folders.extend(node.subtree.map(|subtree| (format!("{path}/"), subtree)));
            let mut content = Vec::new();
            for id in node.content.iter().flatten() {
                let handle = BlobHandle {
                    kind: BlobKind::Data,
                    id: *id,
                };
                content.extend(repository.load_blob(&handle).await.unwrap());
            }
            files.insert(path, (node, content));
        }
    }
    files
}
