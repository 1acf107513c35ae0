//! The programs of Kubernetes, etcd and CoreDNS: built from the Go module proxy, pinned by `programs.mod`, kept for
//! all checkouts of this user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::control_groups;
use super::layout::VERSION;
use crate::command;
use crate::failure::Failure;
use crate::report;
use crate::servers::installer::{Installer, golang, need};
use crate::servers::testbed;
use crate::workspace::write_text;

const MODULE: &str = include_str!("programs.mod");
/// Where Kubernetes keeps the version that its programs show.
const VERSION_PACKAGE: &str = "k8s.io/component-base/version";

/// What must be on the search path, and the Debian packages it comes from.
const NEEDED: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ethtool", "ethtool"),
    ("socat", "socat"),
    ("ip", "iproute2"),
    ("sysctl", "procps"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("busybox", "busybox-static"),
    ("cc", "build-essential"),
    ("strip", "binutils"),
    ("ldd", "libc-bin"),
    ("curl", "curl"),
];

/// Where distributions put the plugins for the networks of containers.
const PLUGIN_FOLDERS: &[&str] = &["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Whether this machine can run a cluster; says what is missing otherwise.
pub fn check_machine() -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::Refused(
            "a cluster needs root, for namespaces and control groups".to_owned(),
        ));
    }
    for (program, package) in NEEDED {
        need(&[program], package)?;
    }
    network_plugins()?;
    if !installer()?.folder().is_dir() {
        need(&["go"], "golang-go")?;
    }
    let mut unshare = Command::new("unshare");
    if !command::succeeds(unshare.args(["--net", "--mount", "true"])) {
        return Err(Failure::Refused(
            "this machine lets nobody make namespaces".to_owned(),
        ));
    }
    control_groups::check()
}

/// The folder of the network plugins.
pub fn network_plugins() -> Result<&'static Path, Failure> {
    PLUGIN_FOLDERS
        .iter()
        .map(Path::new)
        .find(|folder| folder.join("bridge").is_file())
        .ok_or_else(|| {
            Failure::Refused(
                "the network plugin `bridge` is missing; install containernetworking-plugins"
                    .to_owned(),
            )
        })
}

/// The folder of the programs, and everything else that is made once for this version.
pub fn installer() -> Result<Installer, Failure> {
    Ok(Installer::at(testbed()?.join(format!("cluster-{VERSION}"))))
}

/// Builds the programs unless they are there, and returns their folder.
pub fn install() -> Result<PathBuf, Failure> {
    let installer = installer()?;
    installer.whole(|folder| {
        report::line(
            "  building Kubernetes, etcd and CoreDNS: 15 minutes of CPU, once for this version",
        );
        build(&installer, folder)
    })
}

/// Builds in a folder of its own, with a cache that goes away: it takes 3 GB.
fn build(installer: &Installer, folder: &Path) -> Result<(), Failure> {
    let scratch = folder.join("build");
    write_text(&scratch.join("go.mod"), MODULE)?;
    let go = |arguments: &[&str]| -> Result<(), Failure> {
        installer.run(
            golang::go()?
                .current_dir(&scratch)
                .args(arguments)
                .env("GOCACHE", scratch.join("cache"))
                .env("GOFLAGS", "-mod=mod")
                .env("CGO_ENABLED", "0"),
        )
    };
    let minor = VERSION.split('.').nth(1).unwrap_or_default();
    let flags = format!(
        "-s -w -X {VERSION_PACKAGE}.gitVersion=v{VERSION} -X {VERSION_PACKAGE}.gitMajor=1 -X {VERSION_PACKAGE}.gitMinor={minor}"
    );
    let into = format!("{}/", folder.display());
    let built = go(&["mod", "tidy"]).and_then(|()| {
        go(&[
            "build",
            "-trimpath",
            "-o",
            &into,
            "-ldflags",
            &flags,
            "tool",
        ])
    });
    let failed = |source| Failure::Write {
        path: scratch.clone(),
        source,
    };
    fs::remove_dir_all(&scratch).map_err(failed)?;
    built?;
    // Go names a program after the last part of its package.
    fs::rename(folder.join("server"), folder.join("etcd")).map_err(failed)
}
