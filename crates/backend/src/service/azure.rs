//! Azure Blob Storage: block blobs, each written by one request that never replaces another.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api>

mod answers;
mod options;
mod sign;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use jiff::Timestamp;
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::http::{HttpClient, HttpFailure, HttpOptions, Reply, exact_range};
use crate::service::keys::{key, kind_prefix};
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

use options::Credential;
use token::Tokens;

pub use options::AzureOptions;

/// The version of the interface; it knows bearer tokens, the cold tier and blobs of 5,000 MiB in one request.
const VERSION: &str = "2021-12-02";
/// As many as restic uses.
const CONNECTIONS: usize = 5;
/// What stands for itself in the path of an address.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A repository in a container of Azure Blob Storage.
pub struct AzureBackend {
    options: AzureOptions,
    http: HttpClient,
    /// For the identity of the machine, which no proxy can reach.
    machine: HttpClient,
    tokens: Tokens,
}

/// A request before it is dated and signed.
struct Draft<'a> {
    method: Method,
    /// Below the container, not encoded; empty for the container itself.
    key: &'a str,
    query: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl<'a> Draft<'a> {
    fn new(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key,
            query: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    fn container(method: Method, query: &str) -> Draft<'static> {
        Draft {
            query: format!("restype=container{query}"),
            ..Draft::new(method, "")
        }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers
            .push((HeaderName::from_static(name), value.into()));
        self
    }
}

