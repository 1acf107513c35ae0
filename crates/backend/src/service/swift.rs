//! OpenStack Swift: objects in a container, written by one request that never replaces another.
//!
//! Nothing here assumes that a listing is fresh: clusters bring theirs up to date when they come to it.
//! <https://docs.openstack.org/api-ref/object-store/>

mod form;
mod options;

mod catalogue;
mod login;
mod session;

mod abilities;
mod large;
mod removal;
mod request;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, header};
use md5::{Digest, Md5};
use parking_lot::Mutex;
use url::Url;

use crate::http::{HttpClient, HttpFailure, HttpOptions, exact_range};
use crate::service::keys::{kind_prefix, name_of};
use crate::variables::SetupError;
use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};

use abilities::Abilities;
use session::Session;

pub use options::SwiftOptions;

/// As many as restic uses.
const CONNECTIONS: usize = 5;
/// No cluster refuses an object that is not larger.
const SMALL: usize = 1 << 20;

/// A repository in a container of OpenStack Swift.
pub struct SwiftBackend {
    options: SwiftOptions,
    http: HttpClient,
    session: Session,
    /// What the cluster says of itself, once it has been asked.
    abilities: OnceLock<Abilities>,
    /// Set when the cluster turned out not to remove many objects by one request.
    lacks_bulk_removal: AtomicBool,
    /// Whether there were segments of large objects when it was first looked for them.
    found_segments: OnceLock<bool>,
    wrote_segments: AtomicBool,
    /// Large objects whose manifest was sent and may yet come to be: their segments stay.
    unsure_manifests: Mutex<HashSet<Handle>>,
}

impl SwiftBackend {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: SwiftOptions, http: &HttpOptions) -> Result<Self, SetupError> {
        let http = HttpClient::new(http)?;
        http.hide(options.form.secret());
        Ok(Self {
            options,
            http,
            session: Session::default(),
            abilities: OnceLock::new(),
            lacks_bulk_removal: AtomicBool::new(false),
            found_segments: OnceLock::new(),
            wrote_segments: AtomicBool::new(false),
            unsure_manifests: Mutex::default(),
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
        let container = &self.options.container;
        let result = self.make_container(Operation::Create, container).await;
        result.map_err(|failure| {
            let object = format!("the container {}", self.options.container);
            failure.into_error(Operation::Create, object, self.location())
        })
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        let reply = self
            .on_object(Operation::Stat, Method::HEAD, handle, |draft| draft)
            .await?;
        let size = reply
            .header("content-length")
            .and_then(|text| text.parse().ok());
        let size_bytes = size.ok_or_else(|| {
            let reason = "the server does not tell the size";
            let failure = HttpFailure::new(ErrorKind::Temporary, reason);
            self.error(failure, Operation::Stat, handle)
        })?;
        Ok(FileInfo {
            name: handle.name().to_owned(),
            size_bytes,
        })
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        let prefix = kind_prefix(&self.options.prefix, kind);
        let container = &self.options.container;
        let fail = |failure: HttpFailure| {
            let object = format!("{} objects", kind.word());
            failure.into_error(Operation::List, object, self.location())
        };
        let mut infos = Vec::new();
        let mut marker = String::new();
        loop {
            let page = self.page(Operation::List, container, (&prefix, &marker), None);
            let page = page.await.map_err(fail)?;
            // A cluster may give pages as short as it likes: only an empty one is the end.
            let Some(last) = page.last() else {
                return Ok(infos);
            };
            let last = last.name.clone().filter(|last| *last > marker);
            infos.extend(page.iter().filter_map(|entry| {
                let name = name_of(kind, entry.name.as_deref()?.strip_prefix(&prefix)?)?;
                Some(FileInfo {
                    name: name.to_owned(),
                    size_bytes: entry.bytes,
                })
            }));
            marker = last.ok_or_else(|| {
                let reason = "a page of the listing does not go on from the one before";
                fail(HttpFailure::new(ErrorKind::Temporary, reason))
            })?;
        }
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        let reply = self
            .on_object(Operation::Read, Method::GET, handle, |draft| draft)
            .await?;
        Ok(reply.body)
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let fail = |failure| self.error(failure, Operation::Read, handle);
        if length == 0 {
            let size = self.stat(handle).await?.size_bytes;
            let reason = format!("it has {size} bytes");
            return if offset > size {
                Err(fail(HttpFailure::new(ErrorKind::TooShort, reason)))
            } else {
                Ok(Bytes::new())
            };
        }
        let range = format!("bytes={offset}-{}", offset.saturating_add(length - 1));
        let reply = self
            .on_object(Operation::Read, Method::GET, handle, |draft| {
                draft.header(header::RANGE, range)
            })
            .await?;
        exact_range(reply, offset, length).map_err(fail)
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        if data.len() > SMALL {
            let abilities = self.abilities(Operation::Write).await;
            if data.len() as u64 > abilities.object_bytes {
                return self.write_large(handle, &data, abilities).await;
            }
        }
        self.on_object(Operation::Write, Method::PUT, handle, |draft| {
            draft
                .header(header::ETAG, hex::encode(Md5::digest(&data)))
                .header(header::IF_NONE_MATCH, "*")
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .body(data)
        })
        .await
        .map(drop)
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.remove_one(handle).await
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        self.remove_all(handles).await
    }

    fn endpoint(&self) -> Option<String> {
        let url = Url::parse(self.options.form.url()).ok()?;
        Some(url.origin().ascii_serialization())
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
