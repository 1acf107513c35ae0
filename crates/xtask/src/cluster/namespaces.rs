//! What keeps a cluster apart from the machine: a network without a way out, mounts of its own, a control group.
//!
//! Both namespaces are kept by files in the state folder, which is a mount of its own for that: a mount namespace can
//! only be kept where mounts do not propagate. Every mount of containers and volumes is within, so nothing of the
//! machine is mounted below the state folder when it is removed, and all of them end with the last process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::layout::{API_SERVICE, Layout, NODE_ADDRESS, SERVICES};
use crate::command;
use crate::failure::Failure;
use crate::servers::processes;

/// Folders that Kubernetes and containerd use by fixed names, and what stands for them within the namespace.
pub const FIXED: &[(&str, &str)] = &[
    ("/run/containerd", "fixed/containerd"),
    ("/tmp/hostpath_pv", "volumes"),
    ("/var/lib/cni", "fixed/cni"),
    ("/var/lib/kubelet", "fixed/kubelet"),
    ("/var/log/containers", "fixed/logs"),
    ("/var/log/pods", "logs/pods"),
];

/// Makes both namespaces. The folders of [`FIXED`] must exist.
pub fn create(layout: &Layout) -> Result<(), Failure> {
    let state = layout.state();
    for file in [layout.network(), layout.mounts()] {
        fs::write(&file, "").map_err(|source| Failure::Write { path: file, source })?;
    }
    // All of them carry the mark, so that `down` waits for none that a killed `up` left.
    let run = |command: &mut Command| command::run(command.env(processes::MARK, state));
    run(Command::new("mount").arg("--bind").args([state, state]))?;
    run(Command::new("mount").arg("--make-private").arg(state))?;
    let mut unshare = Command::new("unshare");
    unshare
        .arg(format!("--net={}", layout.network().display()))
        .arg(format!("--mount={}", layout.mounts().display()))
        .args(["--propagation", "slave", "true"]);
    run(&mut unshare)?;

    let mut set_up = enter(layout, Path::new("sh"));
    set_up.arg("-ec").arg(script(layout));
    run(&mut set_up)
}

/// The node's addresses, and the way for its processes to Services.
fn script(layout: &Layout) -> String {
    let mut script = format!(
        "ip link set lo up
ip address add {NODE_ADDRESS}/32 dev lo
ip address add {API_SERVICE}/32 dev lo
ip route add {SERVICES} dev lo src {NODE_ADDRESS}
sysctl -qw net.ipv4.ip_forward=1
"
    );
    for (fixed, own) in FIXED {
        script.push_str(&format!(
            "mkdir -p {own}\nmount --bind {own} {fixed}\n",
            own = layout.text(own)
        ));
    }
    script
}

/// A command that runs a program within both namespaces. It needs no `ip netns exec`, which mounts another /sys.
pub fn enter(layout: &Layout, program: &Path) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", layout.network().display()))
        .arg(format!("--mount={}", layout.mounts().display()))
        .arg("--")
        .arg(program);
    command
}

/// Gives the namespaces up; they end with their last process.
pub fn remove(layout: &Layout) -> Result<(), Failure> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|source| Failure::Read {
        path: "/proc/self/mountinfo".into(),
        source,
    })?;
    for place in mounts_below(layout.state(), &table) {
        command::run(Command::new("umount").arg("--lazy").arg(place))?;
    }
    Ok(())
}

/// The mounts at and below a folder, the last one first. The fifth field of a line is the place; the folder has none
/// of the characters that are written as codes there.
fn mounts_below(folder: &Path, table: &str) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|place| place.starts_with(folder))
        .collect();
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_the_cluster_are_undone_the_inner_ones_first() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 254:0 /a /state rw - ext4 /dev/vda rw\n31 30 0:4 net:[1] /state/net rw - nsfs nsfs rw\n32 22 0:5 / /state-of-another rw - tmpfs tmpfs rw\n";
        assert_eq!(
            mounts_below(Path::new("/state"), table),
            [Path::new("/state/net"), Path::new("/state")]
        );
    }

    #[test]
    fn every_folder_with_a_fixed_name_gets_a_stand_in() {
        let script = script(&Layout::new(Path::new("/state")).unwrap());
        assert!(script.contains("mount --bind /state/volumes /tmp/hostpath_pv\n"));
        assert_eq!(script.matches("mount --bind").count(), FIXED.len());
    }
}
