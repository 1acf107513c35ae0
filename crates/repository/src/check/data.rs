//! The content of packs: read as a whole, hashed, the header compared with the index, every blob verified.
//!
//! A pack passes in segments of some megabytes, so that not even one of hostile size fills the memory.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::check::files::reason;
use crate::check::packs::{self, PresentPack};
use crate::check::report::{CheckError, DamagedObject, Findings, Remedy};
use crate::check::{CheckAdvance, CheckStep};
use crate::id::{Id, PackId};
use crate::index::PackOrder;
use crate::indexed::{IndexedRepository, decode};
use crate::pack::{self, PackedBlob, ReadHeaderError};
use crate::repository::{LoadError, blocking, chain};

/// Bytes of a pack that are read at once: enough for storage far away, and few, because the allocator keeps as
/// much for each thread that reads. A larger blob is read alone.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Damaged blobs of a pack that are named; the others are counted.
const NAMED_BLOBS: usize = 3;

/// Reads these packs, several at once.
pub(super) async fn check(
    repository: &IndexedRepository,
    order: &Arc<PackOrder>,
    chosen: Vec<PresentPack>,
    findings: &mut Findings<'_>,
) {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    // While each core verifies a segment, another one is read.
    let parallel = (cores + 1).clamp(2, 8);
    let budget = Budget::new(parallel);
    let total = chosen.len() as u64;
    let bytes_total = chosen.iter().map(|pack| pack.bytes).sum();
    let mut results = stream::iter(chosen)
        .map(|pack| {
            let budget = &budget;
            async move { (pack, check_pack(repository, order, pack, budget).await) }
        })
        .buffer_unordered(parallel);
    while let Some((pack, problem)) = results.next().await {
        let counts = &mut findings.report.counts;
        counts.packs_read += 1;
        counts.bytes_read += pack.bytes;
        let (done, bytes_done) = (counts.packs_read, counts.bytes_read);
        if let Some((problem, remedy)) = problem {
            let id = repository.index().packs()[pack.number as usize];
            if remedy == Remedy::DamagedPack {
                findings.report.broken_packs.push(id);
            }
            findings.error(CheckError::new(DamagedObject::Pack(id), problem, remedy));
        }
        findings.advance(CheckAdvance {
            bytes_done,
            bytes_total,
            ..CheckAdvance::new(CheckStep::Data, done, total)
        });
    }
}

/// What is wrong with a pack. One that looks damaged is read once more before it counts as damaged.
async fn check_pack(
    repository: &IndexedRepository,
    order: &Arc<PackOrder>,
    pack: PresentPack,
    budget: &Budget,
) -> Option<(String, Remedy)> {
    let id = repository.index().packs()[pack.number as usize];
    let blobs: Arc<[PackedBlob]> = packs::blobs(repository.index(), order, pack.number).into();
    let reader = PackReader {
        repository,
        id,
        bytes: pack.bytes,
        blobs,
        budget,
    };
    let first = reader.verify().await;
    if matches!(&first, Ok(damage) if damage.describe().is_none()) {
        return None;
    }
    match reader.verify().await {
        Ok(damage) => damage
            .describe()
            .map(|problem| (problem, Remedy::DamagedPack)),
        Err(error) => {
            let remedy = super::files::remedy(&error, Remedy::DamagedPack, Remedy::MissingPack);
            Some((reason(&error), remedy))
        }
    }
}

struct PackReader<'a> {
    repository: &'a IndexedRepository,
    id: PackId,
    bytes: u64,
    blobs: Arc<[PackedBlob]>,
    budget: &'a Budget,
}

/// What was found in one pack.
#[derive(Default)]
struct Damage {
    is_hash_wrong: bool,
    header: Option<String>,
    damaged_blobs: usize,
    named_blobs: Vec<String>,
    blobs: usize,
}

impl Damage {
    fn add_blob(&mut self, text: impl FnOnce() -> String) {
        self.damaged_blobs += 1;
        if self.named_blobs.len() < NAMED_BLOBS {
            self.named_blobs.push(text());
        }
    }

