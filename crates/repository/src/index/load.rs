//! Reading every index file, several at once, decoded on blocking threads.

use std::sync::Arc;

use backend::FileKind;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;

use crate::id::{Id, IndexId};
use crate::index::{Index, IndexBuilder, IndexedFile, parse_file};
use crate::repository::{LoadError, Repository, blocking};

/// An index file larger than this is not read. restic's hold at most some ten megabytes.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// How many index files are held at once: their JSON is the largest thing while an index is loaded.
const PARALLEL: usize = 4;

/// What can still be learned from an index of which some files are damaged.
#[derive(Debug)]
pub(crate) struct TolerantIndex {
    /// What the good files name.
    pub(crate) index: Index,
    /// The files that could not be used.
    pub(crate) failures: Vec<(IndexId, LoadError)>,
    /// Packs that more than one index file names.
    pub(crate) repeated_packs: usize,
}

/// The index, if every index file is good.
pub(crate) async fn load(repository: &Repository) -> Result<Index, LoadError> {
    let mut loaded = load_tolerant(repository).await?;
    match loaded.failures.pop() {
        None => Ok(loaded.index),
        Some((_, error)) => Err(error),
    }
}

/// What the good index files name; fails only when they cannot be listed.
pub(crate) async fn load_tolerant(repository: &Repository) -> Result<TolerantIndex, LoadError> {
    let files = repository
        .list(FileKind::Index)
        .await
        .map_err(|source| LoadError::Storage {
            object: "the list of index files".to_owned(),
            source,
        })?;
    let builder = Arc::new(Mutex::new(IndexBuilder::default()));
    let parallel = repository.backend().connections().clamp(2, PARALLEL);
    let results: Vec<_> = stream::iter(files)
        .map(|(id, bytes)| {
            let builder = Arc::clone(&builder);
            async move { (IndexId(id), load_one(repository, id, bytes, builder).await) }
        })
        .buffer_unordered(parallel)
        .collect()
        .await;
    let builder = std::mem::take(&mut *builder.lock());
    let failures = results
        .into_iter()
        .filter_map(|(id, result)| Some((id, result.err()?)))
        .collect();
    let repeated_packs = builder.repeated_packs();
    let index = blocking(move || builder.finish()).await;
    Ok(TolerantIndex {
        index,
        failures,
        repeated_packs,
    })
}

async fn load_one(
    repository: &Repository,
    id: Id,
    bytes: u64,
    builder: Arc<Mutex<IndexBuilder>>,
) -> Result<(), LoadError> {
    let object = format!("index {}", id.short());
    if bytes > MAX_INDEX_BYTES {
        let reason = format!("its size of {bytes} bytes is beyond any index");
        return Err(LoadError::Damaged { object, reason });
    }
    let json = repository.load_unpacked(FileKind::Index, &id).await?;
    let parsed = blocking(move || {
        let mut file = IndexedFile {
            id: IndexId(id),
            packs: Vec::new(),
            blobs: 0,
        };
        parse_file(&json, &mut |pack| {
            file.packs.push(builder.lock().add(pack));
            file.blobs += pack.blobs.len();
        })?;
        builder.lock().add_file(file);
        Ok::<_, serde_json::Error>(())
    });
    parsed.await.map_err(|error| LoadError::Damaged {
        object,
        reason: error.to_string(),
    })
}
