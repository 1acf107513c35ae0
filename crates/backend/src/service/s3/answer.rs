//! The XML that S3 answers with.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ErrorKind;
use crate::http::{HttpFailure, Reply};

/// An error document.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ErrorBody {
    pub code: Option<String>,
    pub message: Option<String>,
    /// The right region, where the signed one was wrong.
    pub region: Option<String>,
    /// The right host, in redirections.
    pub endpoint: Option<String>,
}

impl ErrorBody {
    /// What the body says, if it is an error document.
    pub fn of(reply: &Reply) -> Option<Self> {
        // No object of a repository begins like this, so that encrypted data is never parsed.
        if reply.body.len() > 1 << 20 || !reply.body.trim_ascii_start().starts_with(b"<") {
            return None;
        }
        let text = std::str::from_utf8(&reply.body).ok()?;
        if root_of(text)? != "Error" {
            return None;
        }
        quick_xml::de::from_str(text).ok()
    }
}

/// The name of a document's outermost element, without its namespace.
pub(super) fn root_of(text: &str) -> Option<String> {
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            quick_xml::events::Event::Start(start) | quick_xml::events::Event::Empty(start) => {
                return Some(start.local_name().as_ref().to_owned());
            }
            quick_xml::events::Event::Eof => return None,
            _ => {}
        }
    }
}

/// One page of a listing, of either version of the API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    /// Never taken for granted: a listing that is cut off must not pass for a whole one.
    pub is_truncated: bool,
    #[serde(default)]
    contents: Vec<Content>,
    next_continuation_token: Option<String>,
    next_marker: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    size: u64,
}

impl Page {
    /// Keys and sizes.
    pub fn objects(&self) -> impl Iterator<Item = (String, u64)> {
        self.contents
            .iter()
            .map(|content| (self.decode(&content.key), content.size))
    }

    /// Where the next page of the second version begins.
    pub fn next_token(&self) -> Option<&str> {
        let token = self.next_continuation_token.as_deref();
        token.filter(|token| !token.is_empty())
    }

    /// Where the next page of the first version begins: the service tells it only together with a delimiter.
    pub fn next_marker(&self) -> Option<String> {
        match &self.next_marker {
            Some(marker) if !marker.is_empty() => Some(self.decode(marker)),
            _ => self
                .contents
                .last()
                .map(|content| self.decode(&content.key)),
        }
    }

    /// Keys are encoded as in a form, if the store did as it was asked.
    fn decode(&self, key: &str) -> String {
        if self.encoding_type.as_deref() != Some("url") {
            return key.to_owned();
        }
        let spaced = key.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    }
}

/// The outcome of a removal of many objects; only failures are told.
#[derive(Debug, Deserialize)]
pub(super) struct Removed {
    #[serde(rename = "Error", default)]
    pub errors: Vec<NotRemoved>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NotRemoved {
    pub key: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
}

/// Where a bucket lies; nothing for the first region.
#[derive(Debug, Deserialize)]
pub(super) struct BucketLocation {
    #[serde(rename = "$text")]
    pub region: Option<String>,
}

/// Whether a bucket can lock objects.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ObjectLock {
    pub object_lock_enabled: Option<String>,
}

/// Reads an answer whose outermost element must be one of these.
pub(super) fn read<T: DeserializeOwned>(reply: &Reply, roots: &[&str]) -> Result<T, HttpFailure> {
    let text = String::from_utf8_lossy(&reply.body);
    let is_expected = root_of(&text).is_some_and(|root| roots.contains(&root.as_str()));
    let not_s3 = |reason: String| {
        HttpFailure::new(
            ErrorKind::Permanent,
            format!("the answer is not one of S3: {reason}"),
        )
    };
    if !is_expected {
        return Err(not_s3(format!("it is no {}", roots.join(" or "))));
    }
    quick_xml::de::from_str(&text).map_err(|error| not_s3(error.to_string()))
}
