//! One request and its answer, watched for progress in both directions.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::bandwidth::{Bandwidth, Direction};
use crate::http::{HttpClient, HttpFailure, Reply};

/// Bytes handed over at once: small enough for smooth limits and for seeing progress.
const CHUNK_BYTES: usize = 64 * 1024;
/// Fewer bytes than this within the time limit count as standing still.
const PROGRESS_BYTES: u64 = 1024;
/// The first allocation for a body whose length is promised; more is taken as it comes.
const MOST_RESERVED_BYTES: u64 = 64 * 1024 * 1024;

pub(super) async fn run(
    client: &HttpClient,
    request: http::Request<Bytes>,
) -> Result<Reply, HttpFailure> {
    let progress = Arc::new(Progress::new());
    let (mut parts, body) = request.into_parts();
    if body.is_empty() && matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
        // Left out for an empty body otherwise, and some servers insist on it.
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let body = Upload {
        rest: body,
        progress: progress.clone(),
        bandwidth: client.bandwidth.clone(),
        waiting: None,
    };
    let request = http::Request::from_parts(parts, reqwest::Body::wrap(body))
        .try_into()
        .map_err(|error: reqwest::Error| {
            HttpFailure::of_reqwest(error, "cannot make the request")
        })?;
    tokio::select! {
        result = exchange(client, request, &progress) => result,
        () = progress.stalled(client.stall_timeout) => Err(HttpFailure::stalled(client.stall_timeout)),
    }
}

async fn exchange(
    client: &HttpClient,
    request: reqwest::Request,
    progress: &Progress,
) -> Result<Reply, HttpFailure> {
    let mut response = client
        .client
        .execute(request)
        .await
        .map_err(|error| HttpFailure::of_reqwest(error, "no answer"))?;
    progress.touch();
    let promised = response
        .content_length()
        .unwrap_or(0)
        .min(MOST_RESERVED_BYTES);
    let mut body = BytesMut::with_capacity(usize::try_from(promised).unwrap_or(0));
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| HttpFailure::of_reqwest(error, "the answer broke off"))?
    {
        progress.moved(chunk.len());
        body.extend_from_slice(&chunk);
        progress
            .pause(client.bandwidth.take(Direction::Download, chunk.len()))
            .await;
    }
    Ok(Reply {
        status: response.status(),
        headers: response.headers().clone(),
        body: body.freeze(),
    })
}

/// When something moved last.
struct Progress {
    start: Instant,
    /// Milliseconds after `start` at which enough bytes had moved, or a pause of our own ends.
    last_millis: AtomicU64,
    /// Bytes since then.
    bytes: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last_millis: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.reach(Instant::now());
    }

    fn moved(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if before + bytes as u64 >= PROGRESS_BYTES {
            self.touch();
        }
    }

    fn reach(&self, moment: Instant) {
        let millis = moment.duration_since(self.start).as_millis();
        self.last_millis
            .fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Waits on our own account, which is no standstill.
    async fn pause(&self, time: Duration) {
        if !time.is_zero() {
            let end = Instant::now() + time;
            self.reach(end);
            tokio::time::sleep_until(end).await;
        }
    }

    /// Ends when nothing moved for so long.
    async fn stalled(&self, limit: Duration) {
        loop {
            let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
            let deadline = self.start + last + limit;
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// The body of a request, handed over in chunks.
struct Upload {
    rest: Bytes,
    progress: Arc<Progress>,
    bandwidth: Bandwidth,
    waiting: Option<(Pin<Box<Sleep>>, Bytes)>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.waiting.is_none() {
            if this.rest.is_empty() {
                return Poll::Ready(None);
            }
            let chunk = this.rest.split_to(this.rest.len().min(CHUNK_BYTES));
            this.progress.moved(chunk.len());
            let wait = this.bandwidth.take(Direction::Upload, chunk.len());
            if wait.is_zero() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            this.progress.reach(Instant::now() + wait);
            this.waiting = Some((Box::pin(tokio::time::sleep(wait)), chunk));
        }
        if let Some((sleep, _)) = &mut this.waiting
            && sleep.as_mut().poll(context).is_pending()
        {
            return Poll::Pending;
        }
        Poll::Ready(this.waiting.take().map(|(_, chunk)| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.waiting.as_ref().map_or(0, |(_, chunk)| chunk.len());
        SizeHint::with_exact((self.rest.len() + waiting) as u64)
    }
}
