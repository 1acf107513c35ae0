//! Many objects removed by one request, where the cluster has the middleware for it.
//!
//! <https://docs.openstack.org/swift/latest/middleware.html#bulk-delete>

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::http::{HttpFailure, kind_of_status};
use crate::service::keys::key;
use crate::service::swift::{Draft, SwiftBackend};
use crate::{Backend, BackendError, ErrorKind, Handle, Operation};

/// Objects in one request: a tenth of what clusters allow as delivered, so that an answer comes within seconds.
const AT_ONCE: usize = 1000;

/// The answer, with status 200 whatever happened.
#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "Response Status")]
    status: String,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
}

impl SwiftBackend {
    pub(super) async fn remove_in_bulk(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let mut failures = Vec::new();
        for part in handles.chunks(AT_ONCE) {
            let outcome = if part.len() > 1 && !self.lacks_bulk_removal.load(Ordering::Relaxed) {
                self.ask(part).await
            } else {
                None
            };
            match outcome {
                Some(outcome) => failures.extend(self.failures(part, &outcome)),
                None => failures.extend(self.remove_singly(part).await),
            }
        }
        failures
    }

    /// Nothing when the cluster did not understand, or did not answer: then each object is removed by itself, and
    /// tells by itself what is wrong.
    async fn ask(&self, handles: &[Handle]) -> Option<Outcome> {
        let lines: Vec<String> = handles
            .iter()
            .map(|handle| self.path(&key(&self.options.prefix, handle)))
            .collect();
        let draft = Draft {
            method: Method::POST,
            path: "?bulk-delete".to_owned(),
            headers: &[
                (header::CONTENT_TYPE, "text/plain"),
                (header::ACCEPT, "application/json"),
            ],
            body: Bytes::from(lines.join("\n")),
        };
        let reply = self.send(Operation::Remove, &draft).await.ok()?;
        if reply.status != StatusCode::OK {
            let is_refused = reply.status.is_client_error() || reply.status.is_success();
            self.lacks_bulk_removal
                .fetch_or(is_refused, Ordering::Relaxed);
            return None;
        }
        let outcome: Outcome = serde_json::from_slice(&reply.body).ok()?;
        // What went wrong with the request as a whole names no objects.
        let is_whole = outcome.status.starts_with("200") || !outcome.errors.is_empty();
        is_whole.then_some(outcome)
    }

    fn failures(&self, handles: &[Handle], outcome: &Outcome) -> Vec<(Handle, BackendError)> {
        let by_key: HashMap<String, &Handle> = handles
            .iter()
            .map(|handle| {
                (
                    format!(
                        "/{}/{}",
                        self.options.container,
                        key(&self.options.prefix, handle)
                    ),
                    handle,
                )
            })
            .collect();
        let errors = outcome.errors.iter().filter_map(|(path, status)| {
            let path = percent_decode_str(path).decode_utf8().ok()?;
            let handle = *by_key.get(path.as_ref())?;
            let number = status.split_whitespace().next()?.parse().ok()?;
            let kind = match kind_of_status(StatusCode::from_u16(number).ok()?) {
                ErrorKind::NotFound => return None,
                kind => kind,
            };
            let failure = HttpFailure::new(kind, format!("the server answered {status}"));
            Some((
                handle.clone(),
                failure.into_error(Operation::Remove, handle.to_string(), self.location()),
            ))
        });
        errors.collect()
    }

    async fn remove_singly(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        futures::stream::iter(handles.to_vec())
            .map(|handle| async move {
                let result = self.remove(&handle).await;
                result.err().map(|error| (handle, error))
            })
            .buffer_unordered(self.connections().max(1))
            .filter_map(std::future::ready)
            .collect()
            .await
    }
}
