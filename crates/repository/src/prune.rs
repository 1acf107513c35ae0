//! Prune: removes what no snapshot uses (`docs/format.md`, removal).
//!
//! Planned from the index and the used blobs, shown, then executed under the exclusive lock in an order that
//! is safe at any kill: new packs, new index files, old index files, old packs.

mod decide;
mod execute;
mod rewrite;
mod summary;

use std::ops::ControlFlow;
use std::sync::Arc;

use backend::{BackendError, FileKind};

use crate::blob::BlobHandle;
use crate::id::{PackId, SnapshotId};
use crate::indexed::IndexedRepository;
use crate::lock::{Lock, LockError};
use crate::repository::{LoadError, SaveError};
use crate::used::{self, UsedBlobs};

pub use summary::{PruneBlobs, PruneBytes, PrunePacks, PruneSummary};

/// How much unused data may stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxUnused {
    /// Any amount: only packs that are unused as a whole go.
    Unlimited,
    /// This many bytes.
    Bytes(u64),
    /// This share of the remaining size, from 0 to below 100.
    Percent(f64),
}

impl Default for MaxUnused {
    fn default() -> Self {
        Self::Percent(5.0)
    }
}

impl MaxUnused {
    /// Bytes that may stay beside so many used ones.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a size needs no more digits, and the cast saturates"
    )]
    fn bytes(self, used_bytes: u64) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) if percent >= 100.0 => u64::MAX,
            Self::Percent(percent) => (percent / (100.0 - percent) * used_bytes as f64) as u64,
        }
    }
}

/// What prune may do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PruneOptions {
    /// Unused data that may stay.
    pub max_unused: MaxUnused,
    /// Stop repacking before so many bytes are repacked; absent means no limit.
    pub max_repack_bytes: Option<u64>,
    /// Leave packs of data alone unless they are unused as a whole.
    pub repack_cacheable_only: bool,
    /// Join packs that are smaller than 80 % of the pack size; without it, those smaller than 3.2 MiB.
    pub repack_small: bool,
    /// Join packs that are smaller than this; outranks `repack_small`.
    pub repack_smaller_than_bytes: Option<u64>,
    /// Compress what is stored plain.
    pub repack_uncompressed: bool,
}

/// Why prune did not start or did not end. Whatever was removed before was not needed.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// A snapshot or a tree cannot be read, so nobody knows what it uses.
    #[error("cannot find the data that is still in use")]
    Load(#[source] LoadError),
    /// Used blobs that the index does not name.
    #[error(
        "{count} blobs that snapshots use are missing from the index, among them {example}: the repository is damaged, nothing was removed"
    )]
    Incomplete {
        /// How many.
        count: u64,
        /// One of them.
        example: BlobHandle,
    },
    /// Packs that are needed are not there.
    #[error(
        "{count} packs that are needed are missing from the repository, among them {}: nothing was removed",
        .example.short()
    )]
    MissingPacks {
        /// How many.
        count: usize,
        /// One of them.
        example: PackId,
    },
    /// A pack has another size than the index says.
    #[error(
        "pack {} has {actual_bytes} bytes instead of {expected_bytes}: the index or the pack is damaged, nothing was removed",
        .pack.short()
    )]
    PackSize {
        /// The pack.
        pack: PackId,
        /// Size by the index.
        expected_bytes: u64,
        /// Size in storage.
        actual_bytes: u64,
    },
    /// The lock that was given is not exclusive.
    #[error("prune needs the exclusive lock")]
    NotExclusive,
    /// The lock was lost: others may be at work, so prune stops.
    #[error("prune stopped")]
    Lock(#[source] LockError),
    /// A blob that must be kept cannot be read; nothing that holds a copy of it was removed.
    #[error("cannot repack")]
    Repack(#[source] LoadError),
    /// New packs or index files cannot be stored.
    #[error("cannot store repacked data")]
    Save(#[source] SaveError),
    /// The storage failed.
    #[error("cannot {action}")]
    Storage {
        /// What was being done.
        action: &'static str,
        /// Why.
        #[source]
        source: BackendError,
    },
}

/// What prune is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PruneStep {
    /// Removing packs that no index file names.
    RemoveUnreferenced,
    /// Storing again the used blobs of packs that will go.
    Repack,
    /// Writing index files without the packs that will go.
    WriteIndex,
    /// Removing the index files that were replaced.
    RemoveIndex,
    /// Removing packs.
    RemovePacks,
}

/// How far a step is, in packs or index files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneProgress {
    /// The step.
    pub step: PruneStep,
    /// Done so far.
    pub done: u64,
    /// To be done.
    pub total: u64,
}

