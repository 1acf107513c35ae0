//! The decision: pure, over the index, the used blobs and the packs that are there. The rules are restic's.

use std::cmp::Ordering;

use hashbrown::HashMap;

use crate::blob::BlobKind;
use crate::id::{Id, PackId};
use crate::index::Index;
use crate::pack::{empty_header_bytes, entry_bytes};
use crate::prune::{PruneError, PruneOptions, PruneSummary};
use crate::used::UsedBlobs;

/// Fewer small packs than this are not worth joining, and joining one alone would never end.
const FEW_SMALL_PACKS: usize = 10;

/// Packs below this size are joined when there are enough of them: 80 % of the smallest pack size, as restic
/// 0.19 has it whatever the pack size is.
const SMALL_PACK_BYTES: u64 = (4 << 20) / 5 * 4;

/// What is decided on.
pub(super) struct Input<'a> {
    pub(super) index: &'a Index,
    pub(super) used: &'a UsedBlobs,
    /// The packs in storage with their sizes.
    pub(super) packs: Vec<(Id, u64)>,
    pub(super) has_compression: bool,
    /// The size at which new packs are full.
    pub(super) pack_bytes: u64,
}

/// What goes and what is repacked; packs by their number in the index.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) summary: PruneSummary,
    pub(super) unreferenced: Vec<PackId>,
    pub(super) remove: Vec<u32>,
    pub(super) repack: Vec<u32>,
    /// Named by the index, not needed, and not there.
    pub(super) vanished: Vec<u32>,
}

impl Decision {
    pub(super) fn is_empty(&self) -> bool {
        self.unreferenced.is_empty() && !self.changes_index()
    }

    /// Whether index files have to be written anew.
    pub(super) fn changes_index(&self) -> bool {
        !(self.remove.is_empty() && self.repack.is_empty() && self.vanished.is_empty())
    }

    /// The packs that the index must no longer name.
    pub(super) fn dropped(&self) -> impl Iterator<Item = u32> + '_ {
        self.remove
            .iter()
            .chain(&self.repack)
            .chain(&self.vanished)
            .copied()
    }
}

/// What a pack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PackKind {
    Empty,
    Only(BlobKind),
    Mixed,
}

#[derive(Debug, Clone, Copy)]
struct Pack {
    kind: PackKind,
    used_blobs: u64,
    unused_blobs: u64,
    used_bytes: u64,
    unused_bytes: u64,
    has_uncompressed: bool,
    is_present: bool,
}

impl Pack {
    fn bytes(&self) -> u64 {
        self.used_bytes + self.unused_bytes
    }
}

pub(super) fn decide(input: &Input<'_>, options: &PruneOptions) -> Result<Decision, PruneError> {
    let mut decision = Decision::default();
    let mut packs = count(input, &mut decision.summary);
    let mut candidates = sort_out(input, options, &mut packs, &mut decision)?;
    drop_vanished(input, &packs, &mut decision)?;
    choose(input, options, &packs, &mut candidates, &mut decision);
    let Decision {
        summary,
        unreferenced,
        remove,
        repack,
        ..
    } = &mut decision;
    summary.packs.unreferenced = unreferenced.len() as u64;
    summary.packs.remove = remove.len() as u64;
    summary.packs.repack = repack.len() as u64;
    if !input.has_compression {
        summary.bytes.uncompressed = 0;
    }
    Ok(decision)
}

