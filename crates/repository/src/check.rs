//! Check: whether a repository is whole (`docs/format.md`, checks).
//!
//! Structure: every index file, every pack's presence and size, every snapshot, every tree, every blob they
//! name. Content, on request: every blob of all packs or of some. Finds and reports; repairs nothing.

mod data;
mod read_data;
mod report;
mod structure;

use std::sync::Arc;

use backend::{BackendError, FileKind};

use crate::index;
use crate::indexed::IndexedRepository;
use crate::repository::{LoadError, Repository};
use crate::used;

pub use read_data::{ParseReadDataError, ReadData};
pub use report::{CheckError, CheckReport, CheckSubject};

/// What to check beside the structure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CheckOptions {
    /// Which packs are read and verified.
    pub read_data: ReadData,
}

/// A check that could not be made; what a check finds is in the [`CheckReport`].
#[derive(Debug, thiserror::Error)]
pub enum CheckFailure {
    /// A listing failed, so nothing can be said.
    #[error("cannot list the {kind} files")]
    List {
        /// What was to be listed.
        kind: FileKind,
        /// Why.
        #[source]
        source: BackendError,
    },
    /// The same, for index files or snapshots.
    #[error("cannot start the check")]
    Load(#[source] LoadError),
}

/// What check is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckStep {
    /// Reading index files and comparing them with the packs that are there.
    Packs,
    /// Reading all trees of all snapshots.
    Trees,
    /// Reading packs.
    Data,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// The step.
    pub step: CheckStep,
    /// Trees or packs done.
    pub done: u64,
    /// To be done, where it is known.
    pub total: Option<u64>,
    /// Bytes of packs read so far.
    pub bytes: u64,
}

/// Receives the progress of a check.
pub type Progress<'a> = &'a (dyn Fn(CheckProgress) + Send + Sync);

/// Checks a repository.
///
/// Without an exclusive lock a backup that goes on meanwhile adds no errors: snapshots are listed before the
/// index is read. A prune that goes on does.
pub async fn check(
    repository: &Repository,
    options: &CheckOptions,
    progress: Progress<'_>,
) -> Result<CheckReport, CheckFailure> {
    let mut report = CheckReport::default();
    let roots = used::roots(repository, &[])
        .await
        .map_err(CheckFailure::Load)?;
    let loaded = index::load_tolerant(repository)
        .await
        .map_err(CheckFailure::Load)?;
    let packs = repository
        .list(FileKind::Pack)
        .await
        .map_err(|source| CheckFailure::List {
            kind: FileKind::Pack,
            source,
        })?;
    let index::TolerantIndex {
        index,
        failures,
        repeated_packs,
    } = loaded;
    structure::report_index(&failures, repeated_packs, &mut report);
    let repository = IndexedRepository::new(repository.clone(), index);
    let order = Arc::new(structure::order(&repository).await);
    let readable = structure::check_packs(&repository, &order, &packs, &mut report);
    progress(CheckProgress {
        step: CheckStep::Packs,
        done: report.packs,
        total: Some(report.packs),
        bytes: 0,
    });
    structure::check_trees(&repository, roots, &mut report, progress).await;
    let first_byte = |pack: u32| repository.index().packs()[pack as usize].as_bytes()[0];
    let chosen = options.read_data.choose(readable, first_byte);
    data::check_packs(&repository, &order, chosen, &mut report, progress).await;
    Ok(report)
}
