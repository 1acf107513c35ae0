//! One restore session of one host: hooks, the snapshots its rule selects, report (reference 1.8 and 4).

use std::time::Instant;

use api::conditions::{Condition, ConditionStatus, condition_type, reason, set_condition};
use api::duration::GoDuration;
use api::secret::BackendSettings;
use api::v1beta1::{HostRestorePhase, HostRestoreStats, RestoreSessionSpec, RestoreSessionStatus};
use session::hooks::HookData;
use tokio_util::sync::CancellationToken;

use crate::backup::{chain, go_duration, time};
use crate::engine::{Engine, EngineError, RestoredTotals};
use crate::reporter::{EventKind, Reporter, delivered};
use crate::stop::Stop;
use crate::{Clock, Identity, arguments, hooks};

/// Everything that one restore session needs to know.
#[derive(Debug)]
pub struct RestoreRun {
    /// Which session, for whom.
    pub identity: Identity,
    /// The specification.
    pub spec: RestoreSessionSpec,
    /// Storage and password.
    pub settings: BackendSettings,
}

struct Progressing<'a> {
    run: &'a RestoreRun,
    reporter: &'a dyn Reporter,
    clock: &'a dyn Clock,
    /// What the caller stops everything with; the post hook obeys it also after the deadline.
    cancel: CancellationToken,
    stop: Stop,
    status: RestoreSessionStatus,
    started: Instant,
}

