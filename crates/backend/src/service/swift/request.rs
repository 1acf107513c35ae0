//! Requests on objects and containers with the token in use, and what their answers mean.

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::http::{HttpFailure, Refusal, Reply, kind_of_status};
use crate::service::keys::key;
use crate::service::swift::SwiftBackend;
use crate::service::swift::form::Form;
use crate::service::swift::session::Access;
use crate::{BackendError, ErrorKind, Handle, Operation};

/// What stands for itself in the path of an address.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// A request before it has a token.
pub(super) struct Draft {
    method: Method,
    /// What follows the account's address, encoded.
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

/// A line of a listing; one without a name is a folder of names.
#[derive(Deserialize)]
pub(super) struct Entry {
    pub name: Option<String>,
    #[serde(default)]
    pub bytes: u64,
}

impl Draft {
    /// A request at this path of the account.
    pub fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Appends a query, encoded.
    pub fn query(mut self, query: &str) -> Self {
        self.path.push('?');
        self.path.push_str(query);
        self
    }

    pub fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// The path of an object, encoded.
pub(super) fn object_path(container: &str, key: &str) -> String {
    format!(
        "/{}/{}",
        utf8_percent_encode(container, IN_PATH),
        utf8_percent_encode(key, IN_PATH)
    )
}

/// The path of a container, encoded.
pub(super) fn container_path(container: &str) -> String {
    format!("/{}", utf8_percent_encode(container, IN_PATH))
}

impl SwiftBackend {
    /// One request, whatever its status; a token that the service refuses is renewed once.
    pub(super) async fn send(
        &self,
        operation: Operation,
        draft: &Draft,
    ) -> Result<Reply, HttpFailure> {
        let access = self.access(None).await?;
        let reply = self.attempt(operation, draft, &access).await?;
        let is_final = matches!(self.options.form, Form::Token { .. });
        if reply.status != StatusCode::UNAUTHORIZED || is_final {
            return Ok(reply);
        }
        let access = self.access(Some(&access)).await?;
        self.attempt(operation, draft, &access).await
    }

    async fn access(&self, refused: Option<&Access>) -> Result<Access, HttpFailure> {
        let refused = refused.map(|access| &access.token);
        self.session
            .access(&self.http, &self.options, refused)
            .await
    }

    async fn attempt(
        &self,
        operation: Operation,
        draft: &Draft,
        access: &Access,
    ) -> Result<Reply, HttpFailure> {
        let mut request = Request::builder()
            .method(draft.method.clone())
            .uri(format!("{}{}", access.storage_url, draft.path))
            .header("x-auth-token", access.token.expose_secret());
        for (name, value) in &draft.headers {
            request = request.header(name, value.as_str());
        }
        // The error would hold the address or the token.
        let request = request.body(draft.body.clone()).map_err(|_| {
            HttpFailure::new(
                ErrorKind::Permanent,
                "the request cannot be made; is there a line break in the token or the address?",
            )
        })?;
        self.http.send(operation, request).await
    }

    /// A request that must succeed.
    pub(super) async fn succeed(
        &self,
        operation: Operation,
        draft: &Draft,
    ) -> Result<Reply, HttpFailure> {
        let reply = self.send(operation, draft).await?;
        if reply.status.is_success() {
            Ok(reply)
        } else {
            Err(self.refused(operation, &reply))
        }
    }

    /// What a status that is no success means.
    fn refused(&self, operation: Operation, reply: &Reply) -> HttpFailure {
        let text = String::from_utf8_lossy(&reply.body);
        let plain = Some(text.as_ref()).filter(|text| !text.trim_start().starts_with('<'));
        let (kind, told) = match reply.status.as_u16() {
            409 => (ErrorKind::Temporary, plain),
            // Only a write has a condition; elsewhere it is a request that the cluster does not take.
            412 if operation == Operation::Write => (ErrorKind::AlreadyExists, None),
            413 if text.to_ascii_lowercase().contains("quota") => {
                (ErrorKind::NoSpace, Some("a quota is reached"))
            }
            413 => (
                ErrorKind::Permanent,
                Some("the object is larger than this cluster allows"),
            ),
            416 => (ErrorKind::TooShort, None),
            422 => (
                ErrorKind::Temporary,
                Some("the object did not arrive as it was sent"),
            ),
            498 => (ErrorKind::Temporary, Some("too many requests")),
            _ => (kind_of_status(reply.status), plain),
        };
        Refusal::new(&self.http, reply, None, told).into_failure(kind, reply)
    }

