//! Walking trees: every node of a snapshot in order, or every tree once.

use std::collections::{HashSet, VecDeque};

use futures::{StreamExt as _, stream};

use crate::id::BlobId;
use crate::indexed::IndexedRepository;
use crate::repository::LoadError;
use crate::tree::{Node, NodeKind, Tree};

/// Deeper than any file system nests; a tree that claims more would only eat memory.
const MAX_DEPTH: usize = 8192;

/// A node with where it lies.
pub(super) struct PathNode<'a> {
    /// The node.
    pub(super) node: &'a Node,
    parent: &'a [u8],
}

impl PathNode<'_> {
    /// The path from the snapshot's root.
    pub(super) fn path(&self) -> Vec<u8> {
        [self.parent, b"/", &self.node.name].concat()
    }
}

/// One folder that is being walked.
struct Level {
    nodes: VecDeque<Node>,
    path: Vec<u8>,
}

/// Calls `visit` for every node, each folder before its content.
pub(super) async fn walk(
    repository: &IndexedRepository,
    root: BlobId,
    mut visit: impl FnMut(&PathNode<'_>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let level = |tree: Tree, path| Level {
        nodes: tree.nodes.into(),
        path,
    };
    let mut levels = vec![level(repository.load_tree(&root).await?, Vec::new())];
    while let Some(deepest) = levels.last_mut() {
        let Some(node) = deepest.nodes.pop_front() else {
            levels.pop();
            continue;
        };
        let place = PathNode {
            node: &node,
            parent: &deepest.path,
        };
        visit(&place)?;
        if node.kind != NodeKind::Dir {
            continue;
        }
        let path = place.path();
        let damaged = |reason: &str| LoadError::Damaged {
            object: format!("folder {}", path.escape_ascii()),
            reason: reason.to_owned(),
        };
        let Some(subtree) = &node.subtree else {
            return Err(damaged("it names no tree"));
        };
        if levels.len() >= MAX_DEPTH {
            return Err(damaged("it is nested too deep"));
        }
        let tree = repository.load_tree(subtree).await?;
        levels.push(level(tree, path));
    }
    Ok(())
}

/// Calls `visit` for every tree that is reachable, each once, in no order; several are loaded at a time.
pub(super) async fn visit_trees(
    repository: &IndexedRepository,
    roots: Vec<BlobId>,
    mut visit: impl FnMut(BlobId, &Tree),
) -> Result<(), LoadError> {
    let mut seen: HashSet<BlobId> = HashSet::new();
    let mut waiting: Vec<BlobId> = roots.into_iter().filter(|id| seen.insert(*id)).collect();
    while !waiting.is_empty() {
        let loads = std::mem::take(&mut waiting)
            .into_iter()
            .map(|id| async move { (id, repository.load_tree(&id).await) });
        let mut loaded =
            stream::iter(loads).buffer_unordered(repository.backend().connections().max(1));
        while let Some((id, tree)) = loaded.next().await {
            let tree = tree?;
            visit(id, &tree);
            let subtrees = tree
                .nodes
                .iter()
                .filter(|node| node.kind == NodeKind::Dir)
                .filter_map(|node| node.subtree);
            waiting.extend(subtrees.filter(|subtree| seen.insert(*subtree)));
        }
    }
    Ok(())
}
