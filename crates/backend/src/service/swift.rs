//! OpenStack Swift: objects in a container, written by one request that never replaces another.
//!
//! <https://docs.openstack.org/api-ref/object-store/>

mod bulk;
mod login;
mod options;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::http::{
    HttpClient, HttpFailure, HttpOptions, Refusal, Reply, exact_range, kind_of_status,
};
use crate::service::keys::{key, kind_prefix, name_of};
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

use options::{Form, Identity};

pub use options::SwiftOptions;

/// As many as restic uses.
const CONNECTIONS: usize = 5;
/// Names in one page of a listing: the most that a cluster gives as it is delivered.
const PAGE: usize = 10_000;
/// A token is renewed so long before it expires, or a quarter of its life if that is shorter.
const AHEAD: Duration = Duration::from_mins(5);
/// What stands for itself in the path of an address.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// A repository in a container of OpenStack Swift.
pub struct SwiftBackend {
    options: SwiftOptions,
    http: HttpClient,
    session: Mutex<Option<Session>>,
    /// Set when the cluster turned out not to remove many objects by one request.
    lacks_bulk_removal: AtomicBool,
}

struct Session {
    token: SecretString,
    storage_url: String,
    renew_at: Option<Instant>,
}

/// A request before it has a token.
struct Draft<'a> {
    method: Method,
    /// What follows the account's address, encoded.
    path: String,
    headers: &'a [(HeaderName, &'a str)],
    body: Bytes,
}

#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    #[serde(default)]
    bytes: u64,
}

impl SwiftBackend {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: SwiftOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        let http = HttpClient::new(http)?;
        match &options.form {
            Form::Token { token: secret, .. }
            | Form::Version1 { key: secret, .. }
            | Form::Version2 {
                password: secret, ..
            }
            | Form::Version3 {
                identity:
                    Identity::Password {
                        password: secret, ..
                    }
                    | Identity::Application { secret, .. },
                ..
            } => http.hide(secret),
        }
        Ok(Self {
            options,
            http,
            session: Mutex::default(),
            lacks_bulk_removal: AtomicBool::new(false),
        })
    }

    /// Token and address; another token than `refused`. One caller logs in, the others wait.
    async fn session(
        &self,
        refused: Option<&SecretString>,
    ) -> Result<(SecretString, String), HttpFailure> {
        let mut session = self.session.lock().await;
        if let Some(session) = session.as_ref()
            && session
                .renew_at
                .is_none_or(|renew_at| renew_at > Instant::now())
            && refused
                .is_none_or(|refused| refused.expose_secret() != session.token.expose_secret())
        {
            return Ok((session.token.clone(), session.storage_url.clone()));
        }
        let login = login::login(&self.http, &self.options).await?;
        let renew_at = login
            .life
            .map(|life| Instant::now() + life - AHEAD.min(life / 4));
        let answer = (login.token.clone(), login.storage_url.clone());
        *session = Some(Session {
            token: login.token,
            storage_url: login.storage_url,
            renew_at,
        });
        Ok(answer)
    }

    /// One request, whatever its status; a token that the service refuses is renewed once.
    async fn send(&self, operation: Operation, draft: &Draft<'_>) -> Result<Reply, HttpFailure> {
        let session = self.session(None).await?;
        let reply = self.attempt(operation, draft, &session).await?;
        if reply.status != StatusCode::UNAUTHORIZED
            || matches!(self.options.form, Form::Token { .. })
        {
            return Ok(reply);
        }
        let session = self.session(Some(&session.0)).await?;
        self.attempt(operation, draft, &session).await
    }

    async fn attempt(
        &self,
        operation: Operation,
        draft: &Draft<'_>,
        (token, storage_url): &(SecretString, String),
    ) -> Result<Reply, HttpFailure> {
        let mut request = Request::builder()
            .method(draft.method.clone())
            .uri(format!("{storage_url}{}", draft.path))
            .header("x-auth-token", token.expose_secret());
        for (name, value) in draft.headers {
            request = request.header(name, *value);
        }
        let request = request.body(draft.body.clone()).map_err(|error| {
            HttpFailure::new(
                ErrorKind::Permanent,
                format!("the request cannot be made: {error}"),
            )
        })?;
        self.http.send(operation, request).await
    }

    /// Success, or what the status means.
    fn accept(&self, reply: Reply) -> Result<Reply, HttpFailure> {
        if reply.status.is_success() {
            return Ok(reply);
        }
        let (kind, told) = match reply.status.as_u16() {
            412 => (ErrorKind::AlreadyExists, None),
            413 => (
                ErrorKind::NoSpace,
                Some("a quota is reached, or the object is larger than this cluster allows"),
            ),
            416 => (ErrorKind::TooShort, None),
            422 => (
                ErrorKind::Temporary,
                Some("the object did not arrive as it was sent"),
            ),
            498 => (ErrorKind::Temporary, Some("too many requests")),
            _ => (kind_of_status(reply.status), None),
        };
        Err(Refusal::new(&self.http, &reply, None, told).into_failure(kind, &reply))
    }

    fn path(&self, key: &str) -> String {
        format!(
            "/{}/{}",
            utf8_percent_encode(&self.options.container, IN_PATH),
            utf8_percent_encode(key, IN_PATH)
        )
    }

    async fn on_object(
        &self,
        operation: Operation,
        method: Method,
        handle: &Handle,
        (headers, body): (&[(HeaderName, &str)], Bytes),
    ) -> Result<Reply, BackendError> {
        let path = self.path(&key(&self.options.prefix, handle));
        let draft = Draft {
            method,
            path,
            headers,
            body,
        };
        let reply = self
            .send(operation, &draft)
            .await
            .and_then(|reply| self.accept(reply));
        let failure = match reply {
            Ok(reply) => return Ok(reply),
            // An answer of 404 does not tell what it is that does not exist.
            Err(failure) if failure.kind == ErrorKind::NotFound => {
                match self.look_at_container(operation).await {
                    Ok(()) => failure,
                    Err(other) => other,
                }
            }
            Err(failure) => failure,
        };
        Err(failure.into_error(operation, handle.to_string(), self.location()))
    }

    async fn on_container(&self, operation: Operation, method: Method) -> Result<(), HttpFailure> {
        let path = format!("/{}", utf8_percent_encode(&self.options.container, IN_PATH));
        let policy = self
            .options
            .policy
            .as_deref()
            .filter(|_| method == Method::PUT);
        let header = policy.map(|policy| (HeaderName::from_static("x-storage-policy"), policy));
        let draft = Draft {
            method,
            path,
            headers: header.as_slice(),
            body: Bytes::new(),
        };
        let reply = self
            .send(operation, &draft)
            .await
            .and_then(|reply| self.accept(reply));
        reply.map(drop).map_err(|failure| match failure.kind {
            ErrorKind::NotFound => HttpFailure {
                kind: ErrorKind::PlaceNotFound,
                ..failure
            },
            _ => failure,
        })
    }

    async fn look_at_container(&self, operation: Operation) -> Result<(), HttpFailure> {
        self.on_container(operation, Method::HEAD).await
    }

    async fn page(&self, prefix: &str, marker: &str) -> Result<Vec<Entry>, HttpFailure> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("format", "json")
            .append_pair("limit", &PAGE.to_string())
            .append_pair("prefix", prefix)
            .append_pair("marker", marker)
            .finish();
        let container = utf8_percent_encode(&self.options.container, IN_PATH);
        let draft = Draft {
            method: Method::GET,
            path: format!("/{container}?{query}"),
            headers: &[(header::ACCEPT, "application/json")],
            body: Bytes::new(),
        };
        let reply = self
            .send(Operation::List, &draft)
            .await
            .and_then(|reply| self.accept(reply));
        let reply = reply.map_err(|failure| match failure.kind {
            ErrorKind::NotFound => HttpFailure {
                kind: ErrorKind::PlaceNotFound,
                ..failure
            },
            _ => failure,
        })?;
        if reply.status == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&reply.body).map_err(|error| {
            HttpFailure::new(
                ErrorKind::Temporary,
                format!("this is not a listing of Swift: {error}"),
            )
        })
    }
}

