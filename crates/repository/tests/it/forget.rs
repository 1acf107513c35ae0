//! Retention against the real restic: whatever it keeps we keep, for the same reasons.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use backend::{ErrorKind, FileKind, LocalBackend, Operation};
use jiff::Timestamp;
use jiff::tz::Offset;
use repository::forget::{
    EmptiedGroups, ForgetError, ForgetGroup, ForgetPlan, ForgetPolicy, PolicyError,
};
use repository::lock::{Lock, LockKind, LockOptions};
use repository::snapshot::{GroupBy, Snapshot, load_all, parse_tag_list};
use repository::time::Time;
use repository::{BlobId, Id, Repository, SnapshotId};
use serde_json::Value;
use testkit::{
    Calls, Effect, Fault, FaultBackend, MemoryBackend, Random, Restic, ResticRepository, Scratch,
};

use crate::sample;

const HISTORY: usize = 400;
const POLICIES: usize = 120;

fn now() -> Time {
    Time::new(Timestamp::now(), Offset::UTC)
}

/// A history of years with hosts, paths, tags and offsets: dense days, long gaps, year ends, leap days, some
/// snapshots of the future. No two have the same moment, whose order restic leaves to chance.
fn history(random: &mut Random) -> Vec<Snapshot> {
    let anchors = [
        "2016-02-29T12:00:00Z",
        "2018-12-31T22:00:00Z",
        "2020-12-28T00:00:00Z",
        "2021-01-03T23:00:00Z",
        "2023-03-26T01:30:00+01:00",
        "2024-02-29T23:59:59-08:00",
        "2024-12-30T00:00:00Z",
        "2025-10-26T02:30:00+02:00",
        "2036-01-01T00:00:00Z",
    ];
    let offsets = [
        0, 0, 3600, 7200, -28_800, 19_800, -12_600, 50_400, -43_200, 45_900,
    ];
    let spans = [3600, 86_400, 14 * 86_400, 200 * 86_400, 3 * 365 * 86_400];
    let mut seen = HashSet::new();
    let mut snapshots = Vec::new();
    while snapshots.len() < HISTORY {
        let anchor: Time = random.pick(&anchors).parse().unwrap();
        let span = *random.pick(&spans);
        let distance = i64::try_from(random.below(span)).unwrap();
        let seconds = anchor.unix_seconds() - distance;
        if !seen.insert(seconds) {
            continue;
        }
        let offset = Offset::from_seconds(*random.pick(&offsets)).unwrap();
        let nanoseconds = if random.is_chance(50) { 0 } else { 123_000_000 };
        snapshots.push(Snapshot {
            time: Time::from_unix(seconds, nanoseconds, offset),
            parent: None,
            tree: BlobId(Id::of(b"{\"nodes\":[]}\n")),
            paths: some_of(random, &["/b", "/a"], 1),
            hostname: (*random.pick(&["one", "two", "three & <more>"])).to_owned(),
            username: String::new(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: some_of(random, &["z", "x", "y"], 0),
            original: None,
            program_version: String::new(),
            summary: None,
        });
    }
    snapshots
}

fn some_of(random: &mut Random, words: &[&str], least: usize) -> Vec<String> {
    let mut chosen: Vec<String> = words
        .iter()
        .filter(|_| random.is_chance(50))
        .map(|&word| word.to_owned())
        .collect();
    if chosen.len() < least {
        chosen.push(words[0].to_owned());
    }
    chosen
}

/// Rules as options of restic; the same texts make our policy.
type Options = Vec<(&'static str, String)>;

fn policy_of(options: &Options) -> ForgetPolicy {
    let mut policy = ForgetPolicy::default();
    for (name, value) in options {
        let count = || repository::forget::parse_count(value).unwrap();
        let duration = || value.parse().unwrap();
        match *name {
            "--keep-last" => policy.last = count(),
            "--keep-hourly" => policy.hourly = count(),
            "--keep-daily" => policy.daily = count(),
            "--keep-weekly" => policy.weekly = count(),
            "--keep-monthly" => policy.monthly = count(),
            "--keep-yearly" => policy.yearly = count(),
            "--keep-within" => policy.within = duration(),
            "--keep-within-hourly" => policy.within_hourly = duration(),
            "--keep-within-daily" => policy.within_daily = duration(),
            "--keep-within-weekly" => policy.within_weekly = duration(),
            "--keep-within-monthly" => policy.within_monthly = duration(),
            "--keep-within-yearly" => policy.within_yearly = duration(),
            "--keep-tag" => policy.tags.push(parse_tag_list(value)),
            other => panic!("unknown option {other}"),
        }
    }
    policy
}

const COUNTS: [&str; 6] = [
    "--keep-last",
    "--keep-hourly",
    "--keep-daily",
    "--keep-weekly",
    "--keep-monthly",
    "--keep-yearly",
];
const DURATIONS: [&str; 6] = [
    "--keep-within",
    "--keep-within-hourly",
    "--keep-within-daily",
    "--keep-within-weekly",
    "--keep-within-monthly",
    "--keep-within-yearly",
];
const DURATION_VALUES: [&str; 12] = [
    "1h", "36h", "1d", "20d", "1m", "13m", "1y", "2y5m7d3h", "100y", "0d", "31d", "1y1h",
];
const COUNT_VALUES: [&str; 7] = ["1", "2", "3", "7", "40", "1000", "unlimited"];
const TAG_VALUES: [&str; 6] = ["x", "x,y", "z", "y, z", "", "none"];

/// Every rule alone with several values, then combinations.
fn policies(random: &mut Random) -> Vec<Options> {
    let mut policies: Vec<Options> = Vec::new();
    for name in COUNTS {
        policies.extend(["1", "3", "unlimited"].map(|value| vec![(name, value.to_owned())]));
    }
    for name in DURATIONS {
        policies.extend(["36h", "1m", "2y5m7d3h"].map(|value| vec![(name, value.to_owned())]));
    }
    policies.extend(TAG_VALUES.map(|value| vec![("--keep-tag", value.to_owned())]));
    while policies.len() < POLICIES {
        let mut options = Options::new();
        for name in COUNTS {
            if random.is_chance(35) {
                options.push((name, (*random.pick(&COUNT_VALUES)).to_owned()));
            }
        }
        for name in DURATIONS {
            if random.is_chance(20) {
                options.push((name, (*random.pick(&DURATION_VALUES)).to_owned()));
            }
        }
        for _ in 0..random.below(3) {
            options.push(("--keep-tag", (*random.pick(&TAG_VALUES)).to_owned()));
        }
        policies.push(options);
    }
    policies
}

#[tokio::test(flavor = "multi_thread")]
async fn forget_keeps_what_restic_keeps_for_every_rule_and_combinations() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let mut random = Random::from_environment();
    let scratch = Scratch::new();
    let repository = sample::create(LocalBackend::new(scratch.join("repository")), 2).await;
    for snapshot in history(&mut random) {
        snapshot.save(&repository).await.unwrap();
    }
    let snapshots = load_all(&repository).await.unwrap();
    assert_eq!(snapshots.len(), HISTORY);
    let groupings = [
        "host,paths",
        "host,paths",
        "",
        "host",
        "tags",
        "host,paths,tags",
        "paths",
    ];
    let cases: Vec<_> = policies(&mut random)
        .into_iter()
        .map(|options| (options, *random.pick(&groupings)))
        .collect();
    let restic = restic.repository(scratch.join("repository"), sample::PASSWORD);
    // The first call fills restic's cache; the others may run side by side.
    restic.run(["snapshots", "--no-lock"]).assert_success();
    let compared = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for part in cases.chunks(cases.len().div_ceil(4)) {
            let (snapshots, restic, compared) = (&snapshots, &restic, &compared);
            scope.spawn(move || {
                for (options, grouping) in part {
                    let is_plan = compare(restic, snapshots, options, grouping);
                    compared.fetch_add(usize::from(is_plan), Ordering::Relaxed);
                }
            });
        }
    });
    // The others were refused by both, for emptying a group.
    assert!(compared.into_inner() > POLICIES / 2);
}

