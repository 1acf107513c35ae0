//! The file that tells tests what runs: `servers.json` in the folder of the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::workspace::read_text;

/// One listening server. `testkit::servers::Server` is the reading side.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Server {
    /// The entry's name, one of [`super::Product::offers`].
    #[serde(skip)]
    pub name: String,
    /// What it is called in a table of results, for example `Ceph RGW`.
    pub product: String,
    pub version: String,
    /// Address without TLS, when it has one: `http://127.0.0.1:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Address with TLS under the authority of the run: `https://localhost:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// Everything else a test needs: credentials, paths, settings.
    pub values: BTreeMap<String, String>,
    /// The product that started it, as named in the process list.
    #[serde(default)]
    pub process: String,
}

impl Server {
    /// A server without address and values.
    pub fn new(name: &str, product: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            product: product.to_owned(),
            version: version.to_owned(),
            ..Self::default()
        }
    }

    /// Adds an address without TLS on 127.0.0.1.
    #[must_use]
    pub fn http(mut self, port: u16) -> Self {
        self.http = Some(format!("http://127.0.0.1:{port}"));
        self
    }

    /// Adds an address with TLS on localhost.
    #[must_use]
    pub fn https(mut self, port: u16) -> Self {
        self.https = Some(format!("https://localhost:{port}"));
        self
    }

    /// Adds something a test needs to know.
    #[must_use]
    pub fn value(mut self, key: &str, value: impl Into<String>) -> Self {
        self.values.insert(key.to_owned(), value.into());
        self
    }

    /// Its addresses for a person.
    pub fn addresses(&self) -> String {
        let both: Vec<&str> = [&self.http, &self.https]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        both.join(" ")
    }
}

/// Everything in the file.
#[derive(Default, Serialize, Deserialize)]
pub struct Offers {
    /// The authority's certificate.
    pub ca: PathBuf,
    pub servers: BTreeMap<String, Server>,
}

/// Where the file is.
pub fn file(state: &Path) -> PathBuf {
    state.join("servers.json")
}

impl Offers {
    /// What the file says; nothing when there is none.
    pub fn load(state: &Path) -> Result<Self, Failure> {
        load_json(&file(state))
    }

    /// Replaces the file.
    pub fn save(&self, state: &Path) -> Result<(), Failure> {
        save_json(&file(state), self)
    }

    /// Adds servers under the product that started them.
    pub fn add(&mut self, product: &str, servers: Vec<Server>) {
        for mut server in servers {
            product.clone_into(&mut server.process);
            self.servers.insert(server.name.clone(), server);
        }
    }
}

/// A value from a JSON file, or its default when the file does not exist.
pub fn load_json<T: Default + for<'a> Deserialize<'a>>(path: &Path) -> Result<T, Failure> {
    if !path.exists() {
        return Ok(T::default());
    }
    serde_json::from_str(&read_text(path)?).map_err(|source| Failure::Json {
        command: path.display().to_string(),
        source,
    })
}

/// Writes a JSON file at once: a reader sees the old or the new one.
pub fn save_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|source| Failure::Json {
        command: path.display().to_string(),
        source,
    })?;
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(|source| Failure::Write {
            path: path.to_path_buf(),
            source,
        })
}
