//! Why a storage operation failed, and whether trying again can help.

use std::error::Error;
use std::fmt;

use crate::Handle;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
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
    /// The object, or the place itself, does not exist.
    NotFound,
    /// An object of this name exists.
    AlreadyExists,
    /// The object ends before the range that was asked for.
    TooShort,
    /// The store refuses this to these credentials.
    PermissionDenied,
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
        ErrorKind::AlreadyExists => ": it exists already",
        ErrorKind::TooShort => ": it is shorter than expected",
        ErrorKind::PermissionDenied => ": permission denied",
        ErrorKind::ReadOnly => ": the storage is read-only",
        ErrorKind::NoSpace => ": no space is left",
        ErrorKind::Temporary => ": the storage did not answer",
        ErrorKind::Permanent => "",
    }
}
