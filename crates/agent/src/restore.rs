//! One restore session of one host: hooks, the snapshots its rule selects, report (reference 1.8 and 4).

use std::path::PathBuf;
use std::time::Instant;

use api::arguments;
use api::conditions::{
    Condition, ConditionStatus, condition_type, find_condition, reason, set_condition,
};
use api::duration::GoDuration;
use api::secret::BackendSettings;
use api::v1beta1::{HostRestorePhase, HostRestoreStats, RestoreSessionSpec, RestoreSessionStatus};
use session::hooks::HookData;
use session::restore::Selection;
use session::source::target_tag;
use tokio_util::sync::CancellationToken;

use crate::backup::{chain, go_duration, time};
use crate::engine::{Engine, EngineError, RestoredTotals};
use crate::hooks::HookPlace;
use crate::reporter::{EventKind, Reporter, delivered};
use crate::stop::Stop;
use crate::{Clock, Identity, hooks};

/// Everything that one restore session needs to know.
#[derive(Debug)]
pub struct RestoreRun {
    /// Which session, for whom.
    pub identity: Identity,
    /// The specification.
    pub spec: RestoreSessionSpec,
    /// Storage and password, or why there are none.
    pub settings: Result<BackendSettings, String>,
    /// Where hooks run.
    pub hooks: HookPlace,
    /// Where volumes are mounted, if nothing else is kept; `None` on a machine.
    pub volumes: Option<Vec<PathBuf>>,
}

/// One attempt of one Pod to bring back a host.
pub(crate) struct Attempt<'a> {
    /// The session.
    pub run: &'a RestoreRun,
    /// The host that the Pod works as.
    pub host: &'a str,
    /// Whether there is no other attempt after this one when it fails.
    pub is_last: bool,
    /// Whom to tell.
    pub reporter: &'a dyn Reporter,
    /// What ends it early.
    pub stop: &'a Stop,
}

struct Progressing<'a> {
    run: &'a RestoreRun,
    host: String,
    is_last: bool,
    /// Whether what is interrupted here is left to others, and not a result.
    is_part: bool,
    reporter: &'a dyn Reporter,
    clock: &'a dyn Clock,
    stop: &'a Stop,
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
    let stop = Stop::new(cancel, deadline);
    let mut work = Progressing {
        run,
        host: session::host::restore_host(run.spec.target.as_ref()),
        is_last: true,
        is_part: false,
        reporter,
        clock,
        stop: &stop,
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
    work.set(
        condition_type::RESTORE_EXECUTOR_ENSURED,
        ConditionStatus::True,
        reason::SUCCESSFULLY_ENSURED_RESTORE_EXECUTOR,
        "the restore runs in this process",
    );
    // The failure, if there is one, is in the status.
    let _ = work.bring_back().await;
    work.close().await;
    work.status
}

