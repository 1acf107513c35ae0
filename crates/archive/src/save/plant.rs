//! The first work of a run: the upper directories of the snapshot and the targets in them.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use repository::BlobId;
use repository::time::Time;
use repository::tree::{Node, NodeKind, Tree};
use rustix::fs::{AtFlags, CWD};

use crate::metadata::{FileStat, Place, extended_attributes};
use crate::path::{absolute, names};
use crate::save::directory::{Directory, Leaf};
use crate::save::large::{Content, LargeFile, Progress};
use crate::save::run::{Failure, Run, chain};
use crate::save::schedule::Frame;
use crate::source::LayoutNode;

/// Sets out the targets. Blocks on the file system and on the parent snapshot's trees.
pub(crate) fn plant_targets(
    run: &Run,
    layout: &LayoutNode,
    working_directory: &Path,
    old_root: Option<BlobId>,
) {
    let old = old_root.and_then(|id| run.old_tree(Path::new("/"), Some(&root_node(id))));
    let root = Directory::new(
        None,
        Node::new("", NodeKind::Dir),
        None,
        layout.children.len(),
    );
    let mut planter = Planter {
        run,
        working_directory,
        leaves: Vec::new(),
    };
    planter.plant(&root, layout, old.as_ref());
    run.scheduler
        .push(Frame::Leaves(planter.leaves.into_iter()));
    if layout.children.is_empty() {
        root.complete_empty(run);
    }
}

struct Planter<'a> {
    run: &'a Run,
    working_directory: &'a Path,
    leaves: Vec<Leaf>,
}

impl Planter<'_> {
    fn plant(&mut self, directory: &Arc<Directory>, layout: &LayoutNode, old: Option<&Arc<Tree>>) {
        for (slot, (name, child)) in layout.children.iter().enumerate() {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            let old_node = old.and_then(|tree| tree.find(name));
            if let Some(path) = &child.path {
                self.leaves.push(Leaf {
                    directory: Arc::clone(directory),
                    slot,
                    path: absolute(self.working_directory, path),
                    name: name.clone(),
                    old: old.cloned(),
                });
                continue;
            }
            let path = child.metadata_path.as_deref().unwrap_or(Path::new("/"));
            let path = absolute(self.working_directory, path);
            let Some(node) = self.upper_node(&path, name) else {
                Arc::clone(directory).complete(self.run, slot, None);
                continue;
            };
            let old_tree = self.run.old_tree(&path, old_node);
            let parent = Some((Arc::clone(directory), slot));
            let below = Directory::new(parent, node, old_node.cloned(), child.children.len());
            self.plant(&below, child, old_tree.as_ref());
        }
    }

    /// The node of a directory that is only on the way; links to directories count as directories.
    fn upper_node(&self, path: &Path, name: &[u8]) -> Option<Node> {
        let stat = match rustix::fs::statat(CWD, path, AtFlags::empty()) {
            Ok(stat) => FileStat::from(&stat),
            Err(error) => {
                self.run
                    .error(path, format!("cannot get its metadata: {error}"));
                return None;
            }
        };
        if stat.kind != NodeKind::Dir {
            self.run
                .error(path, "is no directory although targets are below it");
            return None;
        }
        let mut node = self.run.metadata.node(name, &stat);
        let (attributes, error) = extended_attributes(Place::Name(CWD, b".", path));
        node.extended_attributes = attributes;
        // It need not be readable for what is below it to be.
        if let Some(error) = error.filter(|error| !error.is_permission()) {
            self.run
                .error(path, format!("incomplete metadata: {}", chain(&error)));
        }
        Some(node)
    }
}

/// Sets out a stream as a file of mode 0644 in directories of mode 0755, all of this time.
pub(crate) fn plant_stream(
    run: &Run,
    path: &Path,
    reader: Box<dyn Read + Send>,
    time: Time,
    old_root: Option<BlobId>,
) {
    let mut old = old_root.and_then(|id| run.old_tree(Path::new("/"), Some(&root_node(id))));
    let mut directory = Directory::new(None, Node::new("", NodeKind::Dir), None, 1);
    let names = names(path);
    let Some((file_name, folders)) = names.split_last() else {
        return run
            .scheduler
            .stop(Failure::Stream(std::io::ErrorKind::InvalidFilename.into()));
    };
    for folder in folders {
        let old_node = old.as_ref().and_then(|tree| tree.find(folder)).cloned();
        old = run.old_tree(path, old_node.as_ref());
        let node = made_node(folder, NodeKind::Dir, 0o755, time);
        directory = Directory::new(Some((directory, 0)), node, old_node, 1);
    }
    let mut node = made_node(file_name, NodeKind::File, 0o644, time);
    node.content = Some(Vec::new());
    let file = Arc::new(LargeFile {
        snapshot_path: directory
            .snapshot_path
            .join(std::ffi::OsStr::from_bytes(file_name)),
        directory,
        slot: 0,
        path: PathBuf::from(path),
        content: Content::Stream(Mutex::new((reader, Vec::new()))),
        size_hint: 0,
        old: old.as_ref().and_then(|tree| tree.find(file_name)).cloned(),
        started: Instant::now(),
        state: Progress::new(node),
    });
    run.progress.file_started(&file.snapshot_path);
    // No other file is being read yet, so there is nothing to help with.
    run.scheduler.read_large(&file, |_| {});
}

fn made_node(name: &[u8], kind: NodeKind, mode: u32, time: Time) -> Node {
    let mut node = Node::new(name, kind);
    node.mode = mode;
    (node.mtime, node.atime, node.ctime) = (Some(time), Some(time), Some(time));
    node
}

/// A stand-in for the directory that has the root tree.
fn root_node(id: BlobId) -> Node {
    let mut node = Node::new("", NodeKind::Dir);
    node.subtree = Some(id);
    node
}