/// Counts for each pack what is used. Of several copies of a used blob one counts as used: the first in a
/// pack that is needed anyway, else the last.
fn count(input: &Input<'_>, summary: &mut PruneSummary) -> Vec<Pack> {
    let empty = Pack {
        kind: PackKind::Empty,
        used_blobs: 0,
        unused_blobs: 0,
        used_bytes: empty_header_bytes(),
        unused_bytes: 0,
        has_uncompressed: false,
        is_present: false,
    };
    let index = input.index;
    let mut packs = vec![empty; index.packs().len()];
    let mut several = Vec::new();
    for copies in index.groups() {
        let is_used = input.used.is_used(copies.start);
        let is_single = copies.len() == 1;
        for position in copies.clone() {
            let (kind, entry) = index.entry(position);
            let pack = &mut packs[entry.pack as usize];
            let bytes = u64::from(entry.length);
            let is_compressed = entry.uncompressed != 0;
            pack.kind = match pack.kind {
                PackKind::Empty => PackKind::Only(kind),
                PackKind::Only(known) if known == kind => PackKind::Only(kind),
                _ => PackKind::Mixed,
            };
            pack.has_uncompressed |= !is_compressed;
            pack.used_bytes += entry_bytes(is_compressed) as u64;
            if is_used && is_single {
                pack.used_blobs += 1;
                pack.used_bytes += bytes;
                summary.blobs.used += 1;
                summary.bytes.used += bytes;
            } else {
                pack.unused_blobs += 1;
                pack.unused_bytes += bytes;
                let (blobs, sum) = if is_used {
                    (&mut summary.blobs.duplicate, &mut summary.bytes.duplicate)
                } else {
                    (&mut summary.blobs.unused, &mut summary.bytes.unused)
                };
                *blobs += 1;
                *sum += bytes;
            }
        }
        if is_used && !is_single {
            several.push(copies);
        }
    }
    for copies in several {
        let is_in_needed_pack =
            |position: &usize| packs[index.entry(*position).1.pack as usize].used_blobs > 0;
        let chosen = copies
            .clone()
            .find(is_in_needed_pack)
            .unwrap_or(copies.end - 1);
        let entry = index.entry(chosen).1;
        let pack = &mut packs[entry.pack as usize];
        let bytes = u64::from(entry.length);
        pack.used_blobs += 1;
        pack.unused_blobs -= 1;
        pack.used_bytes += bytes;
        pack.unused_bytes -= bytes;
        summary.blobs.used += 1;
        summary.blobs.duplicate -= 1;
        summary.bytes.used += bytes;
        summary.bytes.duplicate -= bytes;
    }
    packs
}

struct Candidate {
    pack: u32,
    must_compress: bool,
}

/// Packs below this size are small.
fn small_bytes(input: &Input<'_>, options: &PruneOptions) -> u64 {
    match options.repack_smaller_than_bytes {
        Some(bytes) => bytes,
        None if options.repack_small => input.pack_bytes / 5 * 4,
        None => SMALL_PACK_BYTES,
    }
}

/// Compares what is there with the index: what goes, what stays, what may be repacked.
fn sort_out(
    input: &Input<'_>,
    options: &PruneOptions,
    packs: &mut [Pack],
    decision: &mut Decision,
) -> Result<Vec<Candidate>, PruneError> {
    let numbers: HashMap<PackId, u32> = (0..)
        .zip(input.index.packs())
        .map(|(number, id)| (*id, number))
        .collect();
    let small_bytes = small_bytes(input, options);
    let summary = &mut decision.summary;
    let mut candidates = Vec::new();
    let mut small = Vec::new();
    for (id, actual_bytes) in &input.packs {
        let Some(&number) = numbers.get(&PackId(*id)) else {
            decision.unreferenced.push(PackId(*id));
            summary.bytes.unreferenced += actual_bytes;
            continue;
        };
        let pack = &mut packs[number as usize];
        pack.is_present = true;
        if pack.used_blobs > 0 && pack.bytes() != *actual_bytes {
            let (expected_bytes, actual_bytes) = (pack.bytes(), *actual_bytes);
            return Err(PruneError::PackSize {
                pack: PackId(*id),
                expected_bytes,
                actual_bytes,
            });
        }
        match (pack.used_blobs, pack.unused_blobs) {
            (0, _) => summary.packs.unused += 1,
            (_, 0) => summary.packs.used += 1,
            _ => summary.packs.partly_used += 1,
        }
        if pack.has_uncompressed {
            summary.bytes.uncompressed += pack.bytes();
        }
        let is_tree = pack.kind == PackKind::Only(BlobKind::Tree);
        let must_compress = input.has_compression
            && pack.has_uncompressed
            && (is_tree || options.repack_uncompressed);
        let candidate = Candidate {
            pack: number,
            must_compress,
        };
        if pack.used_blobs == 0 {
            decision.remove.push(number);
            summary.blobs.remove += pack.unused_blobs;
            summary.bytes.remove += pack.unused_bytes;
        } else if options.repack_cacheable_only && pack.kind == PackKind::Only(BlobKind::Data) {
            summary.packs.keep += 1;
        } else if pack.unused_blobs == 0 && pack.kind != PackKind::Mixed && !must_compress {
            if *actual_bytes >= small_bytes {
                summary.packs.keep += 1;
            } else {
                small.push(candidate);
            }
        } else {
            candidates.push(candidate);
        }
    }
    if small.len() < FEW_SMALL_PACKS {
        summary.packs.keep += small.len() as u64;
    } else {
        candidates.append(&mut small);
    }
    Ok(candidates)
}

