//! Walking the snapshot and deciding what happens to each entry: which directories are needed, which files
//! are written or compared, what is made at the end, what is deleted.
//!
//! Decisions come in batches of bounded size, so that a snapshot of any size needs the memory of one batch.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use parking_lot::Mutex;
use repository::tree::{Node, NodeKind};
use repository::{BlobId, IndexedRepository};
use rustix::io::Errno;

use crate::restore::batch::{Batch, DirectoryJob, Leaf, LeafJob};
use crate::restore::delete::{self, Removal};
use crate::restore::existing::{Look, look, may_overwrite};
use crate::restore::file::{FileJob, Handle, LinkSource, Place};
use crate::restore::metadata::Metadata;
use crate::restore::names::Names;
use crate::restore::report::chain;
use crate::restore::selection::Selection;
use crate::restore::target::{Directory, InTheWay};
use crate::restore::{Overwrite, RestoreAction, RestoreOptions, RestoreSummary};
use crate::walk::{Step, TreeWalk, is_plain_name};

/// An open directory of the walk.
struct Frame {
    name: CString,
    metadata: Option<Metadata>,
    /// The directory in the target, once it is needed.
    directory: Option<Arc<Directory>>,
    /// It could not be made; nothing below it can be.
    is_lost: bool,
    names: HashSet<Vec<u8>>,
    /// The name of the last entry, to find a name that comes twice.
    last: Option<Vec<u8>>,
}

