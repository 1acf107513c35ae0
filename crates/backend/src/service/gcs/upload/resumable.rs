//! A large object in pieces. After a cut the service is asked how much it has, and the rest is sent.
//!
//! <https://cloud.google.com/storage/docs/performing-resumable-uploads>

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use url::Url;

use crate::http::{HttpFailure, Reply};
use crate::service::gcs::answers::{About, Object, accept, refusal};
use crate::service::gcs::api::{Api, request};
use crate::{ErrorKind, Operation};

use super::{CONTENT_TYPE, JSON, stored};

/// A multiple of 256 KiB, as the service requires.
const PIECE_BYTES: usize = 8 * 1024 * 1024;
/// So many cuts, and questions that go unanswered, are borne before the whole attempt counts as failed.
const MOST_FAULTS: u32 = 5;
/// What the service says until it has everything; not the redirect that the number means elsewhere.
const RESUME_INCOMPLETE: StatusCode = StatusCode::PERMANENT_REDIRECT;
const UPLOAD_TYPE: HeaderName = HeaderName::from_static("x-upload-content-type");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("x-upload-content-length");

pub(super) async fn upload(api: &Api, metadata: &str, data: Bytes) -> Result<Object, HttpFailure> {
    let url = start(api, metadata, data.len()).await?;
    Session { api, url, data }.run().await
}

async fn start(api: &Api, metadata: &str, length: usize) -> Result<String, HttpFailure> {
    let request = request(
        Method::POST,
        &api.upload_url("resumable"),
        &[
            (header::CONTENT_TYPE, JSON),
            (UPLOAD_TYPE, CONTENT_TYPE),
            (UPLOAD_LENGTH, &length.to_string()),
        ],
        Bytes::copy_from_slice(metadata.as_bytes()),
    )?;
    let reply = api.send(Operation::Write, request).await?;
    let reply = accept(&api.http, About::Bucket, reply)?;
    let session = reply
        .header("location")
        .and_then(|text| Url::parse(text).ok())
        .ok_or_else(|| temporary("the service names no address for the upload"))?;
    // The token goes to nobody but the service, whatever the answer names.
    let mut url = api.options.endpoint.clone();
    url.set_path(session.path());
    url.set_query(session.query());
    Ok(url.into())
}

struct Session<'a> {
    api: &'a Api,
    /// Holds a right to write and is never shown.
    url: String,
    data: Bytes,
}

enum Progress {
    Done(Object),
    /// So many bytes have arrived; less than all.
    Arrived(usize),
    /// The session has ended; another attempt has to begin anew.
    Gone(HttpFailure),
}

impl Session<'_> {
    async fn run(&self) -> Result<Object, HttpFailure> {
        let (mut offset, mut faults) = (0, 0);
        loop {
            let failure = match self.send_piece(offset).await {
                Ok(Progress::Done(object)) => return Ok(object),
                Ok(Progress::Arrived(arrived)) if arrived > offset => {
                    offset = arrived;
                    continue;
                }
                Ok(Progress::Arrived(_)) => temporary("the upload does not go on"),
                Ok(Progress::Gone(failure)) => return Err(failure),
                Err(failure) => failure,
            };
            match self.resume(failure, &mut faults).await? {
                Progress::Done(object) => return Ok(object),
                Progress::Arrived(arrived) => offset = arrived,
                Progress::Gone(failure) => return Err(failure),
            }
        }
    }

    /// After a failure: where the upload stands, unless that is no use any more.
    async fn resume(
        &self,
        mut failure: HttpFailure,
        faults: &mut u32,
    ) -> Result<Progress, HttpFailure> {
        loop {
            *faults += 1;
            // Whoever asks for a wait has to be obeyed, which is up to the next attempt.
            let is_over = *faults > MOST_FAULTS
                || failure.kind != ErrorKind::Temporary
                || failure.retry_after.is_some();
            if is_over {
                return Err(failure);
            }
            tracing::debug!(faults, reason = %failure.source, "resuming an upload");
            match self.ask().await {
                Ok(progress) => return Ok(progress),
                Err(next) => failure = next,
            }
        }
    }

    async fn send_piece(&self, offset: usize) -> Result<Progress, HttpFailure> {
        let end = self.data.len().min(offset + PIECE_BYTES);
        let range = format!("bytes {offset}-{}/{}", end - 1, self.data.len());
        self.put(&range, self.data.slice(offset..end)).await
    }

    /// How far the upload is. Where it is complete, the answer to its last piece comes again.
    async fn ask(&self) -> Result<Progress, HttpFailure> {
        let range = format!("bytes */{}", self.data.len());
        self.put(&range, Bytes::new()).await
    }

    async fn put(&self, range: &str, body: Bytes) -> Result<Progress, HttpFailure> {
        let headers = [(header::CONTENT_RANGE, range)];
        let request = request(Method::PUT, &self.url, &headers, body)?;
        let reply = self.without_address(self.api.send(Operation::Write, request).await?);
        if reply.status == RESUME_INCOMPLETE {
            return self.arrived(&reply).map(Progress::Arrived);
        }
        if matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(Progress::Gone(HttpFailure {
                kind: ErrorKind::Temporary,
                ..refusal(&self.api.http, About::Bucket, &reply)
            }));
        }
        stored(self.api, reply).map(Progress::Done)
    }

    /// The answer without what would let others write, should it repeat that.
    fn without_address(&self, reply: Reply) -> Reply {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let secret = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("upload_id="))
            .unwrap_or(query);
        if reply.status.is_success() || secret.is_empty() {
            return reply;
        }
        let text = String::from_utf8_lossy(&reply.body);
        Reply {
            body: Bytes::from(text.replace(secret, "***")),
            ..reply
        }
    }

    /// `Range: bytes=0-262143`; without one nothing has arrived.
    fn arrived(&self, reply: &Reply) -> Result<usize, HttpFailure> {
        let Some(range) = reply.header("range") else {
            return Ok(0);
        };
        range
            .strip_prefix("bytes=0-")
            .and_then(|text| text.parse::<usize>().ok()?.checked_add(1))
            .filter(|arrived| *arrived < self.data.len())
            .ok_or_else(|| temporary("the service does not tell how much of the upload it has"))
    }
}

fn temporary(reason: &str) -> HttpFailure {
    HttpFailure::new(ErrorKind::Temporary, reason)
}
