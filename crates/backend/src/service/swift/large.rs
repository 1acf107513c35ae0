//! Objects above the cluster's limit: segments in a container beside, and a manifest under the object's name.
//!
//! The segments' names hold the hash of the whole, so a repeated attempt writes the same ones again, and two objects
//! never share one. <https://docs.openstack.org/api-ref/object-store/#static-large-objects>

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, header};
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::http::{HttpFailure, Reply};
use crate::service::keys::key;
use crate::service::swift::SwiftBackend;
use crate::service::swift::abilities::Abilities;
use crate::service::swift::request::{Draft, object_path};
use crate::{Backend, BackendError, ErrorKind, Handle, Operation};

impl SwiftBackend {
    /// The container of segments, named as other clients of Swift do.
    fn segments_container(&self) -> String {
        format!("{}_segments", self.options.container)
    }

    /// Whether the repository may have large objects. Most clusters never need any, and then removing takes no look
    /// at each object.
    pub(super) async fn has_segments(&self) -> Result<bool, HttpFailure> {
        if self.wrote_segments.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if let Some(known) = self.found_segments.get() {
            return Ok(*known);
        }
        let prefix = &self.options.prefix;
        let below = if prefix.is_empty() || prefix.ends_with('/') {
            prefix.clone()
        } else {
            format!("{prefix}/")
        };
        let container = self.segments_container();
        let page = self.page(Operation::Remove, &container, (&below, ""), Some(1));
        let found = match page.await {
            Ok(entries) => !entries.is_empty(),
            // Who may not look there cannot have written there.
            Err(failure)
                if matches!(
                    failure.kind,
                    ErrorKind::PlaceNotFound | ErrorKind::PermissionDenied
                ) =>
            {
                false
            }
            Err(failure) => return Err(failure),
        };
        Ok(*self.found_segments.get_or_init(|| found))
    }

    /// Stores an object that is too large to be sent as a whole.
    pub(super) async fn write_large(
        &self,
        handle: &Handle,
        data: &Bytes,
        abilities: Abilities,
    ) -> Result<(), BackendError> {
        let fail = |failure| self.error(failure, Operation::Write, handle);
        let size = usize::try_from(abilities.object_bytes).unwrap_or(usize::MAX);
        let count = data.len().div_ceil(size) as u64;
        if abilities.segments.is_none_or(|most| count > most) {
            let reason = format!("the cluster takes objects of {size} bytes at most");
            return Err(fail(HttpFailure::new(ErrorKind::Permanent, reason)));
        }
        match self.stat(handle).await {
            Ok(_) => {
                let reason = "an object of this name is there";
                return Err(fail(HttpFailure::new(ErrorKind::AlreadyExists, reason)));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                return Err(BackendError {
                    operation: Operation::Write,
                    ..error
                });
            }
        }
        let container = self.segments_container();
        self.make_container(Operation::Write, &container)
            .await
            .map_err(fail)?;
        self.wrote_segments.store(true, Ordering::Relaxed);
        let segments = segments_of(&key(&self.options.prefix, handle), data, size);
        if let Err(failure) = self.write_segments(&segments).await {
            self.clean_up(handle, &segments).await;
            return Err(fail(failure));
        }
        let written = self.write_manifest(handle, &segments).await;
        match &written {
            Ok(()) => {
                self.unsure_manifests.lock().remove(handle);
            }
            // It may be there, or come to be while this goes on.
            Err(error) if error.is_temporary() => {
                self.unsure_manifests.lock().insert(handle.clone());
            }
            Err(_) => self.clean_up(handle, &segments).await,
        }
        written
    }

    async fn write_segments(&self, segments: &[Segment]) -> Result<(), HttpFailure> {
        for segment in segments {
            let path = object_path(&self.segments_container(), &segment.key);
            let draft = Draft::new(Method::PUT, path)
                .header(header::ETAG, &segment.sum)
                .body(segment.content.clone());
            self.succeed(Operation::Write, &draft).await?;
        }
        Ok(())
    }

    /// From now on the object is there, unless another one is.
    async fn write_manifest(
        &self,
        handle: &Handle,
        segments: &[Segment],
    ) -> Result<(), BackendError> {
        let container = self.segments_container();
        let manifest: Vec<Value> = segments
            .iter()
            .map(|segment| {
                let path = format!("/{container}/{}", segment.key);
                json!({"path": path, "etag": segment.sum, "size_bytes": segment.content.len()})
            })
            .collect();
        self.on_object(Operation::Write, Method::PUT, handle, |draft| {
            draft
                .query("multipart-manifest=put")
                .header(header::IF_NONE_MATCH, "*")
                .header(header::ETAG, sum_of_sums(segments))
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .body(Bytes::from(Value::from(manifest).to_string()))
        })
        .await
        .map(drop)
    }

    /// Removes segments whose manifest was refused or never sent, except those that the object which is there is made
    /// of. What cannot be looked at or removed stays; it takes room and does no harm.
    async fn clean_up(&self, handle: &Handle, segments: &[Segment]) {
        if self.unsure_manifests.lock().contains(handle) {
            return;
        }
        let Some(used) = self.segments_in_use(handle).await else {
            return;
        };
        let container = self.segments_container();
        for segment in segments {
            if used.contains(&format!("/{container}/{}", segment.key)) {
                continue;
            }
            let draft = Draft::new(Method::DELETE, object_path(&container, &segment.key));
            if self.send(Operation::Write, &draft).await.is_err() {
                return;
            }
        }
    }

    /// The segments that the stored object is made of; nothing when that cannot be known.
    async fn segments_in_use(&self, handle: &Handle) -> Option<HashSet<String>> {
        let manifest = self
            .on_object(Operation::Read, Method::GET, handle, |draft| {
                draft.query("multipart-manifest=get")
            })
            .await;
        let reply = match manifest {
            Ok(reply) => reply,
            Err(error) if error.is_not_found() => return Some(HashSet::new()),
            Err(_) => return None,
        };
        if !is_large(&reply) {
            return Some(HashSet::new());
        }
        let parts: Vec<Part> = serde_json::from_slice(&reply.body).ok()?;
        Some(parts.into_iter().map(|part| part.name).collect())
    }
}

/// Whether what was answered about is made of segments.
pub(super) fn is_large(reply: &Reply) -> bool {
    reply
        .header("x-static-large-object")
        .is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// A line of a stored manifest.
#[derive(Deserialize)]
struct Part {
    /// Container and name behind a slash; Ceph calls it as it is called when it is sent.
    #[serde(alias = "path")]
    name: String,
}

/// A part of a large object.
struct Segment {
    key: String,
    /// MD5 in hex.
    sum: String,
    content: Bytes,
}

fn segments_of(key: &str, data: &Bytes, size: usize) -> Vec<Segment> {
    let hash = hex::encode(Sha256::digest(data));
    let starts = (0..data.len()).step_by(size).enumerate();
    starts
        .map(|(number, start)| {
            let content = data.slice(start..data.len().min(start.saturating_add(size)));
            Segment {
                key: format!("{key}/{hash}/{number:08}"),
                sum: hex::encode(Md5::digest(&content)),
                content,
            }
        })
        .collect()
}

/// The sum of a large object is that of the sums of its segments.
fn sum_of_sums(segments: &[Segment]) -> String {
    let sums: String = segments
        .iter()
        .map(|segment| segment.sum.as_str())
        .collect();
    hex::encode(Md5::digest(sums))
}
