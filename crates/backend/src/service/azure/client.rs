//! One request to the service: its address, its headers, who sends it, and what a refusal means.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use crate::http::{HttpClient, HttpFailure, HttpOptions, Reply};
use crate::service::azure::credential::Credential;
use crate::service::azure::options::AzureOptions;
use crate::service::azure::token::Tokens;
use crate::service::azure::{failure, sign};
use crate::variables::SetupError;
use crate::{ErrorKind, Operation};

/// The version of the interface; it knows batches in a container and the cold tier.
const VERSION: &str = "2021-12-02";
/// What stands for itself in a value of the query.
pub(super) const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');

/// Sends requests to one container as one identity. Shared by all tasks.
pub(super) struct Client {
    pub http: HttpClient,
    account: String,
    /// The address of the container.
    base: String,
    credential: Credential,
    tokens: Tokens,
}

/// A request before it is dated and signed.
pub(super) struct Draft<'a> {
    method: Method,
    /// Below the container, not encoded; empty for the container itself.
    key: &'a str,
    /// Encoded, without `?`.
    query: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl<'a> Draft<'a> {
    /// About a blob.
    pub fn blob(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            query: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// About the container; the query goes on with `&`.
    pub fn container(method: Method, query: &str) -> Draft<'static> {
        Draft::blob(method, "").query(format!("restype=container{query}"))
    }

    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers
            .push((HeaderName::from_static(name), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether a success is the one that the service has for this request. What lists and batches say is left to
    /// those who read it.
    fn is_answered_by(&self, reply: &Reply) -> bool {
        let has = |name| reply.headers.contains_key(name);
        match (&self.method, reply.status) {
            // A block is no object yet and has no tag.
            (&Method::PUT, StatusCode::CREATED) if self.query.starts_with("comp=block&") => {
                has("x-ms-request-id")
            }
            (&Method::PUT, status) => status == StatusCode::CREATED && has("etag"),
            (&Method::DELETE, status) => status == StatusCode::ACCEPTED,
            (_, status) if self.key.is_empty() => status == StatusCode::OK,
            (_, StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                has("x-ms-blob-type") || has("etag")
            }
            _ => false,
        }
    }
}

impl Client {
    /// Nothing is connected yet.
    pub fn new(options: &AzureOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        let client = HttpClient::new(http)?;
        let credential = options.credential.clone();
        for secret in credential.secrets() {
            client.hide(&secret);
        }
        let container = utf8_percent_encode(&options.container, IN_PATH);
        Ok(Self {
            tokens: Tokens::new(&credential, &client, http)?,
            http: client,
            account: options.account.clone(),
            base: format!("{}/{container}", options.endpoint),
            credential,
        })
    }

    /// One request; anything but the success that the service has for it is a failure.
    pub async fn send(
        &self,
        operation: Operation,
        draft: &Draft<'_>,
    ) -> Result<Reply, HttpFailure> {
        let reply = self.exchange(operation, draft).await?;
        self.accept(draft, reply)
    }

    /// The answer, if it is the success that the service has for this request.
    pub fn accept(&self, draft: &Draft<'_>, reply: Reply) -> Result<Reply, HttpFailure> {
        if !reply.status.is_success() {
            return Err(failure::of(&self.http, &reply));
        }
        if draft.is_answered_by(&reply) {
            return Ok(reply);
        }
        // Somebody in between says yes to everything, and nothing is known to have been done.
        Err(HttpFailure::new(
            ErrorKind::Temporary,
            format!("the answer, {}, is not one of Azure", reply.status.as_u16()),
        ))
    }

    /// One request and its answer, whatever it says. A token that the service refuses is renewed once.
    pub async fn exchange(
        &self,
        operation: Operation,
        draft: &Draft<'_>,
    ) -> Result<Reply, HttpFailure> {
        let token = self.tokens.get(&self.credential).await?;
        let request = self.request(draft, token.as_ref(), Some(VERSION))?;
        let reply = self.http.send(operation, request).await?;
        let Some(sent) = token.filter(|_| self.is_refused(&reply)) else {
            return Ok(reply);
        };
        let token = self.tokens.renewed(&self.credential, &sent).await?;
        if token.expose_secret() == sent.expose_secret() {
            return Ok(reply);
        }
        let request = self.request(draft, Some(&token), Some(VERSION))?;
        self.http.send(operation, request).await
    }

    fn is_refused(&self, reply: &Reply) -> bool {
        !reply.status.is_success()
            && failure::of(&self.http, reply).kind == ErrorKind::Unauthenticated
    }

    /// The token that parts of a batch are sent with, where there is one.
    pub async fn token(&self) -> Result<Option<SecretString>, HttpFailure> {
        self.tokens.get(&self.credential).await
    }

    /// The request as it is sent. The parts of a batch name no version of their own.
    pub fn request(
        &self,
        draft: &Draft<'_>,
        token: Option<&SecretString>,
        version: Option<&'static str>,
    ) -> Result<Request<Bytes>, HttpFailure> {
        let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        let mut request = Request::builder()
            .method(draft.method.clone())
            .uri(self.url(draft))
            .header("x-ms-date", date.to_string());
        if let Some(version) = version {
            request = request.header("x-ms-version", version);
        }
        for (name, value) in &draft.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(draft.body.clone()).map_err(|_| {
            // The reason could show the address, and with it a signature.
            HttpFailure::new(ErrorKind::Permanent, "the request cannot be made")
        })?;
        let authorization = match (&self.credential, token) {
            (Credential::Key(key), _) => sign::shared_key(&self.account, key, &request),
            (_, Some(token)) => format!("Bearer {}", token.expose_secret()),
            _ => return Ok(request),
        };
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| {
            HttpFailure::new(
                ErrorKind::Unauthenticated,
                "the token holds characters that no header can have",
            )
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
        Ok(request)
    }

    fn url(&self, draft: &Draft<'_>) -> String {
        let mut url = self.base.clone();
        if !draft.key.is_empty() {
            // A step upwards would be taken on the way; with an encoded slash it is part of a name.
            let set = if draft.key.starts_with("../") {
                IN_QUERY
            } else {
                IN_PATH
            };
            url.push_str(&format!("/{}", utf8_percent_encode(draft.key, set)));
        }
        let mut query = draft.query.clone();
        if let Credential::Sas(sas) = &self.credential {
            let joint = if query.is_empty() { "" } else { "&" };
            query = format!("{query}{joint}{}", sas.expose_secret());
        }
        if query.is_empty() {
            url
        } else {
            format!("{url}?{query}")
        }
    }
}
