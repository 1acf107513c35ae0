//! Where restored files land: in a Pod only what lies in a mounted volume outlives the container.

use std::path::{Path, PathBuf};

use archive::restore::RestoreOptions;
use archive::walk::{Step, TreeWalk, os_path};
use repository::snapshot::Snapshot;
use repository::tree::NodeKind;
use repository::{IndexedRepository, SnapshotId};

use super::EngineError;

/// How many paths an error names.
const NAMED: usize = 3;

/// Refuses a snapshot of which something would be written beside the volumes. Only directories that lead to a volume
/// are read. A directory that cannot be read is the restore's to tell.
pub(super) async fn check(
    repository: &IndexedRepository,
    (id, snapshot): (&SnapshotId, &Snapshot),
    options: &RestoreOptions,
    volumes: &[PathBuf],
) -> Result<(), EngineError> {
    let landing = Landing {
        target: options.target.clone(),
        volumes: volumes.to_vec(),
    };
    let leading = landing.clone();
    let mut walk = TreeWalk::new(repository, snapshot.tree)
        .entering(move |path, _| leading.of(path) == Place::Above);
    let mut outside = Vec::new();
    while let Some(step) = walk.next().await {
        let Step::Node { path, node, .. } = step else {
            continue;
        };
        let place = landing.of(&path);
        let is_directory = node.kind == NodeKind::Dir;
        let is_beside = place == Place::Beside || (place == Place::Above && !is_directory);
        if is_beside && options.selection.may_select(&path, is_directory) {
            outside.push(os_path(&path).display().to_string());
        }
    }
    if outside.is_empty() {
        return Ok(());
    }
    let more = outside.len().saturating_sub(NAMED);
    outside.truncate(NAMED);
    let volumes: Vec<_> = volumes.iter().map(|it| it.display().to_string()).collect();
    Err(EngineError::Outside {
        snapshot: id.short(),
        paths: match more {
            0 => outside.join(", "),
            more => format!("{} and {more} more", outside.join(", ")),
        },
        volumes: volumes.join(", "),
    })
}

/// Where an entry is written to, seen from the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Into one.
    Within,
    /// To a directory that one is mounted below.
    Above,
    /// Into the container's own files.
    Beside,
}

#[derive(Debug, Clone)]
struct Landing {
    target: PathBuf,
    volumes: Vec<PathBuf>,
}

impl Landing {
    fn of(&self, path: &[u8]) -> Place {
        let path = os_path(path);
        let path = self
            .target
            .join(path.strip_prefix("/").unwrap_or(Path::new("")));
        if self.volumes.iter().any(|volume| path.starts_with(volume)) {
            Place::Within
        } else if self.volumes.iter().any(|volume| volume.starts_with(&path)) {
            Place::Above
        } else {
            Place::Beside
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_a_volume_stays() {
        let landing = |target: &str, path: &str| {
            let landing = Landing {
                target: PathBuf::from(target),
                volumes: vec![PathBuf::from("/srv/a/"), PathBuf::from("/data")],
            };
            landing.of(path.as_bytes())
        };
        assert_eq!(landing("/", "/data"), Place::Within);
        assert_eq!(landing("/", "/data/file"), Place::Within);
        assert_eq!(landing("/", "/database"), Place::Beside);
        assert_eq!(landing("/", "/srv"), Place::Above);
        assert_eq!(landing("/", "/srv/b"), Place::Beside);
        assert_eq!(landing("/", "/srv/a"), Place::Within);
        assert_eq!(landing("/data/old", "/etc"), Place::Within);
        assert_eq!(landing("/srv", "/a/file"), Place::Within);
    }
}
