//! The file with what passed, from which `cargo xtask results` makes the table of `docs/backends.md`.

use std::fs::OpenOptions;
use std::io::Write;

use serde_json::{Value, json};
use testkit::servers::Server;

/// Names the file that gets a JSON line per result.
const VARIABLE: &str = "STASH_TEST_REPORT";

/// Adds a line, where somebody wants to know.
pub fn append(line: &Value) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    // One call per line, so that the lines of tests that run at once stay whole.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// A repository was stored on this server by someone who said who they are in this form. A star behind it tells that
/// the token came from a service of the test's own: its vendor has none to install.
pub fn form_works(backend: &str, server: &Server, form: &str) {
    passed(backend, &server.title(), &format!("auth:{form}"));
}

/// Something with a column of its own passed.
pub fn passed(backend: &str, title: &str, check: &str) {
    append(&json!({
        "backend": backend,
        "server": title,
        "check": check,
        "result": "passed",
    }));
}
