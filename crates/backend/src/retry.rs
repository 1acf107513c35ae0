//! Tries again what a store could not do at the moment.
//!
//! Owns pauses, the time limit and what a lost answer to a write means. Which failures are temporary is the
//! services' word; how many requests run at once is that of [`crate::ConnectionLimit`], which belongs below this,
//! so that a call that waits for its next attempt holds no connection.

mod attempts;
mod notice;
mod stored;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};
use attempts::Attempts;
use stored::Stored;

pub use notice::{Notify, RetryNotice};

/// How long and how often calls are repeated.
#[derive(Clone)]
pub struct RetryOptions {
    /// No attempt of a call begins later than this after its first failure; zero never tries again.
    pub limit: Duration,
    /// The longest first pause; each further one may be twice as long.
    pub first_pause: Duration,
    /// No pause is longer, unless the store asks for it.
    pub longest_pause: Duration,
    /// Where the randomness of pauses begins; chance unless given.
    pub seed: Option<u64>,
    /// Told when a call waits, goes on or is given up.
    pub notify: Option<Notify>,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            limit: Duration::from_mins(15),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(1),
            seed: None,
            notify: None,
        }
    }
}

impl fmt::Debug for RetryOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RetryOptions")
            .field("limit", &self.limit)
            .field("first_pause", &self.first_pause)
            .field("longest_pause", &self.longest_pause)
            .finish_non_exhaustive()
    }
}

/// Repeats calls that failed with [`ErrorKind::Temporary`], after pauses of random length that grow, and not at
/// all otherwise. A call that is dropped stops at once.
#[derive(Debug)]
pub struct Retry {
    inner: Arc<dyn Backend>,
    options: RetryOptions,
    random: Mutex<StdRng>,
}

impl Retry {
    /// Repeats the calls of this backend.
    pub fn new(inner: Arc<dyn Backend>, options: RetryOptions) -> Self {
        let random = match options.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_rng(&mut rand::rng()),
        };
        Self {
            inner,
            options,
            random: Mutex::new(random),
        }
    }

    async fn run<'a, T>(
        &'a self,
        attempt: impl Fn() -> BoxFuture<'a, Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        let mut attempts = Attempts::new(self);
        let value = attempts.until_done(attempt).await?;
        attempts.done();
        Ok(value)
    }

    /// The store says that the name is taken. Success when our own object lies there, whole; otherwise the attempt
    /// to go on with, or the error. Only what is provably no object of this name is removed.
    async fn taken(
        &self,
        (handle, data): (&Handle, &Bytes),
        error: BackendError,
        course: &mut Course,
        attempts: &mut Attempts<'_>,
    ) -> Result<Stored, BackendError> {
        let inner = self.inner.as_ref();
        let stored = attempts
            .until_done(|| Box::pin(stored::look(inner, handle, data)))
            .await?;
        match stored {
            Stored::Same => return Ok(stored),
            Stored::Partial if course.is_uncertain => {
                tracing::warn!(%handle, "removing the part of an object that a broken upload of ours left");
                attempts.until_done(|| inner.remove(handle)).await?;
            }
            // Under the hash of our bytes lie others: whoever stored them, they are no object of this name.
            Stored::Partial | Stored::Other if stored::is_named_by(handle, data) => {
                let is_again = std::mem::replace(&mut course.is_replaced, true);
                self.replace(handle, error, is_again, attempts).await?;
                return Ok(stored);
            }
            Stored::Partial | Stored::Other => return Err(error),
            // Seen, and gone again: another attempt tells.
            Stored::Absent => {}
        }
        let error = BackendError {
            kind: ErrorKind::Temporary,
            ..error
        };
        attempts.pause(error).await?;
        Ok(stored)
    }

    /// Makes room for the one further attempt that a damaged object gets.
    async fn replace(
        &self,
        handle: &Handle,
        error: BackendError,
        is_again: bool,
        attempts: &mut Attempts<'_>,
    ) -> Result<(), BackendError> {
        let inner = self.inner.as_ref();
        let (kind, source) = if is_again {
            (ErrorKind::Permanent, error)
        } else {
            tracing::warn!(%handle, "removing what lies under this name and does not fit it");
            match attempts.until_done(|| inner.remove(handle)).await {
                Err(refused) if !refused.is_not_found() => (refused.kind, refused),
                _ => return Ok(()),
            }
        };
        Err(BackendError::new(
            kind,
            Operation::Write,
            handle,
            inner.location(),
            Some(Box::new(stored::Irreplaceable { source })),
        ))
    }

    /// A write failed for good after attempts whose end is unknown: whether its object is there nevertheless.
    async fn was_stored(&self, handle: &Handle, data: &Bytes) -> bool {
        match stored::look(self.inner.as_ref(), handle, data).await {
            Ok(Stored::Same) => true,
            Ok(Stored::Partial) => {
                if let Err(error) = self.inner.remove(handle).await {
                    tracing::warn!(%handle, %error, "a part of an object is left that a broken upload made");
                }
                false
            }
            Ok(Stored::Other | Stored::Absent) | Err(_) => false,
        }
    }
}