/// Packs that the index names and nobody needs may be absent; others may not.
fn drop_vanished(
    input: &Input<'_>,
    packs: &[Pack],
    decision: &mut Decision,
) -> Result<(), PruneError> {
    let absent = (0_u32..).zip(packs).filter(|(_, pack)| !pack.is_present);
    let (needed, vanished): (Vec<_>, Vec<_>) = absent.partition(|(_, pack)| pack.used_blobs > 0);
    if let Some((example, _)) = needed.first() {
        let example = input.index.packs()[*example as usize];
        return Err(PruneError::MissingPacks {
            count: needed.len(),
            example,
        });
    }
    for (number, pack) in vanished {
        decision.vanished.push(number);
        decision.summary.blobs.remove += pack.unused_blobs;
        decision.summary.bytes.remove += pack.unused_bytes;
    }
    Ok(())
}

/// Repacks until little enough is unused, the packs that gain most first.
fn choose(
    input: &Input<'_>,
    options: &PruneOptions,
    packs: &[Pack],
    candidates: &mut [Candidate],
    decision: &mut Decision,
) {
    let small_bytes = small_bytes(input, options);
    let pack_of = |candidate: &Candidate| &packs[candidate.pack as usize];
    let is_data = |pack: &Pack| pack.kind == PackKind::Only(BlobKind::Data);
    candidates.sort_by(|a, b| {
        let (a, b) = (pack_of(a), pack_of(b));
        // Trees and mixed packs, then small ones, then by the share of unused bytes.
        is_data(a)
            .cmp(&is_data(b))
            .then((a.bytes() >= small_bytes).cmp(&(b.bytes() >= small_bytes)))
            .then_with(|| compare_unused(b, a))
    });
    let summary = &mut decision.summary;
    let max_unused = options.max_unused.bytes(summary.bytes.used);
    let max_repack = options.max_repack_bytes.unwrap_or(u64::MAX);
    for candidate in candidates {
        let pack = pack_of(candidate);
        let has_reached_unused = summary.unused_bytes_after() < max_unused;
        let has_reached_repack = summary.bytes.repack + pack.bytes() >= max_repack;
        let must_go = !is_data(pack) || candidate.must_compress;
        if has_reached_repack || (!must_go && has_reached_unused && pack.bytes() >= small_bytes) {
            summary.packs.keep += 1;
            continue;
        }
        decision.repack.push(candidate.pack);
        summary.blobs.repack += pack.used_blobs + pack.unused_blobs;
        summary.bytes.repack += pack.bytes();
        summary.blobs.repack_remove += pack.unused_blobs;
        summary.bytes.repack_remove += pack.unused_bytes;
        if pack.has_uncompressed {
            summary.bytes.uncompressed -= pack.bytes();
        }
    }
}

/// Compares the ratios of unused to used bytes without dividing.
fn compare_unused(a: &Pack, b: &Pack) -> Ordering {
    let left = u128::from(a.unused_bytes) * u128::from(b.used_bytes);
    let right = u128::from(b.unused_bytes) * u128::from(a.used_bytes);
    left.cmp(&right)
}
