//! The content of packs: read as a whole, hashed, its header compared with the index, every blob verified.

use std::sync::Arc;

use backend::{BackendError, FileKind, Handle};
use bytes::Bytes;
use futures::stream::{self, StreamExt};

use crate::blob::BlobKind;
use crate::check::structure::{Readable, reason};
use crate::check::{CheckProgress, CheckReport, CheckStep, CheckSubject, Progress};
use crate::id::{Id, PackId};
use crate::index::PackOrder;
use crate::indexed::{IndexedRepository, decode};
use crate::pack::{self, PackedBlob};
use crate::repository::{blocking, chain};

/// Packs in memory at once, in bytes; one at least.
const BUDGET_BYTES: u64 = 64 << 20;

/// Problems of one pack that are listed one by one.
const MAX_PROBLEMS: usize = 100;

pub(super) async fn check_packs(
    repository: &IndexedRepository,
    order: &Arc<PackOrder>,
    packs: Vec<Readable>,
    report: &mut CheckReport,
    progress: Progress<'_>,
) {
    let largest = packs
        .iter()
        .map(|(_, bytes)| *bytes)
        .max()
        .unwrap_or(1)
        .max(1);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let parallel = usize::try_from(BUDGET_BYTES / largest)
        .unwrap_or(1)
        .clamp(1, cores);
    let total = Some(packs.len() as u64);
    let mut results = stream::iter(packs)
        .map(
            |(pack, bytes)| async move { (pack, bytes, check_pack(repository, order, pack).await) },
        )
        .buffer_unordered(parallel);
    while let Some((number, bytes, problems)) = results.next().await {
        let pack = repository.index().packs()[number as usize];
        report.packs_read += 1;
        report.bytes_read += bytes;
        if !problems.is_empty() {
            report.damaged_packs.push(pack);
            report.hint(
                "Packs are damaged: find out why (memory, disk, controller) before anything else. What the source still has is stored again by the next backup after `restic repair packs` with their ids",
            );
        }
        for problem in problems {
            report.add(
                CheckSubject::Data,
                format!("pack {}", pack.short()),
                problem,
            );
        }
        let done = report.packs_read;
        progress(CheckProgress {
            step: CheckStep::Data,
            done,
            total,
            bytes: report.bytes_read,
        });
    }
}

/// The problems of a pack. A pack that looks damaged is read once more before it counts as damaged.
async fn check_pack(
    repository: &IndexedRepository,
    order: &Arc<PackOrder>,
    number: u32,
) -> Vec<String> {
    let pack = repository.index().packs()[number as usize];
    let handle = Handle::new(FileKind::Pack, pack.to_hex());
    let mut problems = Vec::new();
    for _ in 0..2 {
        let content = repository.backend().read(&handle).await;
        problems = match content {
            Ok(content) => {
                let (repository, order) = (repository.clone(), Arc::clone(order));
                blocking(move || verify(&repository, &order, number, pack, &content)).await
            }
            Err(error) => vec![unreadable(&error)],
        };
        if problems.is_empty() {
            break;
        }
    }
    problems
}

fn unreadable(error: &BackendError) -> String {
    chain(error)
}

fn verify(
    repository: &IndexedRepository,
    order: &PackOrder,
    number: u32,
    pack: PackId,
    content: &Bytes,
) -> Vec<String> {
    let mut problems = Vec::new();
    if Id::of(content) != pack.0 {
        problems.push("its content does not fit its name".to_owned());
    }
    let index = repository.index();
    let mut indexed: Vec<PackedBlob> = order
        .of(index, number as usize)
        .map(|(_, kind, entry): (_, BlobKind, _)| entry.packed(kind))
        .collect();
    for blob in &indexed {
        let (start, end) = (
            blob.offset as usize,
            blob.offset as usize + blob.length as usize,
        );
        let location = blob.in_pack(pack);
        let problem = match content.get(start..end) {
            None => Some("it lies behind the end of the pack".to_owned()),
            Some(stored) => decode(repository.repository(), &blob.handle, &location, stored)
                .err()
                .map(|error| reason(&error)),
        };
        if let Some(problem) = problem {
            problems.push(format!("{}: {problem}", blob.handle));
        }
        if problems.len() >= MAX_PROBLEMS {
            problems.push("and more".to_owned());
            return problems;
        }
    }
    match pack::parse(repository.key(), content) {
        Err(error) => problems.push(chain(&error)),
        Ok(mut named) => {
            named.sort_unstable();
            indexed.sort_unstable();
            if named != indexed {
                problems.push("its header names other blobs than the index".to_owned());
            }
        }
    }
    problems
}
