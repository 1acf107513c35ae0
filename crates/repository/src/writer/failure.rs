//! The first failure of a writer, which every later call returns again.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::repository::SaveError;

#[derive(Debug, Default)]
pub(super) struct Failure {
    is_set: AtomicBool,
    first: Mutex<Option<(String, SharedError)>>,
}

impl Failure {
    /// Notes a failure unless there was one before, and returns the one that counts.
    pub(super) fn set(&self, error: SaveError) -> SaveError {
        let mut first = self.first.lock();
        let (object, source) =
            first.get_or_insert_with(|| (error.object, SharedError(error.source.into())));
        self.is_set.store(true, Ordering::Release);
        SaveError {
            object: object.clone(),
            source: Box::new(source.clone()),
        }
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    pub(super) fn check(&self) -> Result<(), SaveError> {
        if !self.is_set() {
            return Ok(());
        }
        match &*self.first.lock() {
            Some((object, source)) => Err(SaveError {
                object: object.clone(),
                source: Box::new(source.clone()),
            }),
            None => Ok(()),
        }
    }
}

/// One error for many callers. The original stays in the chain as what it is, because the kind of storage trouble
/// decides about the remedy.
#[derive(Clone, Debug)]
struct SharedError(Arc<dyn Error + Send + Sync>);

impl fmt::Display for SharedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("storing has failed")
    }
}

impl Error for SharedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
