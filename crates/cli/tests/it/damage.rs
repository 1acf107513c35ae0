//! Wrong passwords, missing repositories and damaged files: each is told by name with restic's exit code, and nothing
//! that is there is changed or removed.

use std::fs;
use std::path::{Path, PathBuf};

use repository::snapshot::Snapshot;
use repository::{BlobHandle, BlobKind};
use testkit::{Random, Scratch};

use crate::support::{Bench, Ended, block_on, copy_folder};

/// Two snapshots, `one` and `two`, which share nothing.
struct Stored {
    bench: Bench,
    one: String,
    two: String,
}

impl Stored {
    fn new() -> Self {
        let bench = Bench::new(2);
        let mut random = Random::new(3);
        let mut ids = ["one", "two"].map(|name| {
            let folder = bench.source().join(name);
            fs::create_dir(&folder).unwrap();
            // The sizes tell the packs apart: data is larger than trees, that of `two` is the largest.
            let bytes = if name == "one" { 600_000 } else { 900_000 };
            fs::write(folder.join("content"), random.bytes(bytes)).unwrap();
            let output = bench.run(["backup", "--json", name]);
            let id = &output.assert_code(0).summary()["snapshot_id"];
            id.as_str().unwrap().to_owned()
        });
        let [one, two] = ids.each_mut().map(std::mem::take);
        Self { bench, one, two }
    }

    /// The same in a place of its own.
    fn copy(&self) -> Self {
        let bench = Bench::new(2);
        copy_folder(&self.bench.repository(), &bench.repository());
        copy_folder(&self.bench.source(), &bench.source());
        Self {
            bench,
            one: self.one.clone(),
            two: self.two.clone(),
        }
    }

    /// The object of snapshot `one`, and another that it may be mistaken for.
    fn object(&self, kind: Kind) -> (PathBuf, PathBuf) {
        let repository = self.bench.repository();
        let key = self.bench.files_in("keys").remove(0);
        match kind {
            Kind::Config => (repository.join("config"), key),
            Kind::Key => (key, repository.join("config")),
            Kind::Index => {
                let mut files = self.bench.files_in("index");
                (files.remove(0), files.remove(0))
            }
            Kind::Snapshot => (
                repository.join("snapshots").join(&self.one),
                repository.join("snapshots").join(&self.two),
            ),
            Kind::DataPack => {
                // The larger packs hold data; that of `two` is the largest.
                let mut packs = self.bench.files_in("data");
                packs.sort_by_key(|pack| pack.metadata().unwrap().len());
                (packs[2].clone(), packs[3].clone())
            }
            Kind::TreePack => (self.tree_pack(&self.one), self.tree_pack(&self.two)),
        }
    }

    fn tree_pack(&self, snapshot: &str) -> PathBuf {
        let name = block_on(async {
            let repository = self.bench.open().await;
            let loaded = Snapshot::load(&repository, &snapshot.parse().unwrap()).await;
            let id = loaded.unwrap().tree;
            let indexed = repository.load_index().await.unwrap();
            let kind = BlobKind::Tree;
            let location = indexed.lookup(&BlobHandle { kind, id }).unwrap();
            location.pack.to_hex()
        });
        self.bench
            .repository()
            .join("data")
            .join(&name[..2])
            .join(name)
    }

    /// Runs a verb and makes sure that a failure changes nothing, that a success only adds, and that no lock stays.
    fn run(&self, arguments: &[&str]) -> Ended {
        let before = self.bench.files();
        let ended = self.bench.run(arguments);
        let after = self.bench.files();
        for (path, content) in &before {
            assert!(
                after.get(path) == Some(content),
                "{} was changed or removed: {ended}",
                path.display()
            );
        }
        assert!(
            ended.code == 0 || before.len() == after.len(),
            "a failure has added files: {ended}"
        );
        assert_eq!(self.bench.locks(), 0, "{ended}");
        ended
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Config,
    Key,
    Index,
    Snapshot,
    DataPack,
    TreePack,
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Truncated,
    Emptied,
    Flipped,
    Swapped,
}

impl Damage {
    fn inflict(self, (file, other): &(PathBuf, PathBuf), random: &mut Random) {
        let mut content = fs::read(file).unwrap();
        // Packs begin with blobs; damage to the header at their end would not be in the way of a restore.
        let third = content.len() / 3;
        match self {
            Self::Truncated => content.truncate(third + random.index(third / 2)),
            Self::Emptied => content.clear(),
            Self::Flipped => {
                let place = random.index(third);
                content[place] ^= 1 << random.below(8);
            }
            Self::Swapped => {
                replace(file, &fs::read(other).unwrap());
                return replace(other, &content);
            }
        }
        replace(file, &content);
    }
}

fn replace(file: &Path, content: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, content).unwrap();
}