/// What happens to a group: kept and removed ids and the reasons, newest first.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    keep: Vec<String>,
    remove: Vec<String>,
    reasons: Vec<(String, Vec<String>)>,
}

/// Whether there was a plan to compare, and not a refusal by both.
fn compare(
    restic: &ResticRepository,
    snapshots: &[(SnapshotId, Snapshot)],
    options: &Options,
    grouping: &str,
) -> bool {
    let mut arguments = vec![
        "forget",
        "--dry-run",
        "--no-lock",
        "--json",
        "--group-by",
        grouping,
    ];
    for (name, value) in options {
        arguments.extend([*name, value.as_str()]);
    }
    let mut command = restic.command(&arguments);
    let output = command.env("TZ", "UTC").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let by: GroupBy = grouping.parse().unwrap();
    let plan = ForgetPlan::new(
        snapshots.to_vec(),
        by,
        &policy_of(options),
        EmptiedGroups::Refuse,
        now(),
    );
    match plan {
        Err(PolicyError::KeepsNothing { .. }) => {
            assert!(
                stderr.contains("refusing to delete last snapshot"),
                "{arguments:?} {stderr}"
            );
        }
        Err(PolicyError::Empty) => assert!(
            stderr.contains("no policy was specified"),
            "{arguments:?} {stderr}"
        ),
        Err(error) => panic!("{arguments:?}: {error}"),
        Ok(plan) => {
            assert!(output.status.success(), "{arguments:?} {stderr}");
            let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
            let theirs: BTreeMap<_, _> = theirs.as_array().unwrap().iter().map(outcome).collect();
            let ours = serde_json::to_value(&plan.groups).unwrap();
            let ours: BTreeMap<_, _> = ours.as_array().unwrap().iter().map(outcome).collect();
            assert_eq!(
                ours.keys().collect::<Vec<_>>(),
                theirs.keys().collect::<Vec<_>>(),
                "{arguments:?}"
            );
            for (key, ours) in &ours {
                assert_eq!(ours, &theirs[key], "{arguments:?}\n{key}");
            }
            assert_plan_is_complete(&plan, snapshots);
            return true;
        }
    }
    false
}

