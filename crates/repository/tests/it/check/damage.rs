//! The damage matrix: every kind of object, every kind of damage. restic is asked for its opinion.

use std::collections::BTreeSet;

use backend::{FileKind, Handle};
use bytes::Bytes;
use repository::check::{CheckOptions, CheckReport, DamagedObject, ReadData, Remedy};
use repository::key::ScryptParams;
use repository::keys::{self, KeyOptions};
use repository::{OpenError, OpenOptions, Repository};
use secrecy::SecretString;
use std::sync::Arc;
use testkit::{MemoryBackend, Random, Restic, Scratch};

use super::{ALL, assert_clean, check, sample_repository, try_open};
use crate::sample;

const SECOND: &str = "another password";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Truncated,
    Emptied,
    Flipped,
    Swapped,
    Deleted,
}

const DAMAGES: [Damage; 5] = [
    Damage::Truncated,
    Damage::Emptied,
    Damage::Flipped,
    Damage::Swapped,
    Damage::Deleted,
];

impl Damage {
    /// A damaged copy, and the objects that are not as they were.
    fn apply(
        self,
        original: &MemoryBackend,
        handle: &Handle,
        random: &mut Random,
    ) -> (MemoryBackend, BTreeSet<String>) {
        let memory = original.copy();
        let content = original.get(handle).unwrap();
        let mut damaged = BTreeSet::from([handle.to_string()]);
        match self {
            Self::Truncated => {
                let kept = random.index(content.len() - 1) + 1;
                memory.put(handle, content.slice(..kept));
            }
            Self::Emptied => memory.put(handle, Bytes::new()),
            Self::Flipped => {
                let (byte, bit) = (random.index(content.len()), random.below(8));
                memory.damage(handle, |data| data[byte] ^= 1 << bit);
            }
            Self::Swapped => {
                let others = original.handles_of(handle.kind());
                let other = others.iter().find(|other| *other != handle).unwrap();
                memory.put(handle, original.get(other).unwrap());
                memory.put(other, content);
                damaged.insert(other.to_string());
            }
            Self::Deleted => {
                memory.take(handle);
            }
        }
        (memory, damaged)
    }
}

/// The files that a report blames: a tree stands for its pack.
fn blamed(report: &CheckReport) -> BTreeSet<String> {
    let errors = report.errors.iter();
    errors
        .map(|error| match (error.object, error.pack) {
            (DamagedObject::Tree(_), Some(pack)) => format!("pack {pack}"),
            (object, _) => object.to_string(),
        })
        .collect()
}

