//! Killed at any moment: nothing finished is lost, nobody has to clean up, and a signal ends the work with its locks.
//!
//! Ten rounds each, a hundred with `STASH_TEST_LONG=1`; `STASH_TEST_SEED` repeats a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::{CompareOptions, Random, Restic, ResticRepository, assert_same_tree};

use crate::support::{Bench, Ended, copy_folder, eventually, fill};

fn rounds() -> usize {
    if std::env::var_os("STASH_TEST_LONG").is_some() {
        100
    } else {
        10
    }
}

/// Starts the command and kills it: half of the time after a random part of its usual duration, else a random
/// moment after it made its first change, because most of the time goes by with opening, locking and planning.
/// True when it was still at work.
fn kill_within(bench: &Bench, arguments: &[&str], usual: Duration, random: &mut Random) -> bool {
    let before = bench.names();
    let mut child = bench
        .command(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut longest = usual;
    if random.is_chance(60) {
        // The changes themselves take a few milliseconds up to a part of a second.
        longest = usual / (2 << random.below(8));
        eventually("a change", || {
            let is_changed = bench.names() != before;
            (is_changed || child.try_wait().unwrap().is_some()).then_some(())
        });
    }
    let micros = u64::try_from(longest.as_micros()).unwrap().max(1);
    std::thread::sleep(Duration::from_micros(random.below(micros)));
    let was_at_work = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_at_work
}

fn timed(command: &mut Command) -> Duration {
    let started = Instant::now();
    Ended::of(command).assert_code(0);
    started.elapsed()
}

/// restic's check without a lock of its own: the killed process left one that nobody has removed yet.
fn assert_restic_is_content(restic: &ResticRepository) {
    restic
        .run(["check", "--read-data", "--no-lock"])
        .assert_success();
}

fn assert_restores(bench: &Bench, snapshot: &str, expected: &Path) {
    let target = bench.restore(snapshot, "restored");
    assert_same_tree(expected, &target, &CompareOptions::default());
}

#[test]
fn a_killed_backup_costs_nothing_but_itself() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let mut random = Random::from_environment();
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    let arguments = &["backup", "--compression", "off", "--pack-size", "4", "."];
    let mut kept: Vec<(String, PathBuf)> = Vec::new();
    let mut usual = Duration::ZERO;
    let mut hits = 0;
    for round in 0..=rounds() {
        fill(&bench.source(), &mut random, 24 << 20, 300);
        let before = bench.snapshots();
        if round > 0 {
            hits += usize::from(kill_within(&bench, arguments, usual, &mut random));
            let after = bench.snapshots();
            assert!(after.starts_with(&before), "no snapshot is lost");
            if let Some(new) = after.get(before.len()) {
                // It was killed after its last write.
                assert_restores(&bench, new, &bench.source());
            }
            assert_restic_is_content(&restic);
            let (id, copy) = random.pick(&kept);
            assert_restores(&bench, id, copy);
        }
        // The next run needs nobody's help.
        let duration = timed(&mut bench.command(arguments));
        usual = usual.max(duration);
        let newest = bench.snapshots().pop().unwrap();
        let copy = bench.scratch.join(format!("copy-{round}"));
        copy_folder(&bench.source(), &copy);
        assert_restores(&bench, &newest, &bench.source());
        kept.push((newest, copy));
        if round % 10 == 5 {
            bench
                .run(["forget", "--keep-last", "3", "--prune"])
                .assert_code(0);
            let left = bench.snapshots();
            kept.retain(|(id, _)| left.contains(id));
            restic.assert_check_is_clean();
        }
    }
    println!(
        "{hits} of {} kills hit a backup at work, which takes {usual:?}",
        rounds()
    );
    assert!(
        hits * 3 >= rounds(),
        "the kills came too late to prove a thing"
    );
    bench.run(["prune"]).assert_code(0);
    for (id, copy) in kept {
        assert_restores(&bench, &id, &copy);
    }
    assert_eq!(bench.locks(), 0);
    restic.assert_check_is_clean();
}

/// Four snapshots in small packs. Each renews half of the files, so that forgetting leaves half-used packs.
fn build_history(bench: &Bench, random: &mut Random) -> Vec<(String, PathBuf)> {
    let mut copies = Vec::new();
    for round in 0..4 {
        for number in 0..48 {
            let path = bench.source().join(format!("file-{number}"));
            if round == 0 || random.is_chance(50) {
                fs::write(path, random.bytes(300 << 10)).unwrap();
            }
        }
        bench.back_up(&["--pack-size", "4"]);
        let copy = bench.scratch.join(format!("copy-{round}"));
        copy_folder(&bench.source(), &copy);
        copies.push((bench.snapshots().pop().unwrap(), copy));
    }
    copies
}

