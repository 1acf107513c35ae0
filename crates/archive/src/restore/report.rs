//! What goes wrong in a restore without ending it, and what ends it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use crate::restore::{FileError, RestoreError, RestoreProgress, RestoreWarning, WarningKind};

/// Errors that are kept with their text; the others are counted.
const KEPT_ERRORS: usize = 1000;
/// Failures of the storage in a row after which a restore gives up.
const STORAGE_FAILURES: u64 = 16;

/// Collects the trouble of one restore; shared by all its threads.
pub(super) struct Report {
    pub(super) progress: Arc<dyn RestoreProgress>,
    cancel: CancellationToken,
    stopped: AtomicBool,
    fatal: Mutex<Option<RestoreError>>,
    errors: Mutex<Vec<FileError>>,
    errors_count: AtomicU64,
    warnings: Mutex<Vec<RestoreWarning>>,
    storage_failures: AtomicU64,
}

impl Report {
    pub(super) fn new(progress: Arc<dyn RestoreProgress>, cancel: CancellationToken) -> Self {
        Self {
            progress,
            cancel,
            stopped: AtomicBool::new(false),
            fatal: Mutex::new(None),
            errors: Mutex::new(Vec::new()),
            errors_count: AtomicU64::new(0),
            warnings: Mutex::new(Vec::new()),
            storage_failures: AtomicU64::new(0),
        }
    }

    /// Whether nothing more may be begun: the restore was cancelled or has met its end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.cancel.is_cancelled()
    }

    /// The reason to stop, once.
    pub(super) fn check(&self) -> Result<(), RestoreError> {
        if let Some(error) = self.fatal.lock().take() {
            return Err(error);
        }
        if self.is_stopped() {
            Err(RestoreError::Cancelled)
        } else {
            Ok(())
        }
    }

    pub(super) async fn stopped(&self) {
        self.cancel.cancelled().await;
    }

    /// Ends the restore.
    pub(super) fn stop(&self, error: RestoreError) {
        self.fatal.lock().get_or_insert(error);
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// One entry could not be restored.
    pub(super) fn error(&self, path: &[u8], message: impl Into<String>) {
        let error = FileError {
            path: PathBuf::from(OsStr::from_bytes(path)),
            message: message.into(),
        };
        self.progress.error(&error);
        self.errors_count.fetch_add(1, Ordering::Relaxed);
        let mut errors = self.errors.lock();
        if errors.len() < KEPT_ERRORS {
            errors.push(error);
        }
    }

    /// A system call on one entry failed. A full disk ends the restore.
    pub(super) fn failed(&self, path: &[u8], doing: &str, error: Errno) {
        if matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::ROFS) {
            self.stop(RestoreError::TargetUnwritable {
                path: PathBuf::from(OsStr::from_bytes(path)),
                source: error.into(),
            });
            return;
        }
        self.error(
            path,
            format!("cannot {doing}: {}", std::io::Error::from(error)),
        );
    }

    /// Something about an entry that this process may not do.
    pub(super) fn warn(&self, kind: WarningKind, path: &[u8]) {
        let mut warnings = self.warnings.lock();
        if let Some(warning) = warnings.iter_mut().find(|warning| warning.kind == kind) {
            warning.count += 1;
            return;
        }
        warnings.push(RestoreWarning {
            kind,
            count: 1,
            first: PathBuf::from(OsStr::from_bytes(path)),
        });
    }

    /// The storage answered.
    pub(super) fn storage_works(&self) {
        self.storage_failures.store(0, Ordering::Relaxed);
    }

    /// The storage did not answer; after many times in a row the restore ends.
    pub(super) fn storage_failed(&self, error: repository::LoadError) {
        use backend::ErrorKind::{NotFound, TooShort};
        let is_damage = match &error {
            repository::LoadError::Storage { source, .. } => {
                matches!(source.kind, NotFound | TooShort)
            }
            _ => true,
        };
        if !is_damage
            && self.storage_failures.fetch_add(1, Ordering::Relaxed) + 1 >= STORAGE_FAILURES
        {
            self.stop(RestoreError::Storage { source: error });
        }
    }

    /// All that was collected: errors with their number, and warnings.
    pub(super) fn take(&self) -> (Vec<FileError>, u64, Vec<RestoreWarning>) {
        (
            std::mem::take(&mut *self.errors.lock()),
            self.errors_count.load(Ordering::Relaxed),
            std::mem::take(&mut *self.warnings.lock()),
        )
    }
}

/// An error with all its reasons on one line, for the list of files.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
