//! A repository of the real restic and the same repository opened by us.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::restore::{RestoreError, RestoreOptions, RestoreSummary, restore};
use backend::LocalBackend;
use parking_lot::Mutex;
use repository::snapshot::{Snapshot, SnapshotFilter};
use repository::{IndexedRepository, OpenOptions, Repository};
use secrecy::SecretString;
use testkit::{Restic, ResticRepository, Scratch};
use tokio_util::sync::CancellationToken;

/// Folders for one test, and a repository in one of them.
pub struct Scene {
    pub scratch: Scratch,
    pub restic: ResticRepository,
}

impl Scene {
    /// An empty repository made by restic; none, with a line that says so, where there is no restic.
    pub fn new() -> Option<Self> {
        let restic = Restic::find_or_skip()?;
        let scratch = Scratch::new();
        let restic = restic.repository(scratch.join("repository"), "secret");
        restic.init();
        Some(Self { scratch, restic })
    }

    /// The folder that is backed up.
    pub fn source(&self) -> PathBuf {
        self.scratch.folder("source")
    }

    /// Backs up the contents of the source by restic; the snapshot's root is the source itself.
    pub fn back_up(&self) {
        let mut command = self.restic.command(["backup", "--quiet", "."]);
        command.current_dir(self.source());
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The repository with its index as it is now.
    pub async fn open(&self) -> IndexedRepository {
        let backend = Arc::new(LocalBackend::new(self.restic.location()));
        let password = SecretString::from("secret");
        let repository = Repository::open(backend, &password, &OpenOptions::default())
            .await
            .unwrap();
        repository.load_index().await.unwrap()
    }

    /// The snapshot of this reference.
    pub async fn snapshot(&self, reference: &str) -> Snapshot {
        let repository = self.open().await;
        repository::snapshot::find(&repository, reference, &SnapshotFilter::default())
            .await
            .unwrap()
            .1
    }

    /// Restores the latest snapshot by us; fails the test when the restore ends early.
    pub async fn restore(&self, options: &RestoreOptions) -> RestoreSummary {
        self.try_restore(options).await.unwrap()
    }

    /// Restores the latest snapshot by us.
    pub async fn try_restore(
        &self,
        options: &RestoreOptions,
    ) -> Result<RestoreSummary, RestoreError> {
        let snapshot = self.snapshot("latest").await;
        restore_snapshot(&self.open().await, &snapshot, options).await
    }

    /// Restores the latest snapshot by restic and gives its summary.
    pub fn restore_by_restic(&self, target: &Path, more: &[&str]) -> serde_json::Value {
        let mut arguments = vec!["restore", "latest", "--json", "--target"];
        let target = target.to_str().unwrap();
        arguments.push(target);
        arguments.extend(more);
        let output = self.restic.run(arguments);
        output
            .json_lines()
            .into_iter()
            .find(|line| line["message_type"] == "summary")
            .unwrap_or_default()
    }
}

/// Restores a snapshot with nobody told.
pub async fn restore_snapshot(
    repository: &IndexedRepository,
    snapshot: &Snapshot,
    options: &RestoreOptions,
) -> Result<RestoreSummary, RestoreError> {
    let progress = Arc::new(archive::restore::NoRestoreProgress);
    restore(
        repository,
        snapshot,
        options,
        progress,
        CancellationToken::new(),
    )
    .await
}

/// Options for a target with everything else at rest.
pub fn into(target: impl Into<PathBuf>) -> RestoreOptions {
    RestoreOptions {
        target: target.into(),
        ..RestoreOptions::default()
    }
}

/// Runs a command that must succeed, and gives its output.
pub fn run(program: &str, arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = std::process::Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Keeps what a restore told, one line per item.
#[derive(Debug, Default)]
pub struct Told {
    pub items: Mutex<Vec<String>>,
}

impl archive::restore::RestoreProgress for Told {
    fn item(&self, path: &[u8], action: archive::restore::RestoreAction, _bytes: u64) {
        self.items.lock().push(format!(
            "{} {}",
            action.word(),
            String::from_utf8_lossy(path)
        ));
    }
}
