//! Uploading packs in parallel, and naming those that are stored in index files.
//!
//! One task owns all uploads of a writer. It ends when the writer is finished or dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{FileKind, Handle};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::blob::BlobKind;
use crate::index::{FULL_BLOBS, Index, IndexFile, IndexedPack};
use crate::lock::{LockError, LockWatch};
use crate::pack::FinishedPack;
use crate::repository::{Repository, SaveError, blocking, write_file};
use crate::writer::failure::Failure;
use crate::writer::known::Known;
use crate::writer::pool::Permit;

/// An index file is written when it is so old, full or not; restic's number.
const FULL_INDEX_AGE: Duration = Duration::from_mins(10);

/// A pack with the right to the memory it is in.
#[derive(Debug)]
pub(super) struct SealedPack {
    pub(super) pack: FinishedPack,
    pub(super) permit: Permit,
}

/// What the saving threads tell the uploads. The queue is bounded by the permits of its packs.
#[derive(Debug)]
pub(super) enum Message {
    /// Store this pack.
    Pack(SealedPack),
    /// Nothing follows; store the last index file.
    Finish,
}

pub(super) struct Uploader {
    pub(super) repository: Repository,
    pub(super) index: Arc<Index>,
    pub(super) known: Arc<Known>,
    pub(super) failure: Arc<Failure>,
    /// What keeps others from removing the packs before an index file names them.
    pub(super) lock: Option<LockWatch>,
    /// Whether the writer may forget a blob that the index has learned.
    pub(super) forgets: bool,
}

/// A stored object.
enum Done {
    Pack(IndexedPack),
    Index(IndexFile),
}

impl Uploader {
    pub(super) async fn run(self, mut queue: UnboundedReceiver<Message>, parallel: usize) {
        let mut waiting = VecDeque::new();
        let mut running: FuturesUnordered<BoxFuture<'_, Result<Done, SaveError>>> =
            FuturesUnordered::new();
        let mut file = IndexFile::default();
        let mut file_since = Instant::now();
        let mut is_finishing = false;
        loop {
            while running.len() < parallel
                && let Some(pack) = waiting.pop_front()
            {
                running.push(self.store_pack(pack).boxed());
            }
            if is_finishing && running.is_empty() {
                if file.is_empty() || self.failure.is_set() {
                    return;
                }
                running.push(self.store_index(std::mem::take(&mut file)).boxed());
            }
            tokio::select! {
                message = queue.recv(), if !is_finishing => match message {
                    // After a failure packs are only dropped, which lets waiting threads go on to see it.
                    Some(Message::Pack(_)) if self.failure.is_set() => {}
                    Some(Message::Pack(pack)) => waiting.push_back(pack),
                    Some(Message::Finish) => is_finishing = true,
                    // Dropped without a finish: what is under way is given up.
                    None => return,
                },
                Some(done) = running.next(), if !running.is_empty() => match done {
                    Ok(Done::Pack(pack)) => {
                        if file.is_empty() {
                            file_since = Instant::now();
                        }
                        file.add(pack);
                        if file.blob_count() >= FULL_BLOBS || file_since.elapsed() >= FULL_INDEX_AGE {
                            running.push(self.store_index(std::mem::take(&mut file)).boxed());
                        }
                    }
                    Ok(Done::Index(file)) => self.publish(&file),
                    Err(error) => {
                        waiting.clear();
                        self.failure.set(error);
                    }
                },
                () = self.lost(), if !self.failure.is_set() => {
                    waiting.clear();
                    self.failure.set(unlocked(LockError::Lost));
                }
            }
        }
    }

    /// Comes back when the lock is lost.
    async fn lost(&self) {
        match &self.lock {
            Some(lock) => lock.lost().cancelled().await,
            None => std::future::pending().await,
        }
    }

    async fn store_pack(&self, sealed: SealedPack) -> Result<Done, SaveError> {
        let SealedPack {
            pack: FinishedPack { id, content, blobs },
            permit,
        } = sealed;
        let content = Bytes::from(content);
        let mut handle = Handle::new(FileKind::Pack, id.to_hex());
        let holds_trees = blobs.iter().any(|blob| blob.handle.kind == BlobKind::Tree);
        if holds_trees {
            handle = handle.with_metadata();
        }
        write_file(&self.repository, &handle, id.0, content.clone()).await?;
        if let Some(cache) = self.repository.cache()
            && holds_trees
        {
            // The next backup reads these trees to find what has changed.
            cache.keep(&handle, content.clone()).await;
        }
        if content.is_unique() {
            permit.give_back(Vec::from(content));
        }
        Ok(Done::Pack(IndexedPack { id, blobs }))
    }

    async fn store_index(&self, file: IndexFile) -> Result<Done, SaveError> {
        let (file, json) = blocking(move || {
            let json = file.to_json();
            (file, json)
        })
        .await;
        if let Some(lock) = &self.lock {
            lock.ensure_held().await.map_err(unlocked)?;
        }
        self.repository
            .save_unpacked(FileKind::Index, &json)
            .await?;
        Ok(Done::Index(file))
    }

    /// The index learns the blobs before the writer forgets them, so that no thread finds neither.
    fn publish(&self, file: &IndexFile) {
        self.index.publish(file.packs());
        if !self.forgets {
            return;
        }
        for pack in file.packs() {
            for blob in &pack.blobs {
                self.known.remove(&blob.handle);
            }
        }
    }
}

fn unlocked(source: LockError) -> SaveError {
    SaveError {
        object: "index".to_owned(),
        source: source.into(),
    }
}
