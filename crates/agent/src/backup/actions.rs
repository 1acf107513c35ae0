//! What follows a good backup: retention, check, and what is known of the repository.

use api::conditions::{ConditionStatus, condition_type, reason};
use api::v1alpha1::RepositoryStatus;

use super::{Progressing, report};
use crate::engine::{Engine, RetentionResult};
use crate::reporter::{EventKind, delivered};

impl Progressing<'_> {
    /// Retention, then check, then the repository's status; the first that fails stops the rest.
    pub(super) async fn post_actions(&mut self, engine: &Engine) {
        let Some(retention) = self.apply_retention(engine).await else {
            return;
        };
        let Some(integrity) = self.verify(engine).await else {
            return;
        };
        self.report_repository(engine, &retention, integrity).await;
    }

    async fn apply_retention(&mut self, engine: &Engine) -> Option<RetentionResult> {
        let result = engine
            .apply_retention(
                &self.run.spec.retention_policy,
                &report::tag(self.run),
                &self.stop,
            )
            .await;
        match result {
            Ok(retention) => {
                let message = if retention.is_dry_run {
                    format!(
                        "the policy would keep {} and remove {} snapshots",
                        retention.kept, retention.removed
                    )
                } else {
                    format!(
                        "kept {} and removed {} snapshots",
                        retention.kept, retention.removed
                    )
                };
                self.set_session(
                    condition_type::RETENTION_POLICY_APPLIED,
                    ConditionStatus::True,
                    reason::SUCCESSFULLY_APPLIED_RETENTION_POLICY,
                    message,
                );
                self.report().await;
                Some(retention)
            }
            Err(error) => {
                let message = report::chain(&error);
                self.set_session(
                    condition_type::RETENTION_POLICY_APPLIED,
                    ConditionStatus::False,
                    reason::FAILED_TO_APPLY_RETENTION_POLICY,
                    message.clone(),
                );
                delivered(
                    self.reporter
                        .event(EventKind::Warning, "RetentionFailed", &message)
                        .await,
                );
                self.report().await;
                None
            }
        }
    }

    /// Whether the repository is whole; `None` when that could not be found out.
    async fn verify(&mut self, engine: &Engine) -> Option<bool> {
        match engine.check(&self.stop).await {
            Ok(problems) => {
                let message = match problems.first() {
                    None => "no errors were found".to_owned(),
                    Some(first) => {
                        format!("{} errors were found, the first: {first}", problems.len())
                    }
                };
                if !problems.is_empty() {
                    delivered(
                        self.reporter
                            .event(EventKind::Warning, "RepositoryDamaged", &message)
                            .await,
                    );
                }
                let (status, why) = if problems.is_empty() {
                    (
                        ConditionStatus::True,
                        reason::SUCCESSFULLY_VERIFIED_REPOSITORY_INTEGRITY,
                    )
                } else {
                    (
                        ConditionStatus::False,
                        reason::FAILED_TO_VERIFY_REPOSITORY_INTEGRITY,
                    )
                };
                self.set_session(
                    condition_type::REPOSITORY_INTEGRITY_VERIFIED,
                    status,
                    why,
                    message,
                );
                self.report().await;
                Some(problems.is_empty())
            }
            Err(error) => {
                let message = report::chain(&error);
                self.set_session(
                    condition_type::REPOSITORY_INTEGRITY_VERIFIED,
                    ConditionStatus::False,
                    reason::FAILED_TO_VERIFY_REPOSITORY_INTEGRITY,
                    message.clone(),
                );
                delivered(
                    self.reporter
                        .event(EventKind::Warning, "CheckFailed", &message)
                        .await,
                );
                self.report().await;
                None
            }
        }
    }

    async fn report_repository(
        &mut self,
        engine: &Engine,
        retention: &RetentionResult,
        integrity: bool,
    ) {
        let census = match engine.census().await {
            Ok(census) => census,
            Err(error) => {
                tracing::warn!(
                    error = report::chain(&error),
                    "cannot read the repository's numbers"
                );
                return;
            }
        };
        let this = report::time(self.run.identity.created);
        let status = RepositoryStatus {
            first_backup_time: self.run.repository.first_backup_time.clone().or_else(|| {
                let first = census.first_snapshot.unwrap_or(self.run.identity.created);
                Some(report::time(first.min(self.run.identity.created)))
            }),
            last_backup_time: Some(this),
            integrity: Some(integrity),
            total_size: Some(session::text::size(census.stored_bytes)),
            snapshot_count: Some(i64::try_from(census.snapshots.len()).unwrap_or(i64::MAX)),
            snapshots_removed_on_last_cleanup: Some(
                i64::try_from(retention.removed_now()).unwrap_or(i64::MAX),
            ),
            ..self.run.repository.clone()
        };
        delivered(self.reporter.repository(&status).await);
        delivered(self.reporter.snapshots(&census.snapshots).await);
    }
}
