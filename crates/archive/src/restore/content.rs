//! Bringing file content from packs to files: which ranges of which packs are read, in what order, and where
//! each blob goes. Few large reads run in parallel; all cores decode; the bytes under way are bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use repository::{
    BlobHandle, BlobId, BlobKind, BlobLocation, IndexedRepository, LoadError, PackId,
};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::restore::file::{FileJob, FileWriter};
use crate::restore::parallel;
use crate::restore::report::{Report, chain};

/// Stored bytes that are read or wait to be decoded.
const BUDGET_BYTES: u64 = 32 << 20;
/// One read of a pack, at most; a larger blob is a read of its own.
const READ_BYTES: u64 = 4 << 20;
/// One read of a pack, where there is little to read and all cores should get a part.
const SMALLEST_READ_BYTES: u64 = 512 << 10;
/// Bytes between two blobs that are rather read along than skipped.
const GAP_BYTES: u64 = 256 << 10;
/// What one unit of the budget stands for.
const UNIT_BYTES: u64 = 16 << 10;

/// A blob of a file and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    pack: u32,
    offset: u32,
    length: u32,
    uncompressed_length: Option<std::num::NonZeroU32>,
    file: u32,
    blob: u32,
    file_offset: u64,
}

/// Everything to be written for some files, ordered by where it lies.
#[derive(Debug, Default)]
pub(super) struct ContentPlan {
    packs: Vec<PackId>,
    uses: Vec<Use>,
    reads: Vec<Read>,
}

/// A range of a pack and the blobs in it.
#[derive(Debug, Clone)]
struct Read {
    pack: PackId,
    offset: u64,
    length: u64,
    uses: std::ops::Range<usize>,
}

impl ContentPlan {
    /// Plans all blobs that are missing in these files, and counts them in `pending` of each.
    pub(super) fn new(repository: &IndexedRepository, files: &[FileJob]) -> Self {
        let mut plan = Self::default();
        let mut pack_numbers = std::collections::HashMap::new();
        for (number, file) in (0_u32..).zip(files) {
            if file.is_settled {
                continue;
            }
            let mut file_offset = 0;
            let mut pending = 0_u32;
            for (index, id) in file.content.iter().enumerate() {
                // The planner has checked that the index knows every blob.
                let Some(location) = repository.lookup(&handle(id)) else {
                    continue;
                };
                if !file.keeps(index) {
                    let pack = *pack_numbers.entry(location.pack).or_insert_with(|| {
                        plan.packs.push(location.pack);
                        u32::try_from(plan.packs.len() - 1).unwrap_or(u32::MAX)
                    });
                    plan.uses.push(Use {
                        pack,
                        offset: location.offset,
                        length: location.length,
                        uncompressed_length: location.uncompressed_length,
                        file: number,
                        blob: u32::try_from(index).unwrap_or(u32::MAX),
                        file_offset,
                    });
                    pending += 1;
                }
                file_offset += location.plaintext_bytes();
            }
            file.pending.store(pending, Ordering::Relaxed);
        }
        plan.uses
            .sort_unstable_by_key(|blob| (blob.pack, blob.offset, blob.file, blob.blob));
        plan.group();
        plan
    }

    /// Puts neighbouring blobs into one read.
    fn group(&mut self) {
        let total: u64 = self.uses.iter().map(|blob| u64::from(blob.length)).sum();
        let share = total / (4 * parallel::threads() as u64);
        let read_bytes = share.clamp(SMALLEST_READ_BYTES, READ_BYTES);
        let mut last_pack = None;
        for (index, blob) in self.uses.iter().enumerate() {
            let (begin, end) = (
                u64::from(blob.offset),
                u64::from(blob.offset) + u64::from(blob.length),
            );
            if let Some(read) = self.reads.last_mut()
                && last_pack == Some(blob.pack)
            {
                let read_end = read.offset + read.length;
                if begin <= read_end + GAP_BYTES && end.max(read_end) - read.offset <= read_bytes {
                    read.length = end.max(read_end) - read.offset;
                    read.uses.end = index + 1;
                    continue;
                }
                // Another use of the last blob belongs to its read, whatever the read's size.
                if end <= read_end {
                    read.uses.end = index + 1;
                    continue;
                }
            }
            last_pack = Some(blob.pack);
            self.reads.push(Read {
                pack: self.packs[blob.pack as usize],
                offset: begin,
                length: end - begin,
                uses: index..index + 1,
            });
        }
    }

    /// Reads, decodes and writes everything.
    pub(super) fn execute(
        &self,
        repository: &IndexedRepository,
        files: &[FileJob],
        writer: &FileWriter<'_>,
        runtime: &Handle,
    ) {
        let (sender, receiver) = crossbeam_channel::unbounded::<Loaded<'_>>();
        std::thread::scope(|scope| {
            for _ in 0..parallel::threads() {
                let receiver = receiver.clone();
                let decoder = Decoder {
                    plan: self,
                    repository,
                    files,
                    writer,
                    runtime,
                };
                scope.spawn(move || {
                    for loaded in receiver {
                        decoder.process(&loaded);
                    }
                });
            }
            drop(receiver);
            runtime.block_on(read_all(&self.reads, repository, writer.report, &sender));
            drop(sender);
        });
    }
}