/// A verb (`ONE`, `TWO` and `OUT` stand for snapshots and a target), its exit codes, and whether it names the object.
type Expectation = (&'static str, &'static [i32], bool);

fn damaged(kind: Kind, expected: &[Expectation]) {
    let mut random = Random::from_environment();
    let original = Stored::new();
    for damage in [
        Damage::Truncated,
        Damage::Emptied,
        Damage::Flipped,
        Damage::Swapped,
    ] {
        let stored = original.copy();
        let objects = stored.object(kind);
        damage.inflict(&objects, &mut random);
        let out = stored.bench.scratch.join("out");
        for (line, codes, is_named) in expected {
            let words: Vec<&str> = line
                .split(' ')
                .map(|word| match word {
                    "ONE" => &stored.one,
                    "TWO" => &stored.two,
                    "OUT" => out.to_str().unwrap(),
                    word => word,
                })
                .collect();
            let ended = stored.run(&words);
            // A flipped bit in the user's name does not keep the key from opening.
            let is_harmless = kind == Kind::Key && matches!(damage, Damage::Flipped);
            assert!(
                codes.contains(&ended.code) || is_harmless && ended.code == 0,
                "{kind:?} {damage:?}: expected {codes:?}: {ended}"
            );
            let text = ended.text();
            let has = |path: &Path| {
                let name = path.file_name().unwrap().to_string_lossy();
                text.contains(&name.chars().take(8).collect::<String>())
            };
            assert!(
                !is_named || has(&objects.0) || has(&objects.1),
                "{kind:?} {damage:?}: it is not named: {ended}"
            );
        }
        if kind != Kind::Config && kind != Kind::Key {
            // What is whole is still to be had.
            let target = out.join("whole");
            let folder = target.to_str().unwrap();
            let ended = stored.run(&["restore", &stored.two, "--target", folder]);
            let is_whole = |name: &str| {
                let read = |root: &Path| fs::read(root.join(name)).unwrap();
                read(&target) == read(&stored.bench.source())
            };
            if ended.code == 0 {
                assert!(is_whole("two/content"), "{kind:?} {damage:?}: {ended}");
            } else {
                let may_fail = kind == Kind::Index || matches!(damage, Damage::Swapped);
                assert!(may_fail, "{kind:?} {damage:?}: {ended}");
            }
        }
    }
}

#[test]
fn a_damaged_config_stops_everything_and_is_never_replaced() {
    damaged(
        Kind::Config,
        &[
            ("snapshots", &[1], true),
            ("backup one", &[1], true),
            ("restore latest --target OUT", &[1], true),
            ("check", &[1], true),
            ("forget --keep-last 1 --prune", &[1], true),
            ("prune", &[1], true),
            ("init", &[1], false),
        ],
    );
}

#[test]
fn a_damaged_key_stops_everything_and_is_never_replaced() {
    // A flipped bit can make the password look wrong: 12, as with restic.
    damaged(
        Kind::Key,
        &[
            ("snapshots", &[1, 12], false),
            ("backup one", &[1, 12], false),
            ("restore latest --target OUT", &[1, 12], false),
            ("key list", &[1, 12], false),
            ("prune", &[1, 12], false),
            ("init", &[1], false),
        ],
    );
}

