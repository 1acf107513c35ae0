//! What a backup reads: targets given as paths and where they appear in the snapshot, or one stream.
//!
//! Owns the layout: absolute targets are rebuilt from `/`, relative ones begin at their first name, `.` and
//! `/` stand for their entries, and equal names of different places get a number, all as restic does it.
//! Reading the files is `save`'s.

mod command;
mod layout;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::path::{absolute, clean};

pub(crate) use self::command::{CommandReader, CommandStopper};
pub(crate) use self::layout::LayoutNode;

/// Where the data comes from.
pub enum BackupSource {
    /// The paths of the options.
    Paths,
    /// A stream that becomes one file.
    Stdin {
        /// Its path in the snapshot.
        filename: PathBuf,
        /// The stream.
        reader: Box<dyn Read + Send>,
    },
    /// The standard output of a command that becomes one file. When the command fails, so does the backup.
    Command {
        /// Its path in the snapshot.
        filename: PathBuf,
        /// Program and arguments.
        command: Vec<OsString>,
    },
}

impl std::fmt::Debug for BackupSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paths => formatter.write_str("Paths"),
            Self::Stdin { filename, .. } => formatter.debug_tuple("Stdin").field(filename).finish(),
            Self::Command { filename, .. } => {
                formatter.debug_tuple("Command").field(filename).finish()
            }
        }
    }
}

/// Targets that cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// None of the targets exists.
    #[error("all source directories/files do not exist")]
    NothingExists,
    /// A directory whose entries are needed cannot be listed.
    #[error("cannot list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Two targets want the same place in the snapshot.
    #[error("the target {} is also another target's place in the snapshot", path.display())]
    Collision {
        /// The later target.
        path: PathBuf,
    },
    /// The name of a stream has no last component.
    #[error("{} is no name for a file in a snapshot", path.display())]
    StreamName {
        /// The name.
        path: PathBuf,
    },
    /// The working directory is unknown.
    #[error("cannot find the working directory")]
    WorkingDirectory(#[source] std::io::Error),
    /// The command cannot be started.
    #[error("cannot start the command {}", command.to_string_lossy())]
    Command {
        /// The program.
        command: OsString,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The targets that exist, as a tree.
#[derive(Debug)]
pub(crate) struct Targets {
    /// Absolute and cleaned, sorted: the `paths` of the snapshot.
    pub(crate) paths: Vec<PathBuf>,
    /// Targets that do not exist, as given.
    pub(crate) missing: Vec<PathBuf>,
    /// The top of the snapshot.
    pub(crate) layout: LayoutNode,
    pub(crate) working_directory: PathBuf,
}

impl Targets {
    /// Looks which targets exist and lays them out. Blocks on the file system.
    pub(crate) fn resolve(given: &[PathBuf]) -> Result<Self, TargetError> {
        let working_directory = std::env::current_dir().map_err(TargetError::WorkingDirectory)?;
        let (existing, missing): (Vec<_>, Vec<_>) = given.iter().cloned().partition(|path| {
            !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
        });
        if existing.is_empty() {
            return Err(TargetError::NothingExists);
        }
        let layout = LayoutNode::of_targets(&existing)?;
        let mut paths: Vec<_> = existing
            .iter()
            .map(|path| absolute(&working_directory, path))
            .collect();
        paths.sort();
        Ok(Self {
            paths,
            missing,
            layout,
            working_directory,
        })
    }
}

/// The place of a stream in the snapshot: an absolute path with at least one name.
pub(crate) fn stream_path(filename: &Path) -> Result<PathBuf, TargetError> {
    let path = clean(&Path::new("/").join(filename));
    let path = clean(Path::new(&path));
    if path.file_name().is_none() {
        return Err(TargetError::StreamName {
            path: filename.to_owned(),
        });
    }
    Ok(path)
}