/// Kills the command again and again, each time from the same repository; only the last two snapshots must survive.
fn kill_removal(arguments: &[&str], before: &[&str]) {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let mut random = Random::from_environment();
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    let history = build_history(&bench, &mut random);
    if !before.is_empty() {
        let ids = history[..2].iter().map(|(id, _)| id.as_str());
        let forget: Vec<&str> = before.iter().copied().chain(ids).collect();
        bench.run(forget).assert_code(0);
    }
    let pristine = bench.scratch.join("pristine");
    copy_folder(&bench.repository(), &pristine);
    let usual = timed(&mut bench.command(arguments));
    let (mut hits, mut halfway) = (0, 0);
    for _ in 0..rounds() {
        copy_folder(&pristine, &bench.repository());
        let untouched = bench.names();
        for _ in 0..=random.below(2) {
            hits += usize::from(kill_within(&bench, arguments, usual, &mut random));
        }
        let killed = bench.names();
        let left = bench.snapshots();
        assert!(history[2..].iter().all(|(id, _)| left.contains(id)));
        assert_restic_is_content(&restic);
        for (id, copy) in history.iter().filter(|(id, _)| left.contains(id)) {
            assert_restores(&bench, id, copy);
        }
        // The next run needs nobody's help.
        bench.run(arguments).assert_code(0);
        if arguments[0] == "forget" {
            // With nothing left to forget it does not prune, as restic's does not.
            bench.run(["prune", "--max-unused", "0"]).assert_code(0);
        }
        let done = bench.names();
        halfway += usize::from(killed != untouched && killed != done);
        let kept: Vec<_> = history[2..].iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(bench.snapshots(), kept);
        assert_eq!(bench.locks(), 0);
        restic.assert_check_is_clean();
        for (id, copy) in &history[2..] {
            assert_restores(&bench, id, copy);
        }
    }
    println!(
        "{hits} kills hit `{}` at work, which takes {usual:?}; {halfway} left the work half done",
        arguments.join(" ")
    );
    assert!(
        hits * 3 >= rounds(),
        "the kills came too late to prove a thing"
    );
}

#[test]
fn a_killed_prune_loses_nothing_that_is_used() {
    kill_removal(
        &["prune", "--max-unused", "0", "--pack-size", "4"],
        &["forget"],
    );
}

#[test]
fn a_killed_forget_with_prune_loses_nothing_that_is_kept() {
    let arguments = [
        "forget",
        "--keep-last",
        "2",
        "--prune",
        "--max-unused",
        "0",
        "--pack-size",
        "4",
    ];
    kill_removal(&arguments, &[]);
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn wait(child: Child, what: &str) -> Ended {
    let started = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{what} did not stop in time"
    );
    Ended::new(&output, what)
}

#[test]
fn a_signal_ends_a_backup_that_waits_for_its_input() {
    let bench = Bench::new(2);
    let arguments: [&[&str]; 2] = [
        &["backup", "--stdin"],
        &["backup", "--stdin-from-command", "--", "sleep", "600"],
    ];
    for arguments in arguments {
        for kind in [Signal::SIGTERM, Signal::SIGINT] {
            let mut command = bench.command(arguments);
            let child = command.stdin(Stdio::piped()).spawn().unwrap();
            eventually("a lock", || (bench.locks() == 1).then_some(()));
            signal(&child, kind);
            wait(child, &arguments.join(" ")).assert_code(130);
            assert_eq!(bench.locks(), 0);
            assert_eq!(bench.snapshots().len(), 0);
        }
    }
}

#[test]
fn a_signal_ends_work_in_full_swing_without_locks() {
    let Some(restic) = Restic::find_or_skip() else {
        return;
    };
    let mut random = Random::from_environment();
    let bench = Bench::new(2);
    let restic = bench.restic(&restic);
    let history = build_history(&bench, &mut random);
    fill(&bench.source(), &mut random, 32 << 20, 500);
    let forgotten = &history[0].0;
    bench.run(["forget", forgotten]).assert_code(0);
    let pristine = bench.scratch.join("pristine");
    copy_folder(&bench.repository(), &pristine);
    let target = bench.scratch.join("target");
    let restore = ["restore", "latest", "--target", target.to_str().unwrap()];
    let verbs: [&[&str]; 4] = [
        &["backup", "--compression", "off", "."],
        &["prune", "--max-unused", "0"],
        &["check", "--read-data"],
        &restore,
    ];
    for arguments in verbs {
        let usual = timed(&mut bench.command(arguments));
        let mut interrupted = 0;
        for round in 0..4 {
            copy_folder(&pristine, &bench.repository());
            let _ = fs::remove_dir_all(&target);
            let child = bench.command(arguments).spawn().unwrap();
            std::thread::sleep(usual.mul_f64(0.2 + 0.15 * f64::from(round)));
            signal(&child, *random.pick(&[Signal::SIGTERM, Signal::SIGINT]));
            let ended = wait(child, &arguments.join(" "));
            assert!([0, 130].contains(&ended.code), "{ended}");
            interrupted += usize::from(ended.code == 130);
            assert_eq!(bench.locks(), 0, "{ended}");
            restic.assert_check_is_clean();
        }
        assert!(interrupted > 0, "no signal came in time for {arguments:?}");
        Ended::of(&mut bench.command(arguments)).assert_code(0);
        for (id, copy) in &history[1..] {
            assert_restores(&bench, id, copy);
        }
    }
}
