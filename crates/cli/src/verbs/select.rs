//! Which snapshots a verb is about, and how a snapshot is named to people.

use repository::snapshot::{self, FindError, Snapshot, SnapshotFilter};
use repository::{Repository, SnapshotId};

use crate::Context;
use crate::failure::{Failure, chain};
use crate::values::local_text;

/// The named snapshots in their order, or all that the filter matches, oldest first. As in restic, a name that
/// matches nothing is told and left out.
pub async fn snapshots(
    context: &Context,
    repository: &Repository,
    names: &[String],
    filter: &SnapshotFilter,
) -> Result<Vec<(SnapshotId, Snapshot)>, Failure> {
    if names.is_empty() {
        return Ok(snapshot::find_all(repository, names, filter).await?);
    }
    let mut found: Vec<(SnapshotId, Snapshot)> = Vec::new();
    for name in names {
        match snapshot::find(repository, name, filter).await {
            Ok((id, snapshot)) => {
                if found.iter().all(|(known, _)| *known != id) {
                    found.push((id, snapshot));
                }
            }
            Err(
                error @ (FindError::NoMatch { .. }
                | FindError::NoneMatchesFilter { .. }
                | FindError::Ambiguous { .. }
                | FindError::SubfolderNotAllowed { .. }),
            ) => context
                .printer
                .warning(&format!("Ignoring `{name}`: {}", chain(&error))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// A snapshot in one line: `snapshot 1f3a… of [/home] at 2026-01-31 … by root@host`.
pub fn describe((id, snapshot): &(SnapshotId, Snapshot)) -> String {
    format!(
        "snapshot {} of [{}] at {} by {}@{}",
        id.short(),
        snapshot.paths.join(" "),
        local_text(&snapshot.time),
        snapshot.username,
        snapshot.hostname
    )
}
