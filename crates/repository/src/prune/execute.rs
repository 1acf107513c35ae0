//! Doing what was decided, each step only when the one before is stored.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend::{BackendError, FileKind, Handle};
use futures::stream::{self, StreamExt, TryStreamExt};
use hashbrown::HashSet;

use crate::blob::BlobHandle;
use crate::id::{Id, PackId};
use crate::index::{Index, PackOrder};
use crate::indexed::IndexedRepository;
use crate::lock::{Lock, LockError, LockKind};
use crate::pack::PackedBlob;
use crate::prune::{PruneError, PrunePlan, PruneProgress, PruneStep, PruneSummary, rewrite};
use crate::repository::{LoadError, SaveError, blocking};
use crate::writer::{BlobWriter, Novelty};

/// Blobs that are so near to each other are read with one request.
const MAX_GAP_BYTES: u32 = 256 << 10;

/// At most so much is read with one request, unless one blob is larger.
const MAX_READ_BYTES: u32 = 16 << 20;

/// Reads under way at once while repacking: each holds up to [`MAX_READ_BYTES`].
const PARALLEL_READS: usize = 3;

type Progress<'a> = &'a (dyn Fn(PruneProgress) + Send + Sync);

pub(super) async fn execute(
    plan: PrunePlan,
    lock: &Lock,
    progress: Progress<'_>,
) -> Result<PruneSummary, PruneError> {
    if lock.kind() != LockKind::Exclusive {
        return Err(PruneError::NotExclusive);
    }
    let work = run(&plan, lock, progress);
    tokio::select! {
        result = work => result?,
        () = lock.lost().cancelled() => return Err(PruneError::Lock(LockError::Lost)),
    }
    Ok(plan.decision.summary)
}

async fn run(plan: &PrunePlan, lock: &Lock, progress: Progress<'_>) -> Result<(), PruneError> {
    let PrunePlan {
        repository,
        decision,
        ..
    } = plan;
    let unreferenced: Vec<Id> = decision.unreferenced.iter().map(|pack| pack.0).collect();
    remove(
        repository,
        lock,
        FileKind::Pack,
        &unreferenced,
        PruneStep::RemoveUnreferenced,
        progress,
    )
    .await?;
    if !decision.changes_index() {
        return Ok(());
    }
    repack(plan, lock, progress).await?;

    let indexed = repository.clone();
    let dropped: Vec<u32> = decision.dropped().collect();
    let rewrite = blocking(move || rewrite::rewrite(indexed.index(), dropped.into_iter())).await;
    let total = rewrite.new.len() as u64;
    for (done, file) in (1..).zip(rewrite.new) {
        lock.ensure_held().map_err(PruneError::Lock)?;
        let json = blocking(move || file.to_json()).await;
        repository
            .save_unpacked(FileKind::Index, &json)
            .await
            .map_err(PruneError::Save)?;
        progress(PruneProgress {
            step: PruneStep::WriteIndex,
            done,
            total,
        });
    }
    // Index files go before packs: a pack without an index is waste, an index without a pack is damage.
    let old: Vec<Id> = rewrite.old.iter().map(|index| index.0).collect();
    remove(
        repository,
        lock,
        FileKind::Index,
        &old,
        PruneStep::RemoveIndex,
        progress,
    )
    .await?;
    let packs: Vec<Id> = plan
        .removed_packs()
        .chain(plan.repacked_packs())
        .map(|pack| pack.0)
        .collect();
    remove(
        repository,
        lock,
        FileKind::Pack,
        &packs,
        PruneStep::RemovePacks,
        progress,
    )
    .await
}

/// Removes files several at once. All are tried, the first failure is returned.
async fn remove(
    repository: &IndexedRepository,
    lock: &Lock,
    kind: FileKind,
    ids: &[Id],
    step: PruneStep,
    progress: Progress<'_>,
) -> Result<(), PruneError> {
    let action = match kind {
        FileKind::Index => "remove replaced index files",
        _ => "remove packs",
    };
    let done = AtomicU64::new(0);
    let total = ids.len() as u64;
    let parallel = repository.backend().connections().clamp(2, 16);
    let mut results = stream::iter(ids)
        .map(|id| {
            let done = &done;
            async move {
                lock.ensure_held().map_err(PruneError::Lock)?;
                let handle = Handle::new(kind, id.to_hex());
                let removed = repository.backend().remove(&handle).await;
                removed.map_err(|source: BackendError| PruneError::Storage { action, source })?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress(PruneProgress { step, done, total });
                Ok(())
            }
        })
        .buffer_unordered(parallel);
    let mut first = Ok(());
    while let Some(result) = results.next().await {
        first = first.and(result);
    }
    first
}

/// Stores the used blobs of repacked packs again, verified, in new packs that new index files name.
async fn repack(plan: &PrunePlan, lock: &Lock, progress: Progress<'_>) -> Result<(), PruneError> {
    let PrunePlan {
        repository,
        decision,
        options,
        ..
    } = plan;
    if decision.repack.is_empty() && decision.remove.is_empty() {
        return Ok(());
    }
    let order = {
        let repository = repository.clone();
        Arc::new(blocking(move || repository.index().by_pack()).await)
    };
    let going: HashSet<u32> = decision.dropped().collect();
    let novelty = Novelty::NotInWriter {
        must_compress: options.repack_uncompressed,
    };
    let writer = BlobWriter::new(repository, novelty, Some(lock.watch()));
    secure_kept_copies(plan, lock, &order, &going, &writer).await?;
    let total = decision.repack.len() as u64;
    let done = AtomicU64::new(0);
    stream::iter(&decision.repack)
        .map(Ok)
        .try_for_each_concurrent(PARALLEL_READS, |pack| {
            let (writer, done, order, going) = (&writer, &done, &order, &going);
            async move {
                lock.ensure_held().map_err(PruneError::Lock)?;
                let blobs = blobs_to_keep(plan, order, going, *pack);
                repack_pack(repository, writer, plan.pack_id(*pack), &blobs).await?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress(PruneProgress {
                    step: PruneStep::Repack,
                    done,
                    total,
                });
                Ok(())
            }
        })
        .await?;
    writer.finish().await.map_err(PruneError::Save)?;
    Ok(())
}

