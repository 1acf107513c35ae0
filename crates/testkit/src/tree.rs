//! Folders described with all metadata, and compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

/// What an entry is, with what only its kind has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Size in bytes.
        bytes: u64,
        /// SHA-256 of the content, in hex.
        content: String,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// Where it points, as bytes.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice {
        /// Its number.
        device: u64,
    },
    /// A block device.
    BlockDevice {
        /// Its number.
        device: u64,
    },
}

/// All that can be told of a name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The twelve mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Extended attributes, ACLs among them.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the tree that is the same file; absent when there is no other.
    pub same_as: Option<Vec<u8>>,
    /// Bytes that the file takes on disk.
    pub allocated_bytes: u64,
}

/// What to compare. The default is everything that this process could have restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a list of switches, named at the place of use"
)]
pub struct CompareOptions {
    /// The two folders themselves, not only what is in them.
    pub root: bool,
    /// Owner and group. By default only as root.
    pub owners: bool,
    /// Mode bits.
    pub modes: bool,
    /// Modification times of everything but symbolic links.
    pub mtimes: bool,
    /// Modification times of symbolic links.
    pub symlink_mtimes: bool,
    /// Extended attributes and ACLs.
    pub attributes: bool,
    /// Which names are the same file.
    pub hard_links: bool,
    /// Sockets, which restic leaves out of its snapshots.
    pub sockets: bool,
    /// That no file of the second tree takes more room than in the first (by more than 64 KiB).
    pub sparseness: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            root: false,
            owners: crate::is_root(),
            modes: true,
            mtimes: true,
            symlink_mtimes: true,
            attributes: true,
            hard_links: true,
            sockets: true,
            sparseness: false,
        }
    }
}

impl CompareOptions {
    /// All that a restore by restic makes: no sockets.
    pub fn restored_by_restic() -> Self {
        Self {
            sockets: false,
            ..Self::default()
        }
    }

    /// Names, kinds and contents only.
    pub fn content_only() -> Self {
        Self {
            root: false,
            owners: false,
            modes: false,
            mtimes: false,
            symlink_mtimes: false,
            attributes: false,
            hard_links: false,
            sockets: true,
            sparseness: false,
        }
    }
}

/// Everything below a folder, by path relative to it; the folder itself has the empty path.
pub fn describe_tree(root: &Path) -> BTreeMap<Vec<u8>, Entry> {
    let mut found = BTreeMap::new();
    let mut files = BTreeMap::new();
    describe(root, Vec::new(), &mut found, &mut files);
    let mut groups: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, identity) in files {
        groups.entry(identity).or_default().push(path);
    }
    for group in groups.into_values().filter(|group| group.len() > 1) {
        for path in &group {
            if let Some(entry) = found.get_mut(path) {
                entry.same_as = group.first().cloned();
            }
        }
    }
    found
}

/// What differs between two trees, a line each; empty when they are the same.
pub fn compare_trees(expected: &Path, actual: &Path, options: &CompareOptions) -> Vec<String> {
    let (expected, actual) = (describe_tree(expected), describe_tree(actual));
    let mut differences = Vec::new();
    let is_wanted = |path: &[u8], entry: &Entry| {
        (options.root || !path.is_empty()) && (options.sockets || !is_socket(entry))
    };
    for (path, entry) in expected
        .iter()
        .filter(|(path, entry)| is_wanted(path, entry))
    {
        match actual.get(path) {
            None => differences.push(format!("{}: missing ({:?})", readable(path), entry.kind)),
            Some(other) => {
                for difference in compare_entries(entry, other, options) {
                    differences.push(format!("{}: {difference}", readable(path)));
                }
            }
        }
    }
    for (path, entry) in actual.iter().filter(|(path, entry)| is_wanted(path, entry)) {
        if !expected.contains_key(path) {
            differences.push(format!(
                "{}: not expected ({:?})",
                readable(path),
                entry.kind
            ));
        }
    }
    differences
}

/// Fails the test unless the trees are the same.
pub fn assert_same_tree(expected: &Path, actual: &Path, options: &CompareOptions) {
    let differences = compare_trees(expected, actual, options);
    let shown = differences
        .iter()
        .take(40)
        .fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "  {line}");
            text
        });
    assert!(
        differences.is_empty(),
        "{} is not as {}: {} differences\n{shown}",
        actual.display(),
        expected.display(),
        differences.len()
    );
}

