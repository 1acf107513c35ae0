//! What can go wrong in a task.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// The failure of a task. The chain of sources is printed by `report::failure`.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("starting `{program}`")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("`{command}` ended with {status}")]
    Status { command: String, status: ExitStatus },
    #[error("reading {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("writing {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("understanding the output of `{command}`")]
    Json {
        command: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{check}: {count} problem(s), listed above")]
    Problems { check: &'static str, count: usize },
    #[error("{0}")]
    Refused(String),
}
