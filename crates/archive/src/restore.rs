//! Bringing a snapshot back into a folder.
//!
//! A restore walks the snapshot and decides in batches what happens to each entry (`plan`), then carries each
//! batch out (`carry_out`): files are compared with what is there, missing content is read pack by pack and
//! written at its offsets (`content`, `file`), then come links and special files, deletions, and the metadata
//! of directories from the bottom up. Nothing outside the target is ever touched (`target`).
//!
//! Which snapshot, under which lock, and what the user sees is the caller's business.

mod batch;
mod carry_out;
mod content;
mod delete;
mod existing;
mod file;
mod metadata;
mod names;
mod parallel;
mod plan;
mod report;
mod selection;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use repository::snapshot::Snapshot;
use repository::{BlobId, IndexedRepository, LoadError};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::walk::{self, WalkError};
use carry_out::Worker;
use delete::Removal;
use file::{Counters, FileWriter};
use plan::Planner;
use report::Report;
pub use selection::Selection;
use target::Target;

/// What happens to entries that lie in the target already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// They are made as the snapshot has them; content that is right already is not written.
    #[default]
    Always,
    /// As `Always`, but a file of the same size and time of modification is taken to have the right content.
    IfChanged,
    /// Only what the snapshot has with a later time of modification is restored.
    IfNewer,
    /// They stay.
    Never,
}

/// How to restore.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub struct RestoreOptions {
    /// The folder to restore into; made if it does not exist.
    pub target: PathBuf,
    /// Which entries.
    pub selection: Selection,
    /// What happens to entries that exist.
    pub overwrite: Overwrite,
    /// Removes entries that the snapshot does not have, as far as they are selected.
    pub delete: bool,
    /// Touches nothing and tells the progress what would be done.
    pub dry_run: bool,
    /// Reads every written file again and compares it.
    pub verify: bool,
    /// Leaves holes where the content is zero.
    pub sparse: bool,
    /// A folder of the snapshot to restore instead of all of it.
    pub subfolder: Option<String>,
    /// Takes owners by name where this machine knows the name.
    pub ownership_by_name: bool,
}

/// What was done to an entry; restic's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreAction {
    /// It was made.
    Restored,
    /// A file was there and was changed.
    Updated,
    /// It stayed as it was, but for its metadata perhaps.
    Unchanged,
    /// It was removed.
    Deleted,
}

impl RestoreAction {
    /// restic's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// An entry that could not be restored, or not in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Its path in the snapshot (below the subfolder), beginning with `/`.
    pub path: PathBuf,
    /// What went wrong.
    pub message: String,
}

/// What this process could not do to many entries alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// The owner or group could not be set.
    Ownership {
        /// Whether the process runs as root, who should be able to: then the restore counts as incomplete.
        is_root: bool,
    },
    /// A mode lost its set-user-id or set-group-id bit because the owner could not be set.
    SetIdBits,
    /// An extended attribute or ACL could not be set or removed.
    AttributesForbidden {
        /// Whether the process runs as root: then the restore counts as incomplete.
        is_root: bool,
    },
    /// The file system of the target has no such extended attributes.
    AttributesUnsupported,
}

/// A kind of warning, how often it was due, and where first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreWarning {
    /// What could not be done.
    pub kind: WarningKind,
    /// To how many entries (attributes: how often).
    pub count: u64,
    /// The first of them.
    pub first: PathBuf,
}

impl RestoreWarning {
    /// Whether what was restored is less than what was asked for.
    pub const fn is_failure(&self) -> bool {
        matches!(
            self.kind,
            WarningKind::Ownership { is_root: true }
                | WarningKind::AttributesForbidden { is_root: true }
        )
    }
}

impl std::fmt::Display for RestoreWarning {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, first) = (self.count, self.first.display());
        match self.kind {
            WarningKind::Ownership { is_root: false } => write!(
                formatter,
                "ownership of {count} entries could not be restored: not permitted; run as root to restore it \
                 (first: {first})"
            ),
            WarningKind::Ownership { is_root: true } => write!(
                formatter,
                "ownership of {count} entries could not be restored: not permitted by the file system or for want \
                 of CAP_CHOWN (first: {first})"
            ),
            WarningKind::SetIdBits => write!(
                formatter,
                "set-user-id and set-group-id bits of {count} entries were left out, because their owner could not be \
                 restored (first: {first})"
            ),
            WarningKind::AttributesForbidden { .. } => write!(
                formatter,
                "{count} extended attributes or ACLs could not be restored: not permitted (first: {first})"
            ),
            WarningKind::AttributesUnsupported => write!(
                formatter,
                "{count} extended attributes or ACLs could not be restored: the file system does not support them \
                 (first: {first})"
            ),
        }
    }
}

/// What a restore has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Entries that were to be restored: files, directories, links and special files, without the skipped.
    pub total_files: u64,
    /// Entries restored.
    pub files_restored: u64,
    /// Files that were right already, and entries that the overwrite mode kept.
    pub files_skipped: u64,
    /// Entries removed by `delete`.
    pub files_deleted: u64,
    /// Bytes of the files that were to be restored.
    pub total_bytes: u64,
    /// Bytes restored, with those that were found right in updated files.
    pub bytes_restored: u64,
    /// Bytes of the skipped files.
    pub bytes_skipped: u64,
    /// Files read again and found right.
    pub files_verified: u64,
    /// Entries that could not be restored; at most the first thousand.
    pub errors: Vec<FileError>,
    /// All of them, counted.
    pub errors_count: u64,
    /// What this process could not do.
    pub warnings: Vec<RestoreWarning>,
}

