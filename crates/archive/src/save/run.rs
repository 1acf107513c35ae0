//! What all threads of one backup share, and how they are started and end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use repository::chunker::ChunkerTables;
use repository::tree::{Node, NodeKind};
use repository::{BlobId, IndexedRepository, SaveError};
use tokio::runtime::Handle;

use crate::filter::Excludes;
use crate::metadata::MetadataReader;
use crate::save::devices::Devices;
use crate::save::progress::BackupProgress;
use crate::save::schedule::Scheduler;
use crate::save::store::Store;
use crate::save::summary::{During, SourceError, Tally};
use crate::save::worker::Worker;

/// What ends a run before it is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A blob cannot be stored.
    Store(SaveError),
    /// The stream of a stdin or command source broke.
    Stream(std::io::Error),
    /// A thread cannot be started or broke down.
    Thread(std::io::Error),
    /// The caller does not want it any more.
    Cancelled,
}

/// One backup at work.
pub(crate) struct Run {
    pub(crate) repository: IndexedRepository,
    pub(crate) runtime: Handle,
    pub(crate) store: Store,
    pub(crate) metadata: MetadataReader,
    pub(crate) tables: ChunkerTables,
    pub(crate) rules: Rules,
    pub(crate) tally: Tally,
    pub(crate) progress: Arc<dyn BackupProgress>,
    pub(crate) scheduler: Scheduler,
    pub(crate) root: Mutex<Option<Root>>,
}

/// What is saved and what is read again.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the command line"
)]
pub(crate) struct Rules {
    pub(crate) excludes: Excludes,
    pub(crate) devices: Option<Devices>,
    pub(crate) ignore_inode: bool,
    pub(crate) ignore_ctime: bool,
    pub(crate) skip_lost_and_found: bool,
    /// The targets, absolute and sorted.
    pub(crate) targets: Vec<PathBuf>,
    /// Whether errors of a stream end the run.
    pub(crate) is_stream: bool,
}

impl Rules {
    /// Whether this absolute path was asked for by name.
    pub(crate) fn is_target(&self, path: &Path) -> bool {
        self.targets
            .binary_search_by(|target| target.as_path().cmp(path))
            .is_ok()
    }
}

/// The result of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root {
    pub(crate) tree: BlobId,
    pub(crate) is_empty: bool,
}

impl Run {
    /// Works with this many threads until the root is stored or the run stops. Blocks.
    pub(crate) fn work(self: &Arc<Self>, threads: usize) -> Result<Root, Failure> {
        std::thread::scope(|scope| {
            for number in 0..threads {
                let run = Arc::clone(self);
                let builder = std::thread::Builder::new().name(format!("save-{number}"));
                let spawned = builder.spawn_scoped(scope, move || {
                    let _guard = PanicGuard(&run);
                    let mut worker = Worker::new(&run);
                    while let Some(work) = run.scheduler.next() {
                        worker.perform(work);
                    }
                });
                if let Err(error) = spawned
                    && number == 0
                {
                    self.scheduler.stop(Failure::Thread(error));
                }
            }
        });
        let failure = self.scheduler.take_failure();
        let root = *self.root.lock();
        match (failure, root) {
            (Some(failure), _) => Err(failure),
            (None, Some(root)) => Ok(root),
            (None, None) => Err(Failure::Cancelled),
        }
    }

    /// The root tree is stored.
    pub(crate) fn finish(&self, tree: BlobId, is_empty: bool) {
        *self.root.lock() = Some(Root { tree, is_empty });
        self.scheduler.finish();
    }

    /// Notes what cannot be read; the file is missing or incomplete in the snapshot.
    pub(crate) fn error(&self, path: &Path, message: impl Into<String>) {
        let error = SourceError {
            path: path.to_owned(),
            during: During::Archival,
            message: message.into(),
        };
        tracing::warn!(path = %path.display(), message = error.message, "cannot save");
        self.progress.error(&error);
        self.tally.add_error(error);
    }

    /// Notes what happened to a file although the snapshot is what it should be.
    pub(crate) fn note(&self, path: &Path, message: impl Into<String>) {
        let note = SourceError {
            path: path.to_owned(),
            during: During::Archival,
            message: message.into(),
        };
        tracing::info!(path = %path.display(), message = note.message, "noted");
        self.progress.note(&note);
        self.tally.add_note(note);
    }

    /// The tree of a directory of the parent snapshot, if it is one and can be read.
    pub(crate) fn old_tree(
        &self,
        path: &Path,
        node: Option<&Node>,
    ) -> Option<Arc<repository::tree::Tree>> {
        let id = node.filter(|node| node.kind == NodeKind::Dir)?.subtree?;
        match self.runtime.block_on(self.repository.load_tree(&id)) {
            Ok(tree) => Some(Arc::new(tree)),
            Err(error) => {
                self.note(
                    path,
                    format!("cannot compare with the parent snapshot: {}", chain(&error)),
                );
                None
            }
        }
    }
}

/// Lets no thread wait for one that panicked.
struct PanicGuard<'a>(&'a Run);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.scheduler.stop(Failure::Cancelled);
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
