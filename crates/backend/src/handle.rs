//! Names of objects: a kind and a file name.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The kinds of objects in a repository, each in a folder of its own (`docs/format.md`, repository layout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// The single object `config`.
    Config,
    /// Key files, `keys/`.
    Key,
    /// Lock files, `locks/`.
    Lock,
    /// Snapshot files, `snapshots/`.
    Snapshot,
    /// Index files, `index/`.
    Index,
    /// Pack files, `data/`, in 256 folders named by the first two hex digits.
    Pack,
}

impl FileKind {
    /// Every kind, in the order of the layout.
    pub const ALL: [Self; 6] = [
        Self::Config,
        Self::Key,
        Self::Lock,
        Self::Snapshot,
        Self::Index,
        Self::Pack,
    ];

    /// The folder of this kind; empty for the config, which lies at the root.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Config => "",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }

    /// The singular word for messages: `config`, `key`, `lock`, `snapshot`, `index`, `pack`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Lock => "lock",
            Self::Snapshot => "snapshot",
            Self::Index => "index",
            Self::Pack => "pack",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// One object: its kind and its file name (64 hex digits, or `config`).
#[derive(Debug, Clone)]
pub struct Handle {
    kind: FileKind,
    name: String,
    is_metadata: bool,
}

/// What an object holds is no part of its name.
impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.name) == (other.kind, &other.name)
    }
}

impl Eq for Handle {}

impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, &self.name).hash(state);
    }
}

impl Handle {
    /// The handle of an object; the name is taken as it is.
    pub fn new(kind: FileKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            is_metadata: kind != FileKind::Pack,
        }
    }

    /// Says of a pack that nearly every command reads it, so that it must not go where reading is slow or dear.
    #[must_use]
    pub fn with_metadata(mut self) -> Self {
        self.is_metadata = true;
        self
    }

    /// Whether nearly every command reads the object: all but packs, and packs that were called so.
    pub const fn is_metadata(&self) -> bool {
        self.is_metadata
    }

    /// The handle of the config object.
    pub fn config() -> Self {
        Self::new(FileKind::Config, "config")
    }

    /// The kind of the object.
    pub const fn kind(&self) -> FileKind {
        self.kind
    }

    /// The file name of the object, without folders.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path below the repository's root, with `/` between its parts, as restic lays it out.
    pub fn path(&self) -> String {
        match self.kind {
            FileKind::Config => "config".to_owned(),
            FileKind::Pack => format!("data/{}/{}", self.name.get(..2).unwrap_or("00"), self.name),
            kind => format!("{}/{}", kind.folder(), self.name),
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FileKind::Config => formatter.write_str("config"),
            kind => write!(formatter, "{kind} {}", self.name),
        }
    }
}

/// Length of an object's name: a SHA-256 in hex.
const NAME_DIGITS: usize = 64;

/// Whether this is the name of a finished object. Names are lower case, or their path could not be rebuilt.
pub(crate) fn is_object_name(name: &str) -> bool {
    name.len() == NAME_DIGITS && is_hex(name)
}

pub(crate) fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a listing tells of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// File name without folders.
    pub name: String,
    /// Size in bytes as stored.
    pub size_bytes: u64,
}
