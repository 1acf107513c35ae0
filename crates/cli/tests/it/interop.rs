//! Both directions against the real restic: what one stores the other restores, side by side in one repository.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use repository::snapshot::Snapshot;
use serde_json::Value;
use testkit::{
    CompareOptions, Random, Restic, ResticRepository, assert_same_tree, build_everything_tree,
    build_plain_tree,
};

use crate::support::{Bench, Ended, block_on, eventually, fill, ids, summary};

fn restic_backup(restic: &ResticRepository, bench: &Bench, more: &[&str]) -> Value {
    let mut command = restic.command([&["backup", "--json", "."], more].concat());
    let output = command.current_dir(bench.source()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    summary(&String::from_utf8_lossy(&output.stdout)).unwrap()
}

fn snapshot(bench: &Bench, id: &str) -> Snapshot {
    block_on(async {
        let repository = bench.open().await;
        Snapshot::load(&repository, &id.parse().unwrap())
            .await
            .unwrap()
    })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn ours_restored_by_restic(version: u32) {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(version);
    build_everything_tree(&bench.source(), 11);
    let stored = bench.back_up(&[]);
    let restic = bench.restic(&restic);
    restic.assert_check_is_clean();
    let target = bench.scratch.join("target");
    restic
        .run([
            "restore",
            text(&stored, "snapshot_id"),
            "--target",
            target.to_str().unwrap(),
        ])
        .assert_success();
    assert_same_tree(
        &bench.source(),
        &target,
        &CompareOptions::restored_by_restic(),
    );
    // And by ourselves, with the sockets that restic leaves out.
    let target = bench.restore("latest", "own");
    assert_same_tree(&bench.source(), &target, &CompareOptions::default());
    bench.run(["check", "--read-data"]).assert_code(0);
    assert_eq!(bench.locks(), 0);
}

#[test]
fn restic_restores_everything_that_stash_stored_in_version_1() {
    ours_restored_by_restic(1);
}

#[test]
fn restic_restores_everything_that_stash_stored_in_version_2() {
    ours_restored_by_restic(2);
}

fn theirs_restored_by_us(version: u32) {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(version);
    build_everything_tree(&bench.source(), 12);
    // restic leaves sockets out of its snapshots.
    fs::remove_file(bench.source().join("special/socket")).unwrap();
    let restic = bench.restic(&restic);
    let stored = restic_backup(&restic, &bench, &[]);
    let target = bench.restore(text(&stored, "snapshot_id"), "target");
    assert_same_tree(&bench.source(), &target, &CompareOptions::default());
    bench
        .run(["check", "--read-data"])
        .assert_code(0)
        .assert_says("no errors were found");
    // The same files again: every tree is the same blob, so nothing at all is added.
    let again = bench.back_up(&["--force"]);
    assert_eq!(number(&again, "data_added"), 0, "{again}");
    let (theirs, ours) = (
        snapshot(&bench, text(&stored, "snapshot_id")),
        snapshot(&bench, text(&again, "snapshot_id")),
    );
    assert_eq!(theirs.tree, ours.tree);
}

#[test]
fn stash_restores_everything_that_restic_stored_in_version_1() {
    theirs_restored_by_us(1);
}

#[test]
fn stash_restores_everything_that_restic_stored_in_version_2() {
    theirs_restored_by_us(2);
}

#[test]
fn repositories_made_by_either_init_are_used_by_both() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(2);
    build_plain_tree(&bench.source(), 3, 40);
    for (version, by_restic) in [("1", true), ("2", true), ("1", false), ("2", false)] {
        fs::remove_dir_all(bench.repository()).unwrap();
        let theirs = bench.restic(&restic);
        if by_restic {
            theirs
                .run(["init", "--repository-version", version])
                .assert_success();
        } else {
            bench
                .run(["init", "--repository-version", version])
                .assert_code(0);
        }
        let config = theirs.run(["cat", "config"]).assert_success().json();
        assert_eq!(config["version"].to_string(), version);
        bench.back_up(&[]);
        restic_backup(&theirs, &bench, &[]);
        theirs.assert_check_is_clean();
        bench.run(["check", "--read-data"]).assert_code(0);
        bench
            .run(["init"])
            .assert_code(1)
            .assert_says("exists already");
    }
}

#[test]
fn alternating_backups_share_everything_and_know_each_other_as_parents() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    let mut random = Random::from_environment();
    fill(&bench.source(), &mut random, 8 << 20, 200);
    let mut last = bench.back_up(&[]);
    for round in 0..6 {
        let is_changed = round % 3 == 2;
        if is_changed {
            let changed = bench.source().join(format!("folder-3/new-{round}"));
            fs::write(changed, random.bytes(1000)).unwrap();
        }
        let next = if round % 2 == 0 {
            restic_backup(&restic, &bench, &[])
        } else {
            bench.back_up(&[])
        };
        let parent = snapshot(&bench, text(&next, "snapshot_id")).parent.unwrap();
        assert_eq!(parent.to_string(), text(&last, "snapshot_id"));
        assert_eq!(number(&next, "files_new"), u64::from(is_changed), "{next}");
        assert_eq!(number(&next, "files_changed"), 0, "{next}");
        let added = number(&next, "data_added");
        if is_changed {
            assert!((1000..100_000).contains(&added), "{next}");
        } else {
            assert_eq!(added, 0, "{next}");
        }
        last = next;
    }
    restic.assert_check_is_clean();
    bench.run(["check", "--read-data"]).assert_code(0);
    let target = bench.restore("latest", "target");
    assert_same_tree(&bench.source(), &target, &CompareOptions::default());
}

