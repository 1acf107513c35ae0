//! The entries of a folder and their content as one stream, in order, read ahead within a budget of bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use repository::tree::{Node, NodeKind};
use repository::{BlobHandle, BlobId, BlobKind, IndexedRepository, LoadError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::dump::DumpError;
use crate::walk::{Step, TreeWalk, is_plain_name, join_path, path_text};

/// Plaintext bytes that are read ahead.
const BUDGET_BYTES: u64 = 48 << 20;
/// What one unit of the budget stands for.
const UNIT_BYTES: u64 = 16 << 10;
/// Entries and blobs that are read ahead.
const AHEAD: usize = 256;

/// A part of the stream.
pub(super) enum Item {
    /// An entry begins. Its content follows as data, `size` bytes in all.
    Entry {
        /// The path in the snapshot, beginning with `/`.
        path: Vec<u8>,
        /// The entry.
        node: Box<Node>,
        /// Bytes of its content.
        size: u64,
    },
    /// The next piece of the last entry's content.
    Data(Vec<u8>),
}

enum Ahead {
    Entry {
        path: Vec<u8>,
        node: Box<Node>,
        size: u64,
    },
    Blob(
        AbortOnDropHandle<Result<Vec<u8>, LoadError>>,
        OwnedSemaphorePermit,
    ),
    Failed(DumpError),
}

/// A blob that is to be read when the budget allows.
struct Waiting {
    id: BlobId,
    bytes: u64,
}

/// Reads the stream.
pub(super) struct Source {
    repository: IndexedRepository,
    /// The path of the folder in front of those of the walk.
    prefix: Vec<u8>,
    walk: Option<TreeWalk>,
    waiting: VecDeque<Waiting>,
    ahead: VecDeque<Ahead>,
    budget: Arc<Semaphore>,
    blobs_ahead: usize,
    /// The path of the entry whose data come now.
    current: Vec<u8>,
    blobs_limit: usize,
}

impl Source {
    /// All entries below a folder.
    pub(super) fn folder(repository: &IndexedRepository, path: &[u8], tree: BlobId) -> Self {
        let walk = TreeWalk::new(repository, tree).entering(|path, _| {
            path.rsplit(|byte| *byte == b'/')
                .next()
                .is_some_and(is_plain_name)
        });
        Self::new(repository, path, Some(walk))
    }

    /// One file.
    pub(super) fn file(repository: &IndexedRepository, path: &[u8], node: Node) -> Self {
        let mut source = Self::new(repository, b"/", None);
        source.entry(path.to_vec(), Box::new(node));
        source
    }

    fn new(repository: &IndexedRepository, prefix: &[u8], walk: Option<TreeWalk>) -> Self {
        let units = usize::try_from(BUDGET_BYTES / UNIT_BYTES).unwrap_or(1024);
        Self {
            repository: repository.clone(),
            prefix: prefix.to_vec(),
            walk,
            waiting: VecDeque::new(),
            ahead: VecDeque::new(),
            budget: Arc::new(Semaphore::new(units)),
            blobs_ahead: 0,
            current: b"/".to_vec(),
            blobs_limit: (repository.backend().connections() * 2).clamp(8, 64),
        }
    }

    /// The next part; none at the end.
    pub(super) async fn next(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<Option<Item>, DumpError> {
        self.fill().await;
        if cancel.is_cancelled() {
            return Err(DumpError::Cancelled);
        }
        match self.ahead.pop_front() {
            None => Ok(None),
            Some(Ahead::Failed(error)) => Err(error),
            Some(Ahead::Entry { path, node, size }) => {
                self.current.clone_from(&path);
                Ok(Some(Item::Entry { path, node, size }))
            }
            Some(Ahead::Blob(loading, budget)) => {
                self.blobs_ahead -= 1;
                let loaded = tokio::select! {
                    loaded = loading => loaded,
                    () = cancel.cancelled() => return Err(DumpError::Cancelled),
                };
                drop(budget);
                let path = || path_text(&self.current);
                match loaded {
                    Ok(Ok(data)) => Ok(Some(Item::Data(data))),
                    Ok(Err(source)) => Err(DumpError::Load {
                        path: path(),
                        source,
                    }),
                    Err(error) => Err(DumpError::Damaged {
                        path: path(),
                        reason: error.to_string(),
                    }),
                }
            }
        }
    }

    /// Begins as many reads as the budget allows.
    async fn fill(&mut self) {
        while self.ahead.len() < AHEAD {
            if let Some(waiting) = self.waiting.front() {
                if self.blobs_ahead >= self.blobs_limit {
                    return;
                }
                let units = waiting
                    .bytes
                    .div_ceil(UNIT_BYTES)
                    .clamp(1, BUDGET_BYTES / UNIT_BYTES);
                let units = u32::try_from(units).unwrap_or(1);
                // With nothing ahead the budget is whole, so this never waits for itself.
                let Ok(permit) = Arc::clone(&self.budget).try_acquire_many_owned(units) else {
                    return;
                };
                let handle = BlobHandle {
                    kind: BlobKind::Data,
                    id: waiting.id,
                };
                self.waiting.pop_front();
                let repository = self.repository.clone();
                let loading = tokio::spawn(async move { repository.load_blob(&handle).await });
                self.ahead
                    .push_back(Ahead::Blob(AbortOnDropHandle::new(loading), permit));
                self.blobs_ahead += 1;
                continue;
            }
            let Some(walk) = &mut self.walk else { return };
            match walk.next().await {
                None => self.walk = None,
                Some(Step::Node { path, node, .. }) => {
                    let path = self.full_path(&path);
                    self.entry(path, node);
                }
                Some(Step::Unreadable { path, source }) => {
                    let path = path_text(&self.full_path(&path));
                    self.fail(DumpError::Load { path, source });
                }
                Some(Step::Enter { .. } | Step::Leave { .. }) => {}
            }
        }
    }

    fn full_path(&self, path: &[u8]) -> Vec<u8> {
        join_path(&self.prefix, path.strip_prefix(b"/").unwrap_or(path))
    }

    fn fail(&mut self, error: DumpError) {
        self.ahead.push_back(Ahead::Failed(error));
        self.walk = None;
    }

    /// Queues an entry and its blobs.
    fn entry(&mut self, path: Vec<u8>, node: Box<Node>) {
        let damaged = |reason: String| DumpError::Damaged {
            path: path_text(&path),
            reason,
        };
        if !is_plain_name(&node.name) {
            let error = damaged("this is no name of a file: the snapshot is damaged".to_owned());
            return self.fail(error);
        }
        let mut size = 0_u64;
        let mut blobs = VecDeque::new();
        if node.kind == NodeKind::File {
            for id in node.content.iter().flatten() {
                let handle = BlobHandle {
                    kind: BlobKind::Data,
                    id: *id,
                };
                let Some(bytes) = self.repository.blob_bytes(&handle) else {
                    let error = damaged(format!("{handle} is not in the index: run `check`"));
                    return self.fail(error);
                };
                size = size.saturating_add(bytes);
                blobs.push_back(Waiting { id: *id, bytes });
            }
        }
        self.ahead.push_back(Ahead::Entry { path, node, size });
        self.waiting = blobs;
    }
}