impl AzureBackend {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: AzureOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        let machine = HttpClient::new(&HttpOptions {
            use_proxies: false,
            ..http.clone()
        })?;
        let this = Self {
            options,
            http: HttpClient::new(http)?,
            machine,
            tokens: Tokens::default(),
        };
        match &this.options.credential {
            Credential::Key(secret) | Credential::ClientSecret { secret, .. } => {
                this.http.hide(secret);
            }
            Credential::Sas(sas) => {
                this.http.hide(sas);
                let signature = sas
                    .expose_secret()
                    .split('&')
                    .find_map(|part| part.strip_prefix("sig="));
                if let Some(signature) = signature {
                    this.http.hide(&SecretString::from(signature.to_owned()));
                }
            }
            Credential::Machine {
                header: Some(secret),
                ..
            } => this.machine.hide(secret),
            _ => {}
        }
        Ok(this)
    }

    /// One request; a token that the service refuses is renewed once.
    async fn send(&self, operation: Operation, draft: &Draft<'_>) -> Result<Reply, HttpFailure> {
        let token = self.token(None).await?;
        let reply = self
            .http
            .send(operation, self.request(draft, token.as_ref())?)
            .await?;
        let reply = match token {
            Some(refused) if reply.status == StatusCode::UNAUTHORIZED => {
                let token = self.token(Some(&refused)).await?;
                self.http
                    .send(operation, self.request(draft, token.as_ref())?)
                    .await?
            }
            _ => reply,
        };
        if reply.status.is_success() {
            Ok(reply)
        } else {
            Err(answers::failure(&self.http, &reply))
        }
    }

    async fn token(
        &self,
        refused: Option<&SecretString>,
    ) -> Result<Option<SecretString>, HttpFailure> {
        let credential = &self.options.credential;
        let http = match credential {
            Credential::Key(_) | Credential::Sas(_) => return Ok(None),
            Credential::Machine { .. } => &self.machine,
            Credential::ClientSecret { .. } | Credential::Federated { .. } => &self.http,
        };
        let token = self.tokens.get(http, credential, refused).await?;
        self.http.hide(&token);
        Ok(Some(token))
    }

    fn request(
        &self,
        draft: &Draft<'_>,
        token: Option<&SecretString>,
    ) -> Result<Request<Bytes>, HttpFailure> {
        let options = &self.options;
        let mut url = format!(
            "{}/{}",
            options.endpoint,
            utf8_percent_encode(&options.container, IN_PATH)
        );
        if !draft.key.is_empty() {
            url.push_str(&format!("/{}", utf8_percent_encode(draft.key, IN_PATH)));
        }
        let mut query = draft.query.clone();
        if let Credential::Sas(sas) = &options.credential {
            let joint = if query.is_empty() { "" } else { "&" };
            query = format!("{query}{joint}{}", sas.expose_secret());
        }
        if !query.is_empty() {
            url = format!("{url}?{query}");
        }
        let date = Timestamp::now()
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        let mut request = Request::builder()
            .method(draft.method.clone())
            .uri(url)
            .header("x-ms-date", date)
            .header("x-ms-version", VERSION);
        for (name, value) in &draft.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(draft.body.clone()).map_err(|_| {
            // The reason could show the address, and with it a signature.
            HttpFailure::new(ErrorKind::Permanent, "the request cannot be made")
        })?;
        let authorization = match (&options.credential, token) {
            (Credential::Key(key), _) => sign::shared_key(&options.account, key, &request),
            (_, Some(token)) => format!("Bearer {}", token.expose_secret()),
            _ => return Ok(request),
        };
        let mut value = header::HeaderValue::from_str(&authorization).map_err(|_| {
            HttpFailure::new(
                ErrorKind::Unauthenticated,
                "the token holds characters that no header can have",
            )
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
        Ok(request)
    }

    async fn call(
        &self,
        operation: Operation,
        handle: &Handle,
        draft: Draft<'_>,
    ) -> Result<Reply, BackendError> {
        match self.send(operation, &draft).await {
            Ok(reply) => Ok(reply),
            Err(failure) => Err(failure.into_error(operation, handle.to_string(), self.location())),
        }
    }

    fn key(&self, handle: &Handle) -> String {
        key(&self.options.prefix, handle)
    }

    /// A refused HEAD request has no words that tell a wrong key, a wrong clock and a missing permission apart.
    async fn in_words(&self, handle: &Handle, refused: BackendError) -> BackendError {
        let is_refusal = |kind| {
            matches!(
                kind,
                ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::ClockSkew
            )
        };
        if !is_refusal(refused.kind) {
            return refused;
        }
        let key = self.key(handle);
        let draft = Draft::new(Method::GET, &key).header("x-ms-range", "bytes=0-0");
        match self.call(Operation::Stat, handle, draft).await {
            Err(error) if is_refusal(error.kind) => error,
            _ => refused,
        }
    }

    /// Whether the container is there, as far as these credentials may know.
    async fn look_at_container(&self) -> Result<(), HttpFailure> {
        let draft = Draft::container(Method::GET, "&comp=list&maxresults=1");
        self.send(Operation::Create, &draft).await.map(drop)
    }
}

#[async_trait]
impl Backend for AzureBackend {
    fn location(&self) -> String {
        self.options.to_string()
    }

    fn connections(&self) -> usize {
        self.options.connections.unwrap_or(CONNECTIONS)
    }

    async fn create(&self) -> Result<(), BackendError> {
        let result = match self.look_at_container().await {
            Err(failure) if failure.kind == ErrorKind::PlaceNotFound => {
                match self
                    .send(Operation::Create, &Draft::container(Method::PUT, ""))
                    .await
                {
                    // Somebody else was faster.
                    Err(failure)
                        if failure
                            .source
                            .to_string()
                            .contains("ContainerAlreadyExists") =>
                    {
                        Ok(())
                    }
                    result => result.map(drop),
                }
            }
            result => result,
        };
        result.map_err(|failure| {
            let object = format!("the container {}", self.options.container);
            failure.into_error(Operation::Create, object, self.location())
        })
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let key = self.key(handle);
        let reply = match self
            .call(Operation::Stat, handle, Draft::new(Method::HEAD, &key))
            .await
        {
            Ok(reply) => reply,
            Err(refused) => return Err(self.in_words(handle, refused).await),
        };
        match reply
            .header("content-length")
            .and_then(|text| text.parse().ok())
        {
            Some(size_bytes) => Ok(FileInfo {
                name: handle.name().to_owned(),
                size_bytes,
            }),
            None => Err(HttpFailure::new(
                ErrorKind::Temporary,
                "the server does not tell the size",
            )
            .into_error(Operation::Stat, handle.to_string(), self.location())),
        }
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let prefix = kind_prefix(&self.options.prefix, kind);
        let mut infos = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let mut query = format!(
                "&comp=list&maxresults=5000&prefix={}",
                utf8_percent_encode(&prefix, IN_QUERY)
            );
            if let Some(marker) = &marker {
                query.push_str(&format!(
                    "&marker={}",
                    utf8_percent_encode(marker, IN_QUERY)
                ));
            }
            let draft = Draft::container(Method::GET, &query);
            let page = self.send(Operation::List, &draft).await;
            let page = page
                .and_then(|reply| answers::page(&reply, kind, &prefix))
                .map_err(|failure| {
                    let object = format!("{} objects", kind.word());
                    failure.into_error(Operation::List, object, self.location())
                })?;
            infos.extend(page.0);
            match page.1 {
                Some(next) if marker.as_ref() != Some(&next) => marker = Some(next),
                _ => return Ok(infos),
            }
        }
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let key = self.key(handle);
        let reply = self
            .call(Operation::Read, handle, Draft::new(Method::GET, &key))
            .await?;
        Ok(reply.body)
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let fail = |failure: HttpFailure| {
            failure.into_error(Operation::Read, handle.to_string(), self.location())
        };
        if length == 0 {
            let size = self.stat(handle).await?.size_bytes;
            return if offset > size {
                Err(fail(HttpFailure::new(
                    ErrorKind::TooShort,
                    format!("it has {size} bytes"),
                )))
            } else {
                Ok(Bytes::new())
            };
        }
        let key = self.key(handle);
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        let draft = Draft::new(Method::GET, &key).header("x-ms-range", range);
        let reply = self.call(Operation::Read, handle, draft).await?;
        exact_range(reply, offset, length).map_err(fail)
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let key = self.key(handle);
        let mut draft = Draft::new(Method::PUT, &key)
            .header("x-ms-blob-type", "BlockBlob")
            .header("if-none-match", "*")
            .header("content-md5", STANDARD.encode(Md5::digest(&data)))
            .header("content-type", "application/octet-stream");
        if let Some(tier) = &self.options.access_tier
            && handle.kind() == FileKind::Pack
        {
            draft = draft.header("x-ms-access-tier", tier.clone());
        }
        draft.body = data;
        self.call(Operation::Write, handle, draft).await.map(drop)
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        let key = self.key(handle);
        match self
            .call(Operation::Remove, handle, Draft::new(Method::DELETE, &key))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn endpoint(&self) -> Option<String> {
        let url = Url::parse(&self.options.endpoint).ok()?;
        Some(url.origin().ascii_serialization())
    }
}

impl fmt::Debug for AzureBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AzureBackend")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
