//! Where a run tells what happens: a database on one machine, the API server in a cluster.

use std::sync::Arc;

use api::v1alpha1::RepositoryStatus;
use api::v1beta1::{BackupSessionStatus, RestoreSessionStatus};
use archive::restore::RestoreProgress;
use archive::save::BackupProgress;
use async_trait::async_trait;
use repository::SnapshotId;
use repository::snapshot::Snapshot;

/// Whether somebody should look at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// As expected.
    Normal,
    /// Somebody should look.
    Warning,
}

/// A report that could not be delivered.
pub type ReportError = Box<dyn std::error::Error + Send + Sync>;

/// Takes the reports of one run. A report that fails is logged and never fails the run (decision 12).
#[async_trait]
pub trait Reporter: Send + Sync {
    /// The session's status as it is now.
    async fn backup_session(&self, status: &BackupSessionStatus) -> Result<(), ReportError>;

    /// The session's status as it is now.
    async fn restore_session(&self, status: &RestoreSessionStatus) -> Result<(), ReportError>;

    /// What is known of the repository after a session; the references of the status are not the run's to change.
    async fn repository(&self, status: &RepositoryStatus) -> Result<(), ReportError>;

    /// All snapshots of the repository, a projection that can be rebuilt at any time.
    async fn snapshots(&self, snapshots: &[(SnapshotId, Snapshot)]) -> Result<(), ReportError>;

    /// Something worth finding next week.
    async fn event(&self, kind: EventKind, reason: &str, message: &str) -> Result<(), ReportError>;

    /// What is done now, for those who show more than results.
    fn step(&self, step: &str) {
        let _ = step;
    }

    /// Who watches the progress of a backup.
    fn backup_progress(&self, path: &str) -> Arc<dyn BackupProgress>;

    /// Who watches the progress of a restore.
    fn restore_progress(&self) -> Arc<dyn RestoreProgress>;
}

/// Delivers a report, or logs that it could not be delivered.
pub(crate) fn delivered(result: Result<(), ReportError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a report could not be delivered");
    }
}
