//! The control group of a cluster, below which the kubelet puts all Pods; in each hierarchy where there are several
//! (version 1), or in the only one (version 2).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{AccessFlags, Pid, access};

use super::layout::Layout;
use crate::failure::Failure;

const ALL: &str = "/sys/fs/cgroup";
/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// Whether this machine lets us make one.
pub fn check() -> Result<(), Failure> {
    let all = hierarchies(Path::new(ALL));
    let is_locked = |hierarchy: &PathBuf| access(hierarchy, AccessFlags::W_OK).is_err();
    if all.is_empty() || all.iter().any(is_locked) {
        return Err(Failure::Refused(format!(
            "control groups cannot be made below {ALL}"
        )));
    }
    Ok(())
}

/// Makes it.
pub fn create(layout: &Layout) -> Result<(), Failure> {
    for hierarchy in hierarchies(Path::new(ALL)) {
        let group = hierarchy.join(layout.name());
        let failed = |source| Failure::Write {
            path: group.clone(),
            source,
        };
        // Version 2: what the hierarchy does not offer cannot be passed on, and the kubelet says so.
        for controller in ["+cpu", "+cpuset", "+memory", "+pids", "+io"] {
            let _ = fs::write(hierarchy.join("cgroup.subtree_control"), controller);
        }
        fs::create_dir_all(&group).map_err(failed)?;
        // Version 1: nothing runs in a group before it has processors and memory.
        for value in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(inherited) = fs::read_to_string(hierarchy.join(value)) {
                fs::write(group.join(value), inherited).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Kills whatever runs in it and removes it.
pub fn remove(layout: &Layout) -> Result<usize, Failure> {
    let groups: Vec<PathBuf> = hierarchies(Path::new(ALL))
        .into_iter()
        .map(|hierarchy| hierarchy.join(layout.name()))
        .filter(|group| group.is_dir())
        .collect();
    let deadline = Instant::now() + PATIENCE;
    let mut killed = BTreeSet::new();
    loop {
        for group in &groups {
            for process in processes(group) {
                // It may have ended since it was read.
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
                killed.insert(process);
            }
            remove_empty(group);
        }
        if !groups.iter().any(|group| group.is_dir()) {
            return Ok(killed.len());
        }
        if Instant::now() > deadline {
            return Err(Failure::Refused(format!(
                "the control group {} does not end",
                layout.name()
            )));
        }
        thread::sleep(POLL);
    }
}

fn hierarchies(all: &Path) -> Vec<PathBuf> {
    if all.join("cgroup.controllers").is_file() {
        return vec![all.to_path_buf()];
    }
    // Two names of one hierarchy are a folder and links to it.
    folders(all)
}

fn processes(group: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        // Zero is a process that this namespace does not see.
        .filter(|process| *process > 0)
        .collect();
    for below in folders(group) {
        found.extend(processes(&below));
    }
    found
}

/// Removes a group and what is below, as far as no process is in it.
fn remove_empty(group: &Path) {
    for below in folders(group) {
        remove_empty(&below);
    }
    let _ = fs::remove_dir(group);
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_counted_once_and_version_two_has_one() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["cpu,cpuacct", "memory"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("cpu,cpuacct", scratch.path().join("cpu")).unwrap();
        assert_eq!(hierarchies(scratch.path()).len(), 2);
        fs::write(scratch.path().join("cgroup.controllers"), "cpu").unwrap();
        assert_eq!(hierarchies(scratch.path()), [scratch.path()]);
    }

    #[test]
    fn processes_of_nested_groups_are_found() {
        let scratch = tempfile::tempdir().unwrap();
        let inner = scratch.path().join("kubepods/pod");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("cgroup.procs"), "12\n0\n34\n").unwrap();
        assert_eq!(processes(scratch.path()), [12, 34]);
    }
}
