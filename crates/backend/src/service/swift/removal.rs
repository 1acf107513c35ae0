//! Removing: one object with its segments where it has some, or many by one request where the cluster can.
//!
//! <https://docs.openstack.org/swift/latest/middleware.html#bulk-delete>

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::http::{HttpFailure, Reply, kind_of_status};
use crate::service::keys::key;
use crate::service::swift::SwiftBackend;
use crate::service::swift::large::is_large;
use crate::service::swift::request::{Draft, object_path};
use crate::{Backend, BackendError, ErrorKind, Handle, Operation};

/// Objects in one request: a tenth of what clusters allow as delivered, so that an answer comes within seconds.
const AT_ONCE: usize = 1000;

/// The answer, with status 200 whatever happened.
#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "Number Deleted")]
    deleted: usize,
    #[serde(rename = "Number Not Found")]
    missing: usize,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
    /// Such as `200 OK`.
    #[serde(rename = "Response Status", default)]
    status: String,
}

impl Outcome {
    fn parse(reply: &Reply) -> Option<Self> {
        let is_answer = reply.status == StatusCode::OK;
        is_answer
            .then(|| serde_json::from_slice(&reply.body).ok())
            .flatten()
    }

    /// What the answer to the removal of one large object says: done, or why not.
    fn of_one(&self) -> Result<(), HttpFailure> {
        if let Some((_, status)) = self.errors.first() {
            return Err(failure_of(status));
        }
        // The status of a removal that found nothing is 404.
        let is_fine =
            ["", "200", "404"].contains(&self.status.split(' ').next().unwrap_or_default());
        match self.deleted + self.missing {
            0 if is_fine => Err(not_understood()),
            _ if is_fine => Ok(()),
            _ => Err(failure_of(&self.status)),
        }
    }
}

impl SwiftBackend {
    pub(super) async fn remove_one(&self, handle: &Handle) -> Result<(), BackendError> {
        let has_segments = self
            .has_segments()
            .await
            .map_err(|failure| self.error(failure, Operation::Remove, handle))?;
        let result = if has_segments && self.is_large(handle).await? {
            self.remove_large(handle).await
        } else {
            self.on_object(Operation::Remove, Method::DELETE, handle, |draft| draft)
                .await
                .map(drop)
        };
        match result {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }

    async fn is_large(&self, handle: &Handle) -> Result<bool, BackendError> {
        let found = self
            .on_object(Operation::Remove, Method::HEAD, handle, |draft| draft)
            .await;
        match found {
            Ok(reply) => Ok(is_large(&reply)),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The segments go first, then the object itself.
    async fn remove_large(&self, handle: &Handle) -> Result<(), BackendError> {
        let path = object_path(&self.options.container, &key(&self.options.prefix, handle));
        let draft = Draft::new(Method::DELETE, path)
            .query("multipart-manifest=delete")
            .header(header::ACCEPT, "application/json");
        let failure = match self.succeed(Operation::Remove, &draft).await {
            Ok(reply) => match Outcome::parse(&reply).map(|outcome| outcome.of_one()) {
                Some(Ok(())) => return Ok(()),
                Some(Err(failure)) => failure,
                None => not_understood(),
            },
            Err(failure) => failure,
        };
        Err(self.error(failure, Operation::Remove, handle))
    }

    /// Returns what could not be removed.
    pub(super) async fn remove_all(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let at_once = if handles.len() < 2 || self.lacks_bulk_removal.load(Ordering::Relaxed) {
            None
        } else {
            self.abilities(Operation::Remove).await.deletes
        };
        // A request for many would leave segments behind.
        let at_once = match at_once {
            Some(at_once) if matches!(self.has_segments().await, Ok(false)) => at_once.min(AT_ONCE),
            _ => return self.remove_singly(handles.to_vec()).await,
        };
        let mut failures = Vec::new();
        for part in handles.chunks(at_once) {
            match self.ask(part).await {
                Some(outcome) => failures.extend(self.failures(part, &outcome).await),
                None => failures.extend(self.remove_singly(part.to_vec()).await),
            }
        }
        failures
    }

    /// Nothing when the cluster did not understand, did not answer or gave up half-way: then each object is removed
    /// by itself, and tells by itself what is wrong.
    async fn ask(&self, handles: &[Handle]) -> Option<Outcome> {
        if self.lacks_bulk_removal.load(Ordering::Relaxed) {
            return None;
        }
        let container = &self.options.container;
        let lines: Vec<String> = handles
            .iter()
            .map(|handle| object_path(container, &key(&self.options.prefix, handle)))
            .collect();
        let draft = Draft::new(Method::POST, "?bulk-delete".to_owned())
            .header(header::CONTENT_TYPE, "text/plain")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from(lines.join("\n")));
        let reply = self.send(Operation::Remove, &draft).await.ok()?;
        // Without the middleware the request is one on the account.
        let is_foreign = matches!(
            reply.status.as_u16(),
            201 | 202 | 204 | 400 | 403 | 404 | 405 | 411 | 501
        );
        self.lacks_bulk_removal
            .fetch_or(is_foreign, Ordering::Relaxed);
        let outcome = Outcome::parse(&reply)?;
        let told = outcome.deleted + outcome.missing + outcome.errors.len();
        (told == handles.len()).then_some(outcome)
    }

    /// What was forbidden stays; for anything else an object is tried once more by itself.
    async fn failures(&self, handles: &[Handle], outcome: &Outcome) -> Vec<(Handle, BackendError)> {
        let statuses: HashMap<String, &str> = outcome
            .errors
            .iter()
            .filter_map(|(path, status)| {
                let path = percent_decode_str(path).decode_utf8().ok()?;
                Some((path.trim_start_matches('/').to_owned(), status.as_str()))
            })
            .collect();
        let mut failures = Vec::new();
        let mut again = Vec::new();
        // An error about something that was not asked for tells nothing of what was.
        let mut matched = 0;
        for handle in handles {
            let key = key(&self.options.prefix, handle);
            let path = format!("{}/{key}", self.options.container);
            let Some(status) = statuses.get(path.trim_start_matches('/')) else {
                continue;
            };
            matched += 1;
            let failure = failure_of(status);
            match failure.kind {
                ErrorKind::PermissionDenied => {
                    let error = self.error(failure, Operation::Remove, handle);
                    failures.push((handle.clone(), error));
                }
                ErrorKind::NotFound => {}
                _ => again.push(handle.clone()),
            }
        }
        if matched < statuses.len() {
            return self.remove_singly(handles.to_vec()).await;
        }
        failures.extend(self.remove_singly(again).await);
        failures
    }

    async fn remove_singly(&self, handles: Vec<Handle>) -> Vec<(Handle, BackendError)> {
        futures::stream::iter(handles)
            .map(|handle| async move {
                let result = self.remove_one(&handle).await;
                result.err().map(|error| (handle, error))
            })
            .buffer_unordered(self.connections().max(1))
            .filter_map(std::future::ready)
            .collect()
            .await
    }
}

/// From words such as `403 Forbidden`.
fn failure_of(status: &str) -> HttpFailure {
    let number = status.split_whitespace().next();
    let code = number.and_then(|number| StatusCode::from_bytes(number.as_bytes()).ok());
    let kind = code.map_or(ErrorKind::Permanent, kind_of_status);
    // What follows the number is left out: it may be longer than anybody wants to read.
    let number = code.map_or(0, |code| code.as_u16());
    HttpFailure::new(kind, format!("the server answered {number}"))
}

fn not_understood() -> HttpFailure {
    HttpFailure::new(
        ErrorKind::Temporary,
        "the answer to the removal of a large object is not understood",
    )
}
