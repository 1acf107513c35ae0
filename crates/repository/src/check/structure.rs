//! The structure: index files, packs by presence and size, snapshots, trees and the blobs they name.

use std::ops::ControlFlow;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::blob::BlobKind;
use crate::check::{CheckProgress, CheckReport, CheckStep, CheckSubject, Progress};
use crate::id::{BlobId, Id, IndexId, PackId, SnapshotId};
use crate::index::PackOrder;
use crate::indexed::IndexedRepository;
use crate::pack::header_bytes;
use crate::repository::{LoadError, blocking, chain};
use crate::used::{self, TreeFindings, UsedBlobs};

const REPAIR_INDEX: &str = "The index is damaged: run `restic repair index`, which builds it anew from the packs, and check again";
const REPAIR_SNAPSHOTS: &str = "Snapshots miss data: run the next backup with `--force`, which stores again what the source still has, then check again";

/// A pack that can be read: its number in the index and its size.
pub(super) type Readable = (u32, u64);

pub(super) fn report_index(
    failures: &[(IndexId, LoadError)],
    repeated_packs: usize,
    report: &mut CheckReport,
) {
    for (id, error) in failures {
        report.add(
            CheckSubject::Index,
            format!("index {}", id.short()),
            reason(error),
        );
        report.suggests_repair_index = true;
        report.hint(REPAIR_INDEX);
    }
    if repeated_packs > 0 {
        report.note(format!(
            "{repeated_packs} packs are named by more than one index file. This is harmless; the next `prune` that removes data corrects it"
        ));
    }
}

pub(super) async fn order(repository: &IndexedRepository) -> PackOrder {
    let index = repository.shared_index();
    blocking(move || index.by_pack()).await
}

/// Compares the packs that the index names with those that are there.
pub(super) fn check_packs(
    repository: &IndexedRepository,
    order: &PackOrder,
    present: &[(Id, u64)],
    report: &mut CheckReport,
) -> Vec<Readable> {
    let index = repository.index();
    report.packs = index.packs().len() as u64;
    let mut sizes: HashMap<PackId, u64> = present
        .iter()
        .map(|(id, bytes)| (PackId(*id), *bytes))
        .collect();
    let mut readable = Vec::with_capacity(index.packs().len());
    let mut mixed = 0;
    for (number, pack) in (0_u32..).zip(index.packs()) {
        let blobs: Vec<_> = order
            .of(index, number as usize)
            .map(|(_, kind, entry)| entry.packed(kind))
            .collect();
        let has = |kind| blobs.iter().any(|blob| blob.handle.kind == kind);
        mixed += u64::from(has(BlobKind::Data) && has(BlobKind::Tree));
        let blob_bytes: u64 = blobs.iter().map(|blob| u64::from(blob.length)).sum();
        let expected_bytes = blob_bytes + header_bytes(&blobs);
        let message = match sizes.remove(pack) {
            None => "it is named by the index and does not exist".to_owned(),
            Some(bytes) if bytes != expected_bytes => {
                format!("it has {bytes} bytes, by the index it should have {expected_bytes}")
            }
            Some(bytes) => {
                readable.push((number, bytes));
                continue;
            }
        };
        report.add(
            CheckSubject::Pack,
            format!("pack {}", pack.short()),
            message,
        );
        report.suggests_repair_index = true;
        report.hint(REPAIR_INDEX);
    }
    if mixed > 0 {
        report.note(format!(
            "{mixed} packs hold both trees and data, as very old versions of restic wrote them. This is harmless; `prune` separates them"
        ));
    }
    if !sizes.is_empty() {
        report.suggests_prune = true;
        report.note(format!(
            "{} packs are named by no index file, as an interrupted backup leaves them. This is harmless; `prune` removes them",
            sizes.len()
        ));
    }
    readable
}

/// Reads every tree once.
pub(super) async fn check_trees(
    repository: &IndexedRepository,
    roots: Vec<(SnapshotId, Result<BlobId, LoadError>)>,
    report: &mut CheckReport,
    progress: Progress<'_>,
) {
    let mut trees = Vec::new();
    for (id, root) in roots {
        report.snapshots += 1;
        match root {
            Ok(tree) => trees.push(tree),
            Err(error) => {
                report.add(
                    CheckSubject::Snapshot,
                    format!("snapshot {}", id.short()),
                    reason(&error),
                );
                report.hint(
                    "A snapshot file that is damaged cannot be repaired: remove it with `forget`",
                );
            }
        }
    }
    let used = Arc::new(UsedBlobs::new(repository.index()));
    used::walk(repository, &used, trees, &mut |visit| {
        report.trees += 1;
        let object = || format!("tree {}", visit.id.short());
        match &visit.result {
            Ok(findings) => report_tree(&object(), findings, report),
            Err(error) => {
                report.add(CheckSubject::Tree, object(), reason(error));
                report.hint(REPAIR_SNAPSHOTS);
            }
        }
        progress(CheckProgress {
            step: CheckStep::Trees,
            done: report.trees,
            total: None,
            bytes: 0,
        });
        ControlFlow::Continue(())
    })
    .await;
}

fn report_tree(object: &str, findings: &TreeFindings, report: &mut CheckReport) {
    for problem in &findings.problems {
        report.add(CheckSubject::Tree, object, problem);
    }
    for (name, handle) in &findings.missing {
        let message = format!("`{name}` names {handle}, which is not in the index");
        report.add(CheckSubject::Tree, object, message);
        report.hint(REPAIR_SNAPSHOTS);
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