#[test]
fn what_forget_and_prune_of_either_leave_is_whole() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    let mut random = Random::from_environment();
    let mut copies = Vec::new();
    for round in 0..6 {
        // Half of the content changes each time, so that packs are partly used and have to be repacked.
        fill(&bench.source(), &mut random, 6 << 20, 100);
        fs::write(bench.source().join("stays"), Random::new(5).bytes(3 << 20)).unwrap();
        let stored = if round % 2 == 0 {
            bench.back_up(&["--pack-size", "4"])
        } else {
            restic_backup(&restic, &bench, &["--pack-size", "4"])
        };
        let copy = bench.scratch.join(format!("copy-{round}"));
        fs::rename(bench.source(), &copy).unwrap();
        fs::create_dir(bench.source()).unwrap();
        copies.push((text(&stored, "snapshot_id").to_owned(), copy));
    }
    let check_kept = |copies: &[(String, std::path::PathBuf)]| {
        restic.assert_check_is_clean();
        bench
            .run(["check", "--read-data"])
            .assert_code(0)
            .assert_says("no errors were found");
        let kept: Vec<_> = copies.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(bench.snapshots(), kept);
        for (id, copy) in copies {
            let target = bench.restore(id, "kept");
            assert_same_tree(copy, &target, &CompareOptions::default());
        }
    };
    bench
        .run(["forget", "--keep-last", "4", "--prune", "--max-unused", "0"])
        .assert_code(0);
    check_kept(&copies[2..]);
    let is_unused = |text: &str| text.contains("not referenced") || text.contains("unused");
    assert!(!is_unused(&bench.run(["check"]).text()));

    restic
        .run(["forget", "--keep-last", "3", "--prune", "--max-unused", "0"])
        .assert_success();
    check_kept(&copies[3..]);

    bench.run(["forget", &copies[4].0]).assert_code(0);
    bench.run(["prune", "--max-unused", "0"]).assert_code(0);
    check_kept(&[copies[3].clone(), copies[5].clone()]);

    restic.run(["prune", "--max-unused", "0"]).assert_success();
    bench.run(["prune"]).assert_code(0);
    check_kept(&[copies[3].clone(), copies[5].clone()]);
}

#[test]
fn removal_by_either_waits_for_a_backup_by_either() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    let arguments = ["backup", "--stdin", "--stdin-filename", "slow"];
    for is_ours in [true, false] {
        let mut command = if is_ours {
            bench.command(arguments)
        } else {
            restic.command(arguments)
        };
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        eventually("a lock", || (bench.locks() == 1).then_some(()));
        bench.run(["prune"]).assert_code(11).assert_says("locked");
        bench
            .run(["forget", "--keep-last", "1", "--prune"])
            .assert_code(11);
        restic.run(["prune"]).assert_code(11);
        restic.run(["check"]).assert_code(11);
        bench.run(["snapshots"]).assert_code(0);
        bench.run(["unlock"]).assert_code(0);
        assert_eq!(bench.locks(), 1, "the lock of a living process stays");
        let pipe = child.stdin.take().unwrap();
        (&pipe).write_all(b"content").unwrap();
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(bench.locks(), 0);
    assert_eq!(bench.snapshots().len(), 2);
    bench.run(["prune"]).assert_code(0);
    restic.assert_check_is_clean();
}

