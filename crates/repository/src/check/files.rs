//! Files that are not packs: keys, snapshots and index files, each read and named when it is damaged.

use backend::{FileKind, Handle};
use futures::stream::{self, StreamExt};
use hashbrown::HashSet;

use crate::check::report::{CheckError, DamagedObject, Findings, Remedy};
use crate::check::{CheckAdvance, CheckFailure, CheckStep};
use crate::id::{BlobId, Id, KeyId, SnapshotId};
use crate::index::TolerantIndex;
use crate::key::{KeyFile, MAX_KEY_FILE_BYTES};
use crate::repository::{LoadError, Repository, chain};
use crate::snapshot::{Snapshot, SnapshotFilter};

/// A snapshot file larger than this is not read; its content may grow to this size at most.
const MAX_SNAPSHOT_BYTES: u64 = 256 << 20;

/// Snapshot files that are read at once.
const PARALLEL: usize = 16;

pub(super) async fn list(
    repository: &Repository,
    kind: FileKind,
) -> Result<Vec<(Id, u64)>, CheckFailure> {
    let files = repository.list(kind).await.map_err(|source| {
        CheckFailure::List(LoadError::Storage {
            object: format!("the list of {kind} files"),
            source,
        })
    })?;
    Ok(files)
}

/// Whether every key file is as it was written. The passwords are not known, so no key is opened.
pub(super) async fn check_keys(
    repository: &Repository,
    findings: &mut Findings<'_>,
) -> Result<(), CheckFailure> {
    let keys = list(repository, FileKind::Key).await?;
    findings.report.counts.keys = keys.len() as u64;
    for (id, bytes) in keys {
        if let Err((problem, remedy)) = check_key(repository, &id, bytes).await {
            let object = DamagedObject::Key(KeyId(id));
            findings.error(CheckError::new(object, problem, remedy));
        }
    }
    Ok(())
}

async fn check_key(repository: &Repository, id: &Id, bytes: u64) -> Result<(), (String, Remedy)> {
    if bytes > MAX_KEY_FILE_BYTES as u64 {
        let problem = format!("its size of {bytes} bytes is beyond any key file");
        return Err((problem, Remedy::Key));
    }
    let handle = Handle::new(FileKind::Key, id.to_hex());
    let json = match repository.backend().read(&handle).await {
        Ok(json) => json,
        // Removing a key needs no lock that would hold up a check.
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err((chain(&error), Remedy::Storage)),
    };
    if Id::of(&json) != *id {
        let problem = "its content does not fit its name".to_owned();
        return Err((problem, Remedy::Key));
    }
    match KeyFile::parse(&json) {
        Ok(_) => Ok(()),
        Err(error) => Err((chain(&error), Remedy::Key)),
    }
}

/// The root trees of the snapshots that match. Damaged snapshot files are named and left out.
pub(super) async fn load_roots(
    repository: &Repository,
    filter: &SnapshotFilter,
    findings: &mut Findings<'_>,
) -> Result<Vec<(SnapshotId, BlobId)>, CheckFailure> {
    let files = list(repository, FileKind::Snapshot).await?;
    let total = files.len() as u64;
    let mut results = stream::iter(files)
        .map(|(id, bytes)| async move {
            let id = SnapshotId(id);
            (id, load_snapshot(repository, &id, bytes).await)
        })
        .buffer_unordered(repository.backend().connections().clamp(2, PARALLEL));
    let mut roots = Vec::new();
    while let Some((id, result)) = results.next().await {
        findings.report.counts.snapshots += 1;
        match result {
            Ok(snapshot) if filter.matches(&snapshot) => roots.push((id, snapshot.tree)),
            Ok(_) => {}
            Err(error) => {
                let remedy = remedy(&error, Remedy::Snapshot, Remedy::Snapshot);
                let object = DamagedObject::Snapshot(id);
                findings.error(CheckError::new(object, reason(&error), remedy));
            }
        }
        let done = findings.report.counts.snapshots;
        findings.advance(CheckAdvance::new(CheckStep::Snapshots, done, total));
    }
    Ok(roots)
}

async fn load_snapshot(
    repository: &Repository,
    id: &SnapshotId,
    bytes: u64,
) -> Result<Snapshot, LoadError> {
    if bytes > MAX_SNAPSHOT_BYTES {
        return Err(LoadError::Damaged {
            object: format!("snapshot {}", id.short()),
            reason: format!("its size of {bytes} bytes is beyond any snapshot file"),
        });
    }
    Snapshot::load(repository, id).await
}

/// Index files that cannot be used, and packs that several of them name.
pub(super) fn report_index(loaded: &TolerantIndex, findings: &mut Findings<'_>) {
    let files = loaded.index.indexed_files();
    findings.report.counts.index_files = (files.len() + loaded.failures.len()) as u64;
    for (id, error) in &loaded.failures {
        let remedy = remedy(error, Remedy::Index, Remedy::Index);
        let object = DamagedObject::Index(*id);
        findings.error(CheckError::new(object, reason(error), remedy));
    }
    if loaded.repeated_packs > 0 {
        let mut known = HashSet::new();
        let repeated = files
            .iter()
            .flat_map(|file| &file.packs)
            .find(|pack| !known.insert(**pack));
        let example = repeated
            .and_then(|pack| loaded.index.packs().get(*pack as usize))
            .map_or_else(String::new, |pack| format!(", among them {}", pack.short()));
        findings.note(format!(
            "{} packs are named by several index files{example}. This is harmless; `restic repair index` corrects it",
            loaded.repeated_packs
        ));
    }
}

/// The reason without the object, which the report names by itself.
pub(super) fn reason(error: &LoadError) -> String {
    match error {
        LoadError::Damaged { reason, .. } => format!("damaged: {reason}"),
        LoadError::NotInIndex { .. } => "it is not in the index".to_owned(),
        LoadError::Storage { source, .. } => chain(source),
    }
}

/// What to do: about damage, about something absent, or about storage that fails.
pub(super) fn remedy(error: &LoadError, damaged: Remedy, absent: Remedy) -> Remedy {
    match error {
        LoadError::Damaged { .. } => damaged,
        LoadError::NotInIndex { .. } => Remedy::MissingData,
        LoadError::Storage { source, .. } => match source.kind {
            backend::ErrorKind::NotFound => absent,
            backend::ErrorKind::TooShort => damaged,
            _ => Remedy::Storage,
        },
    }
}
