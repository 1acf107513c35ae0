//! Which bucket of Google Cloud Storage, and which one source of credentials.

use std::fmt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::service::gcs::token::{Credentials, METADATA_HOST};
use crate::service::keys::clean_prefix;
use crate::variables::{SetupError, Variables};

const ENDPOINT: &str = "https://storage.googleapis.com";
const KEY_VARIABLE: &str = "GOOGLE_SERVICE_ACCOUNT_JSON_KEY";
/// Names with dots may be as long as this.
const LONGEST_BUCKET_NAME: usize = 222;
const FORM: &str = "Write it as `gs:bucket:/path`.";

/// A repository in a bucket of Google Cloud Storage.
#[derive(Clone)]
pub struct GcsOptions {
    pub(super) bucket: String,
    /// Cleaned; without a slash at either end.
    pub(super) prefix: String,
    /// Scheme, host and port.
    pub(super) endpoint: Url,
    pub(super) source: Source,
    /// The project that a new bucket belongs to.
    pub(super) project: Option<String>,
    /// Most requests at once.
    pub connections: Option<usize>,
    /// Where a new bucket lies, for example `EU` or `europe-west1`; the service's default is `US`.
    pub region: Option<String>,
    /// Storage class of packs; other objects have the bucket's default.
    pub storage_class: Option<String>,
}

/// Where tokens come from. One is chosen by what is configured; when it fails, no other takes its place.
#[derive(Clone)]
pub(super) enum Source {
    /// No token is sent.
    Anonymous,
    /// A token of the user's own, which cannot be renewed.
    Token(SecretString),
    /// Credentials as text, from a Secret.
    Text(Box<Credentials>),
    /// Credentials in a file, which is read for every new token because it may be replaced.
    File(PathBuf),
    /// The server that knows the identity of this machine or Pod: host, with a port where it is not 80.
    Metadata(String),
    /// Nothing is configured: what `gcloud auth application-default login` left in this file, and the metadata
    /// server where there is no such file.
    Ambient(Option<PathBuf>),
}

impl GcsOptions {
    /// From what follows `gs:` in restic's repository string.
    ///
    /// The credentials are the first of `GOOGLE_SERVICE_ACCOUNT_JSON_KEY` (text), `GOOGLE_ACCESS_TOKEN`,
    /// `GOOGLE_APPLICATION_CREDENTIALS` (file) and `GCE_METADATA_HOST` that is set, and else those of the machine.
    /// `GOOGLE_PROJECT_ID` is needed only to make a bucket. `STORAGE_EMULATOR_HOST` names another server, where
    /// nobody has to authenticate unless credentials are set.
    pub fn parse(text: &str, variables: &Variables) -> Result<Self, SetupError> {
        let (bucket, prefix) = text.split_once(':').unwrap_or((text, ""));
        check_bucket(bucket)?;
        let emulator = variables.get("STORAGE_EMULATOR_HOST");
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: clean_prefix(prefix),
            source: source(variables, emulator.is_some())?,
            endpoint: endpoint(emulator)?,
            project: variables.get("GOOGLE_PROJECT_ID"),
            connections: None,
            region: None,
            storage_class: None,
        })
    }

    pub(super) fn origin(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }
}

fn check_bucket(name: &str) -> Result<(), SetupError> {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if name.is_empty() {
        return Err(SetupError::new("the bucket is missing").with_hint(FORM));
    }
    if !(3..=LONGEST_BUCKET_NAME).contains(&name.len()) || !name.bytes().all(is_letter) {
        return Err(SetupError::new(format!(
            "{name:?} is no name of a bucket: 3 or more lower-case letters, digits, hyphens, underscores and dots"
        ))
        .with_hint(FORM));
    }
    Ok(())
}

fn source(variables: &Variables, is_emulated: bool) -> Result<Source, SetupError> {
    if let Some(text) = variables.secret(KEY_VARIABLE) {
        let credentials = Credentials::parse(&text)
            .map_err(|reason| SetupError::new(format!("{KEY_VARIABLE} {reason}")))?;
        return Ok(Source::Text(Box::new(credentials)));
    }
    if let Some(token) = variables.secret("GOOGLE_ACCESS_TOKEN") {
        let token = token.expose_secret().trim();
        return Ok(Source::Token(SecretString::from(token)));
    }
    if let Some(file) = variables.get("GOOGLE_APPLICATION_CREDENTIALS") {
        return Ok(Source::File(PathBuf::from(file)));
    }
    if let Some(host) = variables.get("GCE_METADATA_HOST") {
        if Url::parse(&format!("http://{host}/")).is_err() || host.contains(['/', '@', '?', '#']) {
            return Err(
                SetupError::new("GCE_METADATA_HOST is not the name of a host").with_hint(format!(
                    "Write it as `{METADATA_HOST}`, with `:port` where needed."
                )),
            );
        }
        return Ok(Source::Metadata(host));
    }
    if is_emulated {
        return Ok(Source::Anonymous);
    }
    let folder = variables
        .get("CLOUDSDK_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variables.get("HOME")?).join(".config/gcloud")));
    Ok(Source::Ambient(folder.map(|folder| {
        folder.join("application_default_credentials.json")
    })))
}

fn endpoint(emulator: Option<String>) -> Result<Url, SetupError> {
    let text = match emulator {
        None => ENDPOINT.to_owned(),
        Some(text) if text.contains("://") => text,
        Some(host) => format!("http://{host}"),
    };
    // The text itself may hold a password and is not repeated.
    let wrong = |why: &str| {
        SetupError::new(format!("STORAGE_EMULATOR_HOST {why}"))
            .with_hint("Write it as `http://host:port`.")
    };
    let mut url = Url::parse(&text).map_err(|error| wrong(&format!("is malformed: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("begins neither with http:// nor with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user or a password"));
    }
    // As Google's own clients do, whatever path was given.
    url.set_path("");
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

impl fmt::Display for GcsOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "gs:{}:/{}", self.bucket, self.prefix)
    }
}

impl fmt::Debug for GcsOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("GcsOptions")
            .field(&self.to_string())
            .finish()
    }
}
