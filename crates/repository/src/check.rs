//! Check: whether a repository is whole, in every part that `docs/format.md` names.
//!
//! Structure: key files, index files, presence and size of every pack, snapshots, all trees and the blobs they
//! name. Content, on request: every blob of all packs or of some. Finds and reports; repairs nothing.
//! Opening a repository already checks the config and the key that is used.

mod data;
mod files;
mod packs;
mod progress;
mod report;
mod subset;
mod trees;

use std::sync::Arc;

use backend::FileKind;
use tokio_util::sync::CancellationToken;

use crate::index;
use crate::indexed::IndexedRepository;
use crate::repository::{LoadError, Repository, blocking};
use crate::snapshot::SnapshotFilter;
use crate::used::UsedBlobs;

pub use progress::{CheckAdvance, CheckProgress, CheckStep, NoCheckProgress};
pub use report::{CheckCounts, CheckError, CheckReport, CheckSummary, DamagedObject, Remedy};
pub use subset::{DataSubset, ParseSubsetError};

use report::Findings;

/// Which packs are read and verified.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum ReadData {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Some.
    Subset(DataSubset),
}

/// What to check.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Which packs are read and verified.
    pub read_data: ReadData,
    /// Also say how much no snapshot uses.
    pub check_unused: bool,
    /// Only the snapshots that match. Packs are then only read when these use them.
    pub filter: SnapshotFilter,
}

/// A check that could not be made; what a check finds is in the [`CheckReport`].
#[derive(Debug, thiserror::Error)]
pub enum CheckFailure {
    /// A listing failed, so nothing can be said.
    #[error("cannot check the repository")]
    List(#[source] LoadError),
    /// The caller asked to stop.
    #[error("the check was interrupted")]
    Cancelled,
}

/// Checks a repository. The caller holds a shared lock, so that nothing is removed meanwhile.
///
/// Beside the compact index this holds two bits and four bytes a blob, and packs within a budget.
pub async fn check(
    repository: &Repository,
    options: &CheckOptions,
    progress: &dyn CheckProgress,
    cancel: &CancellationToken,
) -> Result<CheckReport, CheckFailure> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(CheckFailure::Cancelled),
        report = run(repository, options, progress) => report,
    }
}

/// Writers store packs, then index files, then snapshots (`docs/format.md`, order of writes). Reading in the opposite order makes sure that
/// whatever is named by what was read is there, also while somebody writes.
async fn run(
    repository: &Repository,
    options: &CheckOptions,
    progress: &dyn CheckProgress,
) -> Result<CheckReport, CheckFailure> {
    let mut findings = Findings::new(progress);
    let is_filtered = options.filter != SnapshotFilter::default();
    files::check_keys(repository, &mut findings).await?;
    let roots = files::load_roots(repository, &options.filter, &mut findings).await?;
    let loaded = index::load_tolerant(repository)
        .await
        .map_err(CheckFailure::List)?;
    let listed = files::list(repository, FileKind::Pack).await?;

    files::report_index(&loaded, &mut findings);
    let is_index_whole = loaded.failures.is_empty();
    let repository = IndexedRepository::new(repository.clone(), loaded.index);
    let index = repository.shared_index();
    let order = Arc::new(blocking(move || index.by_pack()).await);
    let packs = packs::compare(&repository, &order, listed, is_index_whole, &mut findings);

    let used = Arc::new(UsedBlobs::new(repository.index()));
    let walked = trees::check(&repository, &used, roots, is_index_whole, &mut findings).await;
    if options.check_unused && !is_filtered && walked.is_complete {
        trees::report_unused(repository.index(), &used, &mut findings);
    }
    let readable = packs.into_iter().filter(|pack| {
        !is_filtered || packs::is_used(repository.index(), &order, &used, pack.number)
    });
    let chosen = subset::choose(readable.collect(), options.read_data, repository.index());
    data::check(&repository, &order, chosen, &mut findings).await;
    Ok(findings.finish())
}
