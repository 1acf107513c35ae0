//! Which bucket, and with which key.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use crate::service::keys::clean_prefix;
use crate::variables::{SetupError, Variables};

/// Where accounts of Backblaze are authorised.
const ENDPOINT: &str = "https://api.backblazeb2.com";
const LONGEST_BUCKET_NAME: usize = 63;
const FORM: &str = "Write it as `b2:bucket:path`.";

/// A repository in a bucket of Backblaze B2.
#[derive(Clone)]
pub struct B2Options {
    pub(super) bucket: String,
    /// Cleaned; without a slash at either end.
    pub(super) prefix: String,
    pub(super) key_id: String,
    pub(super) key: SecretString,
    /// Without a slash at the end.
    pub(super) endpoint: Url,
    /// Most requests at once.
    pub connections: Option<usize>,
    /// Objects of more bytes are uploaded in parts of the size that the account recommends. By default only objects
    /// far above any pack are.
    pub large_file_bytes: Option<u64>,
}

impl B2Options {
    /// From what follows `b2:` in restic's repository string.
    ///
    /// The key comes from `B2_ACCOUNT_ID` and `B2_ACCOUNT_KEY`, another API than Backblaze's from `B2_ENDPOINT`.
    pub fn parse(text: &str, variables: &Variables) -> Result<Self, SetupError> {
        let (bucket, prefix) = text.split_once(':').unwrap_or((text, ""));
        check_bucket(bucket)?;
        let missing = |name: &str, what: &str| {
            SetupError::new(format!("{name} is not set"))
                .with_hint(format!("Set it to the {what} of a key for the bucket."))
        };
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: clean_prefix(prefix),
            key_id: variables
                .get("B2_ACCOUNT_ID")
                .ok_or_else(|| missing("B2_ACCOUNT_ID", "key id"))?,
            key: variables
                .secret("B2_ACCOUNT_KEY")
                .ok_or_else(|| missing("B2_ACCOUNT_KEY", "secret part"))?,
            endpoint: endpoint(variables.get("B2_ENDPOINT"))?,
            connections: None,
            large_file_bytes: None,
        })
    }
}

impl B2Options {
    /// What the names of all objects begin with, slash included.
    pub(super) fn root(&self) -> String {
        if self.prefix.is_empty() {
            String::new()
        } else {
            format!("{}/", self.prefix)
        }
    }
}

fn check_bucket(name: &str) -> Result<(), SetupError> {
    let is_name = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'-';
    if name.is_empty() {
        return Err(SetupError::new("the bucket is missing").with_hint(FORM));
    }
    if name.len() > LONGEST_BUCKET_NAME || !name.bytes().all(is_name) {
        return Err(SetupError::new(format!(
            "{name:?} is no name of a bucket: letters, digits and hyphens, 63 at most"
        ))
        .with_hint(FORM));
    }
    Ok(())
}

fn endpoint(text: Option<String>) -> Result<Url, SetupError> {
    // The text itself may hold a password and is not repeated.
    let wrong = |why: String| {
        SetupError::new(format!("B2_ENDPOINT {why}"))
            .with_hint(format!("Write it as `{ENDPOINT}`."))
    };
    let text = text.unwrap_or_else(|| ENDPOINT.to_owned());
    let url = Url::parse(&text).map_err(|error| wrong(format!("is malformed: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong(
            "begins neither with http:// nor with https://".to_owned(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user or a password".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has more than a path".to_owned()));
    }
    Ok(url)
}

impl fmt::Display for B2Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "b2:{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(formatter, ":{}", self.prefix)?;
        }
        Ok(())
    }
}

impl fmt::Debug for B2Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("B2Options")
            .field(&self.to_string())
            .finish()
    }
}
