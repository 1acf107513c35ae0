//! One backup session: hooks, initialisation, snapshots, retention, check, report (reference 3.8.1, with the
//! decisions of the design).
//!
//! On one machine a session has one host and one process sees it to its end. In a cluster its hosts and what follows
//! them are parts, which any Pod can begin, and go on with where another one stopped.

mod actions;
mod closing;
mod denied;
mod host;
mod report;

pub(crate) use report::{chain, go_duration, time};

use std::time::{Duration, Instant};

use api::conditions::{Condition, ConditionStatus, condition_type, reason, set_condition};
use api::duration::GoDuration;
use api::secret::BackendSettings;
use api::v1alpha1::RepositoryStatus;
use api::v1beta1::{
    BackupConfigurationSpec, BackupSessionStatus, BackupTargetStatus, PostBackupAction,
    PreBackupAction,
};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};
use crate::hooks::{self, HookPlace};
use crate::reporter::{Reporter, delivered};
use crate::stop::{Grace, Stop};
use crate::{Clock, Identity};

/// Everything that one backup session needs to know.
#[derive(Debug)]
pub struct BackupRun {
    /// Which session, for whom.
    pub identity: Identity,
    /// The configuration.
    pub spec: BackupConfigurationSpec,
    /// Retries left, for the hook policies.
    pub retries_left: i32,
    /// Storage and password, or why there are none.
    pub settings: Result<BackendSettings, String>,
    /// What was known of the repository before.
    pub repository: RepositoryStatus,
    /// Whether files that cannot be read leave the host Succeeded (decision 5).
    pub tolerates_unreadable: bool,
    /// Where hooks run.
    pub hooks: HookPlace,
}

impl BackupRun {
    fn settings(&self) -> Result<&BackendSettings, EngineError> {
        self.settings
            .as_ref()
            .map_err(|why| EngineError::Settings(why.clone()))
    }
}

/// One Pod's part of a session.
pub(crate) struct Part<'a> {
    /// The session.
    pub run: &'a BackupRun,
    /// Which of its targets.
    pub index: usize,
    /// The host that the Pod works as.
    pub host: &'a str,
    /// Whom to tell.
    pub reporter: &'a dyn Reporter,
    /// What ends it early. An interruption leaves the part to others; a deadline is a result.
    pub stop: &'a Stop,
}

/// What is opened once and used by all parts that one process works on.
pub(crate) type OpenedEngine = Option<Engine>;

/// The state of a run while it goes on.
struct Progressing<'a> {
    run: &'a BackupRun,
    index: usize,
    host: String,
    reporter: &'a dyn Reporter,
    clock: &'a dyn Clock,
    stop: &'a Stop,
    status: BackupSessionStatus,
    /// When the session began.
    began: jiff::Timestamp,
    /// When the work of this process began.
    started: Instant,
    /// Whether what is interrupted here is left to others, and not a result.
    is_part: bool,
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
    let stop = Stop::new(cancel, left);
    let mut work = Progressing {
        run,
        index: 0,
        host: session::host::backup_host(run.spec.target.as_ref()),
        reporter,
        clock,
        stop: &stop,
        status: first_status(run, deadline),
        began: clock.now(),
        started: Instant::now(),
        is_part: false,
    };
    work.report().await;
    work.set_target(
        condition_type::BACKUP_EXECUTOR_ENSURED,
        ConditionStatus::True,
        reason::SUCCESSFULLY_ENSURED_BACKUP_EXECUTOR,
        "the backup runs in this process",
    );
    let mut engine = None;
    if work.pre_hook().await.is_ok() && work.back_up(&mut engine).await {
        work.post_actions(&mut engine).await;
    }
    if let Some(engine) = &engine {
        work.report_cost(engine).await;
    }
    work.note_stop();
    work.post_hook().await;
    work.report().await;
    work.status
}

/// Runs the pre hook, initialises the repository if nobody has, and backs the host up. The host's result is in the
/// status and reported, unless the work was interrupted: then another Pod begins the host anew. Whether it was not.
pub(crate) async fn back_up_host(
    part: &Part<'_>,
    status: BackupSessionStatus,
    engine: &mut OpenedEngine,
) -> bool {
    let mut work = Progressing::of_part(part, status);
    match work.pre_hook().await {
        Ok(()) => {
            work.back_up(engine).await;
        }
        Err(message) => work.host_failed(Vec::new(), message).await,
    }
    if work.stop.is_late() {
        // Whatever the pre hook has frozen is thawed, although the session is over.
        work.post_hook().await;
        work.report().await;
    }
    work.target()
        .is_some_and(|target| target.stats.iter().any(|stats| stats.hostname == part.host))
}

/// What follows when all hosts have reported: retention, check and the post hook, whatever of it is not done yet.
/// Whether it was not interrupted.
pub(crate) async fn conclude(
    part: &Part<'_>,
    status: BackupSessionStatus,
    engine: &mut OpenedEngine,
) -> bool {
    let mut work = Progressing::of_part(part, status);
    let is_whole = work.target().is_some_and(session::work::follows_up);
    if is_whole {
        work.post_actions(engine).await;
    }
    if let Some(engine) = engine {
        work.report_cost(engine).await;
    }
    if work.is_left_to_others() {
        return false;
    }
    work.post_hook().await;
    work.report().await;
    session::work::is_concluded(&part.run.spec, &work.status, part.index)
}

/// Thaws what the pre hook may have frozen, in a session that was interrupted and that nobody goes on with: the post
/// hook runs by its policy, unless it has.
pub(crate) async fn thaw(part: &Part<'_>, status: BackupSessionStatus) {
    let mut work = Progressing::of_part(part, status);
    work.is_part = false;
    let grace = Grace::lasting(hooks::GRACE);
    work.post_hook_until(grace.token()).await;
    work.report().await;
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

impl<'a> Progressing<'a> {
    fn of_part(part: &Part<'a>, status: BackupSessionStatus) -> Self {
        Self {
            run: part.run,
            index: part.index,
            host: part.host.to_owned(),
            reporter: part.reporter,
            clock: &crate::SystemClock,
            stop: part.stop,
            status,
            began: part.run.identity.created,
            started: Instant::now(),
            is_part: true,
        }
    }

    fn target(&self) -> Option<&BackupTargetStatus> {
        self.status.targets.get(self.index)
    }

    /// Whether the work was interrupted and another Pod goes on with it.
    fn is_left_to_others(&self) -> bool {
        self.is_part && self.stop.is_interrupted()
    }

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
        if let Some(target) = self.status.targets.get_mut(self.index) {
            set_condition(
                &mut target.conditions,
                Condition::new(type_, status, reason, message),
                now,
            );
        }
    }
}
