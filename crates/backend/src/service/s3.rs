//! S3: Amazon's object storage and the many stores that speak its protocol.
//!
//! Protocol: <https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html>. Keys are laid out as restic does it, so
//! that both can share a bucket.

mod address;
mod answer;
mod bucket;
mod client;
mod credentials;
mod failure;
mod list;
mod location;
mod options;
mod removal;
mod sign;
mod upload;

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use parking_lot::RwLock;

use crate::http::{HttpClient, HttpFailure, HttpOptions, Reply, exact_range};
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

use address::Address;
use client::{Call, S3Client};
use credentials::Credentials;
pub use options::{BucketLookup, Retention, RetentionMode, S3Options, ServerEncryption};

/// As many as restic uses.
const CONNECTIONS: usize = 5;

/// A repository in a bucket.
#[derive(Debug)]
pub struct S3Backend {
    options: S3Options,
    client: S3Client,
    /// Learnt from a refusal: the store knows no condition on writes.
    lacks_conditions: AtomicBool,
    /// Learnt from a refusal: the store cannot remove many objects at once.
    lacks_bulk_removal: AtomicBool,
}

impl S3Backend {
    /// Prepares the client; nothing is connected and no credential is asked for yet.
    pub fn new(options: S3Options, http: &HttpOptions) -> Result<Self, SetupError> {
        options.check()?;
        let client = HttpClient::new(http)?;
        if let ServerEncryption::CustomerKey(key) = &options.encryption {
            client.hide(key);
        }
        let address = Address::new(&options.location, options.bucket_lookup);
        let credentials = if options.is_anonymous {
            None
        } else {
            let (source, role) = (options.source.clone(), options.role.clone());
            Some(Credentials::new(source, role, (&client, http))?)
        };
        // A host of Amazon that names its region answers for no other one.
        let region = address
            .region()
            .map(str::to_owned)
            .or_else(|| options.region.clone());
        if region
            .as_deref()
            .is_some_and(|region| !address::is_harmless(region))
        {
            return Err(SetupError::new("the region is not the name of a region"));
        }
        Ok(Self {
            client: S3Client {
                http: client,
                address,
                credentials,
                region: RwLock::new(region),
            },
            options,
            lacks_conditions: AtomicBool::new(false),
            lacks_bulk_removal: AtomicBool::new(false),
        })
    }

    fn key(&self, handle: &Handle) -> String {
        self.options.location.key(&handle.path())
    }

    fn error(&self, failure: HttpFailure, operation: Operation, handle: &Handle) -> BackendError {
        failure.into_error(operation, handle.to_string(), self.location())
    }

    async fn get(
        &self,
        handle: &Handle,
        range: Option<String>,
        operation: Operation,
    ) -> Result<Reply, HttpFailure> {
        let key = self.key(handle);
        let mut headers = self.customer_key();
        headers.extend(range.map(|range| (header::RANGE, range)));
        let call = Call::on_object(operation, Method::GET, &key).with(headers, Bytes::new());
        let reply = self.client.call(&call).await?;
        with_tag(reply)
    }

    async fn size(&self, handle: &Handle) -> Result<u64, HttpFailure> {
        let key = self.key(handle);
        let call = Call::on_object(Operation::Stat, Method::HEAD, &key)
            .with(self.customer_key(), Bytes::new());
        let (reply, _) = self.client.exchange(&call).await?;
        if reply.status.is_success() {
            let reply = with_tag(reply)?;
            return number_in(&reply, &header::CONTENT_LENGTH, |text| Some(text))
                .ok_or_else(size_unknown);
        }
        if reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(failure::refused(&self.client.http, &reply, None));
        }
        // A refused HEAD request has no words and does not tell what is missing, if anything is.
        match self
            .get(handle, Some("bytes=0-0".to_owned()), Operation::Stat)
            .await
        {
            Ok(reply) => number_in(&reply, &header::CONTENT_RANGE, |text| {
                Some(text.rsplit_once('/')?.1)
            })
            .ok_or_else(size_unknown),
            // There is no first byte.
            Err(failure) if failure.kind == ErrorKind::TooShort => Ok(0),
            Err(failure) => Err(failure),
        }
    }
}

/// Every object comes with a tag; without one somebody else has answered.
fn with_tag(reply: Reply) -> Result<Reply, HttpFailure> {
    if reply.headers.contains_key(header::ETAG) {
        return Ok(reply);
    }
    Err(HttpFailure::new(
        ErrorKind::Temporary,
        "the answer is not an object of S3",
    ))
}

fn number_in(reply: &Reply, name: &HeaderName, part: impl Fn(&str) -> Option<&str>) -> Option<u64> {
    part(reply.header(name.as_str())?)?.parse().ok()
}

fn size_unknown() -> HttpFailure {
    HttpFailure::new(ErrorKind::Permanent, "the server does not tell the size")
}

#[async_trait]
impl Backend for S3Backend {
    fn location(&self) -> String {
        self.options.to_string()
    }

    fn connections(&self) -> usize {
        self.options.connections.unwrap_or(CONNECTIONS)
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.make_bucket().await.map_err(|failure| {
            let bucket = format!("the bucket {}", self.options.location.bucket);
            failure.into_error(Operation::Create, bucket, self.location())
        })
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        match self.size(handle).await {
            Ok(size_bytes) => Ok(FileInfo {
                name: handle.name().to_owned(),
                size_bytes,
            }),
            Err(failure) => Err(self.error(failure, Operation::Stat, handle)),
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
        self.list_folder(kind).await.map_err(|failure| {
            let objects = format!("{} objects", kind.word());
            failure.into_error(Operation::List, objects, self.location())
        })
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        match self.get(handle, None, Operation::Read).await {
            Ok(reply) => Ok(reply.body),
            Err(failure) => Err(self.error(failure, Operation::Read, handle)),
        }
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
        self.get(handle, Some(range), Operation::Read)
            .await
            .and_then(|reply| exact_range(reply, offset, length))
            .map_err(|failure| self.error(failure, Operation::Read, handle))
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        self.put(handle, data)
            .await
            .map_err(|failure| self.error(failure, Operation::Write, handle))
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.remove_object(handle).await
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        self.remove_all(handles).await
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.client.address.origin(&self.client.region()))
    }
}