#[test]
fn streams_are_stored_whole_or_not_at_all() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    let content = Random::new(7).bytes((3 << 20) + 17);
    fs::write(bench.source().join("content"), &content).unwrap();

    let input = fs::File::open(bench.source().join("content")).unwrap();
    Ended::of(
        bench
            .command(["backup", "--stdin", "--stdin-filename", "/dump/db.sql"])
            .stdin(input),
    )
    .assert_code(0);
    let dumped = restic.run(["dump", "latest", "/dump/db.sql"]);
    assert!(dumped.assert_success().stdout == content);

    let from_command = [
        "backup",
        "--stdin-filename",
        "out",
        "--stdin-from-command",
        "--",
    ];
    bench
        .run([&from_command[..], &["cat", "content"]].concat())
        .assert_code(0);
    let dumped = restic.run(["dump", "latest", "/out"]);
    assert!(dumped.assert_success().stdout == content);
    assert_eq!(bench.snapshots().len(), 2);

    for script in ["exit 7", "cat content; exit 7", "cat content; kill -9 $$"] {
        bench
            .run([&from_command[..], &["sh", "-c", script]].concat())
            .assert_code(1);
    }
    bench
        .run([&from_command[..], &["no-such-program"]].concat())
        .assert_code(1)
        .assert_says("no-such-program");
    assert_eq!(bench.snapshots().len(), 2);
    assert_eq!(bench.locks(), 0);
    restic.assert_check_is_clean();

    // What restic took from its own standard input comes back as well.
    restic
        .run_with_input(
            ["backup", "--stdin", "--stdin-filename", "theirs"],
            &content,
        )
        .assert_success();
    let target = bench.restore("latest", "target");
    assert!(fs::read(target.join("theirs")).unwrap() == content);
}

/// Two hosts, two paths, some tags, irregular times over three years.
fn write_history(bench: &Bench, random: &mut Random) {
    let tree = snapshot(bench, text(&bench.back_up(&[]), "snapshot_id")).tree;
    block_on(async {
        let repository = bench.open().await;
        let mut seconds = 1_640_991_600;
        for _ in 0..120 {
            seconds += match random.below(4) {
                0 => random.below(1800),
                1 => random.below(40_000),
                2 => random.below(400_000),
                _ => random.below(3_000_000),
            };
            let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
            let tags = random.pick(&["null", r#"["a"]"#, r#"["a","b"]"#, r#"["keep"]"#]);
            let json = format!(
                r#"{{"time":"{time}","tree":"{tree}","paths":["{}"],"hostname":"{}","tags":{tags}}}"#,
                random.pick(&["/srv", "/home"]),
                random.pick(&["web", "db"]),
            );
            let snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
            snapshot.save(&repository).await.unwrap();
        }
    });
}

fn decision(list: &Value) -> Vec<(String, Vec<String>, Vec<String>)> {
    let mut groups: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            let sorted = |field: &str| {
                let mut found = group[field]
                    .as_array()
                    .map_or_else(Vec::new, |_| ids(&group[field]));
                found.sort();
                found
            };
            let key = format!("{} {} {}", group["host"], group["paths"], group["tags"]);
            (key, sorted("keep"), sorted("remove"))
        })
        .collect();
    groups.sort();
    groups
}

#[test]
fn forget_decides_as_restic_on_the_command_line() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    fs::write(bench.source().join("file"), "content").unwrap();
    write_history(&bench, &mut Random::from_environment());
    let policies: [&[&str]; 11] = [
        &["--keep-last", "3"],
        &["--keep-hourly", "5", "--keep-daily", "4"],
        &["--keep-weekly", "6", "--keep-monthly", "unlimited"],
        &["--keep-yearly", "2", "--group-by", ""],
        &["--keep-within", "1y2m3d4h"],
        &["--keep-within-daily", "30d", "--keep-within-monthly", "2y"],
        &["--keep-tag", "keep", "--keep-last", "1"],
        &["--keep-daily", "7", "--host", "web"],
        &["--keep-last", "2", "--tag", "a", "--group-by", "tags"],
        &[
            "--keep-last",
            "2",
            "--path",
            "/srv",
            "--group-by",
            "host,paths,tags",
        ],
        &[
            "-d", "3", "-w", "2", "-m", "2", "-y", "1", "-l", "1", "-H", "2",
        ],
    ];
    for policy in policies {
        let arguments = [&["forget", "--dry-run", "--json"], policy].concat();
        let theirs = restic.run(&arguments).assert_success().json();
        let ours = bench.run(&arguments).assert_code(0).json();
        assert_eq!(decision(&ours), decision(&theirs), "{policy:?}");
    }
    // A group that would lose all its snapshots is refused by both.
    let arguments = [
        "forget",
        "--dry-run",
        "--json",
        "--keep-tag",
        "nobody-has-it",
    ];
    restic.run(arguments).assert_code(1);
    bench.run(arguments).assert_code(1);
    // What was decided is what is done.
    let plan = bench
        .run(["forget", "--dry-run", "--json", "--keep-monthly", "3"])
        .json();
    let mut kept: Vec<String> = decision(&plan)
        .into_iter()
        .flat_map(|(_, kept, _)| kept)
        .collect();
    bench.run(["forget", "--keep-monthly", "3"]).assert_code(0);
    let mut left = bench.snapshots();
    kept.sort();
    left.sort();
    assert_eq!(left, kept);
    restic.assert_check_is_clean();
}