/// What prune would do, decided; [`PrunePlan::execute`] does it.
#[derive(Debug)]
pub struct PrunePlan {
    repository: IndexedRepository,
    options: PruneOptions,
    used: Arc<UsedBlobs>,
    decision: decide::Decision,
}

/// Finds what is used by all snapshots but those to ignore, and decides what goes.
///
/// The index of `repository` must have been loaded under the lock that `execute` gets.
pub async fn plan(
    repository: &IndexedRepository,
    ignore_snapshots: &[SnapshotId],
    options: &PruneOptions,
) -> Result<PrunePlan, PruneError> {
    let repository = if repository.index().has_additions() {
        repository.load_index().await.map_err(PruneError::Load)?
    } else {
        repository.clone()
    };
    let used = find_used(&repository, ignore_snapshots).await?;
    let packs = repository
        .list(FileKind::Pack)
        .await
        .map_err(|source| PruneError::Storage {
            action: "list the packs",
            source,
        })?;
    let input = decide::Input {
        index: repository.index(),
        used: &used,
        packs,
        has_compression: repository.config().has_compression(),
        pack_bytes: repository.pack_size_bytes().into(),
    };
    let decision = decide::decide(&input, options)?;
    Ok(PrunePlan {
        repository,
        options: *options,
        used,
        decision,
    })
}

impl PrunePlan {
    /// The numbers.
    pub fn summary(&self) -> &PruneSummary {
        &self.decision.summary
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.decision.is_empty()
    }

    /// Packs that no index file names, to be removed.
    pub fn unreferenced_packs(&self) -> &[PackId] {
        &self.decision.unreferenced
    }

    /// Packs to be removed as they are.
    pub fn removed_packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.decision.remove.iter().map(|pack| self.pack_id(*pack))
    }

    /// Packs whose used blobs are stored again before they are removed.
    pub fn repacked_packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.decision.repack.iter().map(|pack| self.pack_id(*pack))
    }

    /// Does it. Stops when the lock is lost. The index of the repository in memory is out of date afterwards.
    pub async fn execute(
        self,
        lock: &Lock,
        progress: &(dyn Fn(PruneProgress) + Send + Sync),
    ) -> Result<PruneSummary, PruneError> {
        execute::execute(self, lock, progress).await
    }

    fn pack_id(&self, pack: u32) -> PackId {
        self.repository.index().packs()[pack as usize]
    }
}

async fn find_used(
    repository: &IndexedRepository,
    ignore_snapshots: &[SnapshotId],
) -> Result<Arc<UsedBlobs>, PruneError> {
    let roots = used::roots(repository, ignore_snapshots)
        .await
        .map_err(PruneError::Load)?;
    let roots = roots
        .into_iter()
        .map(|(id, root)| Ok((id, root?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(PruneError::Load)?;
    let used = Arc::new(UsedBlobs::new(repository.index()));
    let mut failure = None;
    let mut missing = 0;
    let mut example = None;
    used::walk(repository, &used, roots, &mut |visit| match visit.result {
        Ok(findings) => {
            missing += findings.missing.len() as u64;
            example = example.or_else(|| findings.missing.first().map(|(_, handle)| *handle));
            ControlFlow::Continue(())
        }
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })
    .await;
    match (failure, example) {
        (Some(error), _) => Err(PruneError::Load(error)),
        (None, Some(example)) => Err(PruneError::Incomplete {
            count: missing,
            example,
        }),
        (None, None) => Ok(used),
    }
}