/// Runs the restore to its end and returns its status, phase and duration included.
/// A repository that does not exist is an error and is never created by a restore.
pub async fn run(
    run: &RestoreRun,
    reporter: &dyn Reporter,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> RestoreSessionStatus {
    let deadline = run.spec.time_out.and_then(GoDuration::to_std);
    let mut work = Progressing {
        run,
        reporter,
        clock,
        cancel: cancel.clone(),
        stop: Stop::new(cancel, deadline),
        status: RestoreSessionStatus {
            total_hosts: Some(1),
            session_deadline: deadline
                .and_then(|deadline| jiff::SignedDuration::try_from(deadline).ok())
                .and_then(|deadline| clock.now().checked_add(deadline).ok())
                .map(time),
            ..Default::default()
        },
        started: Instant::now(),
    };
    work.report().await;
    let result = if work.pre_hook().await {
        Some(work.restore().await)
    } else {
        None
    };
    work.finish(result).await;
    work.status
}

impl Progressing<'_> {
    async fn report(&mut self) {
        self.status.phase = Some(session::phase::restore_session(&self.status));
        delivered(self.reporter.restore_session(&self.status).await);
    }

    fn set(
        &mut self,
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) {
        let now = self.clock.now();
        set_condition(
            &mut self.status.conditions,
            Condition::new(type_, status, reason, message),
            now,
        );
    }

    async fn pre_hook(&mut self) -> bool {
        self.set(
            condition_type::RESTORE_EXECUTOR_ENSURED,
            ConditionStatus::True,
            reason::SUCCESSFULLY_ENSURED_RESTORE_EXECUTOR,
            "the restore runs in this process",
        );
        let Some(hook) = self
            .run
            .spec
            .hooks
            .as_ref()
            .and_then(|hooks| hooks.pre_restore.as_ref())
        else {
            return true;
        };
        match hooks::run(
            hook,
            &self.hook_data("Running", ""),
            // The session's own deadline comes by the token; a second timer would race with it.
            hooks::DEFAULT_DEADLINE,
            self.stop.token(),
        )
        .await
        {
            Ok(()) => {
                self.set(
                    condition_type::PRE_RESTORE_HOOK_EXECUTION_SUCCEEDED,
                    ConditionStatus::True,
                    reason::SUCCESSFULLY_EXECUTED_PRE_RESTORE_HOOK,
                    "the pre-restore hook has run",
                );
                self.report().await;
                true
            }
            Err(error) => {
                let message = chain(&error);
                self.set(
                    condition_type::PRE_RESTORE_HOOK_EXECUTION_SUCCEEDED,
                    ConditionStatus::False,
                    reason::FAILED_TO_EXECUTE_PRE_RESTORE_HOOK,
                    message.clone(),
                );
                delivered(
                    self.reporter
                        .event(EventKind::Warning, "PreRestoreHookFailed", &message)
                        .await,
                );
                false
            }
        }
    }

    async fn restore(&mut self) -> Result<RestoredTotals, EngineError> {
        let target = self.run.spec.target.as_ref();
        let arguments =
            arguments::restore(target).map_err(|errors| EngineError::arguments(&errors))?;
        let host = session::host::restore_host(target);
        let rules = self.run.spec.effective_rules();
        let selection = session::restore::select(&rules, &host);
        let engine = Engine::open(&self.run.settings, &self.run.identity).await?;
        engine
            .restore(
                &selection,
                &arguments,
                self.reporter.restore_progress(),
                &self.stop,
            )
            .await
    }

    /// Writes the host's result, runs the post hook, and closes the session.
    async fn finish(&mut self, result: Option<Result<RestoredTotals, EngineError>>) {
        let host = session::host::restore_host(self.run.spec.target.as_ref());
        let mut failure = None;
        if let Some(result) = result {
            let (phase, error) = match result {
                Ok(totals) => match totals.incomplete() {
                    None => {
                        delivered(
                            self.reporter
                                .event(
                                    EventKind::Normal,
                                    "HostRestoreSucceeded",
                                    &totals.to_string(),
                                )
                                .await,
                        );
                        (HostRestorePhase::Succeeded, None)
                    }
                    Some(message) => (HostRestorePhase::Failed, Some(message)),
                },
                Err(error) => (HostRestorePhase::Failed, Some(chain(&error))),
            };
            if let Some(error) = &error {
                delivered(
                    self.reporter
                        .event(EventKind::Warning, "HostRestoreFailed", error)
                        .await,
                );
            }
            failure.clone_from(&error);
            self.status.stats.push(HostRestoreStats {
                hostname: host,
                phase: Some(phase),
                duration: Some(go_duration(self.started.elapsed())),
                error,
            });
        } else {
            failure = Some("the pre-restore hook failed".to_owned());
        }
        if self.stop.is_late() {
            self.set(
                condition_type::DEADLINE_EXCEEDED,
                ConditionStatus::True,
                reason::FAILED_TO_COMPLETE_WITHIN_DEADLINE,
                "the restore did not complete within its timeOut and was stopped",
            );
        }
        self.post_hook(failure.as_deref()).await;
        self.set(
            condition_type::RESTORE_COMPLETED,
            ConditionStatus::True,
            reason::POST_RESTORE_TASKS_EXECUTED,
            "nothing is left to do",
        );
        self.status.session_duration = Some(
            GoDuration::from_std(self.started.elapsed())
                .rounded_to_seconds()
                .to_string(),
        );
        self.report().await;
    }

    async fn post_hook(&mut self, failure: Option<&str>) {
        let Some(hook) = self
            .run
            .spec
            .hooks
            .as_ref()
            .and_then(|hooks| hooks.post_restore.as_ref())
        else {
            return;
        };
        let is_due = session::hooks::runs_after_restore(hook.execution_policy, failure.is_some());
        if !is_due || self.stop.is_interrupted() {
            return;
        }
        let phase = if failure.is_some() {
            "Failed"
        } else {
            "Succeeded"
        };
        let data = self.hook_data(phase, failure.unwrap_or_default());
        match hooks::run(&hook.handler, &data, hooks::DEFAULT_DEADLINE, &self.cancel).await {
            Ok(()) => self.set(
                condition_type::POST_RESTORE_HOOK_EXECUTION_SUCCEEDED,
                ConditionStatus::True,
                reason::SUCCESSFULLY_EXECUTED_POST_RESTORE_HOOK,
                "the post-restore hook has run",
            ),
            Err(error) => {
                let message = chain(&error);
                self.set(
                    condition_type::POST_RESTORE_HOOK_EXECUTION_SUCCEEDED,
                    ConditionStatus::False,
                    reason::FAILED_TO_EXECUTE_POST_RESTORE_HOOK,
                    message.clone(),
                );
                delivered(
                    self.reporter
                        .event(EventKind::Warning, "PostRestoreHookFailed", &message)
                        .await,
                );
            }
        }
    }

    fn hook_data(&self, phase: &str, error: &str) -> HookData {
        let identity = &self.run.identity;
        HookData {
            name: identity.session.clone(),
            namespace: identity.namespace.clone(),
            invoker_kind: identity.invoker_kind.clone(),
            invoker_name: identity.invoker_name.clone(),
            target: self
                .run
                .spec
                .target
                .as_ref()
                .and_then(|target| target.reference.clone()),
            phase: phase.to_owned(),
            duration: go_duration(self.started.elapsed()),
            error: error.to_owned(),
            retry_left: 0,
        }
    }
}