struct Loaded<'a> {
    read: &'a Read,
    stored: Result<Bytes, String>,
    _budget: OwnedSemaphorePermit,
}

/// Reads ranges of packs in order, several at once, as the budget allows.
async fn read_all<'a>(
    reads: &'a [Read],
    repository: &IndexedRepository,
    report: &Report,
    sender: &crossbeam_channel::Sender<Loaded<'a>>,
) {
    let units = u32::try_from(BUDGET_BYTES / UNIT_BYTES).unwrap_or(u32::MAX);
    let budget = Arc::new(Semaphore::new(units as usize));
    let connections = repository.backend().connections().max(2);
    let all = futures::stream::iter(reads)
        .take_while(|_| std::future::ready(!report.is_stopped()))
        .map(|read| {
            let budget = Arc::clone(&budget);
            async move {
                let cost = u32::try_from(read.length.div_ceil(UNIT_BYTES))
                    .unwrap_or(u32::MAX)
                    .clamp(1, units);
                let budget = budget.acquire_many_owned(cost).await.ok()?;
                let stored = repository
                    .read_pack(&read.pack, read.offset, read.length)
                    .await;
                let stored = stored.map_err(|error| {
                    let text = chain(&error);
                    report.storage_failed(error);
                    text
                });
                if stored.is_ok() {
                    report.storage_works();
                }
                Some(Loaded {
                    read,
                    stored,
                    _budget: budget,
                })
            }
        })
        .buffer_unordered(connections)
        .for_each(|loaded| {
            if let Some(loaded) = loaded {
                // The decoders leave only when this sender is gone.
                let _ = sender.send(loaded);
            }
            std::future::ready(())
        });
    tokio::select! {
        () = all => {}
        () = report.stopped() => {}
    }
}

struct Decoder<'a> {
    plan: &'a ContentPlan,
    repository: &'a IndexedRepository,
    files: &'a [FileJob],
    writer: &'a FileWriter<'a>,
    runtime: &'a Handle,
}

impl Decoder<'_> {
    /// Decodes every blob of a read once and writes it wherever it belongs.
    fn process(&self, loaded: &Loaded<'_>) {
        let uses = &self.plan.uses[loaded.read.uses.clone()];
        for same in
            uses.chunk_by(|one, other| (one.offset, self.id(one)) == (other.offset, self.id(other)))
        {
            if self.writer.report.is_stopped() {
                return;
            }
            let first = &same[0];
            let data = match &loaded.stored {
                Ok(stored) => self.decode(first, loaded.read, stored),
                Err(reason) => self.load_elsewhere(first, reason),
            };
            for blob in same {
                let file = &self.files[blob.file as usize];
                match &data {
                    Ok(data) => self.writer.write(file, blob.file_offset, data),
                    Err(reason) => self.writer.miss(file, reason),
                }
            }
        }
    }

    fn id(&self, blob: &Use) -> &BlobId {
        &self.files[blob.file as usize].content[blob.blob as usize]
    }

    fn decode(&self, blob: &Use, read: &Read, stored: &Bytes) -> Result<Vec<u8>, String> {
        let location = BlobLocation {
            pack: read.pack,
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.uncompressed_length,
        };
        let begin = usize::try_from(u64::from(blob.offset) - read.offset).unwrap_or(usize::MAX);
        let stored = begin
            .checked_add(blob.length as usize)
            .and_then(|end| stored.get(begin..end))
            .ok_or_else(|| format!("pack {} is shorter than its index says", read.pack))?;
        match self
            .repository
            .decode_blob(&handle(self.id(blob)), &location, stored)
        {
            Ok(data) if data.len() as u64 == location.plaintext_bytes() => Ok(data),
            Ok(_) => Err(format!(
                "{} has another size than the index says",
                handle(self.id(blob))
            )),
            Err(error) => self.load_elsewhere(blob, &chain(&error)),
        }
    }

    /// The blob from any pack that has it; the first reason counts when none has.
    fn load_elsewhere(&self, blob: &Use, reason: &str) -> Result<Vec<u8>, String> {
        let handle = handle(self.id(blob));
        let loaded: Result<Vec<u8>, LoadError> =
            self.runtime.block_on(self.repository.load_blob(&handle));
        loaded.map_err(|error| {
            tracing::warn!(%handle, reason, error = chain(&error), "no copy of a blob can be read");
            format!("content is damaged: {reason}")
        })
    }
}

pub(super) const fn handle(id: &BlobId) -> BlobHandle {
    BlobHandle {
        kind: BlobKind::Data,
        id: *id,
    }
}
