//! What changed between two trees: entry by entry, and in blobs and bytes. The marks, counters and fields are
//! those of restic's `diff`.

use std::collections::HashSet;

use repository::tree::{Node, NodeKind, Tree};
use repository::{BlobHandle, BlobId, BlobKind, IndexedRepository};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::walk::{Step, TreeWalk, WalkError, join_path, path_text};

/// How to compare.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiffOptions {
    /// Reports entries of which only the metadata differ (`U`).
    pub metadata: bool,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Path below the compared trees; that of a directory ends in `/`.
    pub path: Vec<u8>,
    /// `+` added, `-` removed, `T` another type, `M` other content, `?` other content under the same metadata,
    /// `U` other metadata; `T` comes before `U`, `M` before `?`.
    pub modifier: String,
}

/// Counters of what is only on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DiffStat {
    /// Files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Other entries.
    pub others: u64,
    /// Data blobs.
    pub data_blobs: u64,
    /// Tree blobs.
    pub tree_blobs: u64,
    /// Plaintext bytes of these blobs.
    pub bytes: u64,
}

/// What a comparison found, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiffSummary {
    /// Files whose content differs.
    pub changed_files: u64,
    /// What only the second side has.
    pub added: DiffStat,
    /// What only the first side has.
    pub removed: DiffStat,
    /// Directories that could not be read, and blobs that the index does not know: the result lacks them.
    #[serde(skip)]
    pub errors: Vec<String>,
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// One of the two roots cannot be read.
    #[error("cannot compare the snapshots")]
    Root {
        /// Why.
        #[source]
        source: WalkError,
    },
    /// It was cancelled.
    #[error("the comparison was cancelled")]
    Cancelled,
}

/// Compares two trees and tells every change in the order of their paths.
pub async fn diff(
    repository: &IndexedRepository,
    from: &BlobId,
    to: &BlobId,
    options: DiffOptions,
    on_change: &mut (dyn FnMut(Change) + Send),
    cancel: &CancellationToken,
) -> Result<DiffSummary, DiffError> {
    let mut comparer = Comparer {
        repository,
        options,
        on_change,
        cancel,
        summary: DiffSummary::default(),
        before: HashSet::from([tree_handle(from)]),
        after: HashSet::from([tree_handle(to)]),
        common: HashSet::new(),
    };
    comparer
        .trees(b"/", from, to)
        .await
        .map_err(|source| DiffError::Root { source })?;
    if cancel.is_cancelled() {
        return Err(DiffError::Cancelled);
    }
    Ok(comparer.finish())
}

struct Comparer<'a> {
    repository: &'a IndexedRepository,
    options: DiffOptions,
    on_change: &'a mut (dyn FnMut(Change) + Send),
    cancel: &'a CancellationToken,
    summary: DiffSummary,
    before: HashSet<BlobHandle>,
    after: HashSet<BlobHandle>,
    /// Blobs of directories that are equal on both sides.
    common: HashSet<BlobHandle>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

