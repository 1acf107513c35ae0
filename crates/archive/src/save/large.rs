//! Large files and streams: read in segments, cut on all cores, stored chunk by chunk.
//!
//! Segments are read and scanned in any order; the ends of chunks are decided in order as soon as the next
//! segment is there. The memory of all segments is bounded by the scheduler's number of buffers.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use repository::chunker::{Candidates, CutResolver, WINDOW_BYTES, candidates};
use repository::tree::Node;
use repository::{BlobId, BlobKind, SavedBlob};

use crate::metadata::FileStat;
use crate::save::directory::{Directory, change, report};
use crate::save::run::{Failure, Run};

/// From this size on a file is worked on by all threads.
pub(crate) const LARGE_BYTES: u64 = 8 << 20;
/// Bytes of one segment.
const SEGMENT_BYTES: usize = 1 << 20;
/// What the scan of a segment needs of the one before.
const LEAD_BYTES: usize = WINDOW_BYTES - 1;

/// Where the bytes come from.
pub(crate) enum Content {
    File(File),
    /// With the last bytes read before.
    Stream(Mutex<(Box<dyn Read + Send>, Vec<u8>)>),
}

/// A file that all threads work on.
pub(crate) struct LargeFile {
    pub(crate) directory: Arc<Directory>,
    pub(crate) slot: u32,
    /// On disk, for messages.
    pub(crate) path: PathBuf,
    pub(crate) snapshot_path: PathBuf,
    pub(crate) content: Content,
    /// What `stat` said.
    pub(crate) size_hint: u64,
    pub(crate) old: Option<Node>,
    pub(crate) started: Instant,
    pub(crate) state: Mutex<Progress>,
}

/// How far a large file is.
pub(crate) struct Progress {
    node: Option<Node>,
    next_segment: u64,
    reads: usize,
    is_read: bool,
    scanned: BTreeMap<u64, (Segment, Candidates)>,
    next_scanned: u64,
    window: VecDeque<Arc<Segment>>,
    resolver: CutResolver,
    chunk_start: u64,
    is_cut: bool,
    blobs: Vec<Option<BlobId>>,
    stored: usize,
    added: (u64, u64),
    is_done: bool,
}

/// A segment to read.
pub(crate) struct SegmentJob {
    pub(crate) file: Arc<LargeFile>,
    pub(crate) index: u64,
    pub(crate) buffer: Vec<u8>,
}

/// A chunk to store.
pub(crate) struct ChunkJob {
    file: Arc<LargeFile>,
    index: usize,
    range: Range<u64>,
    parts: Vec<Arc<Segment>>,
}

/// Bytes of a file; the buffer goes back to the scheduler.
struct Segment {
    run: Arc<Run>,
    buffer: Vec<u8>,
    lead: usize,
    range: Range<u64>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.run
            .scheduler
            .give_back(std::mem::take(&mut self.buffer));
    }
}

impl Segment {
    /// The part of the segment within a range of the file.
    fn slice(&self, range: &Range<u64>) -> &[u8] {
        let place = |position: u64| {
            let within = position.clamp(self.range.start, self.range.end) - self.range.start;
            self.lead + usize::try_from(within).expect("a segment is 1 MiB")
        };
        &self.buffer[place(range.start)..place(range.end)]
    }
}

impl Progress {
    pub(crate) fn new(node: Node) -> Mutex<Self> {
        Mutex::new(Self {
            node: Some(node),
            next_segment: 0,
            reads: 0,
            is_read: false,
            scanned: BTreeMap::new(),
            next_scanned: 0,
            window: VecDeque::new(),
            resolver: CutResolver::new(),
            chunk_start: 0,
            is_cut: false,
            blobs: Vec::new(),
            stored: 0,
            added: (0, 0),
            is_done: false,
        })
    }

