//! Reports of one Pod's part, written in the background: the work never waits for the API server, only its end does.
//!
//! Whatever is known at the moment of a write goes into it: results as soon as there are any, progress every 5
//! seconds if it has changed, and a sign of life every 30 seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::v1alpha1::{Repository, RepositoryStatus};
use api::v1beta1::{
    BackupSession, BackupSessionStatus, HostProgress, RestoreSession, RestoreSessionStatus,
};
use archive::restore::RestoreProgress;
use archive::save::BackupProgress;
use async_trait::async_trait;
use kube_client::Api;
use repository::SnapshotId;
use repository::snapshot::Snapshot;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::PodAgent;
use super::client::{ApiError, Delays};
use super::progress::Board;
use super::settings::Opened;
use super::status::{self, ObjectId, Worker};
use crate::backup::{chain, time};
use crate::reporter::{EventKind, ReportError, Reporter};

/// How often progress is written while it changes.
const PROGRESS: Duration = Duration::from_secs(5);
/// How often a sign of life is written.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// How long the end of a part that was stopped waits for its reports.
const GRACE: Duration = Duration::from_secs(20);

/// Where a part is reported.
#[derive(Clone)]
pub(super) enum Session {
    /// Into a BackupSession.
    Backup(Api<BackupSession>),
    /// Into a RestoreSession.
    Restore(Api<RestoreSession>),
}

/// Takes the reports of one part.
pub(super) struct PodReporter {
    shared: Arc<Shared>,
    writer: AbortOnDropHandle<bool>,
}

struct Shared {
    agent: PodAgent,
    session: Session,
    id: ObjectId,
    worker: Worker,
    board: Arc<Board>,
    began: jiff::Timestamp,
    pending: Mutex<Pending>,
    wake: Notify,
    /// No more is to come: write the rest and end.
    closing: CancellationToken,
    /// Cancelled when the session does not exist any more.
    gone: CancellationToken,
}

/// What is to be written.
#[derive(Default)]
struct Pending {
    backup: Option<BackupSessionStatus>,
    restore: Option<RestoreSessionStatus>,
    repository: Option<(Api<Repository>, ObjectId, RepositoryStatus)>,
    opened: Option<(Api<Repository>, ObjectId)>,
    /// Counts what was told.
    told: u64,
    /// Whether the entry of this worker is shown.
    shows_progress: bool,
}

impl PodReporter {
    /// Begins to report; `gone` is cancelled when the session is found to be deleted.
    pub fn start(
        agent: &PodAgent,
        session: Session,
        id: ObjectId,
        worker: Worker,
        gone: &CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            agent: agent.clone(),
            session,
            id,
            worker,
            board: Arc::new(Board::default()),
            began: jiff::Timestamp::now(),
            pending: Mutex::new(Pending {
                shows_progress: true,
                ..Pending::default()
            }),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            gone: gone.clone(),
        });
        let writer = tokio::spawn(write_all(Arc::clone(&shared)));
        Self {
            shared,
            writer: AbortOnDropHandle::new(writer),
        }
    }

    /// Shows what is being done.
    pub fn begin(&self, step: &str) {
        self.shared.board.begin(step, None);
        self.shared.tell(|_| {});
    }

    /// Which Repository the part's findings belong to.
    pub fn found(&self, opened: &Opened) {
        let repositories = self.shared.agent.in_namespace(&opened.namespace);
        let id = ObjectId {
            name: opened.name.clone(),
            uid: opened.uid.clone(),
        };
        self.shared.pending().opened = Some((repositories, id));
    }

    /// Writes what is left, and removes the progress entry unless another Pod goes on with the host. Waits for the
    /// API server as long as nobody asks to stop. Whether everything was written.
    pub async fn finish(self, is_left_to_others: bool, stop: &CancellationToken) -> bool {
        self.shared.tell(|pending| {
            pending.shows_progress = is_left_to_others;
        });
        self.shared.closing.cancel();
        let too_long = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            written = self.writer => written.unwrap_or(false),
            () = too_long => {
                tracing::warn!(session = self.shared.id.name, "the API server was away too long: not all was reported");
                false
            }
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending();
        change(&mut pending);
        pending.told += 1;
        drop(pending);
        self.wake.notify_one();
    }

    fn entry(&self) -> HostProgress {
        HostProgress {
            hostname: self.worker.host.clone(),
            pod: self.agent.identity.pod.clone(),
            pod_uid: self.agent.identity.uid.clone(),
            started_at: Some(time(self.began)),
            ..self.board.entry(jiff::Timestamp::now())
        }
    }

    /// Writes the session, then the repository.
    async fn write(&self, progress: Option<&HostProgress>) -> Result<(), ApiError> {
        let repository = self.pending().repository.clone();
        if let Some((repositories, id, ours)) = repository {
            let written = status::update(&repositories, &id, |present: &mut Repository| {
                let status = present.status.get_or_insert_default();
                let before = status.clone();
                status::merge_repository(status, &ours);
                *status != before
            });
            match written.await {
                Err(error) if error.is_final() => {
                    let error = chain(&error);
                    tracing::warn!(error, repository = id.name, "cannot write what was found");
                }
                written => written?,
            }
            let mut pending = self.pending();
            let is_same = |(_, _, now): &(_, _, RepositoryStatus)| *now == ours;
            if pending.repository.as_ref().is_some_and(is_same) {
                pending.repository = None;
            }
        }
        match &self.session {
            Session::Backup(sessions) => {
                let ours = self.pending().backup.clone().unwrap_or_default();
                status::update(sessions, &self.id, |present: &mut BackupSession| {
                    let status = present.status.get_or_insert_default();
                    let before = status.clone();
                    status::merge_backup(status, &ours, &self.worker, progress);
                    *status != before
                })
                .await
            }
            Session::Restore(sessions) => {
                let ours = self.pending().restore.clone().unwrap_or_default();
                status::update(sessions, &self.id, |present: &mut RestoreSession| {
                    let status = present.status.get_or_insert_default();
                    let before = status.clone();
                    status::merge_restore(status, &ours, &self.worker, progress);
                    *status != before
                })
                .await
            }
        }
    }
}

