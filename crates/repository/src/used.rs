//! Which blobs the snapshots use: a walk over all their trees, each tree read once, with one bit a blob.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend::FileKind;
use futures::stream::{self, StreamExt};
use tokio::task::JoinSet;

use crate::blob::{BlobHandle, BlobKind};
use crate::id::{BlobId, SnapshotId};
use crate::index::Index;
use crate::indexed::IndexedRepository;
use crate::repository::{LoadError, Repository};
use crate::snapshot::Snapshot;
use crate::tree::NodeKind;

/// A bit for every entry of an index. The first copy of a blob stands for all of them.
#[derive(Debug)]
pub(crate) struct UsedBlobs {
    words: Vec<AtomicU64>,
}

/// What marking a blob found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was not marked before.
    New,
    /// It was marked before.
    Known,
    /// The index does not name it.
    Missing,
}

impl UsedBlobs {
    /// Nothing is used yet.
    pub(crate) fn new(index: &Index) -> Self {
        let words = index.entry_count().div_ceil(64);
        Self {
            words: std::iter::repeat_with(AtomicU64::default)
                .take(words)
                .collect(),
        }
    }

    /// Marks a blob as used.
    pub(crate) fn mark(&self, index: &Index, handle: &BlobHandle) -> Mark {
        let positions = index.positions(handle);
        if positions.is_empty() {
            return Mark::Missing;
        }
        let bit = 1 << (positions.start % 64);
        match self.words[positions.start / 64].fetch_or(bit, Ordering::Relaxed) & bit {
            0 => Mark::New,
            _ => Mark::Known,
        }
    }

    /// Whether the blob whose first copy is at this position is used.
    pub(crate) fn is_used(&self, first_position: usize) -> bool {
        self.words[first_position / 64].load(Ordering::Relaxed) & (1 << (first_position % 64)) != 0
    }
}

/// The root trees of all snapshots but some, or why a snapshot cannot be read.
pub(crate) async fn roots(
    repository: &Repository,
    ignore: &[SnapshotId],
) -> Result<Vec<(SnapshotId, Result<BlobId, LoadError>)>, LoadError> {
    let snapshots = repository
        .list(FileKind::Snapshot)
        .await
        .map_err(|source| LoadError::Storage {
            object: "the list of snapshots".to_owned(),
            source,
        })?;
    let parallel = repository.backend().connections().clamp(2, 16);
    let roots = stream::iter(snapshots)
        .map(|(id, _)| SnapshotId(id))
        .filter(|id| std::future::ready(!ignore.contains(id)))
        .map(|id| async move {
            (
                id,
                Snapshot::load(repository, &id)
                    .await
                    .map(|snapshot| snapshot.tree),
            )
        })
        .buffer_unordered(parallel)
        .collect()
        .await;
    Ok(roots)
}

/// What was found in one tree.
#[derive(Debug)]
pub(crate) struct TreeVisit {
    /// The tree.
    pub(crate) id: BlobId,
    /// Its content, or why it cannot be read.
    pub(crate) result: Result<TreeFindings, LoadError>,
}

#[derive(Debug, Default)]
pub(crate) struct TreeFindings {
    /// Trees below it that no other tree named before.
    subtrees: Vec<BlobId>,
    /// Blobs it names that the index does not, with the name of the node.
    pub(crate) missing: Vec<(String, BlobHandle)>,
    /// What no honest writer makes.
    pub(crate) problems: Vec<String>,
}

/// Marks everything below these trees. Every tree is read once and shown to `visit`, which may end the walk.
pub(crate) async fn walk(
    repository: &IndexedRepository,
    used: &Arc<UsedBlobs>,
    roots: impl IntoIterator<Item = BlobId>,
    visit: &mut (dyn FnMut(TreeVisit) -> ControlFlow<()> + Send),
) {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let parallel = repository.backend().connections().max(2 * cores).min(64);
    let mut waiting: Vec<BlobId> = Vec::new();
    for id in roots {
        match used.mark(
            repository.index(),
            &BlobHandle {
                kind: BlobKind::Tree,
                id,
            },
        ) {
            // A missing root is found missing when it is read.
            Mark::New | Mark::Missing => waiting.push(id),
            Mark::Known => {}
        }
    }
    let mut running = JoinSet::new();
    loop {
        while running.len() < parallel
            && let Some(id) = waiting.pop()
        {
            running.spawn(visit_tree(repository.clone(), Arc::clone(used), id));
        }
        let mut visited = match running.join_next().await {
            None => return,
            Some(Ok(visited)) => visited,
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Cancelled: the runtime is shutting down.
                Err(_) => return,
            },
        };
        if let Ok(findings) = &mut visited.result {
            waiting.append(&mut findings.subtrees);
        }
        if visit(visited).is_break() {
            return;
        }
    }
}

async fn visit_tree(repository: IndexedRepository, used: Arc<UsedBlobs>, id: BlobId) -> TreeVisit {
    let result = repository.load_tree(&id).await.map(|tree| {
        let mut findings = TreeFindings {
            problems: tree.problems().iter().map(ToString::to_string).collect(),
            ..TreeFindings::default()
        };
        for node in &tree.nodes {
            if node.kind == NodeKind::File && node.content.is_none() {
                findings.problems.push(format!(
                    "the file node `{}` has no list of blobs",
                    node.name_lossy()
                ));
            }
            let content = node.content.iter().flatten();
            let data = content.map(|id| BlobHandle {
                kind: BlobKind::Data,
                id: *id,
            });
            let tree = node.subtree.map(|id| BlobHandle {
                kind: BlobKind::Tree,
                id,
            });
            for handle in data.chain(tree) {
                match used.mark(repository.index(), &handle) {
                    Mark::New if handle.kind == BlobKind::Tree => findings.subtrees.push(handle.id),
                    Mark::New | Mark::Known => {}
                    Mark::Missing => findings
                        .missing
                        .push((node.name_lossy().into_owned(), handle)),
                }
            }
        }
        findings
    });
    TreeVisit { id, result }
}
