//! Packs by their presence, their size and what the index says of them; nothing is read.

use hashbrown::HashMap;

use crate::blob::BlobKind;
use crate::check::report::{CheckError, DamagedObject, Findings, Remedy};
use crate::check::{CheckAdvance, CheckStep};
use crate::id::{Id, PackId};
use crate::index::{Index, PackOrder};
use crate::indexed::IndexedRepository;
use crate::pack::{PackedBlob, header_bytes};
use crate::used::UsedBlobs;

/// A pack that is in storage and whose blobs do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PresentPack {
    /// Its number in the index.
    pub(super) number: u32,
    /// Its size in storage.
    pub(super) bytes: u64,
}

/// The blobs of a pack by the index, in the order of their offsets.
pub(super) fn blobs(index: &Index, order: &PackOrder, number: u32) -> Vec<PackedBlob> {
    let entries = order.of(index, number as usize);
    entries.map(|(_, kind, entry)| entry.packed(kind)).collect()
}

/// Compares the packs that the index names with those that are there; returns those that can be read.
pub(super) fn compare(
    repository: &IndexedRepository,
    order: &PackOrder,
    listed: Vec<(Id, u64)>,
    is_index_whole: bool,
    findings: &mut Findings<'_>,
) -> Vec<PresentPack> {
    let index = repository.index();
    let total = index.packs().len() as u64;
    findings.report.counts.packs = total;
    let mut sizes: HashMap<PackId, u64> = listed
        .into_iter()
        .map(|(id, bytes)| (PackId(id), bytes))
        .collect();
    let mut present = Vec::with_capacity(index.packs().len());
    let mut mixed = 0_u64;
    for (number, id) in (0_u32..).zip(index.packs()) {
        let blobs = blobs(index, order, number);
        let has = |kind| blobs.iter().any(|blob| blob.handle.kind == kind);
        mixed += u64::from(has(BlobKind::Data) && has(BlobKind::Tree));
        let object = DamagedObject::Pack(*id);
        let Some(bytes) = sizes.remove(id) else {
            let problem = "the index names it, but it does not exist";
            findings.error(CheckError::new(object, problem, Remedy::MissingPack));
            continue;
        };
        if has_overlap(&blobs) {
            let problem = "by the index its blobs overlap";
            findings.error(CheckError::new(object, problem, Remedy::Index));
            continue;
        }
        present.push(PresentPack { number, bytes });
        let expected_bytes =
            blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>() + header_bytes(&blobs);
        if bytes != expected_bytes {
            let problem =
                format!("it has {bytes} bytes, by the index it should have {expected_bytes}");
            findings.error(CheckError::new(object, problem, Remedy::DamagedPack));
            findings.report.broken_packs.push(*id);
        } else if let Some(blob) = behind_gap(&blobs) {
            let problem = format!("by the index there is nothing in front of {}", blob.handle);
            findings.error(CheckError::new(object, problem, Remedy::Index));
        }
        if number % 1024 == 0 {
            findings.advance(CheckAdvance::new(CheckStep::Packs, number.into(), total));
        }
    }
    findings.advance(CheckAdvance::new(CheckStep::Packs, total, total));
    if mixed > 0 {
        findings.report.suggests_prune = true;
        findings.note(format!(
            "{mixed} packs hold both trees and data, as very old versions of restic wrote them. This is harmless; `prune` separates them"
        ));
    }
    if !sizes.is_empty() && is_index_whole {
        findings.report.suggests_prune = true;
        let bytes: u64 = sizes
            .values()
            .fold(0, |sum, bytes| sum.saturating_add(*bytes));
        findings.note(format!(
            "{} packs of {bytes} bytes are named by no index file: a backup is going on, or was interrupted",
            sizes.len()
        ));
    }
    present
}

/// Whether snapshots use any blob of a pack.
pub(super) fn is_used(index: &Index, order: &PackOrder, used: &UsedBlobs, number: u32) -> bool {
    order.of(index, number as usize).any(|(_, kind, entry)| {
        let copies = index.positions(&entry.handle(kind));
        !copies.is_empty() && used.is_used(copies.start)
    })
}

fn has_overlap(blobs: &[PackedBlob]) -> bool {
    blobs.windows(2).any(|pair| {
        u64::from(pair[0].offset) + u64::from(pair[0].length) > u64::from(pair[1].offset)
    })
}

/// A blob that does not begin where the one before ends. Packs have no gaps.
fn behind_gap(blobs: &[PackedBlob]) -> Option<&PackedBlob> {
    let mut end = 0;
    blobs.iter().find(|blob| {
        let is_behind_gap = u64::from(blob.offset) != end;
        end = u64::from(blob.offset) + u64::from(blob.length);
        is_behind_gap
    })
}
