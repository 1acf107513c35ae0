//! Who does what next: a stack of directories in progress, and the pieces of large files before it.
//!
//! The stack makes the walk depth first, so few directories are open at a time: a worker takes some files of
//! the topmost directory or opens one of its directories. Pieces of a large file hold memory and come first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::save::directory::{Entry, Leaf, Listing};
use crate::save::large::{ChunkJob, LargeFile, SegmentJob};
use crate::save::run::Failure;

/// Files taken at once.
const BATCH: usize = 8;

/// A piece of work.
pub(crate) enum Work {
    /// Store a chunk of a large file.
    Chunk(ChunkJob),
    /// Read and scan a segment of a large file.
    Segment(SegmentJob),
    /// Save entries of a directory.
    Entries(Arc<Listing>, Vec<Entry>),
    /// Save a target.
    Leaf(Leaf),
}

/// A directory in progress.
pub(crate) enum Frame {
    Directory {
        listing: Arc<Listing>,
        files: std::vec::IntoIter<Entry>,
        directories: std::vec::IntoIter<Entry>,
    },
    Leaves(std::vec::IntoIter<Leaf>),
}

#[derive(Default)]
struct State {
    stack: Vec<Frame>,
    chunks: std::collections::VecDeque<ChunkJob>,
    reading: Option<Arc<LargeFile>>,
    buffers: Vec<Vec<u8>>,
    buffers_out: usize,
    is_finished: bool,
    failure: Option<Failure>,
}

/// Shared by all workers.
pub(crate) struct Scheduler {
    state: Mutex<State>,
    changed: Condvar,
    is_stopped: AtomicBool,
    max_buffers: usize,
}

impl Scheduler {
    /// `max_buffers` bounds what large files hold in memory.
    pub(crate) fn new(max_buffers: usize) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self {
            state,
            changed,
            is_stopped: AtomicBool::new(false),
            max_buffers,
        }
    }

    /// Waits for the next work; nothing when all is done or the run has stopped.
    pub(crate) fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        loop {
            if state.is_finished || self.is_stopped() {
                return None;
            }
            if let Some(work) = self.large_work(&mut state).or_else(|| state.walk_work()) {
                return Some(work);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Puts a directory on top of the stack.
    pub(crate) fn push(&self, frame: Frame) {
        self.state.lock().stack.push(frame);
        self.changed.notify_all();
    }

    /// Makes this the large file that is being read, as soon as no other is. `help` is called with other work
    /// meanwhile. Without effect once the run has stopped.
    pub(crate) fn read_large(&self, file: &Arc<LargeFile>, mut help: impl FnMut(Work)) {
        let mut state = self.state.lock();
        while !self.is_stopped() {
            if state.reading.is_none() {
                state.reading = Some(Arc::clone(file));
                self.changed.notify_all();
                return;
            }
            if let Some(work) = self.large_work(&mut state) {
                drop(state);
                help(work);
                state = self.state.lock();
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    /// No more segments of this file will be asked for.
    pub(crate) fn end_reading(&self, file: &Arc<LargeFile>) {
        let mut state = self.state.lock();
        if state
            .reading
            .as_ref()
            .is_some_and(|reading| Arc::ptr_eq(reading, file))
        {
            state.reading = None;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Chunks are ready, or a large file may have more segments to read.
    pub(crate) fn add_chunks(&self, chunks: Vec<ChunkJob>) {
        self.state.lock().chunks.extend(chunks);
        self.changed.notify_all();
    }

    /// Gives a buffer of a large file back.
    pub(crate) fn give_back(&self, buffer: Vec<u8>) {
        let mut state = self.state.lock();
        state.buffers_out -= 1;
        state.buffers.push(buffer);
        drop(state);
        self.changed.notify_one();
    }

    /// The root is stored.
    pub(crate) fn finish(&self) {
        self.state.lock().is_finished = true;
        self.changed.notify_all();
    }

    /// Ends the run; the first failure counts.
    pub(crate) fn stop(&self, failure: Failure) {
        self.state.lock().failure.get_or_insert(failure);
        self.is_stopped.store(true, Ordering::SeqCst);
        // Under the lock, so that nobody starts to wait between the test and the notification.
        let state = self.state.lock();
        self.changed.notify_all();
        drop(state);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// What stopped the run. Drops all work that is left.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        let mut state = self.state.lock();
        let (failure, chunks, reading) = (
            state.failure.take(),
            std::mem::take(&mut state.chunks),
            state.reading.take(),
        );
        let stack = std::mem::take(&mut state.stack);
        // Dropping chunks gives their buffers back, which needs the lock.
        drop(state);
        drop((chunks, reading, stack));
        failure
    }

    fn large_work(&self, state: &mut State) -> Option<Work> {
        if let Some(chunk) = state.chunks.pop_front() {
            return Some(Work::Chunk(chunk));
        }
        if state.buffers_out >= self.max_buffers {
            return None;
        }
        let file = state.reading.as_ref()?;
        let index = file.take_segment()?;
        let file = Arc::clone(file);
        state.buffers_out += 1;
        let buffer = state.buffers.pop().unwrap_or_default();
        Some(Work::Segment(SegmentJob {
            file,
            index,
            buffer,
        }))
    }
}

impl State {
    fn walk_work(&mut self) -> Option<Work> {
        while let Some(frame) = self.stack.last_mut() {
            let (work, is_empty) = match frame {
                Frame::Leaves(leaves) => (leaves.next().map(Work::Leaf), leaves.len() == 0),
                Frame::Directory {
                    listing,
                    files,
                    directories,
                } => {
                    let mut entries: Vec<Entry> = files.take(BATCH).collect();
                    if entries.is_empty() {
                        entries.extend(directories.next());
                    }
                    let is_empty = files.len() == 0 && directories.len() == 0;
                    let work =
                        (!entries.is_empty()).then(|| Work::Entries(Arc::clone(listing), entries));
                    (work, is_empty)
                }
            };
            if is_empty {
                self.stack.pop();
            }
            if work.is_some() {
                return work;
            }
        }
        None
    }
}
