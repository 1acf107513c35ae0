//! MinIO, the real product: plain and with TLS.
//!
//! A bucket with object lock can be made by any test (`x-amz-bucket-object-lock-enabled: true`); what is
//! locked goes with the data folder at `down`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::Run;
use super::{Installer, Product, Server};
use crate::failure::Failure;

const MODULE: &str = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";
const USER: &str = "stash-root";
const PASSWORD: &str = "stash-root-secret";

pub const PRODUCT: Product = Product {
    name: "minio",
    version: "2026-02-12",
    offers: &["minio"],
    needs: &[],
    install: |installer| installer.go(MODULE),
    start,
};

/// The program, where it has been installed, and its version.
pub fn program() -> Result<Option<(PathBuf, &'static str)>, Failure> {
    let installer = Installer::new(&PRODUCT, false)?;
    let program = installer.folder().join("bin/minio");
    Ok((installer.is_installed() && program.is_file()).then_some((program, PRODUCT.version)))
}

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let (plain, tls) = (run.port()?, run.port()?);
    let files = run.certificates();
    let certificates = run.folder("certificates")?;
    for (from, to) in [
        (&files.server, "public.crt"),
        (&files.server_key, "private.key"),
    ] {
        let to = certificates.join(to);
        std::fs::copy(from, &to).map_err(|source| Failure::Write { path: to, source })?;
    }
    let none = run.folder("no-certificates")?;
    let mut started = Vec::new();
    for (name, port, folder_of_certificates, address) in [
        ("http", plain, &none, format!("http://127.0.0.1:{plain}")),
        (
            "https",
            tls,
            &certificates,
            format!("https://localhost:{tls}"),
        ),
    ] {
        let mut command = Command::new(folder.join("bin/minio"));
        command
            .args(["server", "--address", &format!("127.0.0.1:{port}")])
            .args(["--console-address", &format!("127.0.0.1:{}", run.port()?)])
            .arg("--certs-dir")
            .arg(folder_of_certificates)
            .arg(run.folder(name)?)
            .env("MINIO_ROOT_USER", USER)
            .env("MINIO_ROOT_PASSWORD", PASSWORD)
            .env("MINIO_BROWSER", "off");
        started.push((run.spawn(name, &mut command)?, address));
    }
    for (server, address) in &mut started {
        server.wait_until_ready(|| {
            run.curl(format!("{address}/minio/health/ready"))
                .succeed()
                .is_ok()
        })?;
    }
    Ok(vec![
        Server::new("minio", "MinIO", PRODUCT.version)
            .http(plain)
            .https(tls)
            .value("region", "us-east-1")
            .value("access_key_id", USER)
            .value("secret_access_key", PASSWORD),
    ])
}
