//! Google Cloud Storage through its JSON API.
//!
//! Writes never replace an object (`ifGenerationMatch=0`). Where an object is absent, the answer or a question tells
//! that its bucket is not.

mod answers;
mod api;
mod options;
#[cfg(test)]
mod tests;
mod token;
mod upload;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::json;

use crate::http::{HttpFailure, HttpOptions, Reply, exact_range};
use crate::service::keys;
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

use answers::{About, Object, Page, accept, is_googles, parse, refusal, says_which};
use api::{Api, encoded, request};

pub use options::GcsOptions;

/// As many as restic uses.
const CONNECTIONS: usize = 5;
/// The most that the service lists at once.
const PAGE_OBJECTS: usize = 1000;
const JSON: &str = "application/json; charset=UTF-8";

/// A repository in a bucket of Google Cloud Storage.
pub struct GcsBackend {
    api: Api,
}

impl GcsBackend {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: GcsOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        Ok(Self {
            api: Api::new(options, http)?,
        })
    }

    fn key(&self, handle: &Handle) -> String {
        keys::key(&self.api.options.prefix, handle)
    }

    fn error(&self, failure: HttpFailure, operation: Operation, handle: &Handle) -> BackendError {
        failure.into_error(operation, handle.to_string(), self.location())
    }

    /// A request about one object, successful.
    async fn object(
        &self,
        operation: Operation,
        method: Method,
        key: &str,
        (query, range): (&str, Option<String>),
    ) -> Result<Reply, HttpFailure> {
        let url = format!("{}{query}", self.api.object_url(key));
        let headers = range.iter().map(|range| (header::RANGE, range.as_str()));
        let headers: Vec<_> = headers.collect();
        let request = request(method, &url, &headers, Bytes::new())?;
        let reply = self.api.send(operation, request).await?;
        if reply.status == StatusCode::NOT_FOUND && !says_which(&reply) {
            self.ask_for_bucket(operation).await?;
        }
        accept(&self.api.http, About::Object, reply)
    }

    /// Fails where the bucket is absent. Who may not know has at least been told that there is one.
    async fn ask_for_bucket(&self, operation: Operation) -> Result<(), HttpFailure> {
        let reply = self.bucket(operation).await?;
        if reply.status == StatusCode::FORBIDDEN && is_googles(&reply) {
            let failure = refusal(&self.api.http, About::Bucket, &reply);
            return if failure.kind == ErrorKind::Temporary {
                Err(failure)
            } else {
                Ok(())
            };
        }
        let reply = accept(&self.api.http, About::Bucket, reply)?;
        parse::<serde_json::Value>(&self.api.http, "storage#bucket", &reply)?;
        Ok(())
    }

    async fn bucket(&self, operation: Operation) -> Result<Reply, HttpFailure> {
        let url = format!("{}?fields=kind,name", self.api.bucket_url());
        let request = request(Method::GET, &url, &[], Bytes::new())?;
        self.api.send(operation, request).await
    }

    async fn make_bucket(&self) -> Result<(), HttpFailure> {
        let options = &self.api.options;
        let Some(project) = &options.project else {
            return Err(HttpFailure::new(
                ErrorKind::PlaceNotFound,
                "to make it, GOOGLE_PROJECT_ID must name the project that it shall belong to",
            ));
        };
        let mut wish = json!({"name": options.bucket});
        if let Some(region) = &options.region {
            wish["location"] = region.as_str().into();
        }
        let url = format!(
            "{}/storage/v1/b?project={}&fields=kind,name",
            options.origin(),
            encoded(project)
        );
        let headers = [(header::CONTENT_TYPE, JSON)];
        let request = request(Method::POST, &url, &headers, wish.to_string().into())?;
        let reply = self.api.send(Operation::Create, request).await?;
        if reply.status == StatusCode::CONFLICT {
            // Somebody made it since it was asked for.
            return self.ask_for_bucket(Operation::Create).await;
        }
        accept(&self.api.http, About::Bucket, reply).map(drop)
    }

    async fn content(&self, key: &str, range: Option<String>) -> Result<Reply, HttpFailure> {
        let reply = self
            .object(Operation::Read, Method::GET, key, ("?alt=media", range))
            .await?;
        if reply.header("x-goog-generation").is_none() && reply.header("x-goog-hash").is_none() {
            return Err(HttpFailure::new(
                ErrorKind::Temporary,
                "the answer is not an object of Google Cloud Storage",
            ));
        }
        Ok(reply)
    }

    async fn metadata(&self, operation: Operation, key: &str) -> Result<Object, HttpFailure> {
        let query = ("?fields=kind,name,size", None);
        let reply = self.object(operation, Method::GET, key, query).await?;
        parse(&self.api.http, "storage#object", &reply)
    }

    async fn range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, HttpFailure> {
        if length == 0 {
            let size = self.metadata(Operation::Read, key).await?.size;
            let too_short =
                || HttpFailure::new(ErrorKind::TooShort, format!("it has {size} bytes"));
            return (offset <= size).then(Bytes::new).ok_or_else(too_short);
        }
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        exact_range(self.content(key, Some(range)).await?, offset, length)
    }

    async fn pages(&self, kind: FileKind) -> Result<Vec<FileInfo>, HttpFailure> {
        let prefix = keys::kind_prefix(&self.api.options.prefix, kind);
        let url = format!(
            "{}/o?prefix={}&maxResults={PAGE_OBJECTS}&fields=kind,nextPageToken,items(name,size)",
            self.api.bucket_url(),
            encoded(&prefix)
        );
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let url = match &next {
                None => url.clone(),
                Some(token) => format!("{url}&pageToken={}", encoded(token)),
            };
            let request = request(Method::GET, &url, &[], Bytes::new())?;
            let reply = self.api.send(Operation::List, request).await?;
            let reply = accept(&self.api.http, About::Bucket, reply)?;
            let page: Page = parse(&self.api.http, "storage#objects", &reply)?;
            for object in page.items {
                let rest = object.name.strip_prefix(&prefix).ok_or_else(|| {
                    HttpFailure::new(
                        ErrorKind::Temporary,
                        format!("the listing is not that of `{prefix}`, which was asked for"),
                    )
                })?;
                found.extend(keys::name_of(kind, rest).map(|name| FileInfo {
                    name: name.to_owned(),
                    size_bytes: object.size,
                }));
            }
            match page.next_page_token.filter(|token| !token.is_empty()) {
                None => return Ok(found),
                Some(token) if next.as_ref() == Some(&token) => {
                    return Err(HttpFailure::new(
                        ErrorKind::Temporary,
                        "the listing does not go on",
                    ));
                }
                token => next = token,
            }
        }
    }
}