impl RestoreSummary {
    /// Whether something is missing of what was asked for.
    pub fn is_incomplete(&self) -> bool {
        self.errors_count > 0 || self.warnings.iter().any(RestoreWarning::is_failure)
    }
}

/// Why a restore ended early or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The subfolder cannot be reached.
    #[error("cannot restore from this path of the snapshot")]
    Subfolder {
        /// Why.
        #[source]
        source: WalkError,
    },
    /// The target cannot be made or opened.
    #[error("cannot use the target folder {}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Deleting below `/` without patterns would remove the system.
    #[error("deleting in the target `/` needs an include or exclude pattern")]
    DeleteInRoot,
    /// A dry run leaves nothing to verify.
    #[error("a dry run cannot be verified")]
    VerifyDryRun,
    /// The target is full or has become read-only.
    #[error("cannot write to the target, the restore has stopped at {}", path.display())]
    TargetUnwritable {
        /// The entry, as a path in the snapshot.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The storage has failed many times in a row.
    #[error("the storage does not answer, the restore has stopped")]
    Storage {
        /// The last failure.
        #[source]
        source: LoadError,
    },
    /// The restore was cancelled. What is there is incomplete; restoring again completes it.
    #[error("the restore was cancelled")]
    Cancelled,
    /// A thread of the restore ended by a fault of the program.
    #[error("the restore broke off")]
    Broken {
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Who is told how a restore goes on. Called from many threads; paths are those of the snapshot,
/// below the subfolder.
pub trait RestoreProgress: Send + Sync {
    /// So many more entries and bytes are to be restored.
    fn planned(&self, _files: u64, _bytes: u64) {}
    /// So many more bytes are in their files.
    fn bytes_done(&self, _bytes: u64) {}
    /// An entry is done. `bytes` is its size.
    fn item(&self, _path: &[u8], _action: RestoreAction, _bytes: u64) {}
    /// An entry could not be restored, or not in full.
    fn error(&self, _error: &FileError) {}
    /// So many more files were read again and found right.
    fn verified(&self, _files: u64) {}
}

/// Nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRestoreProgress;

impl RestoreProgress for NoRestoreProgress {}

/// Restores a snapshot, or a folder of it. The caller holds a lock on the repository.
///
/// Single entries that cannot be restored are in the summary. When the restore ends early, what is in the
/// target is incomplete, and restoring again completes it.
pub async fn restore(
    repository: &IndexedRepository,
    snapshot: &Snapshot,
    options: &RestoreOptions,
    progress: Arc<dyn RestoreProgress>,
    cancel: CancellationToken,
) -> Result<RestoreSummary, RestoreError> {
    if options.dry_run && options.verify {
        return Err(RestoreError::VerifyDryRun);
    }
    if options.delete && options.selection.is_all() && is_root_folder(&options.target) {
        return Err(RestoreError::DeleteInRoot);
    }
    let root = walk::find_tree(repository, &snapshot.tree, options.subfolder.as_deref())
        .await
        .map_err(|source| RestoreError::Subfolder { source })?;
    let (repository, options, runtime) = (repository.clone(), options.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        run(&repository, root, &options, progress, cancel, &runtime)
    })
    .await
    .unwrap_or_else(|source| Err(RestoreError::Broken { source }))
}

fn is_root_folder(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path == Path::new("/"))
}

/// The whole restore, on a thread of its own.
fn run(
    repository: &IndexedRepository,
    root: BlobId,
    options: &RestoreOptions,
    progress: Arc<dyn RestoreProgress>,
    cancel: CancellationToken,
    runtime: &Handle,
) -> Result<RestoreSummary, RestoreError> {
    let (target, directory) =
        Target::open(&options.target, options.dry_run).map_err(|source| RestoreError::Target {
            path: options.target.clone(),
            source,
        })?;
    let report = Report::new(progress, cancel);
    let counters = Counters::default();
    let removal = Removal {
        target: &target,
        report: &report,
        counters: &counters,
        selection: &options.selection,
        is_allowed: options.delete,
        is_dry_run: options.dry_run,
    };
    let writer = FileWriter::new(&target, &report, &counters, options.sparse, removal);
    let worker = Worker {
        repository,
        options,
        writer: &writer,
        runtime,
    };
    let _context = runtime.enter();
    let mut planner = Planner::new(repository, root, options, removal, directory);
    loop {
        let (batch, is_last) = runtime.block_on(planner.next_batch());
        report.check()?;
        worker.carry_out(batch, &mut planner.summary);
        report.check()?;
        if is_last {
            break;
        }
    }
    let mut summary = planner.summary;
    summary.files_restored = counters.entries_restored.load(Ordering::Relaxed);
    summary.bytes_restored = counters.bytes_restored.load(Ordering::Relaxed);
    summary.files_deleted = counters.entries_deleted.load(Ordering::Relaxed);
    (summary.errors, summary.errors_count, summary.warnings) = report.take();
    Ok(summary)
}
