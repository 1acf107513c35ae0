//! Ceph RGW, the real product that Rook runs: one monitor, one OSD on a file, one gateway with and without TLS.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::run::Run;
use super::{Installer, Product, Server, debian_root};
use crate::command;
use crate::failure::Failure;
use crate::workspace::write_text;

const PACKAGES: &[&str] = &["ceph-mon", "ceph-osd", "radosgw", "ceph-common"];
const ACCESS_KEY: &str = "STASHRGWACCESSKEY000";
const SECRET_KEY: &str = "stash-rgw-secret-key-of-the-tests-000000";

pub const PRODUCT: Product = Product {
    name: "rgw",
    version: "18.2-trixie",
    offers: &["rgw"],
    needs: &[],
    install,
    start,
};

fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    debian_root::make(installer, "trixie", PACKAGES, |_| Ok(()))
}

/// Everything is below `/mnt`, where the run's folder is seen. The class directory must be named: Debian's default
/// is a relative path.
fn configuration(mon: u16, mon_v1: u16) -> String {
    format!(
        "[global]
fsid = 6a29e1a6-64a1-4d0b-9b7c-7d5a2c1f3e00
mon_initial_members = a
mon_host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = /mnt/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 1000
osd_crush_chooseleaf_type = 0
osd_objectstore = bluestore
bluestore_block_size = 8589934592
osd_memory_target = 1073741824
osd_class_dir = /usr/lib/x86_64-linux-gnu/rados-classes
erasure_code_dir = /usr/lib/x86_64-linux-gnu/ceph/erasure-code
mon_data = /mnt/mon
osd_data = /mnt/osd
run_dir = /mnt
log_file = /mnt/$name.log
admin_socket = /mnt/$name.asok
mon_data_avail_crit = 1
mon_data_avail_warn = 1
"
    )
}

fn set_up(mon: u16, mon_v1: u16) -> String {
    format!(
        "set -e
ceph-authtool --create-keyring /mnt/keyring --gen-key -n mon. --cap mon 'allow *'
for name in client.admin client.rgw.a osd.0; do
  ceph-authtool /mnt/keyring --gen-key -n $name --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *'
done
monmaptool --create --clobber --fsid 6a29e1a6-64a1-4d0b-9b7c-7d5a2c1f3e00 --addv a '[v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]' /mnt/monmap
mkdir /mnt/mon /mnt/osd
ceph-mon --mkfs -i a --monmap /mnt/monmap --keyring /mnt/keyring --setuser root
"
    )
}

const ADD_OSD: &str = "set -e
id=5b9a8a1e-3f0e-4a55-9f52-1d2c3b4a5900
ceph osd new $id 0
ceph-osd -i 0 --mkfs --osd-uuid $id --setuser root
ceph osd crush add osd.0 1 root=default host=h1
";

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let root = folder.join("root");
    let data = run.folder("data")?;
    let (mon, mon_v1) = (run.port()?, run.port()?);
    let (plain, tls) = (run.port()?, run.port()?);
    write_text(&data.join("ceph.conf"), &configuration(mon, mon_v1))?;
    for (from, to) in [
        (&run.certificates().server, "server.crt"),
        (&run.certificates().server_key, "server.key"),
    ] {
        let to = data.join(to);
        std::fs::copy(from, &to).map_err(|source| Failure::Write { path: to, source })?;
    }
    let inside = |arguments: &[&str]| {
        let mut command = debian_root::enter(&root, &data);
        command.args(arguments).env("CEPH_CONF", "/mnt/ceph.conf");
        command
    };
    quietly(&mut inside(&["sh", "-c", &set_up(mon, mon_v1)]))?;
    let mut monitor = run.spawn(
        "mon",
        &mut inside(&["ceph-mon", "-i", "a", "--setuser", "root", "-f"]),
    )?;
    monitor.wait_until_ready(|| {
        command::succeeds(&mut inside(&["timeout", "5", "ceph", "mon", "stat"]))
    })?;
    quietly(&mut inside(&["timeout", "60", "sh", "-c", ADD_OSD]))?;
    let mut osd = run.spawn(
        "osd",
        &mut inside(&["ceph-osd", "-i", "0", "--setuser", "root", "-f"]),
    )?;
    osd.wait_until_ready(|| {
        command::output(&mut inside(&["timeout", "5", "ceph", "osd", "stat"]))
            .is_ok_and(|text| text.contains("1 up"))
    })?;
    let frontend = format!(
        "beast endpoint=127.0.0.1:{plain} ssl_endpoint=127.0.0.1:{tls} ssl_certificate=/mnt/server.crt \
         ssl_private_key=/mnt/server.key"
    );
    let mut gateway = run.spawn(
        "gateway",
        &mut inside(&[
            "radosgw",
            "-n",
            "client.rgw.a",
            "--setuser",
            "root",
            "-f",
            &format!("--rgw-frontends={frontend}"),
        ]),
    )?;
    gateway.wait_until_ready(|| run.curl(format!("http://127.0.0.1:{plain}/")).answers())?;
    quietly(&mut inside(&[
        "timeout",
        "60",
        "radosgw-admin",
        "user",
        "create",
        "--uid=stash",
        "--display-name=stash",
        &format!("--access-key={ACCESS_KEY}"),
        &format!("--secret-key={SECRET_KEY}"),
    ]))?;
    let version = command::output(&mut inside(&["radosgw", "--version"]))?;
    let version = version
        .split_whitespace()
        .nth(2)
        .unwrap_or("18.2")
        .to_owned();
    Ok(vec![
        Server::new("rgw", "Ceph RGW", &version)
            .http(plain)
            .https(tls)
            .value("region", "default")
            .value("access_key_id", ACCESS_KEY)
            .value("secret_access_key", SECRET_KEY),
    ])
}

/// Runs a step of the set-up; what it says is shown only when it fails.
fn quietly(command: &mut Command) -> Result<(), Failure> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Failure::Start {
            program: command::text_of(command),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "a step of setting up Ceph ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
