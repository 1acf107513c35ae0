//! From errors to what the user sees: the joined message, the exit code and the hint. The only such place.

use std::error::Error;
use std::process::ExitCode;

use backend::doctor::remedy;
use backend::{BackendError, ErrorKind};
use repository::OpenError;
use repository::lock::LockError;

use crate::printer::Printer;

/// restic's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// Nothing, or not the main thing, was done.
    Failed,
    /// Done, but some files were left out.
    Incomplete,
    /// There is no repository.
    NoRepository,
    /// Somebody else holds a lock.
    Locked,
    /// The password opens no key.
    WrongPassword,
    /// Stopped by a signal.
    Interrupted,
}

impl Outcome {
    /// The number the process exits with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Incomplete => 3,
            Self::NoRepository => 10,
            Self::Locked => 11,
            Self::WrongPassword => 12,
            Self::Interrupted => 130,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// A verb that failed.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub outcome: Outcome,
    /// The whole story in one line.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure in our own words.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failed,
            message: message.into(),
            hint: None,
        }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with another exit code.
    #[must_use]
    pub const fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Shows it, as restic's `exit_error` message under `--json`.
    pub fn show(&self, printer: &Printer) {
        if printer.is_json() {
            let line = serde_json::json!({
                "message_type": "exit_error",
                "code": self.outcome.code(),
                "message": self.message,
            });
            printer.json_error(&line);
        } else {
            printer.error(&self.message, self.hint.as_deref());
        }
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let message = sentence(&chain(&error));
        let (outcome, hint) = classify(&error);
        Self {
            outcome,
            message,
            hint,
        }
    }
}

/// The messages of an error and its sources, joined by colons.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        // Some libraries repeat their source in their own message.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

fn classify(error: &(dyn Error + 'static)) -> (Outcome, Option<String>) {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(open) = current.downcast_ref::<OpenError>() {
            match open {
                OpenError::NoRepository { .. } => {
                    return (
                        Outcome::NoRepository,
                        Some(
                            "Run `stash init` to create it, or check the location given with `-r`."
                                .to_owned(),
                        ),
                    );
                }
                OpenError::WrongPassword { .. } => {
                    return (
                        Outcome::WrongPassword,
                        Some(
                            "Check the password; `stash key list` with a good one shows the keys."
                                .to_owned(),
                        ),
                    );
                }
                _ => {}
            }
        }
        if let Some(LockError::Locked { .. }) = current.downcast_ref::<LockError>() {
            return (
                Outcome::Locked,
                Some(
                    "Wait for the other process (`--retry-lock 5m`). If it is gone for good, `stash unlock` removes \
                     the locks that are stale."
                        .to_owned(),
                ),
            );
        }
        let hint = current
            .downcast_ref::<BackendError>()
            .and_then(storage_hint);
        if let Some(setup) = current.downcast_ref::<backend::SetupError>() {
            return (Outcome::Failed, setup.hint.clone());
        }
        if let Some(hint) = hint {
            return (Outcome::Failed, Some(hint.to_owned()));
        }
        next = current.source();
    }
    (Outcome::Failed, None)
}

/// The remedy for a failure of storage. For folders it is the user's own rights that matter.
fn storage_hint(error: &BackendError) -> Option<&'static str> {
    match error.kind {
        ErrorKind::NoSpace => Some(
            "Free some space, or remove old snapshots with `stash forget --prune` and run it again.",
        ),
        // What is missing or there already says more in its own words.
        ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::TooShort => None,
        kind if is_remote(&error.location) => Some(remedy(kind, error.operation)),
        ErrorKind::ReadOnly => Some("The repository can be read, not changed: mount it writable."),
        ErrorKind::PermissionDenied => Some(
            "Run as the user who owns the repository's folder, or give this user access to it.",
        ),
        _ => None,
    }
}

fn is_remote(location: &str) -> bool {
    ["s3:", "gs:", "azure:", "swift:", "b2:", "rest:"]
        .iter()
        .any(|scheme| location.starts_with(scheme))
}