    /// Decides what can be decided. Segments that are not needed any more go to `released`, because giving
    /// their buffers back takes the scheduler's lock, which is taken before this one elsewhere.
    fn resolve(
        &mut self,
        file: &Arc<LargeFile>,
        released: &mut Vec<Arc<Segment>>,
    ) -> Vec<ChunkJob> {
        let mut jobs = Vec::new();
        let mut cuts = Vec::new();
        while let Some((segment, candidates)) = self.scanned.remove(&self.next_scanned) {
            self.next_scanned += 1;
            let is_last = candidates.segment_bytes() < SEGMENT_BYTES;
            self.window.push_back(Arc::new(segment));
            self.resolver.push(&candidates, &mut cuts);
            if is_last {
                std::mem::take(&mut self.resolver).finish(&mut cuts);
                self.is_cut = true;
            }
            for cut in cuts.drain(..) {
                let range = self.chunk_start..cut;
                let parts = self
                    .window
                    .iter()
                    .filter(|part| part.range.start < cut && part.range.end > range.start);
                let parts = parts.cloned().collect();
                jobs.push(ChunkJob {
                    file: Arc::clone(file),
                    index: self.blobs.len(),
                    range,
                    parts,
                });
                self.blobs.push(None);
                self.chunk_start = cut;
            }
            while self
                .window
                .front()
                .is_some_and(|part| self.is_cut || part.range.end <= self.chunk_start)
            {
                released.extend(self.window.pop_front());
            }
            if self.is_cut {
                break;
            }
        }
        jobs
    }

    /// Whether this was the last step, said once.
    fn is_last_step(&mut self) -> bool {
        let is_last = !self.is_done && self.is_cut && self.stored == self.blobs.len();
        self.is_done |= is_last;
        is_last
    }
}

impl LargeFile {
    /// The next segment to read, if one can be read now.
    pub(crate) fn take_segment(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let is_known_to_exist = match self.content {
            Content::File(_) => state.next_segment * (SEGMENT_BYTES as u64) < self.size_hint,
            Content::Stream(_) => false,
        };
        if state.is_read || !is_known_to_exist && state.reads > 0 {
            return None;
        }
        state.reads += 1;
        state.next_segment += 1;
        Some(state.next_segment - 1)
    }

    /// Fills the buffer and returns the length of the lead and of the segment.
    fn read(&self, index: u64, buffer: &mut Vec<u8>) -> io::Result<(usize, usize)> {
        buffer.resize(LEAD_BYTES + SEGMENT_BYTES, 0);
        match &self.content {
            Content::File(file) => {
                let start = index * SEGMENT_BYTES as u64;
                let lead = if index == 0 { 0 } else { LEAD_BYTES };
                let from = start - lead as u64;
                let length = fill(&mut buffer[..lead + SEGMENT_BYTES], |rest, done| {
                    file.read_at(rest, from + done as u64)
                })?;
                Ok((lead, length.saturating_sub(lead)))
            }
            Content::Stream(stream) => {
                let (reader, before) = &mut *stream.lock();
                let lead = before.len();
                buffer[..lead].copy_from_slice(before);
                let length = fill(&mut buffer[lead..lead + SEGMENT_BYTES], |rest, _| {
                    reader.read(rest)
                })?;
                let end = lead + length;
                *before = buffer[end.saturating_sub(LEAD_BYTES)..end].to_vec();
                Ok((lead, length))
            }
        }
    }

    /// Gives the file up.
    fn fail(self: &Arc<Self>, run: &Run, error: io::Error) {
        let (is_first, released) = {
            let mut state = self.state.lock();
            state.is_read = true;
            let is_first = !std::mem::replace(&mut state.is_done, true);
            (
                is_first,
                (
                    std::mem::take(&mut state.window),
                    std::mem::take(&mut state.scanned),
                ),
            )
        };
        drop(released);
        run.scheduler.end_reading(self);
        if !is_first {
            return;
        }
        if run.rules.is_stream {
            run.scheduler.stop(Failure::Stream(error));
        } else {
            run.error(&self.path, format!("cannot read: {error}"));
            Arc::clone(&self.directory).complete(run, self.slot, None);
        }
    }