/// Reads the copies that stay of used blobs of which another copy goes. Until now nobody looked at them: where none
/// is good, the blob is stored again from the copy that goes.
async fn secure_kept_copies(
    plan: &PrunePlan,
    lock: &Lock,
    order: &PackOrder,
    going: &HashSet<u32>,
    writer: &BlobWriter,
) -> Result<(), PruneError> {
    let repository = &plan.repository;
    let index: &Index = repository.index();
    let stays = |copy: &usize| !going.contains(&index.entry(*copy).1.pack);
    let mut handles = HashSet::new();
    for pack in plan.decision.remove.iter().chain(&plan.decision.repack) {
        for (_, kind, entry) in order.of(index, *pack as usize) {
            let handle = entry.handle(kind);
            let mut copies = index.positions(&handle);
            if plan.used.is_used(copies.start) && copies.any(|copy| stays(&copy)) {
                handles.insert(handle);
            }
        }
    }
    stream::iter(handles)
        .map(Ok)
        .try_for_each_concurrent(PARALLEL_READS, |handle| async move {
            lock.ensure_held().map_err(PruneError::Lock)?;
            for copy in index.positions(&handle).filter(stays) {
                let entry = index.entry(copy).1;
                let location = entry.location(plan.pack_id(entry.pack));
                match repository.load_copy(&handle, &location).await {
                    Ok(_) => return Ok(()),
                    Err(error) => {
                        tracing::warn!(blob = %handle, pack = %location.pack.short(), %error, "the copy of a blob that stays is damaged");
                    }
                }
            }
            rescue(repository, writer, handle).await
        })
        .await
}

/// The used blobs of a pack of which no copy lies in a pack that stays.
fn blobs_to_keep(
    plan: &PrunePlan,
    order: &PackOrder,
    going: &HashSet<u32>,
    pack: u32,
) -> Vec<PackedBlob> {
    let index: &Index = plan.repository.index();
    order
        .of(index, pack as usize)
        .map(|(_, kind, entry)| entry.packed(kind))
        .filter(|blob| {
            let copies = index.positions(&blob.handle);
            plan.used.is_used(copies.start)
                && copies
                    .clone()
                    .all(|copy| going.contains(&index.entry(copy).1.pack))
        })
        .collect()
}

async fn repack_pack(
    repository: &IndexedRepository,
    writer: &BlobWriter,
    pack: PackId,
    blobs: &[PackedBlob],
) -> Result<(), PruneError> {
    for range in reads(blobs) {
        let part = blobs[range].to_vec();
        let Some(first) = part.first() else { continue };
        let start = first.offset;
        // A hostile index may name blobs that overlap, so the last one need not end last.
        let ends = part
            .iter()
            .map(|blob| u64::from(blob.offset) + u64::from(blob.length));
        let end = ends.max().unwrap_or(u64::from(start));
        let stored = repository
            .read_pack(&pack, start.into(), end - u64::from(start))
            .await;
        let stored = stored.map_err(PruneError::Repack)?;
        let (decoder, saver) = (repository.clone(), writer.clone());
        let damaged = blocking(move || -> Result<Vec<BlobHandle>, SaveError> {
            let mut damaged = Vec::new();
            for blob in part {
                let offset = (blob.offset - start) as usize;
                let content = stored
                    .get(offset..offset + blob.length as usize)
                    .map(|stored| decoder.decode_blob(&blob.handle, &blob.in_pack(pack), stored));
                match content {
                    Some(Ok(content)) => {
                        saver.save_as(blob.handle, &content)?;
                    }
                    Some(Err(_)) | None => damaged.push(blob.handle),
                }
            }
            Ok(damaged)
        })
        .await
        .map_err(PruneError::Save)?;
        for handle in damaged {
            rescue(repository, writer, handle).await?;
        }
    }
    Ok(())
}

/// A blob whose copy in the pack is damaged: read again, and looked for in other packs.
async fn rescue(
    repository: &IndexedRepository,
    writer: &BlobWriter,
    handle: BlobHandle,
) -> Result<(), PruneError> {
    let content = repository
        .load_blob(&handle)
        .await
        .map_err(|error: LoadError| PruneError::Repack(error))?;
    let saver = writer.clone();
    blocking(move || saver.save_as(handle, &content))
        .await
        .map_err(PruneError::Save)?;
    Ok(())
}

/// Groups blobs, ordered by offset, that are read together.
fn reads(blobs: &[PackedBlob]) -> Vec<Range<usize>> {
    let mut reads: Vec<Range<usize>> = Vec::new();
    for (number, blob) in blobs.iter().enumerate() {
        // Saturating, because a damaged index may say anything.
        let end = blob.offset.saturating_add(blob.length);
        match reads.last_mut() {
            Some(read)
                if blob.offset.saturating_sub(
                    blobs[read.end - 1]
                        .offset
                        .saturating_add(blobs[read.end - 1].length),
                ) <= MAX_GAP_BYTES
                    && end - blobs[read.start].offset <= MAX_READ_BYTES =>
            {
                read.end = number + 1;
            }
            _ => reads.push(number..number + 1),
        }
    }
    reads
}
