//! Repositories whose files open with the right key and still lie: written by a faulty program, or an evil one.

use backend::FileKind;
use repository::check::{CheckError, CheckOptions, DamagedObject, Remedy};
use repository::tree::{Node, NodeKind, Tree};
use repository::{BlobId, BlobKind, Id, IndexId, IndexedRepository, PackId};
use testkit::MemoryBackend;

use super::{ALL, assert_clean, check, sample_repository, try_open};
use crate::sample;

/// Saves blobs, stores an index, and a snapshot of the last tree.
async fn save_trees(repository: &IndexedRepository, trees: Vec<Vec<u8>>) -> BlobId {
    let writer = repository.writer();
    let saver = writer.clone();
    let root = tokio::task::spawn_blocking(move || {
        saver.save(BlobKind::Data, b"content").unwrap();
        let mut root = None;
        for json in trees {
            root = Some(saver.save(BlobKind::Tree, &json).unwrap().id);
        }
        root.unwrap()
    })
    .await
    .unwrap();
    writer.finish().await.unwrap();
    save_snapshot(repository, root).await;
    root
}

async fn save_snapshot(repository: &IndexedRepository, root: BlobId) {
    let json = format!(r#"{{"time":"2026-01-02T03:04:05Z","tree":"{root}","paths":["/"]}}"#);
    repository
        .save_unpacked(FileKind::Snapshot, json.as_bytes())
        .await
        .unwrap();
}

async fn new_repository() -> (MemoryBackend, IndexedRepository) {
    let memory = MemoryBackend::new();
    sample::create(memory.clone(), 2).await;
    let repository = sample::open(memory.clone()).await;
    (memory, repository)
}

fn file(name: &str, size: u64, content: Option<Vec<BlobId>>) -> Node {
    let mut node = Node::new(name, NodeKind::File);
    node.size = size;
    node.content = content;
    node
}

fn folder(name: &str, subtree: Option<BlobId>) -> Node {
    let mut node = Node::new(name, NodeKind::Dir);
    node.subtree = subtree;
    node
}

fn json(nodes: Vec<Node>) -> Vec<u8> {
    Tree { nodes }.to_json()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_validated() {
    let content = BlobId(Id::of(b"content"));
    let absent = BlobId(Id::of(b"absent"));
    let fine = || file("z", 7, Some(vec![content]));
    let cases: [(&str, Vec<u8>, &str, Remedy); 13] = [
        (
            "parent",
            json(vec![file("..", 0, Some(vec![]))]),
            "not the name",
            Remedy::Tree,
        ),
        (
            "slash",
            json(vec![file("a/b", 0, Some(vec![]))]),
            "not the name",
            Remedy::Tree,
        ),
        (
            "empty name",
            json(vec![file("", 0, Some(vec![]))]),
            "not the name",
            Remedy::Tree,
        ),
        ("twice", json(vec![fine(), fine()]), "twice", Remedy::Tree),
        (
            "unsorted",
            json(vec![fine(), file("a", 0, Some(vec![]))]),
            "order",
            Remedy::Tree,
        ),
        (
            "no blobs",
            json(vec![file("a", 0, None)]),
            "no list of blobs",
            Remedy::Tree,
        ),
        (
            "no subtree",
            json(vec![folder("a", None)]),
            "names no tree",
            Remedy::Tree,
        ),
        (
            "huge",
            json(vec![file("a", u64::MAX, Some(vec![content]))]),
            "impossible",
            Remedy::Tree,
        ),
        (
            "absent blob",
            json(vec![file("a", 7, Some(vec![absent]))]),
            "does not name",
            Remedy::MissingData,
        ),
        (
            "absent tree",
            json(vec![folder("a", Some(absent))]),
            "does not name",
            Remedy::MissingData,
        ),
        (
            "no JSON",
            b"{\"nodes\":[{".to_vec(),
            "JSON",
            Remedy::DamagedPack,
        ),
        (
            "overflow",
            b"{\"nodes\":[{\"name\":\"a\",\"size\":99999999999999999999}]}".to_vec(),
            "JSON",
            Remedy::DamagedPack,
        ),
        ("zeros", vec![0; 5_000_000], "JSON", Remedy::DamagedPack),
    ];
    for (what, tree, expected, remedy) in cases {
        let (memory, repository) = new_repository().await;
        let root = save_trees(&repository, vec![tree]).await;
        let report = check(memory, &ALL).await;
        let error = report
            .errors
            .first()
            .unwrap_or_else(|| panic!("{what}: {report:?}"));
        assert_eq!(error.object, DamagedObject::Tree(root), "{what}");
        assert!(error.problem.contains(expected), "{what}: {error}");
        assert_eq!(error.remedy, remedy, "{what}");
        assert!(error.path.is_some() && error.snapshot.is_some(), "{what}");
        let is_about_root = |error: &CheckError| error.object == DamagedObject::Tree(root);
        assert!(
            report.errors.iter().all(is_about_root),
            "{what}: {report:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_differ_from_the_blobs_are_noted_as_restic_lets_them_pass() {
    let (memory, repository) = new_repository().await;
    let content = BlobId(Id::of(b"content"));
    let nodes = (0..50)
        .map(|number| file(&format!("file{number:02}"), number, Some(vec![content])))
        .collect();
    save_trees(&repository, vec![json(nodes)]).await;
    let report = check(memory, &ALL).await;
    assert!(!report.has_errors(), "{report:?}");
    // Twenty are named, the others counted, and one of the fifty fits.
    assert_eq!(report.notes.len(), 21, "{report:?}");
    assert!(report.notes[0].contains("`/file00`"), "{report:?}");
    assert!(report.notes[20].starts_with("29 more"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_as_deep_as_they_come_are_walked() {
    let (memory, repository) = new_repository().await;
    let mut trees = vec![json(vec![file("..", 0, Some(vec![]))])];
    for depth in 0..3000 {
        let below = BlobId(Id::of(trees.last().unwrap()));
        trees.push(json(vec![folder(
            &format!("{depth}-{}", "x".repeat(300)),
            Some(below),
        )]));
    }
    save_trees(&repository, trees).await;
    let report = check(memory, &ALL).await;
    assert_eq!(
        (report.error_count, report.counts.trees),
        (1, 3001),
        "{report:?}"
    );
    assert!(report.errors[0].path.as_ref().unwrap().len() < 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_that_many_snapshots_share_are_read_once() {
    let (memory, repository) = new_repository().await;
    let root = save_trees(
        &repository,
        vec![
            json(vec![]),
            json(vec![folder("a", Some(BlobId(Id::of(&json(vec![])))))]),
        ],
    )
    .await;
    for number in 0..20 {
        let json =
            format!(r#"{{"time":"2026-01-02T03:04:{number:02}Z","tree":"{root}","paths":null}}"#);
        repository
            .save_unpacked(FileKind::Snapshot, json.as_bytes())
            .await
            .unwrap();
    }
    let report = check(memory, &CheckOptions::default()).await;
    assert_clean(&report);
    assert_eq!((report.counts.snapshots, report.counts.trees), (21, 2));
}

/// An index file that names one pack with these blobs: number, offset, length, plaintext length.
fn index_json(pack: PackId, blobs: &[(u8, u32, u32, u32)]) -> String {
    let blobs: Vec<_> = blobs
        .iter()
        .map(|(number, offset, length, plain)| {
            let id = Id::of(&[*number]);
            format!(r#"{{"id":"{id}","type":"data","offset":{offset},"length":{length},"uncompressed_length":{plain}}}"#)
        })
        .collect();
    format!(
        r#"{{"packs":[{{"id":"{pack}","blobs":[{}]}}]}}"#,
        blobs.join(",")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lies_about_a_pack_is_found() {
    let original = sample_repository(2).await;
    let pack = original.handles_of(FileKind::Pack).remove(0);
    let bytes = u32::try_from(original.get(&pack).unwrap().len()).unwrap();
    let pack: PackId = pack.name().parse().unwrap();
    let absent = PackId(Id::of(b"absent"));
    let cases = [
        (
            "overlap with the true blobs",
            pack,
            vec![(1, 0, bytes, 0)],
            Remedy::Index,
        ),
        (
            "overlap within",
            pack,
            vec![(1, 5, 100, 0), (2, 104, 50, 0)],
            Remedy::Index,
        ),
        (
            "beyond the pack",
            pack,
            vec![(1, u32::MAX - 50, 50, u32::MAX)],
            Remedy::DamagedPack,
        ),
        ("absent", absent, vec![(1, 0, 100, 0)], Remedy::MissingPack),
        (
            "absent and enormous",
            absent,
            vec![(1, 0, u32::MAX, u32::MAX)],
            Remedy::MissingPack,
        ),
    ];
    for (what, pack, blobs, remedy) in cases {
        let memory = original.copy();
        let repository = sample::open(memory.clone()).await;
        let json = index_json(pack, &blobs);
        repository
            .save_unpacked(FileKind::Index, json.as_bytes())
            .await
            .unwrap();
        let report = check(memory, &ALL).await;
        assert!(
            report.has_errors() && report.remedies == [remedy],
            "{what}: {report:?}"
        );
        assert!(
            report
                .errors
                .iter()
                .all(|error| error.object == DamagedObject::Pack(pack)),
            "{what}: {report:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_alone_and_lies_is_found() {
    let original = sample_repository(2).await;
    let pack = original.handles_of(FileKind::Pack).remove(0);
    let bytes = u32::try_from(original.get(&pack).unwrap().len()).unwrap();
    let pack: PackId = pack.name().parse().unwrap();
    // The header of one plain blob takes 36 + 37 bytes, so the first two have the right sum.
    for (blobs, remedy) in [
        (vec![(1, 0, bytes - 73, 0)], Remedy::DamagedPack),
        (vec![(1, 1000, bytes - 73, 0)], Remedy::Index),
        (
            vec![(1, 0, 50, 0), (2, 40_000_000, 60, 9)],
            Remedy::DamagedPack,
        ),
    ] {
        let memory = original.copy();
        for kind in [FileKind::Index, FileKind::Snapshot] {
            for handle in memory.handles_of(kind) {
                memory.take(&handle);
            }
        }
        let repository = try_open(memory.clone()).await.unwrap();
        let json = index_json(pack, &blobs);
        repository
            .save_unpacked(FileKind::Index, json.as_bytes())
            .await
            .unwrap();
        let report = check(memory, &ALL).await;
        assert!(report.remedies.contains(&remedy), "{blobs:?}: {report:?}");
        let is_about_pack = |error: &CheckError| error.object == DamagedObject::Pack(pack);
        assert!(report.errors.iter().all(is_about_pack), "{report:?}");
        assert_eq!(report.broken_packs, [pack]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn index_files_of_no_sense_are_named() {
    let original = sample_repository(2).await;
    for json in [
        "",
        "null",
        "[]",
        "{}",
        "[{\"id\":\"\"}]",
        "{\"packs\":[{}]}",
        "{\"packs\":7}",
        "{\"packs\":[{\"id\":\"x\",\"blobs\":[]}]}",
    ] {
        let memory = original.copy();
        let repository = try_open(memory.clone()).await.unwrap();
        let id = repository
            .save_unpacked(FileKind::Index, json.as_bytes())
            .await
            .unwrap();
        let report = check(memory, &ALL).await;
        let [error] = report.errors.as_slice() else {
            panic!("{json}: {report:?}");
        };
        assert_eq!(error.object, DamagedObject::Index(IndexId(id)), "{json}");
        assert!(report.suggests_repair_index, "{json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_two_index_files_name_alike_are_only_noted() {
    let memory = sample_repository(2).await;
    let repository = try_open(memory.clone()).await.unwrap();
    let index = memory.handles_of(FileKind::Index).remove(0);
    let mut json = repository
        .load_unpacked(FileKind::Index, &index.name().parse().unwrap())
        .await
        .unwrap();
    json.push(b' ');
    repository
        .save_unpacked(FileKind::Index, &json)
        .await
        .unwrap();
    let report = check(memory, &ALL).await;
    assert!(
        !report.has_errors() && report.notes.len() == 1,
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_beyond_measure_are_counted() {
    let (memory, repository) = new_repository().await;
    let absent: Vec<_> = (0..12_000_u32)
        .map(|number| {
            file(
                &format!("{number:06}"),
                1,
                Some(vec![BlobId(Id::of(&number.to_le_bytes()))]),
            )
        })
        .collect();
    save_trees(&repository, vec![json(absent)]).await;
    let report = check(memory, &ALL).await;
    assert_eq!((report.error_count, report.errors.len()), (12_000, 10_000));
}
