//! Trees and their nodes: one directory's entries, as the JSON that restic writes byte for byte
//! (`docs/format.md`, trees), so that equal directories are equal blobs whoever stored them.
//!
//! Loading and storing the blobs is left to `indexed` and `writer`, walking directories to `archive`.

mod printable;
mod quote;
mod read;
#[cfg(test)]
mod tests;
mod validate;
mod write;

pub use self::read::ParseTreeError;
pub use self::validate::TreeProblem;
use crate::id::BlobId;
use crate::time::Time;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Dev,
    /// A character device.
    CharDev,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something else; kept, never restored.
    Irregular,
}

impl NodeKind {
    /// The format's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Dev => "dev",
            Self::CharDev => "chardev",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Irregular => "irregular",
        }
    }

    /// The kind of a word; a word of a later version is something irregular.
    fn from_word(word: &str) -> Self {
        match word {
            "file" => Self::File,
            "dir" => Self::Dir,
            "symlink" => Self::Symlink,
            "dev" => Self::Dev,
            "chardev" => Self::CharDev,
            "fifo" => Self::Fifo,
            "socket" => Self::Socket,
            _ => Self::Irregular,
        }
    }
}

impl std::fmt::Display for NodeKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.word())
    }
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedAttribute {
    /// Name with its namespace, `user.comment`.
    pub name: String,
    /// Value, any bytes.
    pub value: Vec<u8>,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// File name: any bytes but NUL and `/`.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Unix permission bits with setuid, setgid and sticky, as in `st_mode & 0o7777`.
    /// (Go's `os.FileMode` exists only in the JSON.)
    pub mode: u32,
    /// Last modification.
    pub mtime: Option<Time>,
    /// Last access; restic writes the modification time unless told otherwise.
    pub atime: Option<Time>,
    /// Last change of the inode.
    pub ctime: Option<Time>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name; empty when unknown.
    pub user: String,
    /// Group's name; empty when unknown.
    pub group: String,
    /// Inode number.
    pub inode: u64,
    /// Device of the file system; restic stores it for every node.
    pub device_id: u64,
    /// Size in bytes of a file.
    pub size: u64,
    /// Number of hard links.
    pub links: u64,
    /// Target of a symbolic link, any bytes.
    pub link_target: Vec<u8>,
    /// Extended attributes, sorted as the file system lists them.
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// Attributes of other systems (Windows), kept as raw JSON.
    pub generic_attributes: Option<String>,
    /// Device number of a device node.
    pub device: u64,
    /// The blobs of a file in order; `None` is written as `null`.
    pub content: Option<Vec<BlobId>>,
    /// The tree of a directory.
    pub subtree: Option<BlobId>,
}

impl Node {
    /// A node of which only name and kind are known; content is `null`.
    pub fn new(name: impl Into<Vec<u8>>, kind: NodeKind) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: 0,
            mtime: None,
            atime: None,
            ctime: None,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: Vec::new(),
            extended_attributes: Vec::new(),
            generic_attributes: None,
            device: 0,
            content: None,
            subtree: None,
        }
    }

    /// The mode as restic writes it: Go's `os.FileMode`, kind and permissions in one number.
    pub fn go_mode(&self) -> u32 {
        let kind = match self.kind {
            NodeKind::File => 0,
            NodeKind::Dir => 1 << 31,
            NodeKind::Symlink => 1 << 27,
            NodeKind::Dev => 1 << 26,
            NodeKind::CharDev => 1 << 26 | 1 << 21,
            NodeKind::Fifo => 1 << 25,
            NodeKind::Socket => 1 << 24,
            NodeKind::Irregular => 1 << 19,
        };
        let moved = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
        let special = moved
            .iter()
            .filter(|(unix, _)| self.mode & unix != 0)
            .map(|(_, go)| go)
            .sum::<u32>();
        kind | special | self.mode & 0o777
    }

    /// The name for people: invalid UTF-8 replaced.
    pub fn name_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const STICKY: u32 = 1 << 20;

/// `st_mode & 0o7777` of a Go mode.
fn unix_mode(go: u32) -> u32 {
    let moved = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
    go & 0o777
        | moved
            .iter()
            .filter(|(_, bit)| go & bit != 0)
            .map(|(unix, _)| unix)
            .sum::<u32>()
}

/// A directory's entries, sorted by name bytes, names unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The entries.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// The JSON of the tree with its final newline: the plaintext of the tree blob. The nodes are written in the
    /// order they have; keeping them sorted and unique is the caller's part.
    pub fn to_json(&self) -> Vec<u8> {
        write::tree(self)
    }

    /// Reads the plaintext of a tree blob. Names and sizes are taken as they are, so that a hostile tree can be
    /// listed; ask [`Tree::problems`] or [`Node::validate`] before acting on one.
    pub fn from_json(json: &[u8]) -> Result<Self, ParseTreeError> {
        read::tree(json)
    }

    /// The node of this name, by binary search: in a tree that [`Tree::problems`] calls unsorted it may be missed.
    pub fn find(&self, name: &[u8]) -> Option<&Node> {
        let place = self
            .nodes
            .binary_search_by(|node| node.name.as_slice().cmp(name))
            .ok()?;
        self.nodes.get(place)
    }
}
