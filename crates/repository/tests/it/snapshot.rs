//! Finding, filtering and grouping snapshots, compared with the real restic.

use std::collections::BTreeSet;

use backend::{FileKind, Handle, LocalBackend};
use repository::snapshot::{
    FindError, GroupBy, Snapshot, SnapshotFilter, find, find_all, group_by, load_all, load_each,
    parse_tag_list,
};
use repository::{BlobId, Id, LoadError, Repository, SnapshotId};
use serde_json::Value;
use testkit::{MemoryBackend, Restic, ResticRepository, Scratch};

use crate::sample;

fn snapshot(time: &str, host: &str, paths: &[&str], tags: &[&str]) -> Snapshot {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    Snapshot {
        time: time.parse().unwrap(),
        parent: None,
        tree: BlobId(Id::of(b"{\"nodes\":[]}\n")),
        paths: owned(paths),
        hostname: host.to_owned(),
        username: "user".to_owned(),
        uid: 1000,
        gid: 100,
        excludes: Vec::new(),
        tags: owned(tags),
        original: None,
        program_version: "stash <test> & more".to_owned(),
        summary: None,
    }
}

/// Snapshots of several hosts, paths and tags, each saved in turn.
async fn save_series(repository: &Repository) -> Vec<(SnapshotId, Snapshot)> {
    let series = [
        snapshot(
            "2024-01-01T10:00:00.5+01:00",
            "a",
            &["/x", "/a<b>&"],
            &["one"],
        ),
        snapshot("2024-01-01T09:30:00Z", "b", &["/x"], &[]),
        snapshot(
            "2024-03-01T00:00:00Z",
            "a",
            &["/a<b>&", "/x"],
            &["two", "one"],
        ),
        snapshot("2024-02-01T00:00:00Z", "a", &["/x"], &["one", "two"]),
        snapshot("2024-04-01T00:00:00Z", "", &[], &["three"]),
    ];
    let mut saved = Vec::new();
    for snapshot in series {
        saved.push((snapshot.save(repository).await.unwrap(), snapshot));
    }
    saved
}