    fn describe(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.is_hash_wrong {
            parts.push("its content does not fit its name".to_owned());
        }
        if self.damaged_blobs > 0 {
            let named = self.named_blobs.join(", ");
            parts.push(format!(
                "{} of its {} blobs are damaged, among them {named}",
                self.damaged_blobs, self.blobs
            ));
        }
        parts.extend(self.header.clone());
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl PackReader<'_> {
    async fn verify(&self) -> Result<Damage, LoadError> {
        let mut damage = Damage {
            blobs: self.blobs.len(),
            ..Damage::default()
        };
        let mut hash = Sha256::new();
        let mut end = Tail::default();
        for segment in segments(&self.blobs, self.bytes) {
            let plaintext = self.blobs[segment.blobs.clone()]
                .iter()
                .filter_map(|blob| blob.uncompressed_length)
                .max()
                .map_or(0, |length| u64::from(length.get()));
            let length = segment.bytes.end - segment.bytes.start;
            let _share = self.budget.take(length.saturating_add(plaintext)).await;
            let read = self
                .repository
                .read_pack(&self.id, segment.bytes.start, length);
            let content = read.await?;
            end = Tail {
                start: segment.bytes.start,
                content: content.clone(),
            };
            let (repository, id) = (self.repository.clone(), self.id);
            let blobs = Arc::clone(&self.blobs);
            let verified = blocking(move || {
                hash.update(&content);
                for blob in &blobs[segment.blobs] {
                    let start = usize::try_from(u64::from(blob.offset) - segment.bytes.start);
                    let stored = start.ok().and_then(|start| {
                        content.get(start..start.checked_add(blob.length as usize)?)
                    });
                    let place = blob.in_pack(id);
                    let decoded = decode(
                        repository.repository(),
                        &blob.handle,
                        &place,
                        stored.unwrap_or_default(),
                    );
                    if let Err(error) = decoded {
                        damage.add_blob(|| format!("{} ({})", blob.handle, reason(&error)));
                    }
                }
                (hash, damage)
            });
            (hash, damage) = verified.await;
        }
        damage.is_hash_wrong = Id::from_bytes(hash.finalize().into()) != self.id.0;
        let beyond = |blob: &&PackedBlob| blob_end(blob) > self.bytes;
        for blob in self.blobs.iter().filter(beyond) {
            damage.add_blob(|| format!("{} (it lies behind the end of the pack)", blob.handle));
        }
        damage.header = self.read_header(&end).await?;
        Ok(damage)
    }

    /// Compares the header, which mostly lies in what was read last.
    async fn read_header(&self, end: &Tail) -> Result<Option<String>, LoadError> {
        let read = |offset: u64, length| {
            let known = end.slice(offset);
            async move {
                match known {
                    Some(known) => Ok(known),
                    None => self.repository.read_pack(&self.id, offset, length).await,
                }
            }
        };
        match pack::read_header(self.repository.key(), self.bytes, read).await {
            Ok(entries) => Ok(self.compare(entries)),
            Err(ReadHeaderError::Read(error)) => Err(error),
            Err(ReadHeaderError::Header(error)) => Ok(Some(chain(&error))),
        }
    }

    fn compare(&self, mut entries: Vec<PackedBlob>) -> Option<String> {
        entries.sort_unstable_by_key(|blob| (blob.offset, blob.handle));
        (entries != *self.blobs).then(|| "its header names other blobs than the index".to_owned())
    }
}

/// The last bytes of a pack.
#[derive(Default)]
struct Tail {
    start: u64,
    content: Bytes,
}

impl Tail {
    /// What follows this offset, if it is all here.
    fn slice(&self, offset: u64) -> Option<Bytes> {
        let start = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        (start < self.content.len()).then(|| self.content.slice(start..))
    }
}

/// A range of a pack and the numbers of the blobs that lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    bytes: Range<u64>,
    blobs: Range<usize>,
}

/// Cuts a pack between its blobs. The blobs are in order and do not overlap; those beyond the end are left out.
fn segments(blobs: &[PackedBlob], pack_bytes: u64) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut add = |bytes: Range<u64>, blobs: Range<usize>| match segments.last_mut() {
        Some(last) if bytes.end - last.bytes.start <= SEGMENT_BYTES => {
            last.bytes.end = bytes.end;
            last.blobs.end = blobs.end;
        }
        _ => segments.push(Segment { bytes, blobs }),
    };
    let mut end = 0;
    let mut number = 0;
    for blob in blobs {
        if blob_end(blob) > pack_bytes {
            break;
        }
        for gap in pieces(end..u64::from(blob.offset)) {
            add(gap, number..number);
        }
        add(u64::from(blob.offset)..blob_end(blob), number..number + 1);
        end = blob_end(blob);
        number += 1;
    }
    for rest in pieces(end..pack_bytes) {
        add(rest, number..number);
    }
    segments
}

/// A range in pieces of at most a segment.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let piece = start..range.end.min(start.saturating_add(SEGMENT_BYTES));
        start = piece.end;
        (piece.start < piece.end).then_some(piece)
    })
}

fn blob_end(blob: &PackedBlob) -> u64 {
    u64::from(blob.offset) + u64::from(blob.length)
}

/// Memory that segments share, in KiB. A segment beyond all of it waits until it is alone.
struct Budget {
    total: u32,
    free: Semaphore,
}

impl Budget {
    fn new(segments: usize) -> Self {
        let total = u32::try_from(segments as u64 * (SEGMENT_BYTES >> 10)).unwrap_or(u32::MAX);
        let free = Semaphore::new(total as usize);
        Self { total, free }
    }

    async fn take(&self, bytes: u64) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let wanted = u32::try_from(bytes >> 10).map_or(self.total, |wanted| wanted.min(self.total));
        // It is never closed.
        self.free.acquire_many(wanted).await.ok()
    }
}

#[cfg(test)]
mod tests;
