//! Searching snapshots: entries by pattern and time, and the places that use given blobs, trees or packs.
//!
//! Which snapshots, in which order, and how results are shown is the caller's business.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use repository::time::Time;
use repository::tree::{Node, NodeKind};
use repository::{BlobId, BlobKind, IndexedRepository, LoadError};
use tokio_util::sync::CancellationToken;

use crate::filter::PatternList;
use crate::walk::{Step, TreeWalk, WalkError, path_text};

/// Which entries are looked for.
#[derive(Debug, Clone, Default)]
pub struct FindQuery {
    /// Patterns, one of which the path must match; compiled without regard to case where that is wanted.
    pub patterns: PatternList,
    /// Entries modified before this are left out.
    pub oldest: Option<Time>,
    /// Entries modified after this are left out.
    pub newest: Option<Time>,
}

impl FindQuery {
    fn is_in_time(&self, node: &Node) -> bool {
        let moment = |time: &Time| (time.unix_seconds(), time.nanoseconds());
        // A node without a time is older than any.
        let modified = node.mtime.as_ref().map_or((i64::MIN, 0), moment);
        self.oldest
            .as_ref()
            .is_none_or(|oldest| modified >= moment(oldest))
            && self
                .newest
                .as_ref()
                .is_none_or(|newest| modified <= moment(newest))
    }
}

/// An error of a search.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The snapshot cannot be read to its end.
    #[error("cannot search the snapshot")]
    Walk {
        /// Why.
        #[source]
        source: WalkError,
    },
    /// It was cancelled.
    #[error("the search was cancelled")]
    Cancelled,
}

/// Tells every entry of a snapshot that the query matches: its path and its node.
/// A directory that cannot be read is told at the end; the search goes on behind it.
pub async fn find(
    repository: &IndexedRepository,
    tree: &BlobId,
    query: &FindQuery,
    on_match: &mut (dyn FnMut(&[u8], &Node) + Send),
    cancel: &CancellationToken,
) -> Result<(), FindError> {
    let patterns = query.patterns.clone();
    let mut walk = TreeWalk::new(repository, *tree)
        .entering(move |path, _| patterns.matches(as_path(path)).may_match_below);
    visit(&mut walk, cancel, &mut |path, node, _| {
        if query.patterns.is_match(as_path(path)) && query.is_in_time(node) {
            on_match(path, node);
        }
    })
    .await
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

type Visitor<'a> = dyn FnMut(&[u8], &Node, &BlobId) + Send + 'a;

async fn visit(
    walk: &mut TreeWalk,
    cancel: &CancellationToken,
    visitor: &mut Visitor<'_>,
) -> Result<(), FindError> {
    let mut first: Option<(Vec<u8>, LoadError)> = None;
    while let Some(step) = walk.next().await {
        if cancel.is_cancelled() {
            return Err(FindError::Cancelled);
        }
        match step {
            Step::Node { path, node, tree } => visitor(&path, &node, &tree),
            Step::Unreadable { path, source } => {
                first.get_or_insert((path, source));
            }
            Step::Enter { .. } | Step::Leave { .. } => {}
        }
    }
    match first {
        None => Ok(()),
        Some((path, source)) => Err(FindError::Walk {
            source: WalkError::Load {
                path: path_text(&path),
                source,
            },
        }),
    }
}

/// Ids to look for, given in full or by their first digits (at least [`SHORTEST_PREFIX`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectQuery {
    blobs: Vec<String>,
    trees: Vec<String>,
}

/// The fewest digits by which an id may be given.
pub const SHORTEST_PREFIX: usize = 4;

/// An id that nothing can be found by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectQueryError {
    /// Not the beginning of an id.
    #[error(
        "`{0}` is not an id: at least {SHORTEST_PREFIX} and at most 64 digits from 0 to 9 and a to f are needed"
    )]
    NotAnId(String),
    /// No pack of the index begins so.
    #[error("no pack `{0}` in the index")]
    NoPack(String),
}

impl ObjectQuery {
    /// Looks for data blobs.
    pub fn blobs(ids: &[String]) -> Result<Self, ObjectQueryError> {
        Ok(Self {
            blobs: checked(ids)?,
            trees: Vec::new(),
        })
    }

    /// Looks for trees.
    pub fn trees(ids: &[String]) -> Result<Self, ObjectQueryError> {
        Ok(Self {
            blobs: Vec::new(),
            trees: checked(ids)?,
        })
    }

