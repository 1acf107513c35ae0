//! Walking the trees of a snapshot: finding a folder in it, and visiting every entry in order while the
//! trees ahead are already being read.
//!
//! What is done with an entry (restore, list, search, pack into an archive) is the caller's business.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use repository::tree::{Node, NodeKind, Tree};
use repository::{BlobId, IndexedRepository, LoadError};
use tokio_util::task::AbortOnDropHandle;

/// Trees of one directory's children that are read ahead.
const READ_AHEAD: usize = 8;

/// A path in a snapshot that cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// A tree cannot be read.
    #[error("cannot read the directory `{path}` of the snapshot")]
    Load {
        /// The directory in the snapshot.
        path: String,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// Nothing is at this path.
    #[error("path `{path}` not found in the snapshot")]
    NotFound {
        /// The first part that does not exist.
        path: String,
    },
    /// A directory is needed where something else is.
    #[error("`{path}` should be a directory, but is a {kind}")]
    NotADirectory {
        /// The part of the path that is no directory.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A directory's entry names no tree.
    #[error("the directory `{path}` of the snapshot names no tree: the snapshot is damaged")]
    NoTree {
        /// The directory.
        path: String,
    },
}

/// restic's word for a kind of node.
pub const fn kind_word(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Dir => "dir",
        NodeKind::Symlink => "symlink",
        NodeKind::Dev => "dev",
        NodeKind::CharDev => "chardev",
        NodeKind::Fifo => "fifo",
        NodeKind::Socket => "socket",
        NodeKind::Irregular => "irregular",
    }
}

/// The text of a path in a snapshot; bytes that are no UTF-8 are replaced.
pub fn path_text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A path in a snapshot as a path of this machine.
pub fn os_path(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

/// The path of an entry: its directory's path, a slash, its name. The root is `/`.
pub fn join_path(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(directory.len() + name.len() + 1);
    path.extend_from_slice(directory.strip_suffix(b"/").unwrap_or(directory));
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// Whether a name may stand for one file of a directory: not empty, neither `.` nor `..`,
/// without slash or NUL.
pub fn is_plain_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

/// What a path in a snapshot leads to.
#[derive(Debug)]
pub enum Found {
    /// The root, or the folder at the path: its tree and, but for the root, its node.
    Dir(BlobId, Option<Box<Node>>),
    /// Anything else.
    Other(Box<Node>),
}

/// The parts of a path, without empty parts and `.`; `..` goes up, at most to the root.
fn parts(path: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts
}

/// What lies at a path below a tree.
pub async fn find(
    repository: &IndexedRepository,
    root: &BlobId,
    path: &[u8],
) -> Result<Found, WalkError> {
    let mut found = Found::Dir(*root, None);
    let mut reached = b"/".to_vec();
    for name in parts(path) {
        let tree = match &found {
            Found::Dir(tree, _) => *tree,
            Found::Other(node) => {
                return Err(WalkError::NotADirectory {
                    path: path_text(&reached),
                    kind: kind_word(node.kind),
                });
            }
        };
        let tree = repository
            .load_tree(&tree)
            .await
            .map_err(|source| WalkError::Load {
                path: path_text(&reached),
                source,
            })?;
        reached = join_path(&reached, name);
        let Some(node) = tree.nodes.into_iter().find(|node| node.name == name) else {
            return Err(WalkError::NotFound {
                path: path_text(&reached),
            });
        };
        found = match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(tree)) => Found::Dir(tree, Some(Box::new(node))),
            (NodeKind::Dir, None) => {
                return Err(WalkError::NoTree {
                    path: path_text(&reached),
                });
            }
            _ => Found::Other(Box::new(node)),
        };
    }
    Ok(found)
}

/// The tree of a folder below a tree; without a folder, the tree itself.
pub async fn find_tree(
    repository: &IndexedRepository,
    root: &BlobId,
    subfolder: Option<&str>,
) -> Result<BlobId, WalkError> {
    match find(repository, root, subfolder.unwrap_or_default().as_bytes()).await? {
        Found::Dir(tree, _) => Ok(tree),
        Found::Other(node) => Err(WalkError::NotADirectory {
            path: subfolder.unwrap_or_default().to_owned(),
            kind: kind_word(node.kind),
        }),
    }
}

/// One step of a walk.
#[derive(Debug)]
pub enum Step {
    /// An entry. A directory's entries follow it, unless the walk's filter keeps out of it.
    Node {
        /// Path in the snapshot, beginning with `/`.
        path: Vec<u8>,
        /// The entry.
        node: Box<Node>,
        /// The tree that names it.
        tree: BlobId,
    },
    /// The entries of a directory begin.
    Enter {
        /// Path of the directory; `/` for the root.
        path: Vec<u8>,
        /// Its tree.
        tree: BlobId,
        /// The names of all its entries, when the walk was asked for them.
        names: Vec<Vec<u8>>,
    },
    /// The entries of a directory are through.
    Leave {
        /// Path of the directory.
        path: Vec<u8>,
    },
    /// A directory's entries cannot be read; the walk goes on behind it.
    Unreadable {
        /// Path of the directory.
        path: Vec<u8>,
        /// Why.
        source: LoadError,
    },
}

