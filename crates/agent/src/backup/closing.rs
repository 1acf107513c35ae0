//! How a session ends: what stopped it, and the post hook.

use api::conditions::{ConditionStatus, condition_type, find_condition, reason};

use tokio_util::sync::CancellationToken;

use super::Progressing;
use super::report::{self, Moment};
use crate::engine::Engine;
use crate::hooks;
use crate::reporter::{EventKind, delivered};

impl Progressing<'_> {
    /// Tells a deadline and an interruption from other failures.
    pub(super) fn note_stop(&mut self) {
        if self.stop.is_late() {
            self.set_session(
                condition_type::DEADLINE_EXCEEDED,
                ConditionStatus::True,
                reason::FAILED_TO_COMPLETE_WITHIN_DEADLINE,
                "the session did not complete within its timeOut and was stopped",
            );
        } else if self.stop.is_interrupted() {
            self.set_target(
                condition_type::BACKUP_DISRUPTED,
                ConditionStatus::True,
                reason::FAILED_TO_COMPLETE_DUE_TO_DISRUPTION,
                "the process was asked to stop before the session was complete",
            );
        }
    }

    /// Runs when its policy says so for the final result (decision 11); never after an interruption.
    pub(super) async fn post_hook(&mut self) {
        if !self.stop.is_interrupted() {
            let grace = self.stop.with_grace(hooks::GRACE);
            self.post_hook_until(grace.token()).await;
        }
    }

    /// The same, whatever has been interrupted.
    pub(super) async fn post_hook_until(&mut self, cancel: &CancellationToken) {
        let type_ = condition_type::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED;
        if self
            .target()
            .is_some_and(|target| find_condition(&target.conditions, type_).is_some())
        {
            return;
        }
        let Some(hook) = self
            .run
            .spec
            .hooks
            .as_ref()
            .and_then(|hooks| hooks.post_backup.as_ref())
        else {
            return;
        };
        let has_failed = report::has_failed(&self.status);
        let is_due = session::hooks::runs_after_backup(
            hook.execution_policy,
            has_failed,
            self.run.retries_left,
        );
        if !is_due {
            self.set_target(
                type_,
                ConditionStatus::True,
                reason::SUCCESSFULLY_EXECUTED_POST_BACKUP_HOOK,
                format!(
                    "the post-backup hook is left out: its executionPolicy is {}",
                    hook.execution_policy
                ),
            );
            return;
        }
        self.reporter.step("Running the post-backup hook");
        let result = hooks::run(
            &self.run.hooks,
            &hook.handler,
            &report::hook_data(self, Moment::After),
            hooks::deadline(self.run.spec.time_out),
            cancel,
        )
        .await;
        match result {
            Ok(()) => self.set_target(
                type_,
                ConditionStatus::True,
                reason::SUCCESSFULLY_EXECUTED_POST_BACKUP_HOOK,
                "the post-backup hook has run",
            ),
            // Another Pod runs it again.
            Err(_) if self.is_left_to_others() => {}
            Err(error) => {
                let message = report::chain(&error);
                self.set_target(
                    type_,
                    ConditionStatus::False,
                    reason::FAILED_TO_EXECUTE_POST_BACKUP_HOOK,
                    message.clone(),
                );
                delivered(
                    self.reporter
                        .event(EventKind::Warning, "PostBackupHookFailed", &message)
                        .await,
                );
            }
        }
    }

    /// What the storage cost, where it counts.
    pub(super) async fn report_cost(&self, engine: &Engine) {
        if let Some(cost) = engine.cost() {
            delivered(
                self.reporter
                    .event(EventKind::Normal, "StorageUsed", &cost)
                    .await,
            );
        }
    }
}
