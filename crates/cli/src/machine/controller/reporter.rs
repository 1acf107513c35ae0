//! What a run reports, into the database and onto the terminal.

use std::path::Path;
use std::sync::Arc;

use agent::{ReportError, Reporter};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use api::v1alpha1::RepositoryStatus;
use api::v1beta1::{BackupSession, BackupSessionStatus, RestoreSessionStatus};
use archive::restore::{FileError, RestoreAction, RestoreProgress};
use archive::save::{BackupProgress, ItemDone, SourceError};
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use repository::SnapshotId;
use repository::snapshot::Snapshot;
use repository::tree::NodeKind;
use serde_json::{Value, json};

use super::Controller;
use crate::Context;
use crate::machine::desired::{RepositoryKey, ResolvedRepository};
use crate::machine::state::{EventKind, Key, StateStore};
use crate::progress::{Board, Display};

/// A moment in whole seconds, as Kubernetes writes it.
pub fn second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// The same as a field of an object.
pub fn time(moment: Timestamp) -> Time {
    Time(second(moment))
}

/// Reports of one session.
#[derive(Debug)]
pub struct StoreReporter {
    context: Arc<Context>,
    store: Arc<StateStore>,
    session: Key,
    repository: RepositoryKey,
    location: String,
    display: Mutex<Option<Display>>,
}

impl StoreReporter {
    /// A reporter for a session that uses this repository.
    pub fn new(controller: &Controller, session: Key, repository: &RepositoryKey) -> Self {
        let inner = &controller.inner;
        let location = inner
            .desired
            .repositories
            .get(repository)
            .map(ResolvedRepository::location)
            .unwrap_or_default();
        Self {
            context: Arc::clone(&inner.context),
            store: Arc::clone(&inner.store),
            session,
            repository: repository.clone(),
            location,
            display: Mutex::new(None),
        }
    }

    /// Removes the progress from the terminal.
    pub async fn finish(&self) {
        let display = self.display.lock().take();
        if let Some(display) = display {
            display.stop().await;
        }
    }

    /// A board that is drawn until the next one or the end of the session.
    fn board(&self, verb: &'static str) -> Arc<Board> {
        let board = Board::new(verb);
        *self.display.lock() = Some(Display::start(&self.context, &board));
        board
    }

    fn put_status(&self, status: &impl serde::Serialize) -> Result<(), ReportError> {
        Ok(self
            .store
            .put_status(&self.session, &serde_json::to_value(status)?)?)
    }
}

#[async_trait]
impl Reporter for StoreReporter {
    async fn backup_session(&self, status: &BackupSessionStatus) -> Result<(), ReportError> {
        self.put_status(status)
    }

    async fn restore_session(&self, status: &RestoreSessionStatus) -> Result<(), ReportError> {
        self.put_status(status)
    }

    async fn repository(&self, status: &RepositoryStatus) -> Result<(), ReportError> {
        let value = super::configurations::with_location(status, &self.location)
            .map_err(|failure| failure.message)?;
        Ok(self.store.put_status(&self.repository.to_key(), &value)?)
    }

    async fn snapshots(&self, snapshots: &[(SnapshotId, Snapshot)]) -> Result<(), ReportError> {
        let objects: Vec<Value> = snapshots
            .iter()
            .map(|(id, snapshot)| self.snapshot_object(id, snapshot))
            .collect();
        let RepositoryKey { namespace, name } = &self.repository;
        Ok(self
            .store
            .replace_owned("Snapshot", namespace, "/status/repository", name, &objects)?)
    }

    async fn event(
        &self,
        kind: agent::EventKind,
        reason: &str,
        message: &str,
    ) -> Result<(), ReportError> {
        let kind = match kind {
            agent::EventKind::Normal => EventKind::Normal,
            agent::EventKind::Warning => EventKind::Warning,
        };
        if reason == "FilesNotReadable" {
            self.context.printer.warning(message);
        }
        Ok(self.store.record_event(
            &self.session,
            kind,
            reason,
            message,
            &Timestamp::now().to_string(),
        )?)
    }

    fn backup_progress(&self, _path: &str) -> Arc<dyn BackupProgress> {
        let wants_scan = self.context.printer.has_live_status() || self.context.printer.is_json();
        Arc::new(BoardProgress {
            board: self.board("backup"),
            wants_scan,
        })
    }

