//! One request to the bucket: signed, sent, and repeated at most once for each of two reasons that only the answer
//! tells: the region was wrong, or the token has expired.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Method, Request, header};
use parking_lot::RwLock;

use super::address::{Address, DEFAULT_REGION, is_harmless};
use super::answer::{self, BucketLocation, ErrorBody};
use super::credentials::{Credentials, Keys};
use super::{failure, sign};
use crate::http::{HttpClient, HttpFailure, Reply};
use crate::{ErrorKind, Operation};

/// The client of one bucket.
#[derive(Debug)]
pub(super) struct S3Client {
    pub http: HttpClient,
    pub address: Address,
    pub credentials: Option<Credentials>,
    /// As given, named by the host, or learnt from an answer.
    pub region: RwLock<Option<String>>,
}

/// A request before it is signed.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub operation: Operation,
    pub method: Method,
    /// Nothing for the bucket itself.
    pub key: Option<&'a str>,
    pub query: &'a [(&'a str, &'a str)],
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
}

impl<'a> Call<'a> {
    pub fn on_object(operation: Operation, method: Method, key: &'a str) -> Self {
        Self {
            key: Some(key),
            ..Self::on_bucket(operation, method, &[])
        }
    }

    pub fn on_bucket(
        operation: Operation,
        method: Method,
        query: &'a [(&'a str, &'a str)],
    ) -> Self {
        Self {
            operation,
            method,
            key: None,
            query,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub fn with(mut self, headers: Vec<(HeaderName, String)>, body: Bytes) -> Self {
        self.headers = headers;
        self.body = body;
        self
    }
}

impl S3Client {
    /// The region that requests are signed for.
    pub fn region(&self) -> String {
        let region = self.region.read().clone();
        region.unwrap_or_else(|| DEFAULT_REGION.to_owned())
    }

    /// The answer of a success, or what the refusal means.
    pub async fn call(&self, call: &Call<'_>) -> Result<Reply, HttpFailure> {
        let (reply, said) = self.exchange(call).await?;
        if reply.status.is_success() && said.is_none() {
            return Ok(reply);
        }
        Err(failure::refused(&self.http, &reply, said.as_ref()))
    }

    /// Sends until region and token are right.
    pub async fn exchange(
        &self,
        call: &Call<'_>,
    ) -> Result<(Reply, Option<ErrorBody>), HttpFailure> {
        let hash = hash_of(&call.body).await?;
        let (mut is_region_corrected, mut is_token_renewed) = (false, false);
        loop {
            let region = self.region();
            let keys = self.keys().await?;
            let reply = self.attempt(call, &region, keys.as_deref(), &hash).await?;
            // A tag comes with an object, which may look like anything.
            let is_object = reply.status.is_success() && reply.headers.contains_key(header::ETAG);
            let said = (!is_object).then(|| ErrorBody::of(&reply)).flatten();
            if !is_region_corrected
                && self
                    .learn_region(call, &region, &reply, said.as_ref())
                    .await
            {
                is_region_corrected = true;
                continue;
            }
            if !is_token_renewed
                && has_expired(said.as_ref())
                && let (Some(credentials), Some(keys)) = (&self.credentials, &keys)
                && credentials.discard(keys).await
            {
                is_token_renewed = true;
                continue;
            }
            return Ok((reply, said));
        }
    }

    async fn keys(&self) -> Result<Option<Arc<Keys>>, HttpFailure> {
        match &self.credentials {
            Some(credentials) => Ok(Some(credentials.current().await?)),
            None => Ok(None),
        }
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        region: &str,
        keys: Option<&Keys>,
        hash: &str,
    ) -> Result<Reply, HttpFailure> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(self.address.url(region, call.key, call.query));
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(call.body.clone()).map_err(|error| {
            HttpFailure::new(
                ErrorKind::Permanent,
                format!("the request cannot be made: {error}"),
            )
        })?;
        if let Some(keys) = keys {
            request = sign::sign(request, keys, ("s3", region), hash).await?;
        }
        self.http.send(call.operation, request).await
    }

    /// Takes over the region that the answer names, if it is another one than was signed for.
    async fn learn_region(
        &self,
        call: &Call<'_>,
        signed_for: &str,
        reply: &Reply,
        said: Option<&ErrorBody>,
    ) -> bool {
        let is_about_region = match said.and_then(|said| said.code.as_deref()) {
            Some(code) => matches!(
                code,
                "AuthorizationHeaderMalformed"
                    | "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "IllegalLocationConstraintException"
            ),
            None => matches!(reply.status.as_u16(), 301 | 307 | 400),
        };
        if !is_about_region {
            return false;
        }
        let named = region_in(reply, said);
        let right = match named {
            Some(region) => Some(region),
            None if call.method == Method::HEAD => None,
            None => self.locate().await,
        };
        let Some(right) = right.filter(|right| right != signed_for && is_harmless(right)) else {
            return false;
        };
        let was_given = self.region.read().is_some();
        if was_given {
            tracing::warn!(given = signed_for, %right, "the bucket lies in another region");
        }
        *self.region.write() = Some(right);
        true
    }

    /// Asks the first region where the bucket lies.
    async fn locate(&self) -> Option<String> {
        let call = Call::on_bucket(Operation::Authenticate, Method::GET, &[("location", "")]);
        let keys = self.keys().await.ok()?;
        let hash = sign::sha256(&[]);
        let reply = self
            .attempt(&call, DEFAULT_REGION, keys.as_deref(), &hash)
            .await
            .ok()?;
        let said = ErrorBody::of(&reply);
        if let Some(region) = region_in(&reply, said.as_ref()) {
            return Some(region);
        }
        let location: BucketLocation = answer::read(&reply, &["LocationConstraint"]).ok()?;
        Some(match location.region.as_deref().map(str::trim) {
            None | Some("") => DEFAULT_REGION.to_owned(),
            Some("EU") => "eu-west-1".to_owned(),
            Some(region) => region.to_owned(),
        })
    }
}

fn has_expired(said: Option<&ErrorBody>) -> bool {
    matches!(
        said.and_then(|said| said.code.as_deref()),
        Some("ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException")
    )
}

/// The bucket's region, from wherever the answer tells it.
fn region_in(reply: &Reply, said: Option<&ErrorBody>) -> Option<String> {
    let refused = !reply.status.is_success();
    let in_header = reply
        .header("x-amz-bucket-region")
        .filter(|_| refused)
        .map(str::to_owned);
    in_header
        .or_else(|| said?.region.clone())
        .or_else(|| {
            // `the region 'us-east-1' is wrong; expecting 'eu-west-1'`
            let (_, rest) = said?.message.as_deref()?.split_once("expecting '")?;
            Some(rest.split('\'').next()?.to_owned())
        })
        .filter(|region| !region.is_empty())
}

/// Large bodies are hashed beside the I/O threads.
async fn hash_of(body: &Bytes) -> Result<String, HttpFailure> {
    const SMALL_BYTES: usize = 256 * 1024;
    if body.len() <= SMALL_BYTES {
        return Ok(sign::sha256(body));
    }
    let body = body.clone();
    tokio::task::spawn_blocking(move || sign::sha256(&body))
        .await
        .map_err(|_| {
            HttpFailure::new(
                ErrorKind::Temporary,
                "the program ends while a request is prepared",
            )
        })
}
