//! Trees and their nodes: one directory's entries, as the JSON that restic writes byte for byte
//! (`docs/format.md`, trees), so that equal directories are equal blobs whoever stored them.

use crate::id::BlobId;
use crate::repository::LoadError;
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
    /// Device of the file system; stored only for hard-linked files.
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

/// A directory's entries, sorted by name bytes, names unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The entries.
    pub nodes: Vec<Node>,
}