    fn restore_progress(&self) -> Arc<dyn RestoreProgress> {
        Arc::new(RestoreBoard {
            board: self.board("restore"),
            total: Mutex::new((0, 0)),
        })
    }
}

impl StoreReporter {
    /// The projection of a snapshot (reference 1.11).
    fn snapshot_object(&self, id: &SnapshotId, snapshot: &Snapshot) -> Value {
        let RepositoryKey { namespace, name } = &self.repository;
        json!({
            "apiVersion": "repositories.stash.appscode.com/v1alpha1",
            "kind": "Snapshot",
            "metadata": {
                "name": format!("{name}-{}", id.short()),
                "namespace": namespace,
                "uid": id.to_hex(),
                "creationTimestamp": second(snapshot.time.timestamp()).to_string(),
                "labels": {"repository": name, "hostname": snapshot.hostname},
            },
            "status": {
                "id": id.short(),
                "tree": snapshot.tree.to_hex(),
                "paths": snapshot.paths,
                "hostname": snapshot.hostname,
                "username": snapshot.username,
                "uid": snapshot.uid,
                "gid": snapshot.gid,
                "tags": snapshot.tags,
                "repository": name,
            },
        })
    }
}

/// One line that tells how a session ended.
pub fn result_line(name: &str, session: &BackupSession) -> String {
    let status = session.status.clone().unwrap_or_default();
    let phase = status
        .phase
        .map(|phase| phase.to_string())
        .unwrap_or_default();
    let mut line = format!(
        "Session {name} is {phase} after {}",
        status.session_duration.unwrap_or_default()
    );
    for host in status.targets.iter().flat_map(|target| &target.stats) {
        for snapshot in &host.snapshots {
            let files = snapshot.file_stats.unwrap_or_default();
            let count = |number: Option<i64>| number.unwrap_or(0);
            line.push_str(&format!(
                "\n  {}: snapshot {}, {} files ({} new, {} modified, {} unmodified), {}, {} added",
                snapshot.path,
                snapshot.name.get(..8).unwrap_or(&snapshot.name),
                count(files.total_files),
                count(files.new_files),
                count(files.modified_files),
                count(files.unmodified_files),
                snapshot.total_size.as_deref().unwrap_or_default(),
                snapshot.uploaded.as_deref().unwrap_or_default(),
            ));
        }
        if let Some(error) = &host.error {
            line.push_str(&format!("\n  {}: {error}", host.hostname));
        }
    }
    let of_targets = status.targets.iter().flat_map(|target| &target.conditions);
    for condition in status
        .conditions
        .iter()
        .chain(of_targets)
        .filter(|condition| condition.is_false())
    {
        let message = condition.message.as_deref().unwrap_or_default();
        if !message.is_empty() && line.contains(message) {
            continue;
        }
        line.push_str(&format!("\n  {}: {message}", condition.type_));
    }
    line
}

struct BoardProgress {
    board: Arc<Board>,
    wants_scan: bool,
}

impl BackupProgress for BoardProgress {
    fn wants_scan(&self) -> bool {
        self.wants_scan
    }

    fn scanned(&self, files: u64, bytes: u64, is_done: bool) {
        self.board.set_total(files, bytes, is_done);
    }

    fn file_started(&self, path: &Path) {
        self.board.begin(path.display().to_string());
    }

    fn item_done(&self, item: &ItemDone<'_>) {
        if item.kind == NodeKind::File {
            self.board.end(&item.path.display().to_string());
            self.board.add(1, 0);
        }
    }

    fn bytes_done(&self, bytes: u64) {
        self.board.add(0, bytes);
    }

    fn error(&self, _error: &SourceError) {
        self.board.add_error();
    }
}

struct RestoreBoard {
    board: Arc<Board>,
    total: Mutex<(u64, u64)>,
}

impl RestoreProgress for RestoreBoard {
    fn planned(&self, files: u64, bytes: u64) {
        let mut total = self.total.lock();
        total.0 += files;
        total.1 += bytes;
        self.board.set_total(total.0, total.1, false);
    }

    fn bytes_done(&self, bytes: u64) {
        self.board.add(0, bytes);
    }

    fn item(&self, _path: &[u8], _action: RestoreAction, _bytes: u64) {
        self.board.add(1, 0);
    }

    fn error(&self, _error: &FileError) {
        self.board.add_error();
    }
}
