//! One run, from its start to its reported result: a backup session or a restore session.
//!
//! The same code runs in a Pod and in-process under `stash run`. It initialises the repository, runs hooks,
//! backs up or restores, applies retention, checks, and reports. It does not know when a run is due.

mod clock;
mod engine;
mod hooks;
mod reporter;
mod stop;
mod storage;

pub mod backup;
pub mod pod;
pub mod restore;

use std::path::PathBuf;
use std::sync::Arc;

use repository::lock::Judge;

pub use clock::{Clock, SystemClock};
pub use hooks::{HookError, HookPlace, HookRunner};
pub use reporter::{EventKind, ReportError, Reporter};
pub use storage::{Storage, StorageError};

/// What a run is: its session, its invoker, and in whose name it works.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name of the session.
    pub session: String,
    /// Namespace of session and invoker.
    pub namespace: String,
    /// Kind of the invoker.
    pub invoker_kind: String,
    /// Name of the invoker.
    pub invoker_name: String,
    /// Name of this machine or Pod, as locks carry it.
    pub machine: String,
    /// Who can prove that the holder of a lock is gone; nobody on one machine, where processes can be looked up.
    pub judge: Option<Arc<dyn Judge>>,
    /// User of this process, as snapshots and locks carry it.
    pub username: String,
    /// Where metadata of the repository is kept.
    pub cache: CachePlace,
    /// When the session was created; its deadline counts from here.
    pub created: jiff::Timestamp,
}

/// Where metadata of repositories is kept between runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CachePlace {
    /// Where restic keeps it.
    #[default]
    OfUser,
    /// In this folder.
    Folder(PathBuf),
    /// Nowhere.
    None,
}
