//! Garage, the real product: S3 without conditional writes, without TLS, in a region of its own.
//!
//! Building it takes half an hour, so it is built only for those who name it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::Run;
use super::{Installer, Product, Server};
use crate::command;
use crate::failure::Failure;
use crate::workspace::write_text;

pub const PRODUCT: Product = Product {
    name: "garage",
    version: "2.5.0",
    offers: &["garage"],
    needs: &[],
    install,
    start,
};

fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    if !installer.is_installed() && !installer.is_asked_for() {
        return Err(Failure::Refused(
            "building it takes half an hour; `cargo xtask servers up garage` does it once"
                .to_owned(),
        ));
    }
    installer.once(PRODUCT.version, |folder| {
        let build = folder.join("build");
        installer.run(
            Command::new("nice")
                .args(["-n", "19", "cargo", "install", "--locked", "garage"])
                .args(["--version", PRODUCT.version, "--root"])
                .arg(folder)
                .current_dir("/")
                .env("CARGO_TARGET_DIR", &build)
                .env_remove("RUSTUP_TOOLCHAIN"),
        )?;
        std::fs::remove_dir_all(&build).map_err(|source| Failure::Write {
            path: build,
            source,
        })
    })
}

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let data = run.folder("data")?;
    let (rpc, s3, admin) = (run.port()?, run.port()?, run.port()?);
    let configuration = data.join("garage.toml");
    write_text(
        &configuration,
        &format!(
            "metadata_dir = \"{meta}\"
data_dir = \"{blocks}\"
db_engine = \"sqlite\"
replication_factor = 1
rpc_bind_addr = \"127.0.0.1:{rpc}\"
rpc_public_addr = \"127.0.0.1:{rpc}\"
rpc_secret = \"{secret}\"
[s3_api]
s3_region = \"garage\"
api_bind_addr = \"127.0.0.1:{s3}\"
root_domain = \".s3.localhost\"
[admin]
api_bind_addr = \"127.0.0.1:{admin}\"
admin_token = \"only-for-tests\"
",
            meta = data.join("meta").display(),
            blocks = data.join("blocks").display(),
            secret = "5a".repeat(32),
        ),
    )?;
    let garage = |arguments: &[&str]| {
        let mut command = Command::new(folder.join("bin/garage"));
        command.arg("-c").arg(&configuration).args(arguments);
        command
    };
    let mut server = run.spawn("server", &mut garage(&["server"]))?;
    server.wait_until_ready(|| command::succeeds(&mut garage(&["node", "id", "-q"])))?;
    let id = command::output(&mut garage(&["node", "id", "-q"]))?;
    let id = id.trim().get(..16).unwrap_or_default().to_owned();
    server.wait_until_ready(|| {
        command::succeeds(&mut garage(&[
            "layout", "assign", "-z", "z1", "-c", "1G", &id,
        ]))
    })?;
    command::output(&mut garage(&["layout", "apply", "--version", "1"]))?;
    let key = command::output(&mut garage(&["key", "create", "stash"]))?;
    let field = |name: &str| {
        let line = key.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(|value| value.trim().to_owned())
            .ok_or_else(|| Failure::Refused(format!("garage does not tell the {name}")))
    };
    let (id, secret) = (field("Key ID:")?, field("Secret key:")?);
    command::output(&mut garage(&["key", "allow", "--create-bucket", &id]))?;
    Ok(vec![
        Server::new("garage", "Garage", PRODUCT.version)
            .http(s3)
            .value("region", "garage")
            .value("access_key_id", id)
            .value("secret_access_key", secret),
    ])
}