#[async_trait]
impl Backend for GcsBackend {
    fn location(&self) -> String {
        self.api.options.to_string()
    }

    fn connections(&self) -> usize {
        self.api.options.connections.unwrap_or(CONNECTIONS)
    }

    /// Makes the bucket where it is absent. Who may use objects only is not asked for more.
    async fn create(&self) -> Result<(), BackendError> {
        let result = match self.ask_for_bucket(Operation::Create).await {
            Err(failure) if failure.kind == ErrorKind::PlaceNotFound => self.make_bucket().await,
            result => result,
        };
        result
            .map_err(|failure| failure.into_error(Operation::Create, "the bucket", self.location()))
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let result = self.metadata(Operation::Stat, &self.key(handle)).await;
        let object = result.map_err(|failure| self.error(failure, Operation::Stat, handle))?;
        Ok(FileInfo {
            name: handle.name().to_owned(),
            size_bytes: object.size,
        })
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        self.pages(kind).await.map_err(|failure| {
            let objects = format!("{} objects", kind.word());
            failure.into_error(Operation::List, objects, self.location())
        })
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let result = self.content(&self.key(handle), None).await;
        result
            .map(|reply| reply.body)
            .map_err(|failure| self.error(failure, Operation::Read, handle))
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let result = self.range(&self.key(handle), offset, length).await;
        result.map_err(|failure| self.error(failure, Operation::Read, handle))
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let class = self.api.options.storage_class.as_deref();
        let class = class.filter(|_| !handle.is_metadata());
        let result = upload::upload(&self.api, &self.key(handle), class, data).await;
        result.map_err(|failure| self.error(failure, Operation::Write, handle))
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        let key = self.key(handle);
        let result = self
            .object(Operation::Remove, Method::DELETE, &key, ("", None))
            .await;
        match result {
            // The service says that there is nothing to say, its emulator that.
            Ok(reply)
                if reply.status == StatusCode::NO_CONTENT || reply.body.trim_ascii() == b"null" =>
            {
                Ok(())
            }
            Ok(_) => {
                let failure = HttpFailure::new(
                    ErrorKind::Temporary,
                    "the answer is not one of Google Cloud Storage",
                );
                Err(self.error(failure, Operation::Remove, handle))
            }
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(()),
            Err(failure) => Err(self.error(failure, Operation::Remove, handle)),
        }
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.api.options.origin())
    }
}

impl fmt::Debug for GcsBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("GcsBackend")
            .field(&self.api.options)
            .finish()
    }
}
