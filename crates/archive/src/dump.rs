//! Writing one file of a snapshot, or a folder as a tar or zip archive, to a stream.
//!
//! Blobs are read ahead in order, within a budget of bytes, while the stream takes what came before.

mod acl;
mod stream;
mod tar;
mod zip;

use std::io::Write;

use repository::tree::{Node, NodeKind};
use repository::{BlobId, IndexedRepository, LoadError};
use tokio_util::sync::CancellationToken;

use crate::walk::{self, Found, WalkError, kind_word, path_text};
use stream::{Item, Source};

/// How a folder is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// POSIX tar with extended headers.
    #[default]
    Tar,
    /// Zip, its files deflated.
    Zip,
}

/// What was dumped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DumpSummary {
    /// Files, directories and links in the archive; 1 for a single file.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
    /// Entries that the format cannot hold (sockets; in a tar also devices and FIFOs, as restic leaves them out).
    pub left_out: u64,
}

/// Why a dump failed. What was written until then is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The path cannot be reached.
    #[error("cannot dump file")]
    Path {
        /// Why.
        #[source]
        source: WalkError,
    },
    /// What is at the path has no content.
    #[error("cannot dump file: `{path}` should be a file, but is a {kind}")]
    NotAFile {
        /// The path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A directory or a piece of content cannot be read.
    #[error("cannot read `{path}` of the snapshot")]
    Load {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// An entry's name, size or content does not fit together.
    #[error("cannot dump `{path}`: {reason}")]
    Damaged {
        /// The path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The stream does not take more.
    #[error("cannot write the output")]
    Output {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It was cancelled.
    #[error("the dump was cancelled")]
    Cancelled,
}

/// What lies at a path of a snapshot, for deciding before anything is written (an archive is not for a terminal).
#[derive(Debug)]
pub enum DumpTarget {
    /// A file.
    File {
        /// Its path.
        path: Vec<u8>,
        /// Its node.
        node: Box<Node>,
    },
    /// A folder: its path and its tree.
    Folder {
        /// Its path; `/` for the root.
        path: Vec<u8>,
        /// Its tree.
        tree: BlobId,
    },
}

/// Finds what lies at a path below a tree.
pub async fn find_target(
    repository: &IndexedRepository,
    root: &BlobId,
    path: &[u8],
) -> Result<DumpTarget, DumpError> {
    let clean = crate::path::clean(&walk::os_path(&walk::join_path(b"/", path)));
    let path = std::os::unix::ffi::OsStrExt::as_bytes(clean.as_os_str()).to_vec();
    match walk::find(repository, root, &path)
        .await
        .map_err(|source| DumpError::Path { source })?
    {
        Found::Dir(tree, _) => Ok(DumpTarget::Folder { path, tree }),
        Found::Other(node) if node.kind == NodeKind::File => Ok(DumpTarget::File { path, node }),
        Found::Other(node) => Err(DumpError::NotAFile {
            path: path_text(&path),
            kind: kind_word(node.kind),
        }),
    }
}

/// Writes a file as it is, a folder as an archive. The entries of a folder keep their whole path in the archive.
///
/// The stream is written on this task's thread and may block it; give it a thread that may.
pub async fn dump(
    repository: &IndexedRepository,
    target: &DumpTarget,
    format: ArchiveFormat,
    output: &mut (dyn Write + Send),
    cancel: &CancellationToken,
) -> Result<DumpSummary, DumpError> {
    match target {
        DumpTarget::File { path, node } => dump_file(repository, path, node, output, cancel).await,
        DumpTarget::Folder { path, tree } => {
            let source = Source::folder(repository, path, *tree);
            match format {
                ArchiveFormat::Tar => tar::write(source, output, cancel).await,
                ArchiveFormat::Zip => zip::write(source, output, cancel).await,
            }
        }
    }
}

async fn dump_file(
    repository: &IndexedRepository,
    path: &[u8],
    node: &Node,
    output: &mut (dyn Write + Send),
    cancel: &CancellationToken,
) -> Result<DumpSummary, DumpError> {
    let mut source = Source::file(repository, path, node.clone());
    let mut summary = DumpSummary {
        entries: 1,
        ..DumpSummary::default()
    };
    while let Some(item) = source.next(cancel).await? {
        if let Item::Data(data) = item {
            output
                .write_all(&data)
                .map_err(|source| DumpError::Output { source })?;
            summary.bytes += data.len() as u64;
        }
    }
    output
        .flush()
        .map_err(|source| DumpError::Output { source })?;
    Ok(summary)
}
