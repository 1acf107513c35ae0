//! Why a storage operation failed, and whether trying again can help.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::Handle;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Getting a token or an upload address.
    Authenticate,
    /// Making the place ready.
    Create,
    /// Reading size and existence.
    Stat,
    /// Listing a kind.
    List,
    /// Reading an object or a part of it.
    Read,
    /// Storing an object.
    Write,
    /// Removing an object.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Authenticate => "authenticate for",
            Self::Create => "create",
            Self::Stat => "stat",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
        })
    }
}

/// The kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The object does not exist.
    NotFound,
    /// The bucket, container or account that the object would lie in does not exist.
    PlaceNotFound,
    /// An object of this name exists.
    AlreadyExists,
    /// The object ends before the range that was asked for.
    TooShort,
    /// The store does not know these credentials, or they have expired.
    Unauthenticated,
    /// The store knows these credentials and refuses them this operation.
    PermissionDenied,
    /// The server's certificate is not to be trusted, or it does not trust ours.
    Untrusted,
    /// The clock of this machine is too far from that of the store.
    ClockSkew,
    /// The place can be read but not written.
    ReadOnly,
    /// No room is left.
    NoSpace,
    /// The store cannot be reached or is busy; the same call may succeed later.
    Temporary,
    /// Anything else that does not go away by trying again.
    Permanent,
}

/// A failed storage operation.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object} in {location}{}", reason(*.kind))]
pub struct BackendError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What was being done.
    pub operation: Operation,
    /// The object, or the folder or place, in words.
    pub object: String,
    /// The place, without credentials.
    pub location: String,
    /// How long the store asks to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// The service's own word.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl BackendError {
    /// A failure on one object.
    pub fn new(
        kind: ErrorKind,
        operation: Operation,
        handle: &Handle,
        location: impl Into<String>,
        source: Option<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            operation,
            object: handle.to_string(),
            location: location.into(),
            retry_after: None,
            source,
        }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.kind == ErrorKind::Temporary
    }
}

const fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => ": it does not exist",
        ErrorKind::PlaceNotFound => ": the bucket or container does not exist",
        ErrorKind::AlreadyExists => ": it exists already",
        ErrorKind::TooShort => ": it is shorter than expected",
        ErrorKind::Unauthenticated => ": the credentials are refused",
        ErrorKind::PermissionDenied => ": permission denied",
        ErrorKind::Untrusted => ": the connection cannot be trusted",
        ErrorKind::ClockSkew => ": the clocks differ too much",
        ErrorKind::ReadOnly => ": the storage is read-only",
        ErrorKind::NoSpace => ": no space is left",
        ErrorKind::Temporary => ": the storage did not answer",
        ErrorKind::Permanent => "",
    }
}