#[async_trait]
impl Backend for SwiftBackend {
    fn location(&self) -> String {
        self.options.to_string()
    }

    fn connections(&self) -> usize {
        self.options.connections.unwrap_or(CONNECTIONS)
    }

    async fn create(&self) -> Result<(), BackendError> {
        let result = match self.look_at_container(Operation::Create).await {
            Err(failure) if failure.kind == ErrorKind::PlaceNotFound => {
                self.on_container(Operation::Create, Method::PUT).await
            }
            result => result,
        };
        result.map_err(|failure| {
            let object = format!("the container {}", self.options.container);
            failure.into_error(Operation::Create, object, self.location())
        })
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let nothing: (&[(HeaderName, &str)], Bytes) = (&[], Bytes::new());
        let reply = self
            .on_object(Operation::Stat, Method::HEAD, handle, nothing)
            .await?;
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
        let mut marker = String::new();
        loop {
            let page = self.page(&prefix, &marker).await.map_err(|failure| {
                let object = format!("{} objects", kind.word());
                failure.into_error(Operation::List, object, self.location())
            })?;
            let last = page.iter().rev().find_map(|entry| entry.name.clone());
            infos.extend(page.iter().filter_map(|entry| {
                let name = name_of(kind, entry.name.as_deref()?.strip_prefix(&prefix)?)?;
                Some(FileInfo {
                    name: name.to_owned(),
                    size_bytes: entry.bytes,
                })
            }));
            // A cluster may give shorter pages than asked for: only an empty one is the end.
            match last {
                Some(last) if last > marker => marker = last,
                _ => return Ok(infos),
            }
        }
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let reply = self
            .on_object(Operation::Read, Method::GET, handle, (&[], Bytes::new()))
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
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        let headers = [(header::RANGE, range.as_str())];
        let reply = self
            .on_object(
                Operation::Read,
                Method::GET,
                handle,
                (&headers, Bytes::new()),
            )
            .await?;
        exact_range(reply, offset, length).map_err(fail)
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let sum = hex::encode(Md5::digest(&data));
        let headers = [
            (header::ETAG, sum.as_str()),
            (header::IF_NONE_MATCH, "*"),
            (header::CONTENT_TYPE, "application/octet-stream"),
        ];
        self.on_object(Operation::Write, Method::PUT, handle, (&headers, data))
            .await
            .map(drop)
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        let nothing: (&[(HeaderName, &str)], Bytes) = (&[], Bytes::new());
        match self
            .on_object(Operation::Remove, Method::DELETE, handle, nothing)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        self.remove_in_bulk(handles).await
    }

    fn endpoint(&self) -> Option<String> {
        let url = match &self.options.form {
            Form::Token {
                storage_url: url, ..
            }
            | Form::Version1 { url, .. }
            | Form::Version2 { url, .. }
            | Form::Version3 { url, .. } => url,
        };
        Some(Url::parse(url).ok()?.origin().ascii_serialization())
    }
}

impl fmt::Debug for SwiftBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SwiftBackend")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
