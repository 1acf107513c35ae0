//! What the service answers: objects, pages and refusals.
//!
//! <https://cloud.google.com/storage/docs/json_api/v1/status-codes>

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure, Refusal, Reply, kind_of_status};

/// Metadata of an object, as far as they were asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    pub name: String,
    #[serde(deserialize_with = "number")]
    pub size: u64,
    pub md5_hash: Option<String>,
    pub generation: Option<String>,
}

/// A part of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    #[serde(default)]
    pub items: Vec<Object>,
    pub next_page_token: Option<String>,
}

/// Numbers travel as text.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// What a request was about: whether something absent is the object or the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Object,
    Bucket,
}

/// Success, or what the refusal means.
///
/// [`ErrorKind::NotFound`] is sure only where [`says_which`] the answer; else the bucket has to be asked for.
pub(super) fn accept(http: &HttpClient, about: About, reply: Reply) -> Result<Reply, HttpFailure> {
    if reply.status.is_success() {
        Ok(reply)
    } else {
        Err(refusal(http, about, &reply))
    }
}

/// A success whose body is JSON of this kind. An empty listing without its kind would hide what is there.
pub(super) fn parse<T: DeserializeOwned>(
    http: &HttpClient,
    kind: &str,
    reply: &Reply,
) -> Result<T, HttpFailure> {
    let foreign = |reason: &str| {
        HttpFailure::new(
            ErrorKind::Temporary,
            format!("the answer is not one of Google Cloud Storage: {reason}"),
        )
    };
    let value: Value =
        serde_json::from_slice(&reply.body).map_err(|error| foreign(&error.to_string()))?;
    if value.get("error").is_some() {
        return Err(refusal(http, About::Object, reply));
    }
    if value["kind"] != kind {
        return Err(foreign(&format!("it is no {kind}")));
    }
    serde_json::from_value(value).map_err(|error| foreign(&http.presentable(&error.to_string())))
}

/// What a refusal means.
pub(super) fn refusal(http: &HttpClient, about: About, reply: &Reply) -> HttpFailure {
    let words = Words::of(reply);
    let kind = kind_of(about, reply.status, &words);
    Refusal::new(
        http,
        reply,
        words.reason.as_deref(),
        words.message.as_deref(),
    )
    .into_failure(kind, reply)
}

/// Whether a 404 tells by itself what is absent, the object or the bucket.
pub(super) fn says_which(reply: &Reply) -> bool {
    let words = Words::of(reply);
    words.says_no_bucket() || words.starts("No such object")
}

/// Whether a refusal is an error document of the service's rather than anybody's.
pub(super) fn is_googles(reply: &Reply) -> bool {
    Words::of(reply).is_document
}

fn kind_of(about: About, status: StatusCode, words: &Words) -> ErrorKind {
    let reason = words.reason.as_deref().unwrap_or_default();
    match status.as_u16() {
        404 if words.says_no_bucket() => ErrorKind::PlaceNotFound,
        404 if about == About::Bucket && words.is_document => ErrorKind::PlaceNotFound,
        // A gateway that has lost the way to the service, for one.
        404 if about == About::Bucket => ErrorKind::Temporary,
        412 => ErrorKind::AlreadyExists,
        416 => ErrorKind::TooShort,
        403 if matches!(
            reason,
            "rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError"
        ) =>
        {
            ErrorKind::Temporary
        }
        // The checksum of a write: what arrived is not what was sent.
        400 if words.has("MD5") || words.has("CRC32C") => ErrorKind::Temporary,
        // An error document behind a success, somebody else at the same object or bucket at this moment, or the end of
        // an upload, which is all that the service says this of.
        200..=299 | 409 | 410 => ErrorKind::Temporary,
        _ => kind_of_status(status),
    }
}

/// `{"error": {"code": 403, "message": "words", "errors": [{"reason": "forbidden"}]}}`, or plain text where contents
/// were asked for.
struct Words {
    /// It is JSON as the service makes it.
    is_document: bool,
    reason: Option<String>,
    message: Option<String>,
}

impl Words {
    fn of(reply: &Reply) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match serde_json::from_slice::<Value>(&reply.body) {
            Ok(value) if value["error"].is_object() => {
                let error = &value["error"];
                Self {
                    is_document: true,
                    reason: text(&error["errors"][0]["reason"]).or_else(|| text(&error["status"])),
                    message: text(&error["message"]),
                }
            }
            _ => {
                // Plain words are often called HTML, which real HTML tells by its first letter.
                let is_text = reply
                    .header("content-type")
                    .is_some_and(|kind| kind.starts_with("text/"));
                let is_words = is_text && !reply.body.trim_ascii_start().starts_with(b"<");
                Self {
                    is_document: false,
                    reason: None,
                    message: is_words.then(|| String::from_utf8_lossy(&reply.body).into_owned()),
                }
            }
        }
    }

    fn has(&self, word: &str) -> bool {
        self.message
            .as_deref()
            .is_some_and(|text| text.contains(word))
    }

    fn starts(&self, words: &str) -> bool {
        self.message
            .as_deref()
            .is_some_and(|text| text.starts_with(words))
    }

    fn says_no_bucket(&self) -> bool {
        self.has("bucket does not exist")
    }
}