/// Makes batches out of a walk.
pub(super) struct Planner<'a> {
    repository: &'a IndexedRepository,
    options: &'a RestoreOptions,
    removal: Removal<'a>,
    selection: &'a Selection,
    walk: TreeWalk,
    frames: Vec<Frame>,
    /// The directory that the next `Enter` is about.
    entering: Option<Frame>,
    links: HashMap<(u64, u64), Arc<LinkSource>>,
    names: Option<Names>,
    may_delete: bool,
    pub(super) summary: RestoreSummary,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        repository: &'a IndexedRepository,
        root: BlobId,
        options: &'a RestoreOptions,
        removal: Removal<'a>,
        target: Arc<Directory>,
    ) -> Self {
        let selection = options.selection.clone();
        let mut walk = TreeWalk::new(repository, root)
            .entering(move |path, _| selection.select(path, true).may_be_below);
        if options.delete {
            walk = walk.with_names();
        }
        Self {
            repository,
            options,
            removal,
            selection: &options.selection,
            walk,
            frames: Vec::new(),
            entering: Some(Frame::new(CString::default(), None, Some(target))),
            links: HashMap::new(),
            names: options.ownership_by_name.then(Names::default),
            may_delete: options.delete,
            summary: RestoreSummary::default(),
        }
    }

    /// The next batch, and whether it is the last.
    pub(super) async fn next_batch(&mut self) -> (Batch, bool) {
        let mut batch = Batch::default();
        while !self.removal.report.is_stopped() {
            if batch.is_full() {
                return (batch, false);
            }
            match self.walk.next().await {
                None => return (batch, true),
                Some(Step::Enter { path, names, .. }) => {
                    let mut frame = self
                        .entering
                        .take()
                        .unwrap_or_else(|| Frame::new(CString::default(), None, None));
                    frame.names = names.into_iter().collect();
                    if path == b"/" && frame.directory.is_none() {
                        frame.is_lost = true;
                    }
                    self.frames.push(frame);
                }
                Some(Step::Leave { .. }) => {
                    if let Some(frame) = self.frames.pop() {
                        self.leave(frame, &mut batch);
                    }
                }
                Some(Step::Unreadable { path, source }) => {
                    self.removal.report.error(
                        &path,
                        format!("cannot read the directory: {}", chain(&source)),
                    );
                    self.removal.report.storage_failed(source);
                    // The directory itself is restored, its entries are unknown and stay.
                    if let Some(mut frame) = self.entering.take() {
                        frame.is_lost = true;
                        self.leave(frame, &mut batch);
                    }
                }
                Some(Step::Node { path, node, .. }) => self.node(&path, *node, &mut batch),
            }
        }
        (batch, true)
    }

    fn node(&mut self, path: &[u8], mut node: Node, batch: &mut Batch) {
        let selected = self.selection.select(path, node.kind == NodeKind::Dir);
        let name = match self.checked_name(&node) {
            Ok(name) => name,
            Err(reason) => {
                // Deleting beside a damaged tree could delete what the snapshot means to keep.
                self.may_delete = false;
                self.removal.report.error(path, reason);
                self.entering = (node.kind == NodeKind::Dir).then(Frame::lost);
                return;
            }
        };
        if node.kind == NodeKind::Dir {
            if !selected.is_selected && !selected.may_be_below {
                return;
            }
            if node.subtree.is_none() {
                self.removal
                    .report
                    .error(path, "the directory names no tree: the snapshot is damaged");
                return;
            }
            let metadata = Metadata::take(&mut node, self.names.as_mut());
            let is_lost = self.frames.last().is_some_and(|frame| frame.is_lost);
            let mut frame = Frame::new(name, Some(metadata), None);
            frame.is_lost = is_lost;
            if selected.is_selected && !is_lost {
                self.need(&mut frame);
            }
            if selected.may_be_below {
                self.entering = Some(frame);
            } else {
                self.leave(frame, batch);
            }
            return;
        }
        if !selected.is_selected {
            return;
        }
        let Some(directory) = self.current_directory() else {
            return;
        };
        if let Err(error) = self.entry(path, node, &directory, name, batch) {
            self.removal
                .report
                .failed(path, "look at what is in the target", error);
        }
    }

    /// The name as the system takes it, if it is one and comes once.
    fn checked_name(&mut self, node: &Node) -> Result<CString, &'static str> {
        if !is_plain_name(&node.name) {
            return Err("the snapshot is damaged: this is no name of a file; it is not restored");
        }
        if let Some(frame) = self.frames.last_mut() {
            if frame.last.as_ref() == Some(&node.name) {
                return Err(
                    "the snapshot is damaged: this name comes twice; only the first is restored",
                );
            }
            frame.last = Some(node.name.clone());
        }
        CString::new(node.name.clone()).map_err(|_| "the snapshot is damaged: the name has a NUL")
    }

    /// The directory of the entries that come now, made if need be with all above it.
    fn current_directory(&mut self) -> Option<Arc<Directory>> {
        let depth = self.frames.len().checked_sub(1)?;
        if self.frames[depth].is_lost {
            return None;
        }
        if let Some(directory) = &self.frames[depth].directory {
            return Some(Arc::clone(directory));
        }
        for index in 1..=depth {
            if self.frames[index].directory.is_none() {
                let parent = self.frames[index - 1].directory.clone()?;
                let name = self.frames[index].name.clone();
                let Some(directory) = self.make_directory(&parent, &name) else {
                    for frame in &mut self.frames[index..] {
                        frame.is_lost = true;
                    }
                    return None;
                };
                self.frames[index].directory = Some(directory);
            }
        }
        self.frames[depth].directory.clone()
    }

    /// Makes the directory of a frame that is not yet on the stack.
    fn need(&mut self, frame: &mut Frame) {
        let made = match self.current_directory() {
            Some(parent) => {
                let name = frame.name.clone();
                self.make_directory(&parent, &name)
            }
            None => None,
        };
        frame.is_lost = made.is_none();
        frame.directory = made;
    }

    fn make_directory(&mut self, parent: &Arc<Directory>, name: &CStr) -> Option<Arc<Directory>> {
        let in_the_way = if self.options.overwrite == Overwrite::Never {
            InTheWay::Keep
        } else {
            InTheWay::Remove
        };
        self.summary.total_files += 1;
        self.removal.report.progress.planned(1, 0);
        match self
            .removal
            .target
            .enter(parent, name, in_the_way, self.options.dry_run)
        {
            Ok(directory) => Some(directory),
            Err(error) => {
                self.removal
                    .report
                    .failed(&parent.path_of(name), "create the directory", error);
                None
            }
        }
    }

    fn entry(
        &mut self,
        path: &[u8],
        mut node: Node,
        directory: &Arc<Directory>,
        name: CString,
        batch: &mut Batch,
    ) -> Result<(), Errno> {
        let stat = if directory.is_fresh {
            None
        } else {
            self.removal.target.stat(directory, &name)?
        };
        let metadata = Metadata::take(&mut node, self.names.as_mut());
        if node.kind == NodeKind::File {
            self.file(path, node, metadata, directory, name, stat.as_ref(), batch);
            return Ok(());
        }
        if stat
            .as_ref()
            .is_some_and(|stat| !may_overwrite(self.options.overwrite, &metadata, stat))
        {
            self.skip(path, 0);
            return Ok(());
        }
        let what = match node.kind {
            NodeKind::Symlink => Leaf::Symlink {
                target: node.link_target,
                metadata,
            },
            kind => Leaf::Special {
                kind,
                device: node.device,
                metadata,
            },
        };
        self.leaf(directory, name, what, stat.is_some(), batch);
        Ok(())
    }

    fn leaf(
        &mut self,
        directory: &Arc<Directory>,
        name: CString,
        what: Leaf,
        is_there: bool,
        batch: &mut Batch,
    ) {
        self.plan_one(0);
        batch.leaves.push(LeafJob {
            directory: Arc::clone(directory),
            name,
            what,
            is_there,
        });
    }

    fn plan_one(&mut self, bytes: u64) {
        self.summary.total_files += 1;
        self.summary.total_bytes += bytes;
        self.removal.report.progress.planned(1, bytes);
    }

    fn skip(&mut self, path: &[u8], bytes: u64) {
        self.summary.files_skipped += 1;
        self.summary.bytes_skipped += bytes;
        self.removal
            .report
            .progress
            .item(path, RestoreAction::Unchanged, bytes);
    }

    #[expect(clippy::too_many_arguments, reason = "one call, all parts of one file")]
    fn file(
        &mut self,
        path: &[u8],
        mut node: Node,
        metadata: Metadata,
        directory: &Arc<Directory>,
        name: CString,
        stat: Option<&rustix::fs::Stat>,
        batch: &mut Batch,
    ) {
        let content = node.content.take().unwrap_or_default();
        let Some(size) = self.size_of(path, &content) else {
            return;
        };
        if size != node.size {
            let message = format!(
                "the snapshot says {} bytes, its content has {size}",
                node.size
            );
            self.removal.report.error(path, message);
        }
        let look = look(self.options.overwrite, &metadata, size, stat);
        if look == Look::Skip {
            return self.skip(path, size);
        }
        let mut link = None;
        if node.links > 1 && node.inode != 0 {
            let digest = digest(&content);
            match self.links.get(&(node.device_id, node.inode)) {
                // A file that was changed between its two names is two files.
                Some(source) if source.content == digest => {
                    let source = Arc::clone(source);
                    return self.leaf(directory, name, Leaf::Link(source), stat.is_some(), batch);
                }
                Some(_) => {}
                None => {
                    let source = Arc::new(LinkSource {
                        directory: Arc::clone(directory),
                        name: name.clone(),
                        content: digest,
                        identity: Mutex::new(None),
                    });
                    self.links
                        .insert((node.device_id, node.inode), Arc::clone(&source));
                    link = Some(source);
                }
            }
        }
        let place = match look {
            Look::Vacant => Place::Vacant,
            Look::Compare | Look::Trusted => {
                batch
                    .compare
                    .push((batch.files.len(), look == Look::Trusted));
                Place::Replace
            }
            Look::Replace | Look::Skip => Place::Replace,
        };
        if !matches!(look, Look::Compare | Look::Trusted) {
            self.plan_one(size);
        }
        batch.blobs += content.len();
        batch.files.push(FileJob {
            directory: Arc::clone(directory),
            name,
            metadata,
            size,
            content,
            place,
            link,
            is_settled: false,
            pending: AtomicU32::new(0),
            has_failed: AtomicBool::new(false),
            handle: Mutex::new(Handle::Unopened),
        });
    }

    /// The bytes of all blobs of a file; none, and an error, when the index does not know one.
    fn size_of(&self, path: &[u8], content: &[BlobId]) -> Option<u64> {
        let mut size = 0_u64;
        for id in content {
            let handle = crate::restore::content::handle(id);
            let Some(sum) = self
                .repository
                .blob_bytes(&handle)
                .and_then(|bytes| size.checked_add(bytes))
            else {
                let message =
                    format!("{handle} is not in the index: the repository is damaged, run `check`");
                self.removal.report.error(path, message);
                return None;
            };
            size = sum;
        }
        Some(size)
    }

    /// A directory is through: what it has too much is found, and its metadata come last.
    fn leave(&mut self, frame: Frame, batch: &mut Batch) {
        let Some(directory) = frame.directory else {
            return;
        };
        let mut unexpected = Vec::new();
        if self.may_delete && !frame.is_lost && !directory.is_fresh && !directory.is_absent {
            match delete::unexpected(&self.removal, &directory, &frame.names) {
                Ok(names) => unexpected = names,
                Err(error) => {
                    let path = directory.path();
                    self.removal
                        .report
                        .failed(&path, "list the directory", error);
                }
            }
        }
        batch.directories.push(DirectoryJob {
            directory,
            metadata: frame.metadata,
            unexpected,
        });
    }
}

impl Frame {
    fn new(name: CString, metadata: Option<Metadata>, directory: Option<Arc<Directory>>) -> Self {
        Self {
            name,
            metadata,
            directory,
            is_lost: false,
            names: HashSet::new(),
            last: None,
        }
    }

    fn lost() -> Self {
        Self {
            is_lost: true,
            ..Self::new(CString::default(), None, None)
        }
    }
}

fn digest(content: &[BlobId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
