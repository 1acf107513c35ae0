//! What the API answers, as far as it is used. <https://www.backblaze.com/apidocs>

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::ErrorKind;
use crate::http::{HttpFailure, Reply};

/// `b2_authorize_account`, version 4.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Authorization {
    pub account_id: String,
    #[serde(rename = "authorizationToken", deserialize_with = "secret")]
    pub token: SecretString,
    pub api_info: ApiInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiInfo {
    pub storage_api: StorageApi,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StorageApi {
    pub api_url: String,
    pub download_url: String,
    pub recommended_part_size: u64,
    pub absolute_minimum_part_size: u64,
    pub allowed: Allowed,
}

/// What the key may do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Allowed {
    /// The only buckets it is for; nothing for all.
    pub buckets: Option<Vec<AllowedBucket>>,
    pub capabilities: Vec<String>,
    /// What the names begin with that it is for.
    pub name_prefix: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct AllowedBucket {
    pub id: String,
    /// Nothing when the bucket is gone.
    pub name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Buckets {
    pub buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bucket {
    pub bucket_id: String,
    pub bucket_name: String,
}

/// A page of `b2_list_file_names` or `b2_list_file_versions`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub files: Vec<Version>,
    pub next_file_name: Option<String>,
    #[serde(default)]
    pub next_file_id: Option<String>,
}

/// One version of a file, or a marker that hides the older ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    /// Missing for folders only.
    #[serde(default)]
    pub file_id: Option<String>,
    pub file_name: String,
    /// `upload`, `hide`, `start` (a large file that is not finished) or `folder`.
    #[serde(default)]
    pub action: Option<String>,
    #[serde(default)]
    pub content_length: Option<u64>,
    #[serde(default)]
    pub content_sha1: Option<String>,
    #[serde(default)]
    pub file_info: BTreeMap<String, String>,
    #[serde(default)]
    pub upload_timestamp: u64,
}

/// The name under which uploaders of large files note the digest of the whole.
pub(super) const LARGE_FILE_SHA1: &str = "large_file_sha1";

impl Version {
    pub fn is(&self, action: &str) -> bool {
        self.action.as_deref() == Some(action)
    }

    /// The SHA-1 of the contents in hex, where it is known.
    pub fn sha1(&self) -> Option<&str> {
        let noted = self.file_info.get(LARGE_FILE_SHA1).map(String::as_str);
        self.content_sha1
            .as_deref()
            .filter(|digest| *digest != "none")
            .map(|digest| digest.strip_prefix("unverified:").unwrap_or(digest))
            .or(noted)
    }
}

/// An address for uploads and the token that goes with it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadAddress {
    pub upload_url: String,
    #[serde(deserialize_with = "secret")]
    pub authorization_token: SecretString,
}

/// What a call answers of which only the success matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    /// Every such answer names the file.
    #[serde(rename = "fileId")]
    pub _file_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part {
    pub content_sha1: String,
}

/// The body of a refusal.
#[derive(Default, Deserialize)]
pub(super) struct Trouble {
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

impl Trouble {
    /// Nothing for an answer that is not B2's.
    pub fn of(reply: &Reply) -> Self {
        serde_json::from_slice(&reply.body).unwrap_or_default()
    }
}

/// The answer of a call that succeeded. Something else with a status of success did not come from the service.
pub(super) fn parse<T: DeserializeOwned>(
    reply: &Reply,
    otherwise: ErrorKind,
) -> Result<T, HttpFailure> {
    // The parser's own words may repeat a token.
    serde_json::from_slice(&reply.body).map_err(|error| {
        HttpFailure::new(
            otherwise,
            format!(
                "the answer is not one of B2 (line {}, column {})",
                error.line(),
                error.column()
            ),
        )
    })
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}
