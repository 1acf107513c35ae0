//! Directories in progress: each collects the nodes of its entries and becomes a tree with the last of them.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use repository::BlobKind;
use repository::tree::{Node, NodeKind, Tree};

use crate::path::child;
use crate::save::progress::ItemDone;
use crate::save::run::{Failure, Run};
use crate::save::summary::Change;

/// A directory of the snapshot, also one that is only on the way to targets.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Where its node goes; the root has no parent.
    parent: Option<(Arc<Directory>, u32)>,
    /// Where it is in the snapshot.
    pub(crate) snapshot_path: PathBuf,
    node: Mutex<Option<Node>>,
    old_node: Option<Node>,
    children: Mutex<Vec<(u32, Node)>>,
    pending: AtomicUsize,
    started: Instant,
}

/// An open directory whose entries are being saved.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Where their nodes go.
    pub(crate) directory: Arc<Directory>,
    /// The directory on disk, absolute.
    pub(crate) path: PathBuf,
    pub(crate) file: OwnedFd,
    pub(crate) device_id: u64,
    /// With `--one-file-system`, the device to stay on.
    pub(crate) allowed_device: Option<u64>,
    /// The same directory in the parent snapshot.
    pub(crate) old: Option<Arc<Tree>>,
    /// Whether a `lost+found` in it is a file system's own.
    pub(crate) is_volume_root: bool,
    /// Whether it is only the way to a target, which is saved whatever the rules say.
    pub(crate) is_of_target: bool,
}

/// An entry of a listing.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Box<[u8]>,
    /// Its position in the order of names.
    pub(crate) slot: u32,
}

/// A target: something on disk that has a place in a directory of the snapshot.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) directory: Arc<Directory>,
    pub(crate) slot: u32,
    /// On disk, absolute.
    pub(crate) path: PathBuf,
    /// In the snapshot.
    pub(crate) name: Vec<u8>,
    pub(crate) old: Option<Arc<Tree>>,
}

impl Directory {
    /// With this many entries to come.
    pub(crate) fn new(
        parent: Option<(Arc<Self>, u32)>,
        node: Node,
        old_node: Option<Node>,
        entries: usize,
    ) -> Arc<Self> {
        let snapshot_path = match &parent {
            Some((parent, _)) => child(&parent.snapshot_path, &node.name),
            None => PathBuf::from("/"),
        };
        Arc::new(Self {
            parent,
            snapshot_path,
            node: Mutex::new(Some(node)),
            old_node,
            children: Mutex::default(),
            pending: AtomicUsize::new(entries),
            started: Instant::now(),
        })
    }

    /// An entry is done, with its node or without one. The last entry stores the tree, and so on upwards.
    pub(crate) fn complete(self: Arc<Self>, run: &Run, slot: u32, node: Option<Node>) {
        let (mut directory, mut slot, mut node) = (self, slot, node);
        loop {
            if let Some(node) = node {
                directory.children.lock().push((slot, node));
            }
            if directory.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            let Some(done) = directory.store(run) else {
                return;
            };
            let Some((parent, parent_slot)) = directory.parent.clone() else {
                return;
            };
            (directory, slot, node) = (parent, parent_slot, Some(done));
        }
    }

    /// For a directory without entries, which nothing else completes.
    pub(crate) fn complete_empty(self: Arc<Self>, run: &Run) {
        let Some(node) = self.store(run) else { return };
        if let Some((parent, slot)) = self.parent.clone() {
            parent.complete(run, slot, Some(node));
        }
    }

    /// Stores the tree and returns the directory's node; nothing once the run has stopped.
    fn store(&self, run: &Run) -> Option<Node> {
        if run.scheduler.is_stopped() {
            return None;
        }
        let mut children = std::mem::take(&mut *self.children.lock());
        children.sort_unstable_by_key(|(slot, _)| *slot);
        let tree = Tree {
            nodes: children.into_iter().map(|(_, node)| node).collect(),
        };
        let json = tree.to_json();
        let saved = match run.store.save(BlobKind::Tree, &json) {
            Ok(saved) => saved,
            Err(error) => {
                run.scheduler.stop(Failure::Store(error));
                return None;
            }
        };
        let mut node = self.node.lock().take()?;
        node.subtree = Some(saved.id);
        if self.parent.is_none() {
            run.finish(saved.id, tree.nodes.is_empty());
            return Some(node);
        }
        let change = change(self.old_node.as_ref(), &node);
        run.tally.add(NodeKind::Dir, change, 0);
        run.progress.item_done(&ItemDone {
            path: &self.snapshot_path,
            kind: NodeKind::Dir,
            change,
            bytes: 0,
            added_bytes: if saved.is_new {
                saved.plaintext_bytes
            } else {
                0
            },
            added_packed_bytes: saved.packed_bytes,
            duration: self.started.elapsed(),
        });
        Some(node)
    }
}

impl Listing {
    /// Where an entry is on disk.
    pub(crate) fn path_of(&self, name: &[u8]) -> PathBuf {
        child(&self.path, name)
    }
}

/// How a node compares with that of the parent snapshot.
pub(crate) fn change(old: Option<&Node>, new: &Node) -> Change {
    match old {
        None => Change::New,
        Some(old) if old == new => Change::Unmodified,
        Some(_) => Change::Changed,
    }
}

/// What is told of a node that is done.
pub(crate) fn report(
    run: &Run,
    snapshot_path: &Path,
    node: &Node,
    change: Change,
    added: (u64, u64),
    duration: Duration,
) {
    run.tally.add(node.kind, change, node.size);
    run.progress.item_done(&ItemDone {
        path: snapshot_path,
        kind: node.kind,
        change,
        bytes: node.size,
        added_bytes: added.0,
        added_packed_bytes: added.1,
        duration,
    });
}
