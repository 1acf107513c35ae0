//! The real servers that `cargo xtask servers up` started, as tests see them.
//!
//! A test of a server reads where it listens from the file that the variable `STASH_TEST_SERVERS` names,
//! and is skipped, with a line that is counted, when the server is not offered:
//!
//! ```no_run
//! # fn body() -> Option<()> {
//! let minio = testkit::servers::offered("minio")?;
//! let endpoint = minio.https();
//! let key = minio.value("access_key_id");
//! # Some(()) }
//! ```
//!
//! A test function returns nothing, so it says `let Some(minio) = offered("minio") else { return };`.
//! Servers are shared by all tests of a run: make a bucket, container or folder of your own with a random
//! name, and never reset a server.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::skip;

/// The variable that names the file.
pub const VARIABLE: &str = "STASH_TEST_SERVERS";

/// All servers of a run.
#[derive(Clone, Debug, Deserialize)]
pub struct Servers {
    ca: PathBuf,
    servers: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Deserialize)]
struct Entry {
    product: String,
    version: String,
    http: Option<String>,
    https: Option<String>,
    values: BTreeMap<String, String>,
}

/// One listening server.
#[derive(Clone, Debug)]
pub struct Server {
    name: String,
    ca: PathBuf,
    entry: Entry,
}

/// A server of this run; says that the test is skipped when it is not offered.
pub fn offered(name: &str) -> Option<Server> {
    let found = Servers::offered().and_then(|servers| servers.get(name));
    if found.is_none() {
        skip(format!(
            "server {name}: not running (`cargo xtask servers up {name}`)"
        ));
    }
    found
}

impl Servers {
    /// The servers of this run; nothing when the variable is not set.
    pub fn offered() -> Option<Self> {
        let file = env::var_os(VARIABLE)?;
        let text = fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{VARIABLE}: {}: {error}", file.display()));
        let servers = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{VARIABLE}: {}: {error}", file.display()));
        Some(servers)
    }

    /// A server by its entry's name.
    pub fn get(&self, name: &str) -> Option<Server> {
        self.servers.get(name).map(|entry| Server {
            name: name.to_owned(),
            ca: self.ca.clone(),
            entry: entry.clone(),
        })
    }

    /// The names of all servers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.servers.keys().map(String::as_str)
    }

    /// The certificate (PEM) of the authority that signed all servers' certificates.
    pub fn ca(&self) -> &Path {
        &self.ca
    }
}

impl Server {
    /// The entry's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Product and version for tables of results, for example `MinIO 2026-02-12`.
    pub fn title(&self) -> String {
        format!("{} {}", self.entry.product, self.entry.version)
    }

    /// Its address without TLS, without a slash at the end. A server that has none fails the test.
    pub fn http(&self) -> &str {
        self.has_http()
            .unwrap_or_else(|| panic!("server {} has no address without TLS", self.name))
    }

    /// Its address with TLS, without a slash at the end. A server that has none fails the test.
    pub fn https(&self) -> &str {
        self.has_https()
            .unwrap_or_else(|| panic!("server {} has no address with TLS", self.name))
    }

    /// Its address without TLS, when it has one.
    pub fn has_http(&self) -> Option<&str> {
        self.entry.http.as_deref()
    }

    /// Its address with TLS, when it has one.
    pub fn has_https(&self) -> Option<&str> {
        self.entry.https.as_deref()
    }

    /// Something the server's entry says about it. A value that is missing fails the test.
    pub fn value(&self, key: &str) -> &str {
        self.has_value(key)
            .unwrap_or_else(|| panic!("server {} has no value {key}", self.name))
    }

    /// Something the server's entry may say about it.
    pub fn has_value(&self, key: &str) -> Option<&str> {
        self.entry.values.get(key).map(String::as_str)
    }

    /// The certificate (PEM file) of the authority that signed its certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// The text of [`Server::ca`].
    pub fn ca_pem(&self) -> String {
        fs::read_to_string(&self.ca).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_with_its_addresses_and_values() {
        let text = r#"{"ca": "/run/ca.pem", "servers": {"minio": {"product": "MinIO",
            "version": "1", "https": "https://localhost:1", "process": "minio",
            "values": {"access_key_id": "AK"}}}}"#;
        let servers: Servers = serde_json::from_str(text).unwrap();
        assert!(servers.get("moto").is_none());
        let minio = servers.get("minio").unwrap();
        assert_eq!(minio.title(), "MinIO 1");
        assert_eq!(minio.https(), "https://localhost:1");
        assert_eq!(minio.has_http(), None);
        assert_eq!(minio.value("access_key_id"), "AK");
        assert_eq!(minio.ca(), Path::new("/run/ca.pem"));
    }
}
