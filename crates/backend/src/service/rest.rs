//! A REST server: restic's own protocol, versions 1 and 2, over TCP or a Unix socket.
//!
//! Protocol: <https://restic.readthedocs.io/en/stable/100_references.html#rest-backend>.

mod options;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::handle::is_object_name;
use crate::http::{HttpClient, HttpFailure, HttpOptions, Refusal, Reply, kind_of_status};
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

pub use options::RestOptions;

/// The answer to a listing with sizes.
const VERSION_2: &str = "application/vnd.x.restic.rest.v2";
/// As many as restic uses.
const CONNECTIONS: usize = 5;

/// A repository on a REST server.
#[derive(Debug)]
pub struct RestBackend {
    options: RestOptions,
    http: HttpClient,
}

impl RestBackend {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: RestOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        let http = match options.unix_socket() {
            Some(socket) => HttpClient::over_unix_socket(http, socket)?,
            None => HttpClient::new(http)?,
        };
        if let Some(authorization) = options.authorization() {
            http.hide(&authorization);
        }
        if let Some(secret) = options.password() {
            http.hide(secret);
        }
        Ok(Self { options, http })
    }

    async fn send(
        &self,
        operation: Operation,
        method: Method,
        path: &str,
        (extra, body): (Option<(header::HeaderName, String)>, Bytes),
    ) -> Result<Reply, HttpFailure> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.options.url(path));
        if let Some(authorization) = self.options.authorization() {
            request = request.header(header::AUTHORIZATION, authorization.expose_secret());
        }
        if let Some((name, value)) = extra {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| {
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
        let kind = match reply.status {
            // The server's own limit of space.
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::NoSpace,
            StatusCode::RANGE_NOT_SATISFIABLE => ErrorKind::TooShort,
            StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
            status => kind_of_status(status),
        };
        let is_text = reply
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain"));
        let text = is_text.then(|| String::from_utf8_lossy(&reply.body).into_owned());
        Err(Refusal::new(&self.http, &reply, None, text.as_deref()).into_failure(kind, &reply))
    }

    fn error(&self, failure: HttpFailure, operation: Operation, handle: &Handle) -> BackendError {
        failure.into_error(operation, handle.to_string(), self.location())
    }

    async fn call(
        &self,
        operation: Operation,
        method: Method,
        handle: &Handle,
        message: (Option<(header::HeaderName, String)>, Bytes),
    ) -> Result<Reply, BackendError> {
        let reply = self.send(operation, method, &path(handle), message).await;
        reply
            .and_then(|reply| self.accept(reply))
            .map_err(|failure| self.error(failure, operation, handle))
    }

    /// Sizes one by one, for servers of version 1.
    async fn sizes(
        &self,
        kind: FileKind,
        names: Vec<String>,
    ) -> Result<Vec<FileInfo>, BackendError> {
        use futures::{StreamExt, TryStreamExt};
        futures::stream::iter(names)
            .map(|name| async move {
                match self.stat(&Handle::new(kind, name)).await {
                    Ok(info) => Ok(Some(info)),
                    // Removed since it was listed.
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(self.connections())
            .try_filter_map(|info| async move { Ok(info) })
            .try_collect()
            .await
    }

    /// What a refused write means: this server answers 403 both to a name that is taken and to one it protects.
    async fn refused_write(&self, handle: &Handle, error: BackendError) -> BackendError {
        if error.kind != ErrorKind::PermissionDenied {
            return error;
        }
        let kind = match self.stat(handle).await {
            Ok(_) => ErrorKind::AlreadyExists,
            // Which of the two it is stays open; the next attempt asks again.
            Err(unknown) if unknown.is_temporary() => ErrorKind::Temporary,
            Err(_) => error.kind,
        };
        BackendError { kind, ..error }
    }
}

#[async_trait]
impl Backend for RestBackend {
    fn location(&self) -> String {
        self.options.to_string()
    }

    fn connections(&self) -> usize {
        self.options.connections.unwrap_or(CONNECTIONS)
    }

    async fn create(&self) -> Result<(), BackendError> {
        let reply = self
            .send(
                Operation::Create,
                Method::POST,
                "?create=true",
                (None, Bytes::new()),
            )
            .await
            .and_then(|reply| self.accept(reply));
        match reply {
            Ok(_) => Ok(()),
            Err(failure) => {
                Err(failure.into_error(Operation::Create, "the repository", self.location()))
            }
        }
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let reply = self
            .call(Operation::Stat, Method::HEAD, handle, (None, Bytes::new()))
            .await?;
        let size = reply
            .header("content-length")
            .and_then(|text| text.parse().ok());
        match size {
            Some(size_bytes) => Ok(FileInfo {
                name: handle.name().to_owned(),
                size_bytes,
            }),
            None => {
                let failure =
                    HttpFailure::new(ErrorKind::Permanent, "the server does not tell the size");
                Err(self.error(failure, Operation::Stat, handle))
            }
        }
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        if kind == FileKind::Config {
            return match self.stat(&Handle::config()).await {
                Ok(info) => Ok(vec![info]),
                Err(error) if error.is_not_found() => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        let fail = |failure: HttpFailure| {
            failure.into_error(
                Operation::List,
                format!("{} objects", kind.word()),
                self.location(),
            )
        };
        let accept = Some((header::ACCEPT, VERSION_2.to_owned()));
        let reply = self
            .send(
                Operation::List,
                Method::GET,
                &format!("{}/", kind.folder()),
                (accept, Bytes::new()),
            )
            .await
            .map_err(fail)?;
        if kind == FileKind::Lock && is_folder_to_come(&reply) {
            return Ok(Vec::new());
        }
        let reply = self.accept(reply).map_err(fail)?;
        match parse_list(&reply) {
            Ok(Listing::WithSizes(infos)) => Ok(infos),
            Ok(Listing::Names(names)) => self.sizes(kind, names).await,
            Err(failure) => Err(fail(failure)),
        }
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let reply = self
            .call(Operation::Read, Method::GET, handle, (None, Bytes::new()))
            .await?;
        Ok(reply.body)
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        if length == 0 {
            let size = self.stat(handle).await?.size_bytes;
            let too_short = HttpFailure::new(ErrorKind::TooShort, format!("it has {size} bytes"));
            return if offset > size {
                Err(self.error(too_short, Operation::Read, handle))
            } else {
                Ok(Bytes::new())
            };
        }
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        let reply = self
            .call(
                Operation::Read,
                Method::GET,
                handle,
                (Some((header::RANGE, range)), Bytes::new()),
            )
            .await?;
        crate::http::exact_range(reply, offset, length)
            .map_err(|failure| self.error(failure, Operation::Read, handle))
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let kind = Some((header::CONTENT_TYPE, "application/octet-stream".to_owned()));
        match self
            .call(Operation::Write, Method::POST, handle, (kind, data))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused_write(handle, error).await),
        }
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        match self
            .call(
                Operation::Remove,
                Method::DELETE,
                handle,
                (None, Bytes::new()),
            )
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn endpoint(&self) -> Option<String> {
        self.options.endpoint()
    }
}

/// The server finds the folder of a pack by itself.
fn path(handle: &Handle) -> String {
    match handle.kind() {
        FileKind::Config => "config".to_owned(),
        kind => format!("{}/{}", kind.folder(), handle.name()),
    }
}

/// Locks are the only kind whose folder a program may leave out: nothing is lost when there is none. What rclone does
/// not find is the repository.
fn is_folder_to_come(reply: &Reply) -> bool {
    let is_rclone = reply
        .header("server")
        .is_some_and(|server| server.to_ascii_lowercase().starts_with("rclone"));
    reply.status == StatusCode::NOT_FOUND && !is_rclone
}

enum Listing {
    WithSizes(Vec<FileInfo>),
    Names(Vec<String>),
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    size: u64,
}

/// The server lists whatever lies in the folder; what is no object's name is left out.
fn parse_list(reply: &Reply) -> Result<Listing, HttpFailure> {
    let kind = reply.header("content-type").unwrap_or_default();
    let parsed = if kind.starts_with(VERSION_2) {
        // An empty Go slice is `null`.
        serde_json::from_slice::<Option<Vec<Entry>>>(&reply.body).map(|entries| {
            let infos = entries.unwrap_or_default().into_iter();
            Listing::WithSizes(
                infos
                    .filter(|entry| is_object_name(&entry.name))
                    .map(|entry| FileInfo {
                        name: entry.name,
                        size_bytes: entry.size,
                    })
                    .collect(),
            )
        })
    } else {
        serde_json::from_slice::<Option<Vec<String>>>(&reply.body).map(|names| {
            let mut names = names.unwrap_or_default();
            names.retain(|name| is_object_name(name));
            Listing::Names(names)
        })
    };
    parsed.map_err(|error| {
        HttpFailure::new(
            ErrorKind::Permanent,
            format!("this is not the listing of a REST server: {error}"),
        )
    })
}
