//! Open packs: blobs are compressed and sealed into them by the threads that save.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::mpsc::UnboundedSender;

use crate::blob::{BlobHandle, BlobKind};
use crate::compression::{self, Compression, Compressor};
use crate::pack::PackBuilder;
use crate::repository::{Repository, SaveError};
use crate::writer::pool::{Permit, Pool};
use crate::writer::upload::{Message, SealedPack};

/// Room behind the full size for the blob that fills it and the header: the largest piece of a file.
const SLACK_BYTES: usize = (8 << 20) + (256 << 10);

/// Packs of data that are open at once: two threads seal at the same time.
const OPEN_DATA_PACKS: usize = 2;

#[derive(Debug)]
pub(super) struct Packer {
    repository: Repository,
    compression: Compression,
    full_bytes: usize,
    pool: Arc<Pool>,
    data: [Mutex<Slot>; OPEN_DATA_PACKS],
    tree: Mutex<Slot>,
    next_slot: AtomicUsize,
    queue: UnboundedSender<Message>,
    /// Held shared from the search for a slot until the pack is handed over, so that no pack is between the slots
    /// and the queue when the end of the queue is sent.
    at_work: RwLock<()>,
}

/// Where at most one pack is open.
#[derive(Debug)]
enum Slot {
    Empty,
    Open(Box<OpenPack>),
    /// The writer is finished.
    Closed,
}

#[derive(Debug)]
struct OpenPack {
    builder: PackBuilder,
    permit: Permit,
}

#[derive(Debug, thiserror::Error)]
enum PackerError {
    #[error("the writer is finished")]
    Finished,
    #[error("the uploads have ended")]
    NoUploads,
    #[error("it is longer than 4 GiB")]
    TooLong,
}

impl Packer {
    pub(super) fn new(
        repository: &Repository,
        uploads: usize,
        queue: UnboundedSender<Message>,
    ) -> Self {
        let full_bytes = repository.pack_size_bytes() as usize;
        // Two open packs of data and the uploads. The pack of trees takes its turn: when all buffers are held,
        // one of them is being uploaded and comes back.
        let pool = Pool::new(uploads + OPEN_DATA_PACKS, full_bytes + SLACK_BYTES);
        Self {
            repository: repository.clone(),
            compression: repository.options().compression,
            full_bytes,
            pool,
            data: [Mutex::new(Slot::Empty), Mutex::new(Slot::Empty)],
            tree: Mutex::new(Slot::Empty),
            next_slot: AtomicUsize::new(0),
            queue,
            at_work: RwLock::new(()),
        }
    }

    /// Compresses, seals and packs a blob; returns the bytes it takes in its pack and the pack's header.
    pub(super) fn store(
        &self,
        handle: BlobHandle,
        data: &[u8],
        must_compress: bool,
    ) -> Result<u64, SaveError> {
        if !self.repository.config().has_compression() {
            return self.append(handle, data, None);
        }
        let plaintext_bytes =
            u32::try_from(data.len()).map_err(|_| failed(&handle, PackerError::TooLong))?;
        // A header cannot name a compressed blob without content.
        let Some(plaintext_bytes) = NonZeroU32::new(plaintext_bytes) else {
            return self.append(handle, data, None);
        };
        let is_tree = handle.kind == BlobKind::Tree;
        let level = if is_tree {
            self.compression.for_metadata()
        } else {
            self.compression
        };
        with_compressor(level, |compressor| match compressor.compress(data) {
            Some(content) => self.append(handle, content, Some(plaintext_bytes)),
            // restic counts trees that are stored plain as a task for its next prune.
            None if is_tree || (must_compress && level != Compression::Off) => {
                let mut content = Vec::new();
                compression::compress_to(level, data, &mut content);
                self.append(handle, &content, Some(plaintext_bytes))
            }
            None => self.append(handle, data, None),
        })
    }