/// Tries to bring a host back and reports how it went: `None` when it was interrupted, else the failure, if there
/// is one. Safe to be tried again.
pub(crate) async fn attempt(
    attempt: &Attempt<'_>,
    status: RestoreSessionStatus,
) -> Option<Result<(), String>> {
    let mut work = Progressing {
        run: attempt.run,
        host: attempt.host.to_owned(),
        is_last: attempt.is_last,
        is_part: true,
        reporter: attempt.reporter,
        clock: &crate::SystemClock,
        stop: attempt.stop,
        status,
        started: Instant::now(),
    };
    let result = work.bring_back().await;
    if work.is_left_to_others() {
        return None;
    }
    work.report().await;
    Some(result)
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

    /// Whether the work was interrupted and another Pod goes on with it.
    fn is_left_to_others(&self) -> bool {
        self.is_part && self.stop.is_interrupted()
    }

    async fn pre_hook(&mut self) -> bool {
        let Some(hook) = self
            .run
            .spec
            .hooks
            .as_ref()
            .and_then(|hooks| hooks.pre_restore.as_ref())
        else {
            return true;
        };
        self.reporter.step("Running the pre-restore hook");
        match hooks::run(
            &self.run.hooks,
            hook,
            &self.hook_data("Running", ""),
            hooks::deadline(self.run.spec.time_out),
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
            Err(_) if self.is_left_to_others() => false,
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
        self.reporter.step("Opening the repository");
        let rules = self.run.spec.effective_rules();
        let reference = target.and_then(|target| target.reference.as_ref());
        let namespace = &self.run.identity.namespace;
        let selection = Selection {
            target: reference.map(|reference| target_tag(reference, namespace)),
            ..session::restore::select(&rules, &self.host)
        };
        let settings = self.run.settings.as_ref();
        let settings = settings.map_err(|why| EngineError::Settings(why.clone()))?;
        let engine = Engine::open(settings, &self.run.identity, self.stop).await?;
        engine
            .restore(
                &selection,
                (&arguments, self.run.volumes.as_deref()),
                self.reporter.restore_progress(),
                self.stop,
            )
            .await
    }

    /// Hooks and restore of the host, with its result in the status.
    async fn bring_back(&mut self) -> Result<(), String> {
        let outcome = if self.pre_hook().await {
            self.restored().await
        } else {
            Err("the pre-restore hook failed".to_owned())
        };
        if self.is_left_to_others() {
            return outcome.map(|_| ());
        }
        if let Err(error) = &outcome {
            let failed = self
                .reporter
                .event(EventKind::Warning, "HostRestoreFailed", error);
            delivered(failed.await);
        }
        self.set_host(&outcome);
        if self.stop.is_late() && !self.is_part {
            self.set(
                condition_type::DEADLINE_EXCEEDED,
                ConditionStatus::True,
                reason::FAILED_TO_COMPLETE_WITHIN_DEADLINE,
                "the restore did not complete within its timeOut and was stopped",
            );
        }
        if let Some(has_failed) = session::hooks::restore_result(&self.status, !self.is_last) {
            self.post_hook(has_failed).await;
        }
        outcome.map(|_| ())
    }

    /// Restores the host; what is missing all the same.
    async fn restored(&mut self) -> Result<Option<String>, String> {
        let totals = self.restore().await.map_err(|error| chain(&error))?;
        if let Some(message) = totals.incomplete() {
            return Err(message);
        }
        let told = totals.to_string();
        let succeeded = self
            .reporter
            .event(EventKind::Normal, "HostRestoreSucceeded", &told);
        delivered(succeeded.await);
        Ok(totals.tolerated())
    }

    fn set_host(&mut self, outcome: &Result<Option<String>, String>) {
        let stats = HostRestoreStats {
            hostname: self.host.clone(),
            phase: Some(if outcome.is_ok() {
                HostRestorePhase::Succeeded
            } else {
                HostRestorePhase::Failed
            }),
            duration: Some(go_duration(self.started.elapsed())),
            error: match outcome {
                Ok(tolerated) => tolerated.clone(),
                Err(error) => Some(error.clone()),
            },
        };
        let earlier = self.status.stats.iter_mut();
        match earlier.into_iter().find(|host| host.hostname == self.host) {
            Some(earlier) => *earlier = stats,
            None => self.status.stats.push(stats),
        }
    }

    /// Ends the session, where this process is all of it.
    async fn close(&mut self) {
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

    /// Runs once, by its policy, for the result of all hosts (decision 11).
    async fn post_hook(&mut self, has_failed: bool) {
        let Some(hook) = self
            .run
            .spec
            .hooks
            .as_ref()
            .and_then(|hooks| hooks.post_restore.as_ref())
        else {
            return;
        };
        let type_ = condition_type::POST_RESTORE_HOOK_EXECUTION_SUCCEEDED;
        let is_done = find_condition(&self.status.conditions, type_).is_some();
        if is_done || self.stop.is_interrupted() {
            return;
        }
        if !session::hooks::runs_after_restore(hook.execution_policy, has_failed) {
            self.set(
                type_,
                ConditionStatus::True,
                reason::SUCCESSFULLY_EXECUTED_POST_RESTORE_HOOK,
                format!(
                    "the post-restore hook is left out: its executionPolicy is {}",
                    hook.execution_policy
                ),
            );
            return;
        }
        let phase = if has_failed { "Failed" } else { "Succeeded" };
        let hosts = self.status.stats.iter();
        let failed = hosts.filter(|host| host.phase != Some(HostRestorePhase::Succeeded));
        let errors: Vec<String> = failed.filter_map(|host| host.error.clone()).collect();
        let data = self.hook_data(phase, &errors.join("; "));
        self.reporter.step("Running the post-restore hook");
        let grace = self.stop.with_grace(hooks::GRACE);
        match hooks::run(
            &self.run.hooks,
            &hook.handler,
            &data,
            hooks::deadline(self.run.spec.time_out),
            grace.token(),
        )
        .await
        {
            Ok(()) => self.set(
                type_,
                ConditionStatus::True,
                reason::SUCCESSFULLY_EXECUTED_POST_RESTORE_HOOK,
                "the post-restore hook has run",
            ),
            Err(error) => {
                let message = chain(&error);
                self.set(
                    type_,
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
