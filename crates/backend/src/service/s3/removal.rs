//! Removing objects: one, or up to a thousand with one request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderName, Method, StatusCode, header};
use md5::{Digest, Md5};

use super::S3Backend;
use super::answer::{self, ErrorBody, NotRemoved, Removed};
use super::client::Call;
use super::failure;
use crate::http::{HttpFailure, Refusal, Reply};
use crate::{Backend, BackendError, ErrorKind, Handle, Operation};

/// As many as one request may name.
const BATCH: usize = 1000;

impl S3Backend {
    pub(super) async fn remove_object(&self, handle: &Handle) -> Result<(), BackendError> {
        let key = self.key(handle);
        let call = Call::on_object(Operation::Remove, Method::DELETE, &key);
        match self.client.call(&call).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == ErrorKind::NotFound => Ok(()),
            Err(failure) => Err(self.error(failure, Operation::Remove, handle)),
        }
    }

    pub(super) async fn remove_all(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let batches: Vec<Vec<Handle>> = handles.chunks(BATCH).map(<[Handle]>::to_vec).collect();
        futures::stream::iter(batches)
            .map(|batch| async move { self.remove_batch(batch).await })
            .buffer_unordered(self.connections())
            .concat()
            .await
    }

    async fn remove_batch(&self, handles: Vec<Handle>) -> Vec<(Handle, BackendError)> {
        if handles.len() < 2 || self.lacks_bulk_removal.load(Ordering::Relaxed) {
            return self.remove_singly(handles).await;
        }
        match self.ask_to_remove(&handles).await {
            Ok(Outcome::Done(failures)) => failures,
            Ok(Outcome::NotOffered) => {
                tracing::debug!("the store cannot remove many objects at once");
                self.lacks_bulk_removal.store(true, Ordering::Relaxed);
                self.remove_singly(handles).await
            }
            // Each one tells of itself.
            Ok(Outcome::Unclear) => self.remove_singly(handles).await,
            // One failure of the request is one of each object in it; only the kind can be repeated.
            Err(failure) => {
                let (kind, retry_after) = (failure.kind, failure.retry_after);
                let words = words_of(&*failure.source);
                let each = handles.into_iter().map(|handle| {
                    let mut failure = HttpFailure::new(kind, words.clone());
                    failure.retry_after = retry_after;
                    let error = self.error(failure, Operation::Remove, &handle);
                    (handle, error)
                });
                each.collect()
            }
        }
    }

    async fn remove_singly(&self, handles: Vec<Handle>) -> Vec<(Handle, BackendError)> {
        futures::stream::iter(handles)
            .map(|handle| async move {
                let result = self.remove_object(&handle).await;
                result.err().map(|error| (handle, error))
            })
            .buffer_unordered(self.connections())
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    async fn ask_to_remove(&self, handles: &[Handle]) -> Result<Outcome, HttpFailure> {
        let mut by_key: HashMap<String, Handle> = handles
            .iter()
            .map(|handle| (self.key(handle), handle.clone()))
            .collect();
        let mut body = String::from(
            r#"<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>"#,
        );
        for key in by_key.keys() {
            // Writing to a string cannot fail.
            let _ = write!(
                body,
                "<Object><Key>{}</Key></Object>",
                quick_xml::escape::escape(key.as_str())
            );
        }
        body.push_str("</Delete>");
        let body = Bytes::from(body);
        let headers = vec![
            (HeaderName::from_static("content-md5"), md5(&body)),
            (header::CONTENT_TYPE, "application/xml".to_owned()),
        ];
        let call =
            Call::on_bucket(Operation::Remove, Method::POST, &[("delete", "")]).with(headers, body);
        let (reply, said) = self.client.exchange(&call).await?;
        if is_not_offered(&reply, said.as_ref()) {
            return Ok(Outcome::NotOffered);
        }
        if !reply.status.is_success() || said.is_some() {
            return Err(failure::refused(&self.client.http, &reply, said.as_ref()));
        }
        let removed: Removed = answer::read(&reply, &["DeleteResult"])?;
        let mut failures = Vec::new();
        for refusal in removed.errors {
            let Some(handle) = refusal.key.as_ref().and_then(|key| by_key.remove(key)) else {
                tracing::debug!("the store does not tell which object of a batch is refused");
                return Ok(Outcome::Unclear);
            };
            if let Some(failure) = self.not_removed(&reply, &refusal) {
                let error = self.error(failure, Operation::Remove, &handle);
                failures.push((handle, error));
            }
        }
        Ok(Outcome::Done(failures))
    }

    /// What the refusal of one object means; nothing when it is not there anyway.
    fn not_removed(&self, reply: &Reply, error: &NotRemoved) -> Option<HttpFailure> {
        let (code, message) = (error.code.as_deref(), error.message.as_deref());
        let kind = failure::kind_of(StatusCode::BAD_REQUEST, code, message);
        if kind == ErrorKind::NotFound {
            return None;
        }
        Some(Refusal::new(&self.client.http, reply, code, message).into_failure(kind, reply))
    }
}

enum Outcome {
    Done(Vec<(Handle, BackendError)>),
    /// Something is refused, and it is not told what.
    Unclear,
    NotOffered,
}

fn is_not_offered(reply: &Reply, said: Option<&ErrorBody>) -> bool {
    let code = said.and_then(|said| said.code.as_deref());
    matches!(code, Some("NotImplemented" | "MethodNotAllowed"))
        || matches!(
            reply.status,
            StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED
        )
}

/// An error with its reasons in one line.
fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        words = format!("{words}: {source}");
        next = source.source();
    }
    words
}

/// The checksum that some requests must carry.
pub(super) fn md5(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}