type Descend = Box<dyn FnMut(&[u8], &Node) -> bool + Send>;
type Loading = AbortOnDropHandle<Result<Tree, LoadError>>;

/// A walk through all trees below one, parents before children, entries in the order of their tree.
pub struct TreeWalk {
    repository: IndexedRepository,
    descend: Descend,
    with_names: bool,
    /// The directory whose entries come next.
    opening: Option<Opening>,
    frames: Vec<Frame>,
}

struct Opening {
    path: Vec<u8>,
    tree: BlobId,
    loading: Loading,
}

struct Frame {
    path: Vec<u8>,
    tree: BlobId,
    nodes: std::vec::IntoIter<Node>,
    /// Nodes taken out of `nodes` to look for directories, with the reading of those entered.
    ahead: VecDeque<(Node, Option<Loading>)>,
    loading_count: usize,
}

impl std::fmt::Debug for TreeWalk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TreeWalk")
            .field("depth", &self.frames.len())
            .finish_non_exhaustive()
    }
}

impl TreeWalk {
    /// A walk below this tree. Must be called within a tokio runtime.
    pub fn new(repository: &IndexedRepository, root: BlobId) -> Self {
        let mut walk = Self {
            repository: repository.clone(),
            descend: Box::new(|_, _| true),
            with_names: false,
            opening: None,
            frames: Vec::new(),
        };
        walk.opening = Some(Opening {
            path: b"/".to_vec(),
            tree: root,
            loading: walk.load(root),
        });
        walk
    }

    /// Enters only the directories for which this says so.
    #[must_use]
    pub fn entering(mut self, descend: impl FnMut(&[u8], &Node) -> bool + Send + 'static) -> Self {
        self.descend = Box::new(descend);
        self
    }

    /// Puts the names of all entries into every [`Step::Enter`].
    #[must_use]
    pub fn with_names(mut self) -> Self {
        self.with_names = true;
        self
    }

    fn load(&self, tree: BlobId) -> Loading {
        let repository = self.repository.clone();
        AbortOnDropHandle::new(tokio::spawn(
            async move { repository.load_tree(&tree).await },
        ))
    }

    /// The next step; none when the walk is over. Must be awaited within the runtime.
    pub async fn next(&mut self) -> Option<Step> {
        if let Some(opening) = self.opening.take() {
            return Some(self.open(opening).await);
        }
        self.read_ahead();
        let frame = self.frames.last_mut()?;
        let Some((node, loading)) = frame.ahead.pop_front() else {
            let path = self
                .frames
                .pop()
                .map(|frame| frame.path)
                .unwrap_or_default();
            return Some(Step::Leave { path });
        };
        let path = join_path(&frame.path, &node.name);
        let tree = frame.tree;
        if let Some(loading) = loading {
            frame.loading_count -= 1;
            if let Some(subtree) = node.subtree {
                self.opening = Some(Opening {
                    path: path.clone(),
                    tree: subtree,
                    loading,
                });
            }
        }
        Some(Step::Node {
            path,
            node: Box::new(node),
            tree,
        })
    }

    async fn open(&mut self, opening: Opening) -> Step {
        let Opening {
            path,
            tree,
            loading,
        } = opening;
        let loaded = match loading.await {
            Ok(loaded) => loaded,
            Err(source) => Err(LoadError::Damaged {
                object: format!("tree {tree}"),
                reason: source.to_string(),
            }),
        };
        match loaded {
            Ok(mut content) => {
                // Trees are sorted; in a damaged one a name that comes twice is found only when it is, too.
                if !content
                    .nodes
                    .is_sorted_by(|one, other| one.name <= other.name)
                {
                    content
                        .nodes
                        .sort_by(|one, other| one.name.cmp(&other.name));
                }
                let names = if self.with_names {
                    content.nodes.iter().map(|node| node.name.clone()).collect()
                } else {
                    Vec::new()
                };
                self.frames.push(Frame {
                    path: path.clone(),
                    tree,
                    nodes: content.nodes.into_iter(),
                    ahead: VecDeque::new(),
                    loading_count: 0,
                });
                Step::Enter { path, tree, names }
            }
            Err(source) => Step::Unreadable { path, source },
        }
    }

    /// Begins to read the trees of the next few directories of the innermost frame.
    fn read_ahead(&mut self) {
        let Some(mut frame) = self.frames.pop() else {
            return;
        };
        while frame.loading_count < READ_AHEAD {
            let Some(node) = frame.nodes.next() else {
                break;
            };
            let loading = match node.subtree {
                Some(subtree) if node.kind == NodeKind::Dir => {
                    let path = join_path(&frame.path, &node.name);
                    (self.descend)(&path, &node).then(|| self.load(subtree))
                }
                _ => None,
            };
            frame.loading_count += usize::from(loading.is_some());
            frame.ahead.push_back((node, loading));
        }
        self.frames.push(frame);
    }
}