/// A group in restic's JSON, under its key.
fn outcome(group: &Value) -> (String, Outcome) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let id = |snapshot: &Value| snapshot["id"].as_str().unwrap().to_owned();
    let names = |value: &Value| {
        list(value)
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let keep: Vec<_> = list(&group["keep"]).iter().map(id).collect();
    // Before 0.19 the snapshot in a reason has no id; reasons come in the order of what is kept.
    let reasons = list(&group["reasons"]);
    let reasons = keep
        .iter()
        .cloned()
        .zip(reasons.iter().map(|reason| names(&reason["matches"])))
        .collect();
    let key = format!(
        "{} {:?} {:?}",
        group["host"],
        names(&group["paths"]),
        names(&group["tags"])
    );
    (
        key,
        Outcome {
            remove: list(&group["remove"]).iter().map(id).collect(),
            keep,
            reasons,
        },
    )
}

fn assert_plan_is_complete(plan: &ForgetPlan, snapshots: &[(SnapshotId, Snapshot)]) {
    let kept: usize = plan
        .groups
        .iter()
        .map(|group: &ForgetGroup| group.keep.len())
        .sum();
    assert_eq!(kept + plan.removals().len(), snapshots.len());
}

async fn lock(repository: &Repository, kind: LockKind) -> Lock {
    Lock::acquire(repository, kind, &LockOptions::default())
        .await
        .unwrap()
}

fn keep_one() -> ForgetPolicy {
    ForgetPolicy {
        last: 1,
        ..ForgetPolicy::default()
    }
}

/// A repository of five snapshots of one host and path.
async fn five(backend: impl backend::Backend + 'static) -> Repository {
    let repository = sample::create(backend, 2).await;
    let template = history(&mut Random::new(1)).remove(0);
    for day in 0..5 {
        let time = template.time.add_date(0, 0, day);
        Snapshot {
            time,
            ..template.clone()
        }
        .save(&repository)
        .await
        .unwrap();
    }
    repository
}

async fn plan_of(repository: &Repository) -> ForgetPlan {
    let snapshots = load_all(repository).await.unwrap();
    ForgetPlan::new(
        snapshots,
        GroupBy::default(),
        &keep_one(),
        EmptiedGroups::Refuse,
        now(),
    )
    .unwrap()
}

#[tokio::test]
async fn executing_a_plan_removes_its_snapshots_and_no_others() {
    let repository = five(MemoryBackend::new()).await;
    let plan = plan_of(&repository).await;
    let kept = plan.groups[0].keep[0].0;
    let exclusive = lock(&repository, LockKind::Exclusive).await;
    let summary = plan.execute(&repository, &exclusive).await.unwrap();
    exclusive.release().await.unwrap();
    assert_eq!((summary.removed.len(), summary.failed.len()), (4, 0));
    let left: Vec<_> = load_all(&repository)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(left, [kept]);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_removed_is_reported_and_the_others_go() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let repository = five(backend.clone()).await;
    let plan = plan_of(&repository).await;
    let exclusive = lock(&repository, LockKind::Exclusive).await;
    let refused = Fault::new(Effect::Fail(ErrorKind::PermissionDenied));
    backend.inject(
        refused
            .on(Operation::Remove)
            .of(FileKind::Snapshot)
            .at(Calls::Nth(2)),
    );
    let summary = plan.execute(&repository, &exclusive).await.unwrap();
    exclusive.release().await.unwrap();
    assert_eq!((summary.removed.len(), summary.failed.len()), (3, 1));
    let left: Vec<_> = load_all(&repository)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&summary.failed[0].0));
}

#[tokio::test]
async fn nothing_is_removed_under_a_shared_lock() {
    let repository = five(MemoryBackend::new()).await;
    let shared = lock(&repository, LockKind::Shared).await;
    let error = plan_of(&repository)
        .await
        .execute(&repository, &shared)
        .await
        .unwrap_err();
    assert!(matches!(error, ForgetError::NotExclusive));
    shared.release().await.unwrap();
    assert_eq!(load_all(&repository).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_lost_lock_stops_the_removal() {
    let repository = five(MemoryBackend::new()).await;
    let exclusive = lock(&repository, LockKind::Exclusive).await;
    exclusive.lost().cancel();
    let error = plan_of(&repository)
        .await
        .execute(&repository, &exclusive)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ForgetError::LockLost {
                removed: 0,
                planned: 4
            }
        ),
        "{error}"
    );
    assert_eq!(load_all(&repository).await.unwrap().len(), 5);
}
