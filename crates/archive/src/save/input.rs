//! What is saved, found and opened before the first thread starts.

use std::path::PathBuf;
use std::sync::Arc;

use crate::save::{BackupError, BackupOptions};
use crate::source::{BackupSource, CommandReader, CommandStopper, Targets, stream_path};

/// What is saved, found and opened.
pub(crate) enum Input {
    Targets(Arc<Targets>),
    Stream {
        path: PathBuf,
        reader: Box<dyn std::io::Read + Send>,
        stopper: Option<CommandStopper>,
    },
}

impl Input {
    pub(crate) async fn resolve(
        options: &BackupOptions,
        source: BackupSource,
    ) -> Result<Self, BackupError> {
        match source {
            BackupSource::Paths => {
                let given = options.paths.clone();
                let resolved = tokio::task::spawn_blocking(move || Targets::resolve(&given)).await;
                let resolved =
                    resolved.map_err(|error| BackupError::Thread(std::io::Error::other(error)))?;
                Ok(Self::Targets(Arc::new(
                    resolved.map_err(BackupError::Targets)?,
                )))
            }
            BackupSource::Stdin { filename, reader } => {
                let path = stream_path(&filename).map_err(BackupError::Targets)?;
                Ok(Self::Stream {
                    path,
                    reader,
                    stopper: None,
                })
            }
            BackupSource::Command { filename, command } => {
                let path = stream_path(&filename).map_err(BackupError::Targets)?;
                let reader = CommandReader::start(&command).map_err(BackupError::Targets)?;
                let stopper = Some(reader.stopper());
                Ok(Self::Stream {
                    path,
                    reader: Box::new(reader),
                    stopper,
                })
            }
        }
    }

    pub(crate) fn snapshot_paths(&self) -> Vec<String> {
        match self {
            Self::Targets(targets) => targets
                .paths
                .iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
            Self::Stream { path, .. } => vec![path.to_string_lossy().into_owned()],
        }
    }

    pub(crate) fn missing(&self) -> &[PathBuf] {
        match self {
            Self::Targets(targets) => &targets.missing,
            Self::Stream { .. } => &[],
        }
    }

    pub(crate) fn filename(&self) -> PathBuf {
        match self {
            Self::Targets(_) => PathBuf::new(),
            Self::Stream { path, .. } => path.clone(),
        }
    }
}
