//! Azurite: Azure Blob Storage as its vendor's own emulator, in memory.
//!
//! `azurite` knows the shared key and SAS, `azurite-oauth` bearer tokens too (it looks at their claims only,
//! and answers 400 instead of 403 to a wrong shared key). The certificate is also good for
//! `ACCOUNT.blob.localhost`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::{Run, Spawned};
use super::{Installer, Product, Server};
use crate::failure::Failure;

const ACCOUNT: &str = "stashtest";
const KEY: &str =
    "c3Rhc2ggdGVzdCBhY2NvdW50IGtleSwgbm90IGEgc2VjcmV0IGF0IGFsbCAhISEhISEhISEhISEhISEhISEhIQ==";

pub const PRODUCT: Product = Product {
    name: "azurite",
    version: "3.37.0",
    offers: &["azurite", "azurite-oauth"],
    needs: &[],
    install,
    start,
};

fn install(installer: &Installer) -> Result<PathBuf, Failure> {
    installer.npm(
        &format!("azurite@{}", PRODUCT.version),
        include_str!("azurite.txt"),
    )
}

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let (plain, tls, oauth) = (run.port()?, run.port()?, run.port()?);
    let files = run.certificates();
    let with_tls = [
        "--cert",
        &text(&files.server),
        "--key",
        &text(&files.server_key),
    ];
    let with_oauth: Vec<&str> = with_tls.into_iter().chain(["--oauth", "basic"]).collect();
    let mut started = [
        (
            spawn(run, folder, "http", plain, &[])?,
            format!("http://127.0.0.1:{plain}/"),
        ),
        (
            spawn(run, folder, "https", tls, &with_tls)?,
            format!("https://localhost:{tls}/"),
        ),
        (
            spawn(run, folder, "oauth", oauth, &with_oauth)?,
            format!("https://localhost:{oauth}/"),
        ),
    ];
    for (server, address) in &mut started {
        server.wait_until_ready(|| run.curl(&*address).answers())?;
    }
    let server = |name: &str| {
        Server::new(name, "Azurite", PRODUCT.version)
            .value("account", ACCOUNT)
            .value("key", KEY)
    };
    Ok(vec![
        server("azurite").http(plain).https(tls),
        server("azurite-oauth")
            .https(oauth)
            .value(
                "issuer",
                "https://sts.windows.net/00000000-0000-0000-0000-000000000001/",
            )
            .value("tenant", "00000000-0000-0000-0000-000000000001")
            .value("audience", "https://storage.azure.com"),
    ])
}

fn spawn(
    run: &Run,
    folder: &Path,
    name: &str,
    port: u16,
    options: &[&str],
) -> Result<Spawned, Failure> {
    let mut command = Command::new(Installer::node(folder)?);
    command
        .arg(folder.join("node_modules/azurite/dist/src/blob/main.js"))
        .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
        .args(["--inMemoryPersistence", "--silent", "--skipApiVersionCheck"])
        .arg("--disableTelemetry")
        .args(options)
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
        .current_dir(run.folder(name)?);
    run.spawn(name, &mut command)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
