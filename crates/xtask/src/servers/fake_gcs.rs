//! fake-gcs-server: Google Cloud Storage's JSON API, in memory, without authentication.
//!
//! Token endpoints and the refusal of bad tokens are up to the tests (a stub and a proxy of `testkit`).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run::Run;
use super::{Product, Server, installer};
use crate::failure::Failure;

const PYTHON_PACKAGE: &str = include_str!("fake_gcs.txt");

pub const PRODUCT: Product = Product {
    name: "fake-gcs",
    version: "1.54.0",
    offers: &["fake-gcs"],
    needs: &[],
    install: |installer| installer.python(PYTHON_PACKAGE),
    start,
};

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let program = program(folder)?;
    let (plain, tls) = (run.port()?, run.port()?);
    let files = run.certificates();
    let listen = |scheme: &str, host: &str, port: u16| {
        let mut command = Command::new(&program);
        command
            .args(["-backend", "memory", "-scheme", scheme])
            .args(["-host", "127.0.0.1", "-port", &port.to_string()])
            .args(["-external-url", &format!("{scheme}://{host}:{port}")])
            // Without a port, so that it answers behind a relay too.
            .args(["-public-host", host]);
        command
    };
    let mut over_tls = listen("https", "localhost", tls);
    over_tls
        .arg("-cert-location")
        .arg(&files.server)
        .arg("-private-key-location")
        .arg(&files.server_key);
    let mut started = [
        (
            run.spawn("http", &mut listen("http", "127.0.0.1", plain))?,
            format!("http://127.0.0.1:{plain}"),
        ),
        (
            run.spawn("https", &mut over_tls)?,
            format!("https://localhost:{tls}"),
        ),
    ];
    for (server, address) in &mut started {
        server.wait_until_ready(|| {
            run.curl(format!("{address}/storage/v1/b?project=stash"))
                .succeed()
                .is_ok()
        })?;
    }
    Ok(vec![
        Server::new("fake-gcs", "fake-gcs-server", PRODUCT.version)
            .http(plain)
            .https(tls)
            .value("project", "stash"),
    ])
}

/// The program inside the Python package.
fn program(folder: &Path) -> Result<PathBuf, Failure> {
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    installer::find(
        &folder.join("lib"),
        &format!("fake-gcs-server-linux-{machine}"),
    )
}
