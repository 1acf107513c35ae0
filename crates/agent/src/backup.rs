//! One backup session of one host: hooks, initialisation, snapshots, retention, check, report
//! (reference 3.8.1, with the decisions of the design).

mod actions;
mod report;

pub(crate) use report::{chain, go_duration, time};

use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::conditions::{Condition, ConditionStatus, condition_type, reason, set_condition};
use api::duration::GoDuration;
use api::secret::BackendSettings;
use api::v1alpha1::RepositoryStatus;
use api::v1beta1::{
    BackupConfigurationSpec, BackupSessionStatus, BackupTargetStatus, HostBackupPhase,
    HostBackupStats, PostBackupAction, PreBackupAction,
};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};
use crate::reporter::{EventKind, Reporter, delivered};
use crate::stop::Stop;
use crate::{Clock, Identity, arguments, hooks};

/// How much of an error is kept in a status.
const ERROR_BYTES: usize = 1024;

/// Everything that one backup session needs to know.
#[derive(Debug)]
pub struct BackupRun {
    /// Which session, for whom.
    pub identity: Identity,
    /// The configuration.
    pub spec: BackupConfigurationSpec,
    /// Retries left, for the hook policies.
    pub retries_left: i32,
    /// Storage and password.
    pub settings: BackendSettings,
    /// What was known of the repository before.
    pub repository: RepositoryStatus,
    /// Whether files that cannot be read leave the host Succeeded (decision 5).
    pub tolerates_unreadable: bool,
}

/// The state of a run while it goes on.
struct Progressing<'a> {
    run: &'a BackupRun,
    reporter: &'a dyn Reporter,
    clock: &'a dyn Clock,
    /// What the caller stops everything with; the post hook obeys it also after the deadline.
    cancel: CancellationToken,
    stop: Stop,
    status: BackupSessionStatus,
    started: Instant,
}

/// Runs the session to its end and returns its status: complete but for `BackupHistoryCleaned`, phase and duration,
/// which are the caller's. Every failure is in the status; nothing is left behind in the repository but what is
/// whole, and no lock.
pub async fn run(
    run: &BackupRun,
    reporter: &dyn Reporter,
    clock: &dyn Clock,
    cancel: &CancellationToken,
) -> BackupSessionStatus {
    let deadline = run.spec.time_out.and_then(GoDuration::to_std);
    let left = deadline.map(|deadline| time_left(run.identity.created, deadline, clock));
    let mut work = Progressing {
        run,
        reporter,
        clock,
        cancel: cancel.clone(),
        stop: Stop::new(cancel, left),
        status: first_status(run, deadline),
        started: Instant::now(),
    };
    work.report().await;
    if work.pre_hook().await {
        work.back_up().await;
    }
    work.note_stop();
    work.post_hook().await;
    work.report().await;
    work.status
}

fn time_left(created: jiff::Timestamp, deadline: Duration, clock: &dyn Clock) -> Duration {
    let gone = clock.now().duration_since(created);
    deadline.saturating_sub(Duration::try_from(gone).unwrap_or_default())
}

fn first_status(run: &BackupRun, deadline: Option<Duration>) -> BackupSessionStatus {
    let reference = run
        .spec
        .target
        .as_ref()
        .and_then(|target| target.reference.clone());
    BackupSessionStatus {
        session_deadline: deadline
            .and_then(|deadline| jiff::SignedDuration::try_from(deadline).ok())
            .and_then(|deadline| run.identity.created.checked_add(deadline).ok())
            .map(report::time),
        targets: vec![BackupTargetStatus {
            reference,
            total_hosts: Some(1),
            pre_backup_actions: vec![PreBackupAction::InitializeBackendRepository],
            post_backup_actions: vec![
                PostBackupAction::ApplyRetentionPolicy,
                PostBackupAction::VerifyRepositoryIntegrity,
            ],
            ..Default::default()
        }],
        ..Default::default()
    }
}

