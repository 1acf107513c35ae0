//! Full disks and disks that cannot be written: told with the remedy, nothing lost, and all is well once there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{CompareOptions, Random, Restic, assert_same_tree, is_root, skip};

use crate::support::{Bench, copy_folder};

/// A file system in memory over the repository's folder; unmounted on drop.
struct Mounted(PathBuf);

impl Mounted {
    /// Moves the repository onto a file system of this size; `None` where mounting is not allowed.
    fn over(bench: &Bench, size: &str) -> Option<Self> {
        if !is_root() {
            skip("mounting needs root");
            return None;
        }
        let aside = bench.scratch.join("aside");
        copy_folder(&bench.repository(), &aside);
        let place = bench.repository();
        let options = format!("size={size}");
        let status = mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], &place);
        if !status {
            skip("a tmpfs cannot be mounted here");
            return None;
        }
        let mounted = Self(place.clone());
        let status = Command::new("cp")
            .arg("-aT")
            .arg(&aside)
            .arg(&place)
            .status();
        assert!(status.unwrap().success());
        Some(mounted)
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], &self.0));
    }
}

fn mount(arguments: &[&str], place: &Path) -> bool {
    let output = Command::new("mount").args(arguments).arg(place).output();
    output.is_ok_and(|output| output.status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_stored() {
    let bench = Bench::new(2);
    let mut random = Random::new(1);
    fs::write(bench.source().join("first"), random.bytes(4 << 20)).unwrap();
    bench.back_up(&[]);
    let first = bench.scratch.join("first-copy");
    copy_folder(&bench.source(), &first);
    let Some(disk) = Mounted::over(&bench, "16m") else {
        return;
    };
    for number in 0..4 {
        let path = bench.source().join(format!("more-{number}"));
        fs::write(path, random.bytes(8 << 20)).unwrap();
    }
    let before = bench.snapshots();
    for _ in 0..2 {
        let ended = bench.run(["backup", "--pack-size", "4", "."]);
        ended.assert_code(1).assert_says("space");
        ended.assert_says("stash forget --prune");
        assert_eq!(bench.locks(), 0);
    }
    assert_eq!(bench.snapshots(), before);
    let target = bench.restore("latest", "restored");
    assert_same_tree(&first, &target, &CompareOptions::default());
    bench.run(["check", "--read-data"]).assert_code(0);
    // What the failed runs left can be cleared away on the full disk itself.
    bench.run(["prune"]).assert_code(0);
    bench.run(["check", "--read-data"]).assert_code(0);

    disk.remount("size=200m");
    bench.back_up(&[]);
    let target = bench.restore("latest", "restored");
    assert_same_tree(&bench.source(), &target, &CompareOptions::default());
    if let Some(restic) = Restic::find_or_skip() {
        bench.restic(&restic).assert_check_is_clean();
    }
}

#[test]
fn a_full_target_disk_fails_a_restore() {
    let bench = Bench::new(2);
    fs::write(bench.source().join("file"), Random::new(1).bytes(8 << 20)).unwrap();
    bench.back_up(&[]);
    let place = bench.scratch.folder("small");
    if !is_root() || !mount(&["-t", "tmpfs", "-o", "size=2m", "tmpfs"], &place) {
        skip("a tmpfs cannot be mounted here");
        return;
    }
    let _disk = Mounted(place.clone());
    let ended = bench.run(["restore", "latest", "--target", place.to_str().unwrap()]);
    ended
        .assert_code(1)
        .assert_says("file")
        .assert_says("space");
    assert_eq!(bench.locks(), 0);
}

#[test]
fn a_read_only_repository_can_be_read_and_says_why_it_cannot_be_written() {
    let bench = Bench::new(2);
    fs::write(bench.source().join("file"), Random::new(1).bytes(100_000)).unwrap();
    bench.back_up(&[]);
    let Some(disk) = Mounted::over(&bench, "16m") else {
        return;
    };
    disk.remount("ro");
    let before = bench.files();
    let verbs: [&[&str]; 4] = [
        &["backup", "."],
        &["forget", "--keep-last", "1", "--prune"],
        &["prune"],
        &["restore", "latest", "--target", "out"],
    ];
    for verb in verbs {
        bench
            .run(verb)
            .assert_code(1)
            .assert_says("read-only")
            .assert_says("mount it writable");
    }
    let target = bench.scratch.join("target");
    let folder = target.to_str().unwrap();
    bench
        .run(["restore", "latest", "--target", folder, "--no-lock"])
        .assert_code(0);
    assert_same_tree(&bench.source(), &target, &CompareOptions::default());
    bench
        .run(["check", "--read-data", "--no-lock"])
        .assert_code(0);
    assert!(bench.files() == before);
}

#[test]
fn a_folder_of_somebody_else_is_told_as_that() {
    use std::os::unix::fs::PermissionsExt;

    if is_root() {
        skip("root may write everywhere");
        return;
    }
    let bench = Bench::new(2);
    fs::write(bench.source().join("file"), "content").unwrap();
    bench.back_up(&[]);
    let locks = bench.repository().join("locks");
    fs::set_permissions(&locks, fs::Permissions::from_mode(0o500)).unwrap();
    bench
        .run(["backup", "."])
        .assert_code(1)
        .assert_says("ermission denied")
        .assert_says("give this user access");
}
