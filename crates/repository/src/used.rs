//! Which blobs the snapshots use: a walk over all their trees, each tree read once, with one bit a blob.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend::FileKind;
use futures::stream::{self, StreamExt};
use tokio::task::JoinSet;

use crate::blob::{BlobHandle, BlobKind};
use crate::crypto::OVERHEAD;
use crate::id::{BlobId, SnapshotId};
use crate::index::{Entry, Index};
use crate::indexed::IndexedRepository;
use crate::repository::{LoadError, Repository};
use crate::snapshot::Snapshot;
use crate::tree::{Node, NodeKind};

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
        self.mark_at(positions.start)
    }

    fn mark_at(&self, first_position: usize) -> Mark {
        let bit = 1 << (first_position % 64);
        match self.words[first_position / 64].fetch_or(bit, Ordering::Relaxed) & bit {
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
    /// Where it was found first.
    pub(crate) path: TreePath,
    /// Its content, or why it cannot be read.
    pub(crate) result: Result<TreeFindings, LoadError>,
}

#[derive(Debug, Default)]
pub(crate) struct TreeFindings {
    /// Trees below it that no other tree named before, with their names.
    subtrees: Vec<(String, BlobId)>,
    /// Blobs it names that the index does not, with the name of the node.
    pub(crate) missing: Vec<(String, BlobHandle)>,
    /// What no honest writer makes.
    pub(crate) problems: Vec<String>,
    /// Files whose size is not that of their blobs.
    pub(crate) odd_sizes: Vec<OddSize>,
}

/// A file whose size is not that of its blobs.
#[derive(Debug)]
pub(crate) struct OddSize {
    /// The node.
    pub(crate) name: String,
    /// What its tree says.
    pub(crate) stated_bytes: u64,
    /// What its blobs hold.
    pub(crate) stored_bytes: u64,
}

/// Deeper folders are called by the name of their ancestor at this depth.
const MAX_DEPTH: usize = 512;

/// Names are cut to so many bytes; no file system allows longer ones.
const MAX_NAME_BYTES: usize = 255;

/// A place in a snapshot. Shares its beginning with its siblings.
#[derive(Debug, Clone)]
pub(crate) struct TreePath {
    snapshot: SnapshotId,
    depth: usize,
    step: Option<Arc<Step>>,
}

#[derive(Debug)]
struct Step {
    parent: Option<Arc<Step>>,
    name: Box<str>,
}

impl TreePath {
    fn root(snapshot: SnapshotId) -> Self {
        Self {
            snapshot,
            depth: 0,
            step: None,
        }
    }

    fn child(&self, name: &str) -> Self {
        if self.depth == MAX_DEPTH {
            return self.clone();
        }
        let end = name.floor_char_boundary(MAX_NAME_BYTES);
        let step = Step {
            parent: self.step.clone(),
            name: name[..end].into(),
        };
        Self {
            snapshot: self.snapshot,
            depth: self.depth + 1,
            step: Some(Arc::new(step)),
        }
    }

    /// The snapshot.
    pub(crate) fn snapshot(&self) -> SnapshotId {
        self.snapshot
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = Vec::new();
        let mut next = self.step.as_deref();
        while let Some(step) = next {
            names.push(&step.name);
            next = step.parent.as_deref();
        }
        names.reverse();
        write!(formatter, "/{}", names.join("/"))
    }
}

/// Marks everything below these trees. Every tree is read once and shown to `visit`, which may end the walk.
pub(crate) async fn walk(
    repository: &IndexedRepository,
    used: &Arc<UsedBlobs>,
    roots: impl IntoIterator<Item = (SnapshotId, BlobId)>,
    visit: &mut (dyn FnMut(TreeVisit) -> ControlFlow<()> + Send),
) {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let parallel = repository.backend().connections().max(2 * cores).min(64);
    let mut waiting: Vec<(TreePath, BlobId)> = Vec::new();
    for (snapshot, id) in roots {
        match used.mark(
            repository.index(),
            &BlobHandle {
                kind: BlobKind::Tree,
                id,
            },
        ) {
            // A missing root is found missing when it is read.
            Mark::New | Mark::Missing => waiting.push((TreePath::root(snapshot), id)),
            Mark::Known => {}
        }
    }
    let mut running = JoinSet::new();
    loop {
        while running.len() < parallel
            && let Some((path, id)) = waiting.pop()
        {
            running.spawn(visit_tree(repository.clone(), Arc::clone(used), path, id));
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
            let subtrees = std::mem::take(&mut findings.subtrees);
            waiting.extend(
                subtrees
                    .into_iter()
                    .map(|(name, id)| (visited.path.child(&name), id)),
            );
        }
        if visit(visited).is_break() {
            return;
        }
    }
}

async fn visit_tree(
    repository: IndexedRepository,
    used: Arc<UsedBlobs>,
    path: TreePath,
    id: BlobId,
) -> TreeVisit {
    let result = repository.load_tree(&id).await.map(|tree| {
        let mut findings = TreeFindings {
            problems: tree.problems().iter().map(ToString::to_string).collect(),
            ..TreeFindings::default()
        };
        for node in &tree.nodes {
            findings.add_node(repository.index(), &used, node);
        }
        findings
    });
    TreeVisit { id, path, result }
}

impl TreeFindings {
    fn add_node(&mut self, index: &Index, used: &UsedBlobs, node: &Node) {
        let name = node.name_lossy();
        let mut stored_bytes = Some(0_u64);
        for id in node.content.iter().flatten() {
            let handle = BlobHandle {
                kind: BlobKind::Data,
                id: *id,
            };
            let positions = index.positions(&handle);
            if positions.is_empty() {
                self.missing.push((name.to_string(), handle));
                stored_bytes = None;
                continue;
            }
            used.mark_at(positions.start);
            let bytes = plaintext_bytes(index.entry(positions.start).1);
            stored_bytes = stored_bytes.map(|sum| sum.saturating_add(bytes));
        }
        if node.kind == NodeKind::File {
            if node.content.is_none() {
                self.problems
                    .push(format!("the file node `{name}` has no list of blobs"));
            } else if let Some(stored_bytes) = stored_bytes.filter(|bytes| *bytes != node.size) {
                self.odd_sizes.push(OddSize {
                    name: name.to_string(),
                    stated_bytes: node.size,
                    stored_bytes,
                });
            }
        }
        if let Some(id) = node.subtree {
            let handle = BlobHandle {
                kind: BlobKind::Tree,
                id,
            };
            match used.mark(index, &handle) {
                Mark::New => self.subtrees.push((name.into_owned(), id)),
                Mark::Known => {}
                Mark::Missing => self.missing.push((name.into_owned(), handle)),
            }
        }
    }
}

fn plaintext_bytes(entry: &Entry) -> u64 {
    match entry.uncompressed {
        0 => u64::from(entry.length).saturating_sub(OVERHEAD as u64),
        bytes => bytes.into(),
    }
}