fn restic_ids(snapshots: &Value) -> BTreeSet<String> {
    snapshots
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

fn run_json(restic: &ResticRepository, arguments: &[&str]) -> Value {
    let output = restic.run(arguments);
    output.assert_success();
    output.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_shows_the_snapshots_that_we_save_with_all_their_fields() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let repository = sample::create(LocalBackend::new(scratch.join("repository")), 2).await;
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    for (id, snapshot) in save_series(&repository).await {
        let shown = run_json(&restic, &["cat", "snapshot", &id.to_hex()]);
        let ours: Value = serde_json::from_slice(&snapshot.to_json()).unwrap();
        assert_eq!(shown, ours);
        assert_eq!(Snapshot::load(&repository, &id).await.unwrap(), snapshot);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_what_restic_chooses() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let repository = sample::create(LocalBackend::new(scratch.join("repository")), 2).await;
    let saved = save_series(&repository).await;
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    let cases: [(&[&str], &[&str], &[&str]); 12] = [
        (&[], &[], &[]),
        (&["a"], &[], &[]),
        (&["a", "b"], &["/x"], &[]),
        (&[], &["/x", "/a<b>&"], &[]),
        (&[], &["/x/"], &[]),
        (&[], &[], &["one"]),
        (&[], &[], &["one,two"]),
        (&[], &[], &["two", "three"]),
        (&[], &[], &[""]),
        (&[], &[], &["", "three"]),
        (&["c"], &[], &[]),
        (&["a"], &["/x"], &["two"]),
    ];
    for (hosts, paths, tags) in cases {
        let mut arguments = vec!["snapshots", "--json"];
        for (option, values) in [("--host", hosts), ("--path", paths), ("--tag", tags)] {
            arguments.extend(values.iter().flat_map(|value| [option, value]));
        }
        let filter = SnapshotFilter {
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            tags: tags.iter().map(|list| parse_tag_list(list)).collect(),
        };
        let ours: BTreeSet<_> = find_all(&repository, &[], &filter)
            .await
            .unwrap()
            .into_iter()
            .map(|(id, _)| id.to_hex())
            .collect();
        let theirs = restic_ids(&run_json(&restic, &arguments));
        // restic cleans a path that is asked for; here that is the caller's part.
        if !paths.iter().any(|path| path.ends_with('/')) {
            assert_eq!(ours, theirs, "{arguments:?}");
        }
        let latest = find(&repository, "latest", &filter).await;
        let newest = saved
            .iter()
            .filter(|(_, one)| filter.matches(one))
            .max_by_key(|(_, one)| one.time);
        assert_eq!(latest.ok().map(|(id, _)| id), newest.map(|(id, _)| *id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_those_of_restic() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let scratch = Scratch::new();
    let repository = sample::create(LocalBackend::new(scratch.join("repository")), 2).await;
    save_series(&repository).await;
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    for grouping in [
        "host",
        "host,paths",
        "tags",
        "paths,tags",
        "host,paths,tags",
    ] {
        let shown = run_json(&restic, &["snapshots", "--json", "--group-by", grouping]);
        let theirs: BTreeSet<_> = shown
            .as_array()
            .unwrap()
            .iter()
            .map(|group| {
                (
                    without_empty(&group["group_key"]).to_string(),
                    restic_ids(&group["snapshots"]),
                )
            })
            .collect();
        let by: GroupBy = grouping.parse().unwrap();
        let ours: BTreeSet<_> = group_by(load_all(&repository).await.unwrap(), by)
            .into_iter()
            .map(|(key, members)| {
                let ids: BTreeSet<_> = members.into_iter().map(|(id, _)| id.to_hex()).collect();
                (
                    without_empty(&serde_json::from_str(&key.to_json()).unwrap()).to_string(),
                    ids,
                )
            })
            .collect();
        assert_eq!(ours, theirs, "{grouping}");
    }
}

/// restic tells an empty list from none, which depends on how the snapshot was read.
fn without_empty(key: &Value) -> Value {
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let fields = key.as_object().unwrap().iter();
    fields
        .map(|(name, value)| {
            (
                name.clone(),
                if is_empty(value) {
                    Value::Null
                } else {
                    value.clone()
                },
            )
        })
        .collect()
}

#[tokio::test]
async fn snapshots_are_found_by_id_prefix_and_age() {
    let repository = sample::create(MemoryBackend::new(), 2).await;
    let saved = save_series(&repository).await;
    let all = SnapshotFilter::default();
    let (id, snapshot) = &saved[1];
    for reference in [id.to_hex(), id.to_hex()[..20].to_owned()] {
        assert_eq!(
            find(&repository, &reference, &all).await.unwrap(),
            (*id, snapshot.clone())
        );
    }
    assert_eq!(
        find(&repository, "latest", &all).await.unwrap().0,
        saved[4].0
    );
    assert_eq!(
        find(&repository, "latest~1", &all).await.unwrap().0,
        saved[2].0
    );
    assert!(matches!(
        find(&repository, "latest~5", &all).await,
        Err(FindError::NoneMatchesFilter { .. })
    ));
    for reference in ["zz", "latest~x", "0000000000000000", &"0".repeat(64)] {
        let error = find(&repository, reference, &all).await.unwrap_err();
        assert!(matches!(error, FindError::NoMatch { .. }), "{error}");
    }
    let twice = [
        id.to_hex(),
        "latest".to_owned(),
        id.short(),
        "latest".to_owned(),
    ];
    let found: Vec<_> = find_all(&repository, &twice, &all)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(found, [*id, saved[4].0]);
    let folder = [format!("{id}:/x")];
    assert!(matches!(
        find_all(&repository, &folder, &all).await,
        Err(FindError::SubfolderNotAllowed { .. })
    ));
}

#[tokio::test]
async fn a_prefix_of_several_ids_is_ambiguous() {
    let repository = sample::create(MemoryBackend::new(), 2).await;
    // Among seventeen ids two begin with the same digit.
    let mut first_digits = std::collections::BTreeMap::new();
    for second in 0..17 {
        let snapshot = snapshot(&format!("2024-01-01T00:00:{second:02}Z"), "h", &["/"], &[]);
        let id = snapshot.save(&repository).await.unwrap();
        *first_digits.entry(id.to_hex()[..1].to_owned()).or_insert(0) += 1;
    }
    let (digit, count) = first_digits
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .unwrap();
    let error = find(&repository, &digit, &SnapshotFilter::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, FindError::Ambiguous { ids, .. } if ids.len() == count),
        "{error}"
    );
    let error = find(&repository, "", &SnapshotFilter::default())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, FindError::Ambiguous { ids, .. } if ids.len() == 17),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_snapshot_is_named_and_never_left_out() {
    let backend = MemoryBackend::new();
    let repository = sample::create(backend.clone(), 2).await;
    let saved = save_series(&repository).await;
    let damaged = saved[2].0;
    backend.damage(
        &Handle::new(FileKind::Snapshot, damaged.to_hex()),
        |bytes| bytes[20] ^= 1,
    );
    let error = load_all(&repository).await.unwrap_err();
    assert!(matches!(error, LoadError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(&damaged.short()), "{error}");
    let (whole, failures) = load_each(&repository).await.unwrap();
    assert_eq!(
        (whole.len(), failures.len(), failures[0].0),
        (4, 1, damaged)
    );
}

#[tokio::test]
async fn a_snapshot_whose_json_is_wrong_is_an_error_that_names_it() {
    let repository = sample::create(MemoryBackend::new(), 2).await;
    for json in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"time":"2024-01-01T00:00:00Z","tree":"12"}"#,
    ] {
        let id = SnapshotId(
            repository
                .save_unpacked(FileKind::Snapshot, json.as_bytes())
                .await
                .unwrap(),
        );
        let error = Snapshot::load(&repository, &id).await.unwrap_err();
        assert!(error.to_string().contains(&id.short()), "{error}");
    }
}
