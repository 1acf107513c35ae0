//! Backblaze B2: the vendor's own simulator (of its `b2sdk`) behind an HTTP front of ours, in memory.
//!
//! Values: the master key (`key_id`, `key`), and keys limited to `restricted_bucket`: `bucket_key`,
//! `prefix_key` (names beginning with `key_prefix`), `no_delete_key`, `read_only_key`, each with its `_id`.
//! Failures are ordered through `/admin/`; `b2/b2.py` says how. Recommended parts have 200 bytes only.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::run::Run;
use super::{Product, Server};
use crate::failure::Failure;
use crate::workspace::write_text;

pub const PRODUCT: Product = Product {
    name: "b2",
    version: "2.13.1",
    offers: &["b2"],
    needs: &[],
    install: |installer| installer.python(include_str!("b2/b2.txt")),
    start,
};

fn start(run: &Run, folder: &Path) -> Result<Vec<Server>, Failure> {
    let (plain, tls) = (run.port()?, run.port()?);
    let files = run.certificates();
    let programs = run.folder("front")?;
    let front = programs.join("b2.py");
    write_text(&front, include_str!("b2/b2.py"))?;
    write_text(
        &programs.join("b2_state.py"),
        include_str!("b2/b2_state.py"),
    )?;
    let mut command = Command::new(folder.join("bin/python"));
    command
        .arg(&front)
        .args(["--http", &plain.to_string(), "--https", &tls.to_string()])
        .arg("--certificate")
        .arg(&files.server)
        .arg("--key")
        .arg(&files.server_key);
    let values = format!("https://localhost:{tls}/admin/values");
    run.spawn("front", &mut command)?
        .wait_until_ready(|| run.curl(&values).succeed().is_ok())?;
    let body = run.curl(&values).succeed()?.body;
    let values: BTreeMap<String, String> =
        serde_json::from_str(&body).map_err(|source| Failure::Json {
            command: values,
            source,
        })?;
    let server = Server::new("b2", "Backblaze simulator", PRODUCT.version)
        .http(plain)
        .https(tls);
    Ok(vec![
        values
            .into_iter()
            .fold(server, |server, (key, value)| server.value(&key, value)),
    ])
}
