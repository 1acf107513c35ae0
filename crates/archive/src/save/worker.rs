//! One thread of a backup: takes work and saves what it finds.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use repository::tree::{Node, NodeKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::metadata::{FileStat, Place, extended_attributes, link_target};
use crate::path::child;
use crate::save::directory::{Leaf, Listing, change, report};
use crate::save::large::{Content, LARGE_BYTES, LargeFile, Progress, note_change};
use crate::save::list::{open, open_directory};
use crate::save::read::{FileReader, ReadFailure, unchanged};
use crate::save::run::{Failure, Run, chain};
use crate::save::schedule::Work;
use crate::save::summary::Change;

/// What became of an entry.
pub(crate) enum Outcome {
    /// It is done; without a node it is not part of the snapshot.
    Done(Option<Box<Node>>),
    /// Somebody completes it later.
    Pending,
}

/// A thread with its buffers.
pub(crate) struct Worker<'a> {
    run: &'a Arc<Run>,
    reader: FileReader,
}

/// An entry with all that is known of it.
pub(crate) struct Found<'a> {
    pub(crate) listing: &'a Arc<Listing>,
    /// On disk.
    pub(crate) name: &'a [u8],
    /// In the snapshot.
    pub(crate) snapshot_name: &'a [u8],
    pub(crate) slot: u32,
    pub(crate) stat: FileStat,
    /// In the parent snapshot.
    pub(crate) old: Option<&'a Node>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(run: &'a Arc<Run>) -> Self {
        Self {
            run,
            reader: FileReader::new(run),
        }
    }

    pub(crate) fn perform(&mut self, work: Work) {
        match work {
            Work::Chunk(job) => job.perform(self.run, self.reader.scratch()),
            Work::Segment(job) => job.perform(self.run),
            Work::Entries(listing, entries) => {
                for entry in entries {
                    self.entry(&listing, &entry.name, &entry.name, entry.slot);
                }
            }
            Work::Leaf(leaf) => self.leaf(&leaf),
        }
    }

    fn leaf(&mut self, leaf: &Leaf) {
        let run = self.run;
        let (Some(folder), Some(name)) = (leaf.path.parent(), leaf.path.file_name()) else {
            return;
        };
        let is_of_target = run.rules.is_target(&leaf.path);
        let excludes = &run.rules.excludes;
        let is_tagged = || {
            excludes
                .tag_files()
                .iter()
                .any(|tag| tag.name() != name && tag.is_in(folder))
        };
        // What was asked for by name is saved whatever the excludes say; `.` and `/` ask for no name.
        if !is_of_target && (excludes.is_excluded(&leaf.path) || is_tagged()) {
            return Arc::clone(&leaf.directory).complete(run, leaf.slot, None);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty())
            .and_then(|file| Ok((FileStat::of_file(&file)?, file)));
        let (stat, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                run.error(&leaf.path, format!("cannot open its directory: {error}"));
                return Arc::clone(&leaf.directory).complete(run, leaf.slot, None);
            }
        };
        let listing = Arc::new(Listing {
            directory: Arc::clone(&leaf.directory),
            path: folder.to_owned(),
            file,
            device_id: stat.device_id,
            allowed_device: run
                .rules
                .devices
                .as_ref()
                .and_then(|devices| devices.allowed(&leaf.path)),
            old: leaf.old.clone(),
            is_volume_root: run.rules.is_target(folder),
            is_of_target,
        });
        self.entry(&listing, name.as_bytes(), &leaf.name, leaf.slot);
    }

    fn entry(&mut self, listing: &Arc<Listing>, name: &[u8], snapshot_name: &[u8], slot: u32) {
        if self.run.scheduler.is_stopped() {
            return;
        }
        let outcome = match FileStat::at(listing.file.as_fd(), name) {
            Ok(stat) => {
                let old = listing
                    .old
                    .as_ref()
                    .and_then(|tree| tree.find(snapshot_name));
                self.found(&Found {
                    listing,
                    name,
                    snapshot_name,
                    slot,
                    stat,
                    old,
                })
            }
            Err(Errno::NOENT) if !listing.is_of_target => self.vanished(&listing.path_of(name)),
            Err(error) => {
                self.unreadable(&listing.path_of(name), "cannot get its metadata", &error)
            }
        };
        if let Outcome::Done(node) = outcome {
            Arc::clone(&listing.directory).complete(self.run, slot, node.map(|node| *node));
        }
    }

    fn found(&mut self, found: &Found<'_>) -> Outcome {
        if !found.listing.is_of_target && self.is_left_out(found) {
            return Outcome::Done(None);
        }
        match found.stat.kind {
            NodeKind::File => self.file(found),
            NodeKind::Dir => open_directory(self.run, found),
            _ => self.special(found),
        }
    }

    /// Excluded by size, by device or as a volume's own folder.
    fn is_left_out(&self, found: &Found<'_>) -> bool {
        let Found {
            listing,
            name,
            stat,
            ..
        } = found;
        let rules = &self.run.rules;
        let is_directory = stat.kind == NodeKind::Dir;
        if rules.devices.is_some() && listing.allowed_device != Some(stat.device_id) {
            // The place of a mount belongs to the file system it is on, its content does not.
            let is_mount_point = is_directory && listing.allowed_device == Some(listing.device_id);
            return !is_mount_point;
        }
        if is_directory {
            return rules.skip_lost_and_found && listing.is_volume_root && *name == b"lost+found";
        }
        rules.excludes.is_too_large(stat.size)
    }

    fn special(&self, found: &Found<'_>) -> Outcome {
        let started = Instant::now();
        let Found {
            listing,
            name,
            snapshot_name,
            stat,
            ..
        } = found;
        let mut node = self.run.metadata.node(snapshot_name, stat);
        if stat.kind == NodeKind::Symlink {
            match link_target(listing.file.as_fd(), name) {
                Ok(target) => node.link_target = target,
                Err(Errno::NOENT) => return self.vanished(&listing.path_of(name)),
                Err(error) => {
                    return self.unreadable(&listing.path_of(name), "cannot read the link", &error);
                }
            }
        }
        add_attributes(
            self.run,
            &mut node,
            Place::Name(listing.file.as_fd(), name, &listing.path),
            listing,
            name,
        );
        let path = child(&listing.directory.snapshot_path, snapshot_name);
        report(
            self.run,
            &path,
            &node,
            change(found.old, &node),
            (0, 0),
            started.elapsed(),
        );
        Outcome::Done(Some(Box::new(node)))
    }

    fn file(&mut self, found: &Found<'_>) -> Outcome {
        let Found {
            listing,
            name,
            snapshot_name,
            stat,
            old,
            ..
        } = found;
        let started = Instant::now();
        let snapshot_path = child(&listing.directory.snapshot_path, snapshot_name);
        if let Some(old) = old
            && let Some(content) = unchanged(self.run, old, stat, &listing.path_of(name))
        {
            let mut node = self.run.metadata.node(snapshot_name, stat);
            let place = Place::Name(listing.file.as_fd(), name, &listing.path);
            add_attributes(self.run, &mut node, place, listing, name);
            node.content = Some(content.to_vec());
            self.run.progress.bytes_done(node.size);
            report(
                self.run,
                &snapshot_path,
                &node,
                Change::Unmodified,
                (0, 0),
                started.elapsed(),
            );
            return Outcome::Done(Some(Box::new(node)));
        }
        let (file, stat) = match open_file(listing, name) {
            Ok((_, stat)) if stat.kind != NodeKind::File => {
                let error = io::Error::other("its type has changed since it was listed");
                return self.unreadable(&listing.path_of(name), "cannot save", &error);
            }
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.vanished(&listing.path_of(name));
            }
            Err(error) => return self.unreadable(&listing.path_of(name), "cannot open", &error),
        };
        let mut node = self.run.metadata.node(snapshot_name, &stat);
        add_attributes(
            self.run,
            &mut node,
            Place::File(file.as_fd()),
            listing,
            name,
        );
        self.run.progress.file_started(&snapshot_path);
        if stat.size >= LARGE_BYTES {
            self.large(found, file, node, snapshot_path);
            return Outcome::Pending;
        }
        let stored = match self.reader.read(self.run, &file, stat.size) {
            Ok(stored) => stored,
            Err(ReadFailure::Read(error)) => {
                return self.unreadable(&listing.path_of(name), "cannot read", &error);
            }
            Err(ReadFailure::Store(error)) => {
                self.run.scheduler.stop(Failure::Store(error));
                return Outcome::Pending;
            }
            Err(ReadFailure::Stopped) => return Outcome::Pending,
        };
        note_change(self.run, &file, &listing.path_of(name), &node);
        node.size = stored.bytes;
        node.content = Some(stored.blobs);
        report(
            self.run,
            &snapshot_path,
            &node,
            change(*old, &node),
            stored.added,
            started.elapsed(),
        );
        Outcome::Done(Some(Box::new(node)))
    }

    fn large(
        &mut self,
        found: &Found<'_>,
        file: File,
        node: Node,
        snapshot_path: std::path::PathBuf,
    ) {
        let large = Arc::new(LargeFile {
            directory: Arc::clone(&found.listing.directory),
            slot: found.slot,
            path: found.listing.path_of(found.name),
            snapshot_path,
            size_hint: node.size,
            content: Content::File(file),
            old: found.old.cloned(),
            started: Instant::now(),
            state: Progress::new(node),
        });
        let run = self.run;
        run.scheduler.read_large(&large, |work| self.perform(work));
    }

    /// Deleted between listing its directory and opening it: the snapshot shows a moment in which it is gone.
    fn vanished(&self, path: &Path) -> Outcome {
        self.run.note(path, "was deleted before it could be read");
        Outcome::Done(None)
    }

    fn unreadable(&self, path: &Path, what: &str, error: &dyn std::fmt::Display) -> Outcome {
        self.run.error(path, format!("{what}: {error}"));
        Outcome::Done(None)
    }
}

/// Opens a regular file without following a link and without leaving a trace in its access time.
fn open_file(listing: &Listing, name: &[u8]) -> io::Result<(File, FileStat)> {
    // Non-blocking, so that a pipe that took the file's place does not hold us.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(listing.file.as_fd(), name, flags)?;
    let stat = FileStat::of_file(&file)?;
    Ok((File::from(file), stat))
}

/// Adds extended attributes; those that cannot be read make the snapshot incomplete.
pub(crate) fn add_attributes(
    run: &Run,
    node: &mut Node,
    place: Place<'_>,
    listing: &Listing,
    name: &[u8],
) {
    let (attributes, error) = extended_attributes(place);
    node.extended_attributes = attributes;
    if let Some(error) = error {
        run.error(
            &listing.path_of(name),
            format!("incomplete metadata: {}", chain(&error)),
        );
    }
}
