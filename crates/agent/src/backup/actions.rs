//! What follows a good backup: retention, check, and what is known of the repository.

use api::conditions::{Condition, ConditionStatus, condition_type, find_condition, reason};
use api::v1alpha1::RepositoryStatus;

use super::{OpenedEngine, Progressing, report};
use crate::engine::{Engine, EngineError};
use crate::reporter::{EventKind, delivered};

impl Progressing<'_> {
    /// Retention, then check, then the repository's status; the first that fails stops the rest. What an earlier Pod
    /// has done already is not done again.
    pub(super) async fn post_actions(&mut self, engine: &mut OpenedEngine) {
        let done = |type_| find_condition(&self.status.conditions, type_);
        let retention = done(condition_type::RETENTION_POLICY_APPLIED);
        if done(condition_type::REPOSITORY_INTEGRITY_VERIFIED).is_some()
            || retention.is_some_and(Condition::is_false)
        {
            return;
        }
        let is_retained = retention.is_some();
        let engine = match engine {
            Some(engine) => engine,
            None => match self.open().await {
                Ok(opened) => engine.insert(opened),
                Err(error) => return self.retention_failed(&error).await,
            },
        };
        let removed = if is_retained {
            self.run.repository.snapshots_removed_on_last_cleanup
        } else {
            match self.apply_retention(engine).await {
                Some(removed) => Some(removed),
                None => return,
            }
        };
        self.verify(engine, removed).await;
    }

    async fn open(&self) -> Result<Engine, EngineError> {
        Engine::open(self.run.settings()?, &self.run.identity, self.stop).await
    }

    /// How many snapshots the policy has removed; `None` when it could not be applied.
    async fn apply_retention(&mut self, engine: &Engine) -> Option<i64> {
        self.reporter.step("Applying the retention policy");
        let result = engine
            .apply_retention(
                &self.run.spec.retention_policy,
                &report::tag(self.run),
                self.stop,
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
                Some(i64::try_from(retention.removed_now()).unwrap_or(i64::MAX))
            }
            Err(error) => {
                self.retention_failed(&error).await;
                None
            }
        }
    }

    async fn retention_failed(&mut self, error: &EngineError) {
        if self.is_left_to_others() {
            return;
        }
        let message = report::chain(error);
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
    }

    /// Checks the repository and writes what is known of it, then what the check has found: in this order, so that a
    /// Pod that ends in between leaves nothing out.
    async fn verify(&mut self, engine: &Engine, removed: Option<i64>) {
        self.reporter.step("Checking the repository");
        let (is_whole, warning, message) = match engine.check(self.stop).await {
            Ok(problems) => {
                let message = match problems.first() {
                    None => "no errors were found".to_owned(),
                    Some(first) => {
                        format!("{} errors were found, the first: {first}", problems.len())
                    }
                };
                self.report_repository(engine, removed, problems.is_empty())
                    .await;
                (problems.is_empty(), "RepositoryDamaged", message)
            }
            Err(_) if self.is_left_to_others() => return,
            Err(error) => (false, "CheckFailed", report::chain(&error)),
        };
        let (status, why) = if is_whole {
            (
                ConditionStatus::True,
                reason::SUCCESSFULLY_VERIFIED_REPOSITORY_INTEGRITY,
            )
        } else {
            let warned = self.reporter.event(EventKind::Warning, warning, &message);
            delivered(warned.await);
            (
                ConditionStatus::False,
                reason::FAILED_TO_VERIFY_REPOSITORY_INTEGRITY,
            )
        };
        let type_ = condition_type::REPOSITORY_INTEGRITY_VERIFIED;
        self.set_session(type_, status, why, message);
        self.report().await;
    }

    async fn report_repository(&mut self, engine: &Engine, removed: Option<i64>, integrity: bool) {
        let census = match engine.census(self.stop).await {
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
            snapshots_removed_on_last_cleanup: removed,
            ..self.run.repository.clone()
        };
        delivered(self.reporter.repository(&status).await);
        delivered(self.reporter.snapshots(&census.snapshots).await);
    }
}
