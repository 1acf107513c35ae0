//! A Linux of its own with the real NFS server and client, in User-Mode-Linux: most test machines cannot mount NFS.
//!
//! Nothing listens here: a test starts the kernel with a program of its own (`testkit::uml`), which sees an NFSv4.2
//! mount at `/tmp/nfs`, and ends with it. The values are the kernel and its root folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::Run;
use super::{Installer, Product, Server, debian_root};
use crate::failure::Failure;
use crate::tools::debian;

const PACKAGES: &[&str] = &[
    "nfs-kernel-server",
    "nfs-common",
    "kmod",
    "iproute2",
    "procps",
];
/// The kernel of newer suites needs a newer libc than the machines have.
const KERNEL_SUITES: &[&str] = &["bookworm"];

pub const PRODUCT: Product = Product {
    name: "nfs",
    version: "6.1-uml",
    offers: &["nfs"],
    needs: &[],
    install,
    start,
};

fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    debian_root::make(installer, "trixie", PACKAGES, |folder| {
        let own = folder.join("kernel");
        let run = |command: &mut Command| installer.run(command);
        let kernel = debian::from_suites(&own, "user-mode-linux", KERNEL_SUITES, &run)?;
        let copy = "mkdir -p \"$2/lib/modules\" && cp -a \"$1\"/usr/lib/uml/modules/* \"$2/lib/modules/\" && \
                    for version in \"$2\"/lib/modules/*; do chroot \"$2\" depmod \"${version##*/}\"; done";
        run(Command::new("sh")
            .args(["-c", copy, "modules"])
            .arg(&kernel)
            .arg(folder.join("root")))
    })
}

fn start(_run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let kernel = folder.join("kernel/root/usr/bin/linux.uml");
    if !kernel.is_file() {
        return Err(Failure::Refused(format!("{} is missing", kernel.display())));
    }
    Ok(vec![
        Server::new("nfs", "Linux NFSv4.2", "6.1")
            .value("kernel", kernel.display().to_string())
            .value("root", folder.join("root").display().to_string()),
    ])
}
