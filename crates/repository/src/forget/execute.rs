//! Executing a plan: removing snapshot files, and saying which could not be removed.

use backend::{BackendError, FileKind, Handle};
use futures::{StreamExt as _, stream};

use super::ForgetPlan;
use crate::id::SnapshotId;
use crate::lock::{Lock, LockKind};
use crate::repository::Repository;

/// What became of a plan.
#[derive(Debug, Default)]
pub struct ForgetSummary {
    /// Snapshots that are gone.
    pub removed: Vec<SnapshotId>,
    /// Snapshots that the storage did not remove; they are still whole.
    pub failed: Vec<(SnapshotId, BackendError)>,
}

/// Why a plan was not executed to its end.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// A shared lock lets others back up at the same time, and they may build on what would go.
    #[error("snapshots are only removed under an exclusive lock")]
    NotExclusive,
    /// The lock could not be refreshed for so long that others may work here.
    #[error(
        "the lock on the repository was lost after {removed} of {planned} snapshots were removed"
    )]
    LockLost {
        /// Snapshots that are gone.
        removed: usize,
        /// Snapshots that were to be removed.
        planned: usize,
    },
}

impl ForgetPlan {
    /// Removes the snapshots of the plan under the exclusive lock of the caller. One that cannot be removed does
    /// not keep the others. Interrupted at any point, the rest of the snapshots are untouched.
    pub async fn execute(
        self,
        repository: &Repository,
        lock: &Lock,
    ) -> Result<ForgetSummary, ForgetError> {
        if lock.kind() != LockKind::Exclusive {
            return Err(ForgetError::NotExclusive);
        }
        let ids = self.removals();
        let planned = ids.len();
        let backend = repository.backend();
        let removals = ids.into_iter().map(|id| async move {
            if lock.ensure_held().is_err() {
                return None;
            }
            Some((
                id,
                backend
                    .remove(&Handle::new(FileKind::Snapshot, id.to_hex()))
                    .await,
            ))
        });
        let mut results = stream::iter(removals).buffer_unordered(backend.connections().max(1));
        let mut summary = ForgetSummary::default();
        let mut is_lock_lost = false;
        while let Some(result) = results.next().await {
            match result {
                None => is_lock_lost = true,
                Some((id, Ok(()))) => {
                    tracing::info!(snapshot = %id, "removed snapshot");
                    summary.removed.push(id);
                }
                Some((id, Err(error))) => summary.failed.push((id, error)),
            }
        }
        if is_lock_lost {
            return Err(ForgetError::LockLost {
                removed: summary.removed.len(),
                planned,
            });
        }
        summary.removed.sort_unstable();
        summary.failed.sort_by_key(|(id, _)| *id);
        Ok(summary)
    }
}