    /// Hands all open packs over, small ones of data joined, and the end of the queue behind them. Waits for the
    /// threads that are packing a blob.
    pub(super) fn finish(&self) -> Result<(), SaveError> {
        let _nobody = self.at_work.write();
        let mut data = self.data.iter().filter_map(close).collect::<Vec<_>>();
        if let [first, second] = &mut data[..]
            && first.builder.len() + second.builder.len() <= self.full_bytes
            && first.builder.has_room_for_blobs_of(&second.builder)
            && first.builder.append(&second.builder).is_ok()
        {
            data.truncate(1);
        }
        for pack in data.into_iter().chain(close(&self.tree)) {
            self.hand_over(pack)?;
        }
        self.queue.send(Message::Finish).map_err(|_| no_uploads())
    }

    fn append(
        &self,
        handle: BlobHandle,
        content: &[u8],
        uncompressed_length: Option<NonZeroU32>,
    ) -> Result<u64, SaveError> {
        let _at_work = self.at_work.read();
        let mut slot = self.slot(handle.kind);
        let pack = match &mut *slot {
            Slot::Closed => return Err(failed(&handle, PackerError::Finished)),
            Slot::Open(pack) => pack,
            empty @ Slot::Empty => {
                *empty = Slot::Open(Box::new(self.open_pack()));
                let Slot::Open(pack) = empty else {
                    unreachable!("it was opened in the line before")
                };
                pack
            }
        };
        let packed_bytes = pack
            .builder
            .seal(self.repository.key(), handle, content, uncompressed_length)
            .map_err(|source| SaveError {
                object: handle.to_string(),
                source: source.into(),
            })?;
        if pack.builder.len() < self.full_bytes && !pack.builder.is_header_full() {
            return Ok(packed_bytes);
        }
        let full = std::mem::replace(&mut *slot, Slot::Empty);
        drop(slot);
        if let Slot::Open(pack) = full {
            self.hand_over(*pack)?;
        }
        Ok(packed_bytes)
    }

    fn open_pack(&self) -> OpenPack {
        let (buffer, permit) = self.pool.take();
        OpenPack {
            builder: PackBuilder::new(buffer),
            permit,
        }
    }

    /// Seals the header and hashes the pack on the thread that filled it.
    fn hand_over(&self, pack: OpenPack) -> Result<(), SaveError> {
        let OpenPack { builder, permit } = pack;
        if builder.is_empty() {
            return Ok(());
        }
        let pack = builder.finish(self.repository.key());
        self.queue
            .send(Message::Pack(SealedPack { pack, permit }))
            .map_err(|_| no_uploads())
    }

    /// A slot for this kind, one that nobody is at work on if there is one.
    fn slot(&self, kind: BlobKind) -> MutexGuard<'_, Slot> {
        if kind == BlobKind::Tree {
            return self.tree.lock();
        }
        let first = self.next_slot.fetch_add(1, Ordering::Relaxed);
        let order = (0..OPEN_DATA_PACKS).map(|step| &self.data[(first + step) % OPEN_DATA_PACKS]);
        order
            .clone()
            .find_map(Mutex::try_lock)
            .unwrap_or_else(|| self.data[first % OPEN_DATA_PACKS].lock())
    }
}

fn close(slot: &Mutex<Slot>) -> Option<OpenPack> {
    match std::mem::replace(&mut *slot.lock(), Slot::Closed) {
        Slot::Open(pack) => Some(*pack),
        Slot::Empty | Slot::Closed => None,
    }
}

/// Contexts and their output buffers stay with the thread.
fn with_compressor<T>(level: Compression, work: impl FnOnce(&mut Compressor) -> T) -> T {
    thread_local! {
        static COMPRESSORS: RefCell<Vec<(Compression, Compressor)>> = const { RefCell::new(Vec::new()) };
    }
    COMPRESSORS.with_borrow_mut(|compressors| {
        let place = compressors
            .iter()
            .position(|(known, _)| *known == level)
            .unwrap_or_else(|| {
                compressors.push((level, Compressor::new(level)));
                compressors.len() - 1
            });
        work(&mut compressors[place].1)
    })
}

fn failed(handle: &BlobHandle, source: PackerError) -> SaveError {
    SaveError {
        object: handle.to_string(),
        source: source.into(),
    }
}

fn no_uploads() -> SaveError {
    SaveError {
        object: "pack".to_owned(),
        source: PackerError::NoUploads.into(),
    }
}