    /// A request on an object of the repository, which must succeed.
    pub(super) async fn on_object(
        &self,
        operation: Operation,
        method: Method,
        handle: &Handle,
        complete: impl FnOnce(Draft) -> Draft,
    ) -> Result<Reply, BackendError> {
        let path = object_path(&self.options.container, &key(&self.options.prefix, handle));
        let draft = complete(Draft::new(method, path));
        let failure = match self.succeed(operation, &draft).await {
            Ok(reply) => return Ok(reply),
            // An answer of 404 does not tell what it is that does not exist.
            Err(failure) if failure.kind == ErrorKind::NotFound => {
                let container = &self.options.container;
                match self.look_at_container(operation, container).await {
                    // Not yet everywhere, as the container of an object that is being written is there.
                    Ok(()) if operation == Operation::Write => HttpFailure {
                        kind: ErrorKind::Temporary,
                        ..failure
                    },
                    Ok(()) => failure,
                    Err(other) => other,
                }
            }
            Err(failure) => failure,
        };
        Err(self.error(failure, operation, handle))
    }

    /// Says what was being done with which object.
    pub(super) fn error(
        &self,
        failure: HttpFailure,
        operation: Operation,
        handle: &Handle,
    ) -> BackendError {
        failure.into_error(operation, handle.to_string(), self.options.to_string())
    }

    /// Whether a container is there; [`ErrorKind::PlaceNotFound`] when it is not.
    pub(super) async fn look_at_container(
        &self,
        operation: Operation,
        name: &str,
    ) -> Result<(), HttpFailure> {
        let draft = Draft::new(Method::HEAD, container_path(name));
        let reply = self.succeed(operation, &draft).await;
        reply.map(drop).map_err(missing_place)
    }

    /// Makes a container; one that is there stays as it is.
    pub(super) async fn make_container(
        &self,
        operation: Operation,
        name: &str,
    ) -> Result<(), HttpFailure> {
        match self.look_at_container(operation, name).await {
            Err(failure) if failure.kind == ErrorKind::PlaceNotFound => {}
            result => return result,
        }
        let mut draft = Draft::new(Method::PUT, container_path(name));
        if let Some(policy) = &self.options.policy {
            draft = draft.header(HeaderName::from_static("x-storage-policy"), policy);
        }
        let made = self.succeed(operation, &draft).await;
        match made.map(drop).map_err(missing_place) {
            // Swift's word that somebody else was faster is a web page.
            Err(failure) if failure.kind == ErrorKind::Permanent => {
                let look = self.look_at_container(operation, name).await;
                look.map_err(|_| failure)
            }
            result => result,
        }
    }

    /// Names of a container that begin with the prefix and come after the marker: at most `limit`, or as many as the
    /// cluster gives, which refuses to be asked for more.
    pub(super) async fn page(
        &self,
        operation: Operation,
        container: &str,
        (prefix, marker): (&str, &str),
        limit: Option<usize>,
    ) -> Result<Vec<Entry>, HttpFailure> {
        let mut pairs = vec![("format", "json"), ("prefix", prefix), ("marker", marker)];
        let limit = limit.map(|limit| limit.to_string());
        pairs.extend(limit.as_deref().map(|limit| ("limit", limit)));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let path = format!("{}?{query}", container_path(container));
        let draft = Draft::new(Method::GET, path).header(header::ACCEPT, "application/json");
        let reply = self.succeed(operation, &draft).await;
        let reply = reply.map_err(missing_place)?;
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

fn missing_place(failure: HttpFailure) -> HttpFailure {
    match failure.kind {
        ErrorKind::NotFound => HttpFailure {
            kind: ErrorKind::PlaceNotFound,
            ..failure
        },
        _ => failure,
    }
}