    /// All chunks are stored.
    fn finish(&self, run: &Run) {
        let (node, blobs, size, added) = {
            let mut state = self.state.lock();
            (
                state.node.take(),
                std::mem::take(&mut state.blobs),
                state.chunk_start,
                state.added,
            )
        };
        let Some(mut node) = node else { return };
        if let Content::File(file) = &self.content {
            note_change(run, file, &self.path, &node);
        } else if size == 0 {
            let error = io::Error::new(ErrorKind::UnexpectedEof, "no data read");
            return run.scheduler.stop(Failure::Stream(error));
        }
        node.size = size;
        node.content = Some(blobs.into_iter().flatten().collect());
        let change = change(self.old.as_ref(), &node);
        report(
            run,
            &self.snapshot_path,
            &node,
            change,
            added,
            self.started.elapsed(),
        );
        Arc::clone(&self.directory).complete(run, self.slot, Some(node));
    }
}

impl SegmentJob {
    /// Reads and scans the segment and hands out the chunks that end in it.
    pub(crate) fn perform(self, run: &Arc<Run>) {
        let Self {
            file,
            index,
            buffer,
        } = self;
        let start = index * SEGMENT_BYTES as u64;
        let mut segment = Segment {
            run: Arc::clone(run),
            buffer,
            lead: 0,
            range: start..start,
        };
        let read = file.read(index, &mut segment.buffer);
        let (lead, length) = match read {
            Ok(read) => read,
            Err(error) => return file.fail(run, error),
        };
        segment.lead = lead;
        segment.range.end = start + length as u64;
        let is_end = {
            let mut state = file.state.lock();
            state.reads -= 1;
            state.is_read |= length < SEGMENT_BYTES;
            state.is_read
        };
        if is_end {
            run.scheduler.end_reading(&file);
        } else {
            // The next segment of a stream may be read now.
            run.scheduler.add_chunks(Vec::new());
        }
        let (before, rest) = segment.buffer.split_at(lead);
        let candidates = candidates(&run.tables, before, &rest[..length]);
        let mut released = Vec::new();
        let (jobs, is_last_step) = {
            let mut state = file.state.lock();
            if state.is_cut || state.is_done {
                // Read ahead beyond what turned out to be the end.
                drop(state);
                return;
            }
            state.scanned.insert(index, (segment, candidates));
            let jobs = state.resolve(&file, &mut released);
            (jobs, state.is_last_step())
        };
        drop(released);
        if !jobs.is_empty() {
            run.scheduler.add_chunks(jobs);
        }
        if is_last_step {
            file.finish(run);
        }
    }
}

impl ChunkJob {
    /// Stores the chunk.
    pub(crate) fn perform(self, run: &Arc<Run>, scratch: &mut Vec<u8>) {
        let Self {
            file,
            index,
            range,
            parts,
        } = self;
        if run.scheduler.is_stopped() || file.state.lock().is_done {
            return;
        }
        let saved = if let [part] = parts.as_slice() {
            run.store.save(BlobKind::Data, part.slice(&range))
        } else {
            scratch.clear();
            for part in &parts {
                scratch.extend_from_slice(part.slice(&range));
            }
            drop(parts);
            run.store.save(BlobKind::Data, scratch)
        };
        let saved = match saved {
            Ok(saved) => saved,
            Err(error) => return run.scheduler.stop(Failure::Store(error)),
        };
        run.progress.bytes_done(saved.plaintext_bytes);
        let is_last_step = {
            let mut state = file.state.lock();
            state.blobs[index] = Some(saved.id);
            state.stored += 1;
            add(&mut state.added, &saved);
            state.is_last_step()
        };
        if is_last_step {
            file.finish(run);
        }
    }
}

/// Counts what a blob added to the repository.
pub(crate) fn add(added: &mut (u64, u64), saved: &SavedBlob) {
    if saved.is_new {
        added.0 += saved.plaintext_bytes;
        added.1 += saved.packed_bytes;
    }
}

/// Notes when a file is not what it was when its node was made.
pub(crate) fn note_change(run: &Run, file: &File, path: &std::path::Path, node: &Node) {
    let Ok(now) = FileStat::of_file(file) else {
        return;
    };
    if node.size != now.size || node.mtime != Some(run.metadata.time(now.mtime)) {
        run.note(path, "changed while it was read");
    }
}

/// Reads until the buffer is full or the end is reached.
pub(crate) fn fill(
    buffer: &mut [u8],
    mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match read(&mut buffer[done..], done) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