/// Writes until all is written that will ever be told. Whether it was.
async fn write_all(shared: Arc<Shared>) -> bool {
    let mut delays = Delays::new();
    let (mut written, mut shown, mut at) = (0, None, None::<Instant>);
    loop {
        let is_closing = shared.closing.is_cancelled();
        let (told, shows_progress) = {
            let pending = shared.pending();
            (pending.told, pending.shows_progress)
        };
        let entry = shows_progress.then(|| shared.entry());
        let since = at.map(|at| at.elapsed());
        let is_due = told > written
            || since.is_none_or(|since| since >= SIGN_OF_LIFE)
            || since.is_some_and(|since| since >= PROGRESS)
                && has_changed(shown.as_ref(), entry.as_ref());
        if is_due {
            match shared.write(entry.as_ref()).await {
                Ok(()) => {
                    (written, shown, at) = (told, entry, Some(Instant::now()));
                    delays = Delays::new();
                }
                Err(error) if error.is_final() => {
                    let error_text = chain(&error);
                    tracing::error!(
                        error = error_text,
                        session = shared.id.name,
                        "cannot report any more"
                    );
                    if error.is_absent() {
                        shared.gone.cancel();
                    }
                    return false;
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(error, session = shared.id.name, "cannot report yet");
                    delays.wait().await;
                    continue;
                }
            }
        }
        if is_closing && written >= shared.pending().told {
            return true;
        }
        tokio::select! {
            () = shared.wake.notified() => {}
            () = shared.closing.cancelled(), if !is_closing => {}
            () = tokio::time::sleep(PROGRESS) => {}
        }
    }
}

/// Whether there is more to see than that time has passed.
fn has_changed(shown: Option<&HostProgress>, entry: Option<&HostProgress>) -> bool {
    let numbers = |entry: &HostProgress| {
        (
            entry.step.clone(),
            entry.path.clone(),
            entry.bytes_done,
            entry.files_done,
            entry.percent,
        )
    };
    shown.map(numbers) != entry.map(numbers)
}

#[async_trait]
impl Reporter for PodReporter {
    async fn backup_session(&self, status: &BackupSessionStatus) -> Result<(), ReportError> {
        self.shared
            .tell(|pending| pending.backup = Some(status.clone()));
        Ok(())
    }

    async fn restore_session(&self, status: &RestoreSessionStatus) -> Result<(), ReportError> {
        self.shared
            .tell(|pending| pending.restore = Some(status.clone()));
        Ok(())
    }

    async fn repository(&self, status: &RepositoryStatus) -> Result<(), ReportError> {
        self.shared.tell(|pending| {
            if let Some((repositories, id)) = pending.opened.clone() {
                pending.repository = Some((repositories, id, status.clone()));
            }
        });
        Ok(())
    }

    /// Snapshot objects are served from the repository, not kept.
    async fn snapshots(&self, _snapshots: &[(SnapshotId, Snapshot)]) -> Result<(), ReportError> {
        Ok(())
    }

    /// The operator derives Events from the status.
    async fn event(&self, kind: EventKind, reason: &str, message: &str) -> Result<(), ReportError> {
        let session = &self.shared.id.name;
        match kind {
            EventKind::Normal => tracing::info!(session, reason, "{message}"),
            EventKind::Warning => tracing::warn!(session, reason, "{message}"),
        }
        Ok(())
    }

    fn step(&self, step: &str) {
        self.begin(step);
    }

    fn backup_progress(&self, path: &str) -> Arc<dyn BackupProgress> {
        self.shared.board.begin("Backing up", Some(path));
        Arc::<Board>::clone(&self.shared.board)
    }

    fn restore_progress(&self) -> Arc<dyn RestoreProgress> {
        self.shared.board.begin("Restoring", Some("/"));
        Arc::<Board>::clone(&self.shared.board)
    }
}
