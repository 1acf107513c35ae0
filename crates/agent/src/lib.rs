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

pub mod arguments;
pub mod backup;
pub mod restore;

pub use clock::{Clock, SystemClock};
pub use hooks::{DEFAULT_DEADLINE as DEFAULT_HOOK_DEADLINE, HookError};
pub use reporter::{EventKind, ReportError, Reporter};
pub use storage::{Storage, StorageError};

/// What a run is: its session, its invoker, and in whose name it works.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// User of this process, as snapshots and locks carry it.
    pub username: String,
    /// When the session was created; its deadline counts from here.
    pub created: jiff::Timestamp,
}