    /// Looks for everything that lies in these packs.
    pub fn packs(repository: &IndexedRepository, ids: &[String]) -> Result<Self, ObjectQueryError> {
        let mut query = Self::default();
        for id in checked(ids)? {
            let mut is_known = false;
            for (handle, location) in repository.index().iter() {
                if location.pack.to_hex().starts_with(&id) {
                    is_known = true;
                    match handle.kind {
                        BlobKind::Data => query.blobs.push(handle.id.to_hex()),
                        BlobKind::Tree => query.trees.push(handle.id.to_hex()),
                    }
                }
            }
            if !is_known {
                return Err(ObjectQueryError::NoPack(id));
            }
        }
        query.blobs.sort_unstable();
        query.trees.sort_unstable();
        Ok(query)
    }

    fn has_blob(&self, id: &BlobId) -> bool {
        has(&self.blobs, id)
    }

    fn has_tree(&self, id: &BlobId) -> bool {
        has(&self.trees, id)
    }
}

/// Lower-case digits in order, each checked.
fn checked(ids: &[String]) -> Result<Vec<String>, ObjectQueryError> {
    let mut checked = Vec::with_capacity(ids.len());
    for id in ids {
        let text = id.to_ascii_lowercase();
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(SHORTEST_PREFIX..=64).contains(&text.len()) {
            return Err(ObjectQueryError::NotAnId(id.clone()));
        }
        checked.push(text);
    }
    checked.sort_unstable();
    Ok(checked)
}

/// Whether one of the sorted prefixes begins this id.
fn has(sorted: &[String], id: &BlobId) -> bool {
    if sorted.is_empty() {
        return false;
    }
    let id = id.to_hex();
    // A prefix sorts before what it begins, and only other prefixes of the same id can come between.
    let end = sorted.partition_point(|prefix| prefix.as_str() <= id.as_str());
    sorted[..end]
        .iter()
        .rev()
        .take_while(|prefix| prefix[..SHORTEST_PREFIX] == id[..SHORTEST_PREFIX])
        .any(|prefix| id.starts_with(prefix.as_str()))
}

/// A place where an object is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundObject {
    /// A blob of a file, or a tree.
    pub kind: BlobKind,
    /// The object.
    pub id: BlobId,
    /// The file that has the blob, or the directory that is the tree.
    pub path: Vec<u8>,
    /// The tree that names the file; none for a tree.
    pub parent_tree: Option<BlobId>,
}

/// Tells every place of a snapshot that uses an object of the query.
pub async fn find_objects(
    repository: &IndexedRepository,
    tree: &BlobId,
    query: &ObjectQuery,
    on_match: &mut (dyn FnMut(FoundObject) + Send),
    cancel: &CancellationToken,
) -> Result<(), FindError> {
    if query.has_tree(tree) {
        on_match(FoundObject {
            kind: BlobKind::Tree,
            id: *tree,
            path: b"/".to_vec(),
            parent_tree: None,
        });
    }
    let mut walk = TreeWalk::new(repository, *tree);
    visit(
        &mut walk,
        cancel,
        &mut |path, node, parent| match node.kind {
            NodeKind::Dir => {
                if let Some(id) = node.subtree.filter(|id| query.has_tree(id)) {
                    on_match(FoundObject {
                        kind: BlobKind::Tree,
                        id,
                        path: path.to_vec(),
                        parent_tree: None,
                    });
                }
            }
            NodeKind::File => {
                for id in node
                    .content
                    .iter()
                    .flatten()
                    .filter(|id| query.has_blob(id))
                {
                    on_match(FoundObject {
                        kind: BlobKind::Data,
                        id: *id,
                        path: path.to_vec(),
                        parent_tree: Some(*parent),
                    });
                }
            }
            _ => {}
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(begin: &str) -> BlobId {
        format!("{begin:0<64}").parse().unwrap()
    }

    #[test]
    fn ids_are_found_by_any_of_their_prefixes() {
        let ids = ["abcd", "abcd12", "abcdef", "0000"].map(String::from);
        let query = ObjectQuery::blobs(&ids).unwrap();
        assert!(query.has_blob(&id("abcd99")));
        assert!(query.has_blob(&id("0000ff")));
        assert!(!query.has_blob(&id("abce")));
        assert!(!query.has_tree(&id("abcd")));
    }

    #[test]
    fn a_prefix_that_is_too_short_or_no_hex_is_refused() {
        for text in ["abc", "", "ghij", &"a".repeat(65)] {
            assert!(ObjectQuery::trees(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
