//! One host: pre hook, initialisation, one snapshot for each path.

use std::path::PathBuf;

use api::arguments;
use api::conditions::{ConditionStatus, condition_type, reason};
use api::v1alpha1::RepositoryStatus;
use api::v1beta1::{HostBackupPhase, HostBackupStats, SnapshotStats};

use super::report::{self, Moment};
use super::{OpenedEngine, Progressing, denied};
use crate::engine::{Engine, EngineError};
use crate::hooks;
use crate::reporter::{EventKind, delivered};

/// How much of an error is kept in a status.
const ERROR_BYTES: usize = 1024;

/// An error as a status keeps it.
fn shortened(message: &str) -> String {
    session::text::error_tail(message, ERROR_BYTES).to_owned()
}

impl Progressing<'_> {
    /// Runs the pre hook; the reason why the backup must not begin if it fails.
    pub(super) async fn pre_hook(&mut self) -> Result<(), String> {
        let Some(hook) = self
            .run
            .spec
            .hooks
            .as_ref()
            .and_then(|hooks| hooks.pre_backup.as_ref())
        else {
            return Ok(());
        };
        self.reporter.step("Running the pre-backup hook");
        let result = hooks::run(
            &self.run.hooks,
            hook,
            &report::hook_data(self, Moment::Before),
            hooks::deadline(self.run.spec.time_out),
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
                Ok(())
            }
            Err(error) if self.is_left_to_others() => Err(report::chain(&error)),
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
                Err(message)
            }
        }
    }

    /// Saves all paths, in a repository that is initialised if need be. Whether the host is whole.
    pub(super) async fn back_up(&mut self, engine: &mut OpenedEngine) -> bool {
        let engine = match self.initialise().await {
            Ok(opened) => engine.insert(opened),
            Err(error) => {
                let message = self.described(&error);
                self.host_failed(Vec::new(), message).await;
                return false;
            }
        };
        self.report().await;
        let is_whole = self.save_paths(engine).await;
        if is_whole {
            self.note_first_backup().await;
        }
        is_whole
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
        self.reporter.step("Opening the repository");
        let known = &self.run.repository;
        let was_used = known.first_backup_time.is_some() || known.last_backup_time.is_some();
        let opened = match self.run.settings() {
            Ok(settings) => {
                Engine::open_or_create(settings, &self.run.identity, was_used, self.stop).await
            }
            Err(error) => Err(error),
        };
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
            Err(EngineError::Stopped) => {}
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
        let mut arguments = match arguments::backup(target) {
            Ok(arguments) => arguments,
            Err(errors) => {
                let error = EngineError::arguments(&errors);
                self.host_failed(Vec::new(), report::chain(&error)).await;
                return false;
            }
        };
        // Beside the invoker's, so that a restore into this target finds its own.
        arguments.tags.extend(report::target_tag(self.run));
        let host = self.host.clone();
        let excludes = target
            .map(|target| target.exclude.clone())
            .unwrap_or_default();
        let (mut snapshots, mut tolerated) = (Vec::new(), Vec::new());
        let paths = target.map(session::model::backup_paths).unwrap_or_default();
        if paths.is_empty() {
            self.host_failed(
                snapshots,
                "spec.target.paths names nothing to back up".to_owned(),
            )
            .await;
            return false;
        }
        for path in &paths {
            let request = crate::engine::SaveRequest {
                path: PathBuf::from(path),
                host: &host,
                username: &self.run.identity.username,
                tag: report::tag(self.run),
                excludes: &excludes,
                arguments: &arguments,
            };
            let progress = self.reporter.backup_progress(path);
            let saved = engine.save(&request, progress, self.stop).await;
            match saved {
                Ok(summary) => {
                    let unreadable = report::unreadable(&summary);
                    let unreadable = unreadable.map(|message| self.with_remedy(message));
                    snapshots.push(report::snapshot_stats(path, &summary));
                    if let Some(message) = unreadable {
                        delivered(
                            self.reporter
                                .event(EventKind::Warning, "FilesNotReadable", &message)
                                .await,
                        );
                        if !self.run.tolerates_unreadable {
                            self.host_failed(snapshots, message).await;
                            return false;
                        }
                        tolerated.push(message);
                    }
                }
                Err(error) => {
                    let message = self.described(&error);
                    self.host_failed(snapshots, message).await;
                    return false;
                }
            }
        }
        let message = format!("backed up {} paths of host {host}", snapshots.len());
        let tolerated = tolerated.join("; ");
        let tolerated = (!tolerated.is_empty()).then(|| shortened(&tolerated));
        self.add_host(HostBackupPhase::Succeeded, snapshots, tolerated);
        delivered(
            self.reporter
                .event(EventKind::Normal, "HostBackupSucceeded", &message)
                .await,
        );
        self.report().await;
        true
    }

    /// An error with the files it is about, and with what helps.
    fn described(&self, error: &EngineError) -> String {
        let mut message = report::chain(error);
        if let Some(files) = denied::of_error(error) {
            message = format!("{message} ({files})");
        }
        self.with_remedy(message)
    }

    /// In a Pod the user of the agent is a setting.
    fn with_remedy(&self, message: String) -> String {
        if !self.is_part {
            return message;
        }
        let user = nix::unistd::geteuid().as_raw();
        denied::with_remedy(message, user, &self.run.identity.invoker_name)
    }

    /// Reports the host as failed; not when the work was interrupted and another Pod begins it anew.
    pub(super) async fn host_failed(&mut self, snapshots: Vec<SnapshotStats>, message: String) {
        if self.is_left_to_others() {
            tracing::info!(message, "the host is left to another Pod");
            return;
        }
        self.add_host(
            HostBackupPhase::Failed,
            snapshots,
            Some(shortened(&message)),
        );
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
        snapshots: Vec<SnapshotStats>,
        error: Option<String>,
    ) {
        let stats = HostBackupStats {
            hostname: self.host.clone(),
            phase: Some(phase),
            snapshots,
            duration: Some(report::go_duration(self.started.elapsed())),
            error,
        };
        if let Some(target) = self.status.targets.get_mut(self.index) {
            target.stats.push(stats);
        }
    }
}
