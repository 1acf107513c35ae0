//! A small Debian in a folder, for servers that this machine's own Debian does not have or could not run.
//!
//! Made by debootstrap, which is unpacked and not installed. Programs in it are started under `chroot` in a mount
//! namespace of their own, so that nothing stays mounted when they end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Installer;
use crate::failure::Failure;
use crate::tools::debian;
use crate::workspace::write_text;

/// Mounts that a program needs, then the program: `$1` is the folder, `$2` what becomes `/mnt` in it.
const ENTER: &str = r#"set -e
root=$1; data=$2; shift 2
mount --make-rprivate /
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$data" "$root/mnt"
exec chroot "$root" "$@"
"#;

/// Makes the folder `root` of a product: a minimal `suite` with these packages, completed by `more`.
pub fn make(
    installer: &Installer,
    suite: &str,
    packages: &[&str],
    more: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<PathBuf, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::Refused(
            "making a Debian folder needs root".to_owned(),
        ));
    }
    let recipe = format!("{suite} with {}", packages.join(" "));
    let folder = installer.once(&recipe, |folder| {
        let root = folder.join("root");
        if root.exists() {
            fs::remove_dir_all(&root).map_err(|source| Failure::Write {
                path: root.clone(),
                source,
            })?;
        }
        let tools = debian::from_own_sources(&folder.join("tools"), "debootstrap", &|command| {
            installer.run(command)
        })?;
        let mirror = debian::mirror().ok_or_else(|| {
            Failure::Refused("no Debian mirror in the sources of this machine".to_owned())
        })?;
        installer.run(
            Command::new("nice")
                .arg("sh")
                .arg(tools.join("usr/sbin/debootstrap"))
                .args(["--variant=minbase", "--include=ca-certificates"])
                .arg(format!("--keyring={}", debian::keyring()?))
                .arg(suite)
                .arg(&root)
                .arg(mirror)
                .env("DEBOOTSTRAP_DIR", tools.join("usr/share/debootstrap")),
        )?;
        // No service starts when its package is unpacked.
        write_text(&root.join("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n")?;
        installer.run(
            Command::new("chmod")
                .arg("755")
                .arg(root.join("usr/sbin/policy-rc.d")),
        )?;
        let mut install = enter(&root, &folder.join("tools"));
        install
            .args(["apt-get", "-q", "install", "-y", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        installer.run(&mut install)?;
        installer.run(enter(&root, &folder.join("tools")).args(["apt-get", "clean"]))?;
        more(folder)
    })?;
    Ok(folder)
}

/// A program in the folder, to be completed by its name and arguments; `data` is `/mnt` there.
pub fn enter(root: &Path, data: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", ENTER, "enter"])
        .arg(root)
        .arg(data);
    command
}