impl Progressing<'_> {
    async fn report(&mut self) {
        for target in &mut self.status.targets {
            target.phase = Some(session::phase::target(target));
        }
        self.status.phase = Some(session::phase::backup_session(&self.status));
        delivered(self.reporter.backup_session(&self.status).await);
    }

    fn set_session(
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

    fn set_target(
        &mut self,
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) {
        let now = self.clock.now();
        if let Some(target) = self.status.targets.first_mut() {
            set_condition(
                &mut target.conditions,
                Condition::new(type_, status, reason, message),
                now,
            );
        }
    }

    /// Whether the backup may begin.
    async fn pre_hook(&mut self) -> bool {
        self.set_target(
            condition_type::BACKUP_EXECUTOR_ENSURED,
            ConditionStatus::True,
            reason::SUCCESSFULLY_ENSURED_BACKUP_EXECUTOR,
            "the backup runs in this process",
        );
        let Some(hook) = self
            .run
            .spec
            .hooks
            .as_ref()
            .and_then(|hooks| hooks.pre_backup.as_ref())
        else {
            return true;
        };
        let result = hooks::run(
            hook,
            &report::hook_data(self),
            // The session's own deadline comes by the token; a second timer would race with it.
            hooks::DEFAULT_DEADLINE,
            self.stop.token(),
        )
        .await;
        match result {
            Ok(()) => {
                self.set_target(
                    condition_type::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED,
                    ConditionStatus::True,
                    reason::SUCCESSFULLY_EXECUTED_PRE_BACKUP_HOOK,
                    "the pre-backup hook has run",
                );
                self.report().await;
                true
            }
            Err(error) => {
                let message = report::chain(&error);
                self.set_target(
                    condition_type::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED,
                    ConditionStatus::False,
                    reason::FAILED_TO_EXECUTE_PRE_BACKUP_HOOK,
                    message.clone(),
                );
                delivered(
                    self.reporter
                        .event(EventKind::Warning, "PreBackupHookFailed", &message)
                        .await,
                );
                self.report().await;
                false
            }
        }
    }

    async fn back_up(&mut self) {
        let engine = match self.initialise().await {
            Ok(engine) => engine,
            Err(error) => {
                self.host_failed(Vec::new(), &error).await;
                return;
            }
        };
        self.report().await;
        if self.save_paths(&engine).await {
            self.note_first_backup().await;
            self.post_actions(&engine).await;
        }
        if let Some(cost) = engine.cost() {
            delivered(
                self.reporter
                    .event(EventKind::Normal, "StorageUsed", &cost)
                    .await,
            );
        }
    }

    /// From now on a repository that is gone is a fault, also when the rest of this session fails.
    async fn note_first_backup(&mut self) {
        if self.run.repository.first_backup_time.is_none() {
            let status = RepositoryStatus {
                first_backup_time: Some(report::time(self.run.identity.created)),
                ..self.run.repository.clone()
            };
            delivered(self.reporter.repository(&status).await);
        }
    }

    /// Opens the repository, and creates it when its config object is absent (decision 6).
    async fn initialise(&mut self) -> Result<Engine, EngineError> {
        let known = &self.run.repository;
        let was_used = known.first_backup_time.is_some() || known.last_backup_time.is_some();
        let opened = Engine::open_or_create(&self.run.settings, &self.run.identity, was_used).await;
        match &opened {
            Ok((engine, was_created)) => {
                let message = if *was_created {
                    format!("initialised the repository at {}", engine.location())
                } else {
                    format!("the repository at {} exists", engine.location())
                };
                if *was_created {
                    delivered(
                        self.reporter
                            .event(EventKind::Normal, "RepositoryInitialized", &message)
                            .await,
                    );
                }
                self.set_session(
                    condition_type::BACKEND_REPOSITORY_INITIALIZED,
                    ConditionStatus::True,
                    reason::BACKEND_REPOSITORY_FOUND,
                    message,
                );
            }
            Err(error) => self.set_session(
                condition_type::BACKEND_REPOSITORY_INITIALIZED,
                ConditionStatus::False,
                reason::FAILED_TO_INITIALIZE_BACKEND_REPOSITORY,
                report::chain(error),
            ),
        }
        opened.map(|(engine, _)| engine)
    }

    /// One snapshot for each path. Whether all of them are whole.
    async fn save_paths(&mut self, engine: &Engine) -> bool {
        let target = self.run.spec.target.as_ref();
        let arguments = match arguments::backup(target) {
            Ok(arguments) => arguments,
            Err(errors) => {
                self.host_failed(Vec::new(), &EngineError::arguments(&errors))
                    .await;
                return false;
            }
        };
        let host = session::host::backup_host(target);
        let excludes = target
            .map(|target| target.exclude.clone())
            .unwrap_or_default();
        let mut snapshots = Vec::new();
        for path in target
            .map(|target| target.paths.as_slice())
            .unwrap_or_default()
        {
            let request = crate::engine::SaveRequest {
                path: PathBuf::from(path),
                host: &host,
                username: &self.run.identity.username,
                tag: report::tag(self.run),
                excludes: &excludes,
                arguments: &arguments,
            };
            let progress = self.reporter.backup_progress(path);
            let saved = engine.save(&request, progress, &self.stop).await;
            match saved {
                Ok(summary) => {
                    let unreadable = report::unreadable(&summary);
                    snapshots.push(report::snapshot_stats(path, &summary));
                    if let Some(message) = unreadable {
                        delivered(
                            self.reporter
                                .event(EventKind::Warning, "FilesNotReadable", &message)
                                .await,
                        );
                        if !self.run.tolerates_unreadable {
                            self.host_failed(snapshots, &EngineError::Incomplete { message })
                                .await;
                            return false;
                        }
                    }
                }
                Err(error) => {
                    self.host_failed(snapshots, &error).await;
                    return false;
                }
            }
        }
        let message = format!("backed up {} paths of host {host}", snapshots.len());
        self.add_host(HostBackupPhase::Succeeded, snapshots, None);
        delivered(
            self.reporter
                .event(EventKind::Normal, "HostBackupSucceeded", &message)
                .await,
        );
        self.report().await;
        true
    }

    async fn host_failed(
        &mut self,
        snapshots: Vec<api::v1beta1::SnapshotStats>,
        error: &EngineError,
    ) {
        let message = report::chain(error);
        let shown = session::text::error_tail(&message, ERROR_BYTES).to_owned();
        self.add_host(HostBackupPhase::Failed, snapshots, Some(shown));
        delivered(
            self.reporter
                .event(EventKind::Warning, "HostBackupFailed", &message)
                .await,
        );
        self.report().await;
    }

    fn add_host(
        &mut self,
        phase: HostBackupPhase,
        snapshots: Vec<api::v1beta1::SnapshotStats>,
        error: Option<String>,
    ) {
        let stats = HostBackupStats {
            hostname: session::host::backup_host(self.run.spec.target.as_ref()),
            phase: Some(phase),
            snapshots,
            duration: Some(report::go_duration(self.started.elapsed())),
            error,
        };
        if let Some(target) = self.status.targets.first_mut() {
            target.stats.push(stats);
        }
    }

    /// Tells a deadline and an interruption from other failures.
    fn note_stop(&mut self) {
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
    async fn post_hook(&mut self) {
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
        if !is_due || self.stop.is_interrupted() {
            return;
        }
        let result = hooks::run(
            &hook.handler,
            &report::hook_data(self),
            hooks::DEFAULT_DEADLINE,
            &self.cancel,
        )
        .await;
        match result {
            Ok(()) => self.set_target(
                condition_type::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED,
                ConditionStatus::True,
                reason::SUCCESSFULLY_EXECUTED_POST_BACKUP_HOOK,
                "the post-backup hook has run",
            ),
            Err(error) => {
                let message = report::chain(&error);
                self.set_target(
                    condition_type::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED,
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
}