#[test]
fn a_damaged_index_file_is_named_and_stops_what_needs_it() {
    damaged(
        Kind::Index,
        &[
            ("check", &[1], true),
            ("check --read-data", &[1], true),
            ("restore ONE --target OUT", &[1], true),
            ("ls ONE", &[1], true),
            ("dump ONE /one/content", &[1], true),
            ("find content", &[1], true),
            ("diff ONE TWO", &[1], true),
            ("backup one", &[1], true),
            ("prune", &[1], true),
            (
                "forget --keep-last 1 --group-by host --prune --dry-run",
                &[1],
                true,
            ),
        ],
    );
}

#[test]
fn a_damaged_snapshot_is_named_and_nothing_is_removed_beside_it() {
    damaged(
        Kind::Snapshot,
        &[
            ("restore ONE --target OUT", &[1], true),
            ("cat snapshot ONE", &[1], true),
            ("check", &[1], true),
            ("prune", &[1], true),
            ("forget --keep-last 1 --group-by host", &[1], true),
            ("forget --keep-last 1 --group-by host --prune", &[1], true),
        ],
    );
}

#[test]
fn a_damaged_data_pack_costs_only_what_is_in_it() {
    damaged(
        Kind::DataPack,
        &[
            ("check --read-data", &[1], true),
            ("restore ONE --target OUT", &[1], true),
            ("dump ONE /one/content", &[1], true),
            ("ls ONE", &[0], false),
            ("snapshots", &[0], false),
            ("backup one", &[0], false),
        ],
    );
}

#[test]
fn a_damaged_tree_pack_is_named_and_stops_prune() {
    damaged(
        Kind::TreePack,
        &[
            ("check", &[1], true),
            ("check --read-data", &[1], true),
            ("restore ONE --target OUT", &[1], true),
            ("ls ONE", &[1], true),
            ("dump ONE /one/content", &[1], true),
            ("prune", &[1], true),
            ("snapshots", &[0], false),
        ],
    );
}

#[test]
fn a_wrong_password_is_12_and_changes_nothing() {
    let stored = Stored::new();
    let before = stored.bench.files();
    let verbs: [&[&str]; 7] = [
        &["snapshots"],
        &["backup", "one"],
        &["restore", "latest", "--target", "out"],
        &["check"],
        &["forget", "--keep-last", "1", "--prune"],
        &["unlock"],
        &["key", "list"],
    ];
    for verb in verbs {
        let ended = Ended::of(stored.bench.command(verb).env("RESTIC_PASSWORD", "wrong"));
        ended.assert_code(12).assert_says("password");
        assert!(stored.bench.files() == before, "{ended}");
    }
    Ended::of(
        stored
            .bench
            .command(["init"])
            .env("RESTIC_PASSWORD", "wrong"),
    )
    .assert_code(1);
    Ended::of(
        stored
            .bench
            .command(["snapshots"])
            .env("RESTIC_PASSWORD", ""),
    )
    .assert_code(1);
    Ended::of(
        stored
            .bench
            .command(["snapshots"])
            .env_remove("RESTIC_PASSWORD"),
    )
    .assert_code(1)
    .assert_says("RESTIC_PASSWORD");
    assert!(stored.bench.files() == before);
}

#[test]
fn a_place_without_a_repository_is_10_and_nothing_is_made_there() {
    let bench = Bench::new(2);
    fs::write(bench.source().join("file"), "content").unwrap();
    let scratch = Scratch::new();
    let empty = scratch.folder("empty");
    let other = scratch.folder("other");
    fs::write(other.join("letter"), "not a repository").unwrap();
    let verbs: [&[&str]; 6] = [
        &["snapshots"],
        &["backup", "."],
        &["restore", "latest", "--target", "out"],
        &["check"],
        &["prune"],
        &["unlock"],
    ];
    for verb in verbs {
        for place in [&empty, &other, &scratch.join("absent")] {
            let ended = Ended::of(bench.command(verb).env("RESTIC_REPOSITORY", place));
            ended.assert_code(10).assert_says(place.to_str().unwrap());
        }
        let file = other.join("letter");
        let ended = Ended::of(bench.command(verb).env("RESTIC_REPOSITORY", &file));
        assert!([1, 10].contains(&ended.code), "{ended}");
    }
    assert!(!scratch.join("absent").exists());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    assert!(!bench.source().join("out").exists());
}