async fn assert_blames(
    memory: &MemoryBackend,
    options: &CheckOptions,
    damaged: &BTreeSet<String>,
    what: &str,
) {
    let report = check(memory.clone(), options).await;
    assert_eq!(&blamed(&report), damaged, "{what}: {report:#?}");
    assert!(report.has_errors() && !report.remedies.is_empty(), "{what}");
    assert_eq!(report.error_count, report.errors.len() as u64, "{what}");
    assert!(
        !report.suggests_prune || !report.suggests_repair_index,
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_snapshots_index_files_and_packs_are_named_exactly() {
    let mut random = Random::from_environment();
    for version in [1, 2] {
        let original = sample_repository(version).await;
        for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
            for handle in original.handles_of(kind) {
                for damage in DAMAGES.into_iter().chain([Damage::Flipped; 4]) {
                    let (memory, damaged) = damage.apply(&original, &handle, &mut random);
                    let what = format!("version {version}, {handle}, {damage:?}");
                    match (kind, damage) {
                        // Nobody can miss a snapshot; its blobs are merely unused.
                        (FileKind::Snapshot, Damage::Deleted) => {
                            assert!(!check(memory.clone(), &ALL).await.has_errors(), "{what}");
                        }
                        (FileKind::Index, Damage::Deleted) => {
                            let report = check(memory.clone(), &ALL).await;
                            assert_eq!(report.remedies, [Remedy::MissingData], "{what}");
                            assert!(!report.suggests_prune, "{what}: {report:?}");
                        }
                        _ => assert_blames(&memory, &ALL, &damaged, &what).await,
                    }
                    // Without reading data everything but a change within a pack is found as well.
                    let is_content = kind == FileKind::Pack
                        && matches!(damage, Damage::Flipped | Damage::Swapped);
                    if !is_content && damage != Damage::Deleted {
                        assert_blames(&memory, &CheckOptions::default(), &damaged, &what).await;
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_of_a_damaged_pack_is_named_with_its_place() {
    let original = sample_repository(2).await;
    let repository = sample::open(original.clone()).await;
    let places: Vec<_> = repository.index().iter().collect();
    for (handle, place) in places {
        let memory = original.copy();
        let pack = Handle::new(FileKind::Pack, place.pack.to_hex());
        memory.damage(&pack, |data| data[place.offset as usize + 20] ^= 1);
        let report = check(memory.clone(), &CheckOptions::default()).await;
        if handle.kind == repository::BlobKind::Data {
            assert_clean(&report);
            continue;
        }
        let [error] = report.errors.as_slice() else {
            panic!("{report:?}");
        };
        assert_eq!(error.object, DamagedObject::Tree(handle.id));
        assert_eq!(error.pack, Some(place.pack));
        assert!(error.snapshot.is_some());
        let path = error.path.as_deref().unwrap();
        assert!(matches!(path, "/" | "/folder"), "{path}");
        assert_eq!(error.remedy, Remedy::DamagedPack);
    }
}

async fn with_second_key() -> MemoryBackend {
    let memory = sample_repository(2).await;
    let repository = try_open(memory.clone()).await.unwrap();
    let options = KeyOptions {
        username: "user".to_owned(),
        hostname: "host".to_owned(),
        scrypt: Some(ScryptParams::FAST_FOR_TESTS),
    };
    let password = SecretString::from(SECOND);
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    keys::add(&repository, &password, &options, now)
        .await
        .unwrap();
    memory
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_keys_are_named_when_another_one_opens() {
    let mut random = Random::from_environment();
    let original = with_second_key().await;
    assert_clean(&check(original.clone(), &ALL).await);
    for handle in original.handles_of(FileKind::Key) {
        for damage in DAMAGES.into_iter().chain([Damage::Flipped; 20]) {
            let (memory, damaged) = damage.apply(&original, &handle, &mut random);
            let mut opened = 0;
            for password in [sample::PASSWORD, SECOND] {
                let backend = Arc::new(memory.clone());
                let password = SecretString::from(password);
                let options = OpenOptions::default();
                let repository = match Repository::open(backend, &password, &options).await {
                    Ok(repository) => repository,
                    Err(OpenError::DamagedKey { .. }) => continue,
                    Err(OpenError::WrongPassword { .. }) if damage == Damage::Deleted => continue,
                    Err(error) => panic!("{handle}, {damage:?}: {error:?}"),
                };
                opened += 1;
                let cancel = tokio_util::sync::CancellationToken::new();
                let progress = repository::check::NoCheckProgress;
                let report = repository::check::check(&repository, &ALL, &progress, &cancel)
                    .await
                    .unwrap();
                if damage == Damage::Deleted {
                    assert_clean(&report);
                } else {
                    assert_eq!(blamed(&report), damaged, "{handle}, {damage:?}: {report:?}");
                    assert_eq!(report.remedies, [Remedy::Key]);
                }
            }
            assert!(opened > 0, "{handle}, {damage:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_config_is_named_when_it_is_opened() {
    let mut random = Random::from_environment();
    let original = sample_repository(2).await;
    let config = sample::only(&original, FileKind::Config);
    for damage in DAMAGES.into_iter().chain([Damage::Flipped; 20]) {
        let memory = if damage == Damage::Swapped {
            let memory = original.copy();
            memory.put(&config, sample_repository(2).await.get(&config).unwrap());
            memory
        } else {
            damage.apply(&original, &config, &mut random).0
        };
        match (damage, try_open(memory.clone()).await) {
            (Damage::Deleted, Err(OpenError::NoRepository { .. })) => {}
            (Damage::Deleted, result) => panic!("{result:?}"),
            (_, Err(OpenError::DamagedConfig { .. })) => {}
            (_, result) => panic!("{damage:?}: {result:?}"),
        }
    }
}

/// Asks restic about a copy: its exit code and its summary.
fn ask_restic(restic: &Restic, memory: &MemoryBackend, arguments: &[&str]) -> serde_json::Value {
    let scratch = Scratch::new();
    let root = scratch.join("repository");
    sample::export(memory, &root);
    let restic = restic.repository(&root, sample::PASSWORD);
    let output = restic.run(["check", "--json"].iter().chain(arguments));
    let summary = output
        .json_lines()
        .into_iter()
        .find(|line| line["message_type"] == "summary")
        .unwrap_or_else(|| panic!("no summary: {output}"));
    assert_eq!(output.code != 0, summary["num_errors"] != 0, "{output}");
    summary
}

type Change<'a> = &'a dyn Fn(&MemoryBackend);

fn summary(report: &CheckReport) -> serde_json::Value {
    serde_json::to_value(report.summary()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_agrees_on_what_is_damaged() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let mut random = Random::from_environment();
    let original = sample_repository(2).await;
    assert_eq!(
        summary(&check(original.clone(), &ALL).await),
        ask_restic(&restic, &original, &["--read-data"])
    );
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let handles = original.handles_of(kind);
        for damage in DAMAGES {
            let handle = random.pick(&handles);
            let (memory, _) = damage.apply(&original, handle, &mut random);
            let ours = check(memory.clone(), &ALL).await;
            let theirs = ask_restic(&restic, &memory, &["--read-data"]);
            let is_damaged = theirs["num_errors"] != 0;
            assert_eq!(
                ours.has_errors(),
                is_damaged,
                "{handle}, {damage:?}: {ours:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_is_that_of_restic() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let original = sample_repository(2).await;
    let repository = sample::open(original.clone()).await;
    let (_, place) = repository
        .index()
        .iter()
        .find(|(handle, _)| handle.kind == repository::BlobKind::Data)
        .unwrap();
    let data = Handle::new(FileKind::Pack, place.pack.to_hex());
    let index = original.handles_of(FileKind::Index).remove(0);
    let snapshot = original.handles_of(FileKind::Snapshot).remove(0);
    let read_data = CheckOptions {
        read_data: ReadData::All,
        ..CheckOptions::default()
    };
    let structure = CheckOptions::default();
    let cases: [(&str, &CheckOptions, Change<'_>); 6] = [
        ("flipped pack", &read_data, &|memory| {
            memory.damage(&data, |bytes| bytes[place.offset as usize] ^= 1);
        }),
        ("cut pack", &structure, &|memory| {
            memory.damage(&data, |bytes| bytes.truncate(1000));
        }),
        ("missing pack", &structure, &|memory| {
            memory.take(&data);
        }),
        ("left over pack", &structure, &|memory| {
            memory.put(&Handle::new(FileKind::Pack, "ab".repeat(32)), vec![0; 99]);
        }),
        ("flipped index", &structure, &|memory| {
            memory.damage(&index, |bytes| bytes[40] ^= 1);
        }),
        ("flipped snapshot", &structure, &|memory| {
            memory.damage(&snapshot, |bytes| bytes[40] ^= 1);
        }),
    ];
    for (what, options, change) in cases {
        let memory = original.copy();
        change(&memory);
        let arguments: &[&str] = match options.read_data {
            ReadData::None => &[],
            _ => &["--read-data"],
        };
        assert_eq!(
            summary(&check(memory.clone(), options).await),
            ask_restic(&restic, &memory, arguments),
            "{what}"
        );
    }
}
