//! Requests: addresses, the token, and its renewal when the service refuses it.
//!
//! <https://cloud.google.com/storage/docs/json_api>

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use crate::http::{HttpClient, HttpFailure, HttpOptions, Reply};
use crate::service::gcs::options::GcsOptions;
use crate::service::gcs::token::Tokens;
use crate::variables::SetupError;
use crate::{ErrorKind, Operation};

/// What stands for itself in an address; a slash in a name does not.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The service as one bucket sees it.
pub(super) struct Api {
    pub options: GcsOptions,
    pub http: HttpClient,
    tokens: Tokens,
}

impl Api {
    pub fn new(options: GcsOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        let client = HttpClient::new(http)?;
        let tokens = Tokens::new(options.source.clone(), client.clone(), http)?;
        Ok(Self {
            options,
            http: client,
            tokens,
        })
    }

    /// One request, repeated once with a new token when the service refuses the one that was sent.
    pub async fn send(
        &self,
        operation: Operation,
        request: Request<Bytes>,
    ) -> Result<Reply, HttpFailure> {
        let token = self.tokens.get().await?;
        let reply = self.attempt(operation, &request, token.as_ref()).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let Some(refused) = token else {
            return Ok(reply);
        };
        match self.tokens.renewed(&refused).await? {
            Some(token) => self.attempt(operation, &request, Some(&token)).await,
            None => Ok(reply),
        }
    }

    async fn attempt(
        &self,
        operation: Operation,
        request: &Request<Bytes>,
        token: Option<&SecretString>,
    ) -> Result<Reply, HttpFailure> {
        let mut request = request.clone();
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut value = value.map_err(|_| {
                HttpFailure::new(
                    ErrorKind::Permanent,
                    "the access token holds characters that no header can have",
                )
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.http.send(operation, request).await
    }

    /// The address of the bucket.
    pub fn bucket_url(&self) -> String {
        format!(
            "{}/storage/v1/b/{}",
            self.options.origin(),
            self.options.bucket
        )
    }

    /// The address of an object.
    pub fn object_url(&self, key: &str) -> String {
        format!("{}/o/{}", self.bucket_url(), encoded(key))
    }

    /// Where objects are sent to; never over what is there.
    pub fn upload_url(&self, way: &str) -> String {
        format!(
            "{}/upload/storage/v1/b/{}/o?uploadType={way}&ifGenerationMatch=0\
             &fields=kind,name,size,md5Hash,generation",
            self.options.origin(),
            self.options.bucket
        )
    }
}

/// As a part of an address.
pub(super) fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, ENCODED)
}

/// A request with these headers.
pub(super) fn request(
    method: Method,
    url: &str,
    headers: &[(header::HeaderName, &str)],
    body: Bytes,
) -> Result<Request<Bytes>, HttpFailure> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(body).map_err(|error| {
        HttpFailure::new(
            ErrorKind::Permanent,
            format!("the request cannot be made: {error}"),
        )
    })
}
