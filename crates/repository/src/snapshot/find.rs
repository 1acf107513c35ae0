//! Finding snapshots by what a user writes: an id, a prefix of one, `latest`.

use backend::{BackendError, FileKind};

use super::{Snapshot, SnapshotFilter, load_all};
use crate::id::SnapshotId;
use crate::repository::{LoadError, Repository};

/// Why no single snapshot was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No snapshot has an id that begins so.
    #[error("no snapshot matches `{reference}`")]
    NoMatch {
        /// What was looked for.
        reference: String,
    },
    /// `latest` among the snapshots of a filter, and there is none, or not that many.
    #[error("no snapshot matches `{reference}`{}", among(.filter))]
    NoneMatchesFilter {
        /// What was looked for.
        reference: String,
        /// Among which.
        filter: SnapshotFilter,
    },
    /// Several snapshots have ids that begin so.
    #[error("`{reference}` is ambiguous: {} snapshots match, among them {}", .ids.len(), some(.ids))]
    Ambiguous {
        /// What was looked for.
        reference: String,
        /// Those that match, in order.
        ids: Vec<SnapshotId>,
    },
    /// `ID:subfolder` where a whole snapshot is wanted.
    #[error("`{reference}` names a folder of a snapshot, and here whole snapshots are meant")]
    SubfolderNotAllowed {
        /// What was given.
        reference: String,
    },
    /// A snapshot cannot be read.
    #[error("cannot look for snapshot `{reference}`")]
    Load {
        /// What was looked for.
        reference: String,
        /// Why.
        #[source]
        source: LoadError,
    },
    /// The snapshots cannot be listed.
    #[error("cannot look for snapshot `{reference}`")]
    Storage {
        /// What was looked for.
        reference: String,
        /// Why.
        #[source]
        source: BackendError,
    },
}

fn among(filter: &SnapshotFilter) -> String {
    if filter.is_empty() {
        String::new()
    } else {
        format!(" among those of {filter}")
    }
}

fn some(ids: &[SnapshotId]) -> String {
    ids.iter()
        .take(3)
        .map(SnapshotId::short)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a user writes to name a snapshot or a folder in one: `ID`, `latest`, `ID:folder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRef {
    /// An id, a prefix of one, `latest` or `latest~N`.
    pub snapshot: String,
    /// A path in the snapshot; absent means its root.
    pub subfolder: Option<String>,
}

impl SnapshotRef {
    /// Splits at the first colon.
    pub fn parse(text: &str) -> Self {
        let (snapshot, subfolder) = text.split_once(':').unwrap_or((text, ""));
        let subfolder = (!subfolder.is_empty()).then(|| subfolder.to_owned());
        Self {
            snapshot: snapshot.to_owned(),
            subfolder,
        }
    }
}

impl std::fmt::Display for SnapshotRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.snapshot)?;
        self.subfolder
            .as_ref()
            .map_or(Ok(()), |folder| write!(formatter, ":{folder}"))
    }
}

/// The snapshot of a reference without subfolder. The filter narrows `latest` and `latest~N` (the N-th before
/// the latest) only; ids are looked up among all snapshots.
pub async fn find(
    repository: &Repository,
    reference: &str,
    filter: &SnapshotFilter,
) -> Result<(SnapshotId, Snapshot), FindError> {
    if let Some(age) = parse_latest(reference) {
        let snapshots = all(repository, reference).await?;
        return nth_latest(snapshots, age, reference, filter);
    }
    let id = resolve_prefix(repository, reference).await?;
    let snapshot = Snapshot::load(repository, &id)
        .await
        .map_err(|source| match source {
            LoadError::Storage { source, .. } if source.is_not_found() => FindError::NoMatch {
                reference: reference.to_owned(),
            },
            source => FindError::Load {
                reference: reference.to_owned(),
                source,
            },
        })?;
    Ok((id, snapshot))
}

/// The snapshots of several references, each once, in their order; without references all that the filter
/// matches, oldest first. The first reference that fails ends it.
pub async fn find_all(
    repository: &Repository,
    references: &[String],
    filter: &SnapshotFilter,
) -> Result<Vec<(SnapshotId, Snapshot)>, FindError> {
    if references.is_empty() {
        let mut snapshots = all(repository, "all").await?;
        snapshots.retain(|(_, snapshot)| filter.matches(snapshot));
        return Ok(snapshots);
    }
    let mut found: Vec<(SnapshotId, Snapshot)> = Vec::new();
    for reference in references {
        if reference.contains(':') {
            return Err(FindError::SubfolderNotAllowed {
                reference: reference.clone(),
            });
        }
        let (id, snapshot) = find(repository, reference, filter).await?;
        if found.iter().all(|(known, _)| *known != id) {
            found.push((id, snapshot));
        }
    }
    Ok(found)
}

/// 0 for `latest`, N for `latest~N`.
fn parse_latest(reference: &str) -> Option<usize> {
    match reference.strip_prefix("latest")? {
        "" => Some(0),
        age => age.strip_prefix('~')?.parse().ok(),
    }
}

fn nth_latest(
    mut snapshots: Vec<(SnapshotId, Snapshot)>,
    age: usize,
    reference: &str,
    filter: &SnapshotFilter,
) -> Result<(SnapshotId, Snapshot), FindError> {
    snapshots.retain(|(_, snapshot)| filter.matches(snapshot));
    snapshots
        .into_iter()
        .rev()
        .nth(age)
        .ok_or_else(|| FindError::NoneMatchesFilter {
            reference: reference.to_owned(),
            filter: filter.clone(),
        })
}

async fn all(
    repository: &Repository,
    reference: &str,
) -> Result<Vec<(SnapshotId, Snapshot)>, FindError> {
    load_all(repository)
        .await
        .map_err(|source| FindError::Load {
            reference: reference.to_owned(),
            source,
        })
}

/// The only id that begins with this text.
async fn resolve_prefix(repository: &Repository, prefix: &str) -> Result<SnapshotId, FindError> {
    if let Ok(id) = prefix.parse() {
        return Ok(id);
    }
    let is_prefix = prefix.len() < 64
        && prefix
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_prefix {
        return Err(FindError::NoMatch {
            reference: prefix.to_owned(),
        });
    }
    let files = repository
        .list(FileKind::Snapshot)
        .await
        .map_err(|source| FindError::Storage {
            reference: prefix.to_owned(),
            source,
        })?;
    let mut ids: Vec<_> = files
        .into_iter()
        .map(|(id, _)| SnapshotId(id))
        .filter(|id| id.to_hex().starts_with(prefix))
        .collect();
    ids.sort_unstable();
    match ids.as_slice() {
        [] => Err(FindError::NoMatch {
            reference: prefix.to_owned(),
        }),
        [id] => Ok(*id),
        _ => Err(FindError::Ambiguous {
            reference: prefix.to_owned(),
            ids,
        }),
    }
}
