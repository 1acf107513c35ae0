//! A program in a Linux of its own, which has the NFS mount that this machine cannot make.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::servers::Server;

/// Longest life of the machine.
const TIMEOUT: Duration = Duration::from_mins(4);

/// The lease and grace times are those of a server that has just started: without ending them the first file waits
/// for a minute and a half.
const BOOT: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
for folder in /run /tmp /var/lib/nfs; do mount -t tmpfs tmpfs $folder; done
mkdir -p /tmp/export /tmp/nfs /tmp/home /var/lib/nfs/sm /var/lib/nfs/v4recovery /run/rpc_pipefs
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
ip link set lo up
modprobe nfsd; modprobe nfs; modprobe nfsv4
mount -t nfsd nfsd /proc/fs/nfsd
exportfs -o rw,sync,no_subtree_check,no_root_squash,insecure,fsid=0 127.0.0.1:/tmp/export
echo 10 > /proc/fs/nfsd/nfsv4leasetime
echo 10 > /proc/fs/nfsd/nfsv4gracetime
rpc.mountd -N 3
rpc.nfsd -N 3 2
echo Y > /proc/fs/nfsd/v4_end_grace
mount -t nfs4 -o "${NFS_OPTIONS:-rw}" 127.0.0.1:/ /tmp/nfs || echo "the mount failed"
export HOME=/tmp/home
cd "$(dirname "$0")"
sh ./program > output 2>&1
echo $? > code
sync
echo o > /proc/sysrq-trigger
sleep 60
"#;

/// What the program left.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; nothing when the machine ended before it did.
    pub code: Option<i32>,
    /// Everything it said.
    pub output: String,
}

/// Boots the machine of the server `nfs`, runs a shell script in it with these files beside it, and waits for its end.
///
/// The mount is at `/tmp/nfs`, the exported folder at `/tmp/export`; `nfs_options` are those of `mount -o`.
pub fn run(server: &Server, files: &[(&Path, &str)], nfs_options: &str, script: &str) -> Ended {
    let root = Path::new(server.value("root"));
    let folder = Folder::new(root);
    for (from, name) in files {
        let to = folder.0.join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let inside = Path::new("/").join(folder.0.file_name().unwrap());
    fs::write(folder.0.join("program"), script).unwrap();
    let boot = BOOT.replace("${NFS_OPTIONS:-rw}", nfs_options);
    fs::write(folder.0.join("boot"), boot).unwrap();
    fs::set_permissions(folder.0.join("boot"), fs::Permissions::from_mode(0o755)).unwrap();

    let console = fs::File::create(folder.0.join("console")).unwrap();
    let mut machine = Command::new(server.value("kernel"))
        .args([
            "mem=1024M",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rw",
            "con=null",
            "con0=null,fd:1",
        ])
        .arg(format!("rootflags={}", root.display()))
        .arg(format!("init={}", inside.join("boot").display()))
        .env("TMPDIR", &folder.0)
        .stdin(Stdio::null())
        .stdout(console)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let code = folder.0.join("code");
    while machine.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = machine.kill();
    let _ = machine.wait();
    let read = |name: &str| {
        String::from_utf8_lossy(&fs::read(folder.0.join(name)).unwrap_or_default()).into_owned()
    };
    Ended {
        code: fs::read_to_string(code)
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        output: format!("{}\n{}", read("output"), last_lines(&read("console"))),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// A folder of its own below the root of the machine, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(root: &Path) -> Self {
        let name = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(root)
            .unwrap()
            .keep();
        Self(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
