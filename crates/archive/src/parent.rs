//! The parent of a new snapshot: the one whose unchanged files are not read again.

use repository::snapshot::{FindError, GroupBy, Snapshot, SnapshotFilter, find, load_all};
use repository::time::Time;
use repository::{LoadError, Repository, SnapshotId};

/// Which snapshot to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParentChoice {
    /// The latest one before the new snapshot's time of the same host, with all its paths, with its tags: what of
    /// these must be the same is told by the grouping.
    Auto(GroupBy),
    /// None (`--force`): every file is read.
    None,
    /// This one, by id, prefix or `latest`.
    Snapshot(String),
}

impl Default for ParentChoice {
    fn default() -> Self {
        Self::Auto(GroupBy::default())
    }
}

/// A parent that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// The snapshots cannot be read.
    #[error("cannot look for the parent snapshot")]
    Load(#[source] LoadError),
    /// The one that was asked for.
    #[error("cannot use `{reference}` as the parent snapshot")]
    Find {
        /// As given.
        reference: String,
        /// Why.
        #[source]
        source: FindError,
    },
}

/// What the new snapshot will say of itself.
#[derive(Debug, Clone, Copy)]
pub struct NewSnapshot<'a> {
    /// Host.
    pub hostname: &'a str,
    /// Absolute paths.
    pub paths: &'a [String],
    /// Tags.
    pub tags: &'a [String],
    /// Time; later snapshots are no parents.
    pub time: Time,
}

/// Finds the parent.
pub async fn find_parent(
    repository: &Repository,
    choice: &ParentChoice,
    new: NewSnapshot<'_>,
) -> Result<Option<(SnapshotId, Snapshot)>, ParentError> {
    match choice {
        ParentChoice::None => Ok(None),
        ParentChoice::Snapshot(reference) => {
            let error = |source| ParentError::Find {
                reference: reference.clone(),
                source,
            };
            find(repository, reference, &filter(GroupBy::default(), new))
                .await
                .map(Some)
                .map_err(error)
        }
        ParentChoice::Auto(group_by) => {
            let filter = filter(*group_by, new);
            let snapshots = load_all(repository).await.map_err(ParentError::Load)?;
            let candidates = snapshots
                .into_iter()
                .filter(|(_, snapshot)| snapshot.time <= new.time);
            Ok(candidates
                .filter(|(_, snapshot)| filter.matches(snapshot))
                .max_by_key(|(_, snapshot)| snapshot.time))
        }
    }
}

fn filter(group_by: GroupBy, new: NewSnapshot<'_>) -> SnapshotFilter {
    // Snapshots without tags are asked for by one empty tag.
    let tags = if new.tags.is_empty() {
        vec![String::new()]
    } else {
        new.tags.to_vec()
    };
    SnapshotFilter {
        hosts: if group_by.host {
            vec![new.hostname.to_owned()]
        } else {
            Vec::new()
        },
        paths: if group_by.paths {
            new.paths.to_vec()
        } else {
            Vec::new()
        },
        tags: if group_by.tags {
            vec![tags]
        } else {
            Vec::new()
        },
    }
}