fn describe(
    path: &Path,
    name: Vec<u8>,
    found: &mut BTreeMap<Vec<u8>, Entry>,
    files: &mut BTreeMap<Vec<u8>, (u64, u64)>,
) {
    let context =
        |error: std::io::Error| -> ! { panic!("cannot describe {}: {error}", path.display()) };
    let metadata = path
        .symlink_metadata()
        .unwrap_or_else(|error| context(error));
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap_or_else(|error| context(error)) {
            let entry = entry.unwrap_or_else(|error| context(error));
            let mut below = name.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(entry.file_name().as_bytes());
            describe(&entry.path(), below, found, files);
        }
    } else if metadata.nlink() > 1 {
        files.insert(name.clone(), (metadata.dev(), metadata.ino()));
    }
    let entry = Entry {
        kind: kind(path, &metadata).unwrap_or_else(|error| context(error)),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        attributes: attributes(path).unwrap_or_else(|error| context(error)),
        same_as: None,
        allocated_bytes: metadata.blocks() * 512,
    };
    found.insert(name, entry);
}

fn kind(path: &Path, metadata: &Metadata) -> std::io::Result<EntryKind> {
    let file_type = metadata.file_type();
    Ok(if file_type.is_dir() {
        EntryKind::Folder
    } else if file_type.is_symlink() {
        EntryKind::Symlink {
            target: fs::read_link(path)?.into_os_string().into_vec(),
        }
    } else if file_type.is_fifo() {
        EntryKind::Fifo
    } else if file_type.is_socket() {
        EntryKind::Socket
    } else if file_type.is_char_device() {
        EntryKind::CharacterDevice {
            device: metadata.rdev(),
        }
    } else if file_type.is_block_device() {
        EntryKind::BlockDevice {
            device: metadata.rdev(),
        }
    } else {
        EntryKind::File {
            bytes: metadata.len(),
            content: content(path)?,
        }
    })
}

fn content(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&buffer[..length]),
        }
    }
}

fn attributes(path: &Path) -> std::io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let names = match xattr::list(path) {
        // A filesystem, or a kind of file, without extended attributes.
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return Ok(found),
        names => names?,
    };
    for name in names {
        if let Some(value) = xattr::get(path, &name)? {
            found.insert(name.into_vec(), value);
        }
    }
    Ok(found)
}

fn compare_entries(expected: &Entry, actual: &Entry, options: &CompareOptions) -> Vec<String> {
    let mut differences = Vec::new();
    let mut check = |is_wanted: bool,
                     what: &str,
                     expected: &dyn std::fmt::Debug,
                     actual: &dyn std::fmt::Debug| {
        let (expected, actual) = (format!("{expected:?}"), format!("{actual:?}"));
        if is_wanted && expected != actual {
            differences.push(format!("{what} is {actual}, expected {expected}"));
        }
    };
    let is_symlink = matches!(expected.kind, EntryKind::Symlink { .. });
    check(true, "kind", &expected.kind, &actual.kind);
    let octal = |entry: &Entry| format!("{:04o}", entry.mode);
    check(
        options.modes && !is_symlink,
        "mode",
        &octal(expected),
        &octal(actual),
    );
    check(
        options.owners,
        "owner",
        &(expected.uid, expected.gid),
        &(actual.uid, actual.gid),
    );
    let has_mtime = if is_symlink {
        options.symlink_mtimes
    } else {
        options.mtimes
    };
    check(has_mtime, "mtime", &expected.mtime, &actual.mtime);
    let readable_attributes = |entry: &Entry| -> Vec<String> {
        let one = |(name, value): (&Vec<u8>, &Vec<u8>)| {
            format!("{}={}", readable(name), hex::encode(value))
        };
        entry.attributes.iter().map(one).collect()
    };
    check(
        options.attributes,
        "attributes",
        &readable_attributes(expected),
        &readable_attributes(actual),
    );
    let same_as = |entry: &Entry| entry.same_as.as_deref().map(readable);
    check(
        options.hard_links,
        "hard link group",
        &same_as(expected),
        &same_as(actual),
    );
    if options.sparseness && actual.allocated_bytes > expected.allocated_bytes + (64 << 10) {
        check(
            true,
            "bytes on disk",
            &expected.allocated_bytes,
            &actual.allocated_bytes,
        );
    }
    differences
}

fn is_socket(entry: &Entry) -> bool {
    entry.kind == EntryKind::Socket
}

fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}