/// What has happened to a write so far.
#[derive(Default)]
struct Course {
    /// The end of an attempt is unknown.
    is_uncertain: bool,
    /// What lay there and did not fit the name was removed.
    is_replaced: bool,
}

#[async_trait]
impl Backend for Retry {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.run(|| self.inner.create()).await
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        self.run(|| self.inner.stat(handle)).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        self.run(|| self.inner.list(kind)).await
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        self.run(|| self.inner.read(handle)).await
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let inner = self.inner.as_ref();
        self.run(|| {
            Box::pin(async move {
                let data = inner.read_range(handle, offset, length).await?;
                if data.len() as u64 == length {
                    return Ok(data);
                }
                let reason = format!("{} bytes came where {length} were asked for", data.len());
                Err(BackendError::new(
                    ErrorKind::Temporary,
                    Operation::Read,
                    handle,
                    inner.location(),
                    Some(reason.into()),
                ))
            })
        })
        .await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let mut attempts = Attempts::new(self);
        let mut course = Course::default();
        loop {
            let error = match self.inner.write(handle, data.clone()).await {
                Ok(()) => {
                    attempts.done();
                    return Ok(());
                }
                Err(error) => error,
            };
            let failed = match error.kind {
                ErrorKind::AlreadyExists => {
                    let write = (handle, &data);
                    let stored = self.taken(write, error, &mut course, &mut attempts).await?;
                    if stored == Stored::Same {
                        attempts.done();
                        return Ok(());
                    }
                    continue;
                }
                ErrorKind::Temporary => {
                    course.is_uncertain = true;
                    match attempts.pause(error).await {
                        Ok(()) => continue,
                        Err(error) => error,
                    }
                }
                _ => error,
            };
            if course.is_uncertain && self.was_stored(handle, &data).await {
                attempts.done();
                return Ok(());
            }
            return Err(failed);
        }
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        match self.run(|| self.inner.remove(handle)).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result,
        }
    }

    async fn remove_many(&self, handles: &[Handle]) -> Vec<(Handle, BackendError)> {
        let mut attempts = Attempts::new(self);
        let mut failures = Vec::new();
        let mut rest = handles.to_vec();
        loop {
            let failed = self.inner.remove_many(&rest).await;
            let (temporary, lasting): (Vec<_>, Vec<_>) = failed
                .into_iter()
                .filter(|(_, error)| !error.is_not_found())
                .partition(|(_, error)| error.is_temporary());
            failures.extend(lasting);
            if !temporary.is_empty() && temporary.len() < rest.len() {
                attempts.got_on();
            }
            rest = temporary.iter().map(|(handle, _)| handle.clone()).collect();
            // The longest pause that was asked for is the one that is kept.
            let longest = temporary
                .iter()
                .enumerate()
                .max_by_key(|(_, (_, error))| error.retry_after)
                .map(|(index, _)| index);
            let Some(longest) = longest else {
                if failures.is_empty() {
                    attempts.done();
                }
                return failures;
            };
            let mut temporary = temporary;
            let (handle, error) = temporary.swap_remove(longest);
            if let Err(error) = attempts.pause(error).await {
                failures.push((handle, error));
                failures.extend(temporary);
                return failures;
            }
        }
    }

    fn endpoint(&self) -> Option<String> {
        self.inner.endpoint()
    }
}
