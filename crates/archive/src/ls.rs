//! Listing a snapshot: which entries `ls` shows, and what it tells of each, in restic's words and JSON fields.
//!
//! Formatting, colours and sorting are left to callers.

use repository::time::Time;
use repository::tree::{Node, NodeKind};
use repository::{BlobId, IndexedRepository, LoadError};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::walk::{Step, TreeWalk, WalkError, kind_word, path_text};

/// What is listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Absolute paths in the snapshot: only these and their direct entries are listed. Empty lists everything.
    pub directories: Vec<Vec<u8>>,
    /// Lists all that is below the directories, too.
    pub recursive: bool,
}

/// Why a listing ended early.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A directory cannot be read; all others have been listed.
    #[error("the list is incomplete")]
    Incomplete {
        /// Why.
        #[source]
        source: WalkError,
    },
    /// It was cancelled.
    #[error("the listing was cancelled")]
    Cancelled,
}

/// Tells every entry below a tree that the options ask for, in the order of the snapshot.
pub async fn list(
    repository: &IndexedRepository,
    tree: &BlobId,
    options: &ListOptions,
    on_entry: &mut (dyn FnMut(&[u8], &Node) + Send),
    cancel: &CancellationToken,
) -> Result<(), ListError> {
    let scope = Scope::new(options);
    let entering = scope.clone();
    let mut walk = TreeWalk::new(repository, *tree).entering(move |path, _| entering.enters(path));
    let mut first: Option<(Vec<u8>, LoadError)> = None;
    while let Some(step) = walk.next().await {
        if cancel.is_cancelled() {
            return Err(ListError::Cancelled);
        }
        match step {
            Step::Node { path, node, .. } if scope.shows(&path) => on_entry(&path, &node),
            Step::Unreadable { path, source } => {
                first.get_or_insert((path, source));
            }
            Step::Node { .. } | Step::Enter { .. } | Step::Leave { .. } => {}
        }
    }
    match first {
        None => Ok(()),
        Some((path, source)) => {
            let source = WalkError::Load {
                path: path_text(&path),
                source,
            };
            Err(ListError::Incomplete { source })
        }
    }
}

#[derive(Clone)]
struct Scope {
    /// Without a slash at the end; the root is empty.
    directories: Vec<Vec<u8>>,
    recursive: bool,
}

impl Scope {
    fn new(options: &ListOptions) -> Self {
        let clean = |path: &Vec<u8>| {
            let path = crate::path::clean(&crate::walk::os_path(path));
            let path = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
            path.strip_suffix(b"/").unwrap_or(path).to_vec()
        };
        Self {
            directories: options.directories.iter().map(clean).collect(),
            recursive: options.recursive,
        }
    }

    fn shows(&self, path: &[u8]) -> bool {
        self.directories.is_empty()
            || self.directories.iter().any(|directory| {
                let is_entry = path.rsplitn(2, |byte| *byte == b'/').nth(1) == Some(directory);
                path == directory || is_entry || (self.recursive && is_below(path, directory))
            })
    }

    fn enters(&self, path: &[u8]) -> bool {
        self.directories.is_empty()
            || self.directories.iter().any(|directory| {
                path == directory
                    || is_below(directory, path)
                    || (self.recursive && is_below(path, directory))
            })
    }
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// The mode in letters as Go's `FileMode` writes it: `drwxr-xr-x`, `Lrwxrwxrwx`, `urwxr-xr-x`.
pub fn permissions(node: &Node) -> String {
    // From the highest bit of Go's mode downwards.
    const LETTERS: &[u8] = b"dalTLDpSugct?";
    let mode = node.go_mode();
    let mut text = String::new();
    for (letter, bit) in LETTERS.iter().zip((0..32).rev()) {
        if mode & (1 << bit) != 0 {
            text.push(char::from(*letter));
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (letter, bit) in b"rwxrwxrwx".iter().zip((0..9).rev()) {
        text.push(if mode & (1 << bit) == 0 {
            '-'
        } else {
            char::from(*letter)
        });
    }
    text
}

/// An entry as `ls --json` writes it.
#[derive(Debug, Clone, Serialize)]
pub struct ListedNode {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    path: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "is_zero_u32")]
    mode: u32,
    permissions: String,
    mtime: Time,
    atime: Time,
    ctime: Time,
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    message_type: &'static str,
    struct_type: &'static str,
}

impl ListedNode {
    /// The entry at a path. Bytes that are no UTF-8 are replaced.
    pub fn new(path: &[u8], node: &Node) -> Self {
        Self {
            name: path_text(&node.name),
            kind: kind_word(node.kind),
            path: path_text(path),
            uid: node.uid,
            gid: node.gid,
            size: (node.kind == NodeKind::File).then_some(node.size),
            mode: node.go_mode(),
            permissions: permissions(node),
            mtime: node.mtime.unwrap_or(Time::ZERO),
            atime: node.atime.unwrap_or(Time::ZERO),
            ctime: node.ctime.unwrap_or(Time::ZERO),
            inode: node.inode,
            message_type: "node",
            struct_type: "node",
        }
    }
}

/// An entry as `find --json` writes it.
#[derive(Debug, Clone, Serialize)]
pub struct FoundNode {
    path: String,
    permissions: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero_u32")]
    mode: u32,
    mtime: Time,
    atime: Time,
    ctime: Time,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    device_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    links: u64,
    #[serde(rename = "linktarget", skip_serializing_if = "String::is_empty")]
    link_target: String,
}

impl FoundNode {
    /// The entry at a path. Bytes that are no UTF-8 are replaced.
    pub fn new(path: &[u8], node: &Node) -> Self {
        Self {
            path: path_text(path),
            permissions: permissions(node),
            kind: kind_word(node.kind),
            mode: node.go_mode(),
            mtime: node.mtime.unwrap_or(Time::ZERO),
            atime: node.atime.unwrap_or(Time::ZERO),
            ctime: node.ctime.unwrap_or(Time::ZERO),
            uid: node.uid,
            gid: node.gid,
            user: node.user.clone(),
            group: node.group.clone(),
            inode: node.inode,
            device_id: node.device_id,
            size: node.size,
            links: node.links,
            link_target: path_text(&node.link_target),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero_u32(number: &u32) -> bool {
    *number == 0
}