impl Comparer<'_> {
    async fn load(&self, path: &[u8], tree: &BlobId) -> Result<Tree, WalkError> {
        let loaded = self.repository.load_tree(tree).await;
        loaded.map_err(|source| WalkError::Load {
            path: path_text(path),
            source,
        })
    }

    async fn trees(&mut self, path: &[u8], from: &BlobId, to: &BlobId) -> Result<(), WalkError> {
        let (from, to) = futures::join!(self.load(path, from), self.load(path, to));
        let mut from = from?.nodes.into_iter().peekable();
        let mut to = to?.nodes.into_iter().peekable();
        while !self.cancel.is_cancelled() {
            let order = match (from.peek(), to.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(before), Some(after)) => before.name.cmp(&after.name),
            };
            let before = if order.is_le() { from.next() } else { None };
            let after = if order.is_ge() { to.next() } else { None };
            self.add_blobs(Side::Before, before.as_ref());
            self.add_blobs(Side::After, after.as_ref());
            match (before, after) {
                (Some(before), Some(after)) => self.pair(path, &before, &after).await,
                (Some(before), None) => self.only(Side::Before, path, &before).await,
                (None, Some(after)) => self.only(Side::After, path, &after).await,
                (None, None) => {}
            }
        }
        Ok(())
    }

    async fn pair(&mut self, path: &[u8], before: &Node, after: &Node) {
        let mut modifier = String::new();
        if before.kind != after.kind {
            modifier.push('T');
        }
        let are_files = before.kind == NodeKind::File && after.kind == NodeKind::File;
        if are_files && content(before) != content(after) {
            modifier.push('M');
            self.summary.changed_files += 1;
            if is_same_but_content(before, after) {
                modifier.push('?');
            }
        } else if self.options.metadata && before != after {
            modifier.push('U');
        }
        let entry = entry_path(path, after);
        if !modifier.is_empty() {
            (self.on_change)(Change {
                path: entry.clone(),
                modifier,
            });
        }
        if before.kind != NodeKind::Dir || after.kind != NodeKind::Dir {
            return;
        }
        let (Some(from), Some(to)) = (before.subtree, after.subtree) else {
            return self.error(&WalkError::NoTree {
                path: path_text(&entry),
            });
        };
        if from == to {
            self.collect_common(from).await;
        } else if let Err(error) = Box::pin(self.trees(&entry, &from, &to)).await {
            self.error(&error);
        }
    }

    /// An entry that is on one side only, with all below it.
    async fn only(&mut self, side: Side, path: &[u8], node: &Node) {
        let entry = entry_path(path, node);
        self.tell(side, &entry, node);
        if node.kind != NodeKind::Dir {
            return;
        }
        let Some(subtree) = node.subtree else {
            return self.error(&WalkError::NoTree {
                path: path_text(&entry),
            });
        };
        let mut walk = TreeWalk::new(self.repository, subtree);
        while let Some(step) = walk.next().await {
            if self.cancel.is_cancelled() {
                return;
            }
            match step {
                Step::Node { path, node, .. } => {
                    let mut below = entry.clone();
                    below.extend_from_slice(path.strip_prefix(b"/").unwrap_or(&path));
                    if node.kind == NodeKind::Dir {
                        below.push(b'/');
                    }
                    self.tell(side, &below, &node);
                    self.add_blobs(side, Some(&node));
                }
                Step::Unreadable { path, source } => {
                    let path = path_text(
                        &[entry.as_slice(), path.strip_prefix(b"/").unwrap_or(&path)].concat(),
                    );
                    self.error(&WalkError::Load { path, source });
                }
                Step::Enter { .. } | Step::Leave { .. } => {}
            }
        }
    }

    fn tell(&mut self, side: Side, path: &[u8], node: &Node) {
        let (stat, mark) = match side {
            Side::Before => (&mut self.summary.removed, '-'),
            Side::After => (&mut self.summary.added, '+'),
        };
        match node.kind {
            NodeKind::File => stat.files += 1,
            NodeKind::Dir => stat.dirs += 1,
            _ => stat.others += 1,
        }
        (self.on_change)(Change {
            path: path.to_vec(),
            modifier: mark.to_string(),
        });
    }

    async fn collect_common(&mut self, tree: BlobId) {
        let mut walk = TreeWalk::new(self.repository, tree);
        while let Some(step) = walk.next().await {
            match step {
                _ if self.cancel.is_cancelled() => return,
                Step::Node { node, .. } => add_blobs(&mut self.common, &node),
                Step::Unreadable { path, source } => {
                    self.error(&WalkError::Load {
                        path: path_text(&path),
                        source,
                    });
                }
                Step::Enter { .. } | Step::Leave { .. } => {}
            }
        }
    }

    fn add_blobs(&mut self, side: Side, node: Option<&Node>) {
        let blobs = match side {
            Side::Before => &mut self.before,
            Side::After => &mut self.after,
        };
        if let Some(node) = node {
            add_blobs(blobs, node);
        }
    }

    fn error(&mut self, error: &WalkError) {
        let reason = std::error::Error::source(error)
            .map(|source| format!(": {source}"))
            .unwrap_or_default();
        self.summary.errors.push(format!("{error}{reason}"));
    }

    fn finish(mut self) -> DiffSummary {
        let mut summary = std::mem::take(&mut self.summary);
        for (own, other, stat) in [
            (&self.before, &self.after, &mut summary.removed),
            (&self.after, &self.before, &mut summary.added),
        ] {
            for handle in own
                .iter()
                .filter(|handle| !other.contains(handle) && !self.common.contains(handle))
            {
                match handle.kind {
                    BlobKind::Data => stat.data_blobs += 1,
                    BlobKind::Tree => stat.tree_blobs += 1,
                }
                match self.repository.blob_bytes(handle) {
                    Some(bytes) => stat.bytes += bytes,
                    None => summary.errors.push(format!("{handle} is not in the index")),
                }
            }
        }
        summary
    }
}

fn add_blobs(blobs: &mut HashSet<BlobHandle>, node: &Node) {
    match node.kind {
        NodeKind::File => {
            blobs.extend(content(node).iter().map(|id| BlobHandle {
                kind: BlobKind::Data,
                id: *id,
            }));
        }
        NodeKind::Dir => blobs.extend(node.subtree.iter().map(tree_handle)),
        _ => {}
    }
}

const fn tree_handle(id: &BlobId) -> BlobHandle {
    BlobHandle {
        kind: BlobKind::Tree,
        id: *id,
    }
}

fn content(node: &Node) -> &[BlobId] {
    node.content.as_deref().unwrap_or_default()
}

/// Whether two nodes are equal but for their content; the same metadata over other content is suspicious.
fn is_same_but_content(one: &Node, other: &Node) -> bool {
    let without = |node: &Node| Node {
        content: None,
        ..node.clone()
    };
    without(one) == without(other)
}

fn entry_path(directory: &[u8], node: &Node) -> Vec<u8> {
    let mut path = join_path(directory, &node.name);
    if node.kind == NodeKind::Dir {
        path.push(b'/');
    }
    path
}
