//! Carrying out a batch: compare what is there, write content, make links and special files, then delete
//! and give the directories their metadata from the bottom up.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use repository::IndexedRepository;
use repository::tree::NodeKind;
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use tokio::runtime::Handle;

use crate::restore::batch::{Batch, DirectoryJob, Leaf, LeafJob};
use crate::restore::content::{ContentPlan, handle};
use crate::restore::delete;
use crate::restore::existing::{Compared, compare, verify};
use crate::restore::file::{FileJob, FileWriter, Place};
use crate::restore::parallel;
use crate::restore::{RestoreAction, RestoreOptions, RestoreSummary};

/// Does what batches say.
pub(super) struct Worker<'a> {
    pub(super) repository: &'a IndexedRepository,
    pub(super) options: &'a RestoreOptions,
    pub(super) writer: &'a FileWriter<'a>,
    pub(super) runtime: &'a Handle,
}

impl Worker<'_> {
    pub(super) fn carry_out(&self, mut batch: Batch, summary: &mut RestoreSummary) {
        let report = self.writer.report;
        let is_stopped = || report.is_stopped();
        self.compare(&mut batch, summary);
        if self.options.dry_run {
            self.pretend(&batch);
            return;
        }
        let plan = ContentPlan::new(self.repository, &batch.files);
        parallel::for_each(batch.files.len(), is_stopped, |index| {
            let file = &batch.files[index];
            if !file.is_settled && file.pending.load(Ordering::Relaxed) == 0 {
                self.writer.finish_without_blobs(file);
            }
        });
        plan.execute(self.repository, &batch.files, self.writer, self.runtime);
        drop(plan);
        parallel::for_each(batch.leaves.len(), is_stopped, |index| {
            self.make(&batch.leaves[index]);
        });
        // Before the directories get modes that may keep their owner out.
        if self.options.verify {
            self.verify(&batch, summary);
        }
        for directory in &batch.directories {
            if report.is_stopped() {
                return;
            }
            self.complete(directory);
        }
    }

    /// Finds out what of the files on disk is right, and settles those that are.
    fn compare(&self, batch: &mut Batch, summary: &mut RestoreSummary) {
        let report = self.writer.report;
        let files = &batch.files;
        let compared = parallel::map(
            batch.compare.len(),
            || report.is_stopped(),
            |index| {
                let (file, is_trusted) = batch.compare[index];
                let file = &files[file];
                let compared = compare(self.repository, self.writer.target, file, is_trusted);
                match &compared {
                    Compared::Right(opened) if !self.options.dry_run => {
                        let path = || file.path();
                        self.writer
                            .applier
                            .apply(opened.as_fd(), &file.metadata, false, &path);
                    }
                    Compared::Right(_) | Compared::Untouched | Compared::Write(_) => {}
                }
                if let Some(link) = &file.link
                    && !matches!(compared, Compared::Write(_))
                    && let Ok(Some(stat)) = self.writer.target.stat(&file.directory, &file.name)
                {
                    *link.identity.lock() = Some((stat.st_dev, stat.st_ino));
                }
                // The descriptor goes here; a batch may have more files than a process may open.
                match compared {
                    Compared::Write(place) => Some(place),
                    Compared::Right(_) | Compared::Untouched => None,
                }
            },
        );
        for ((index, _), place) in batch.compare.iter().zip(compared) {
            let file = &mut batch.files[*index];
            match place {
                Some(Some(place)) => {
                    file.place = place;
                    summary.total_files += 1;
                    summary.total_bytes += file.size;
                    report.progress.planned(1, file.size);
                    // Bytes that need not be written count as restored, as restic counts them.
                    let kept = self.bytes(file, true);
                    self.writer
                        .counters
                        .bytes_restored
                        .fetch_add(kept, Ordering::Relaxed);
                    report.progress.bytes_done(kept);
                }
                Some(None) => {
                    file.is_settled = true;
                    summary.files_skipped += 1;
                    summary.bytes_skipped += file.size;
                    report
                        .progress
                        .item(&file.path(), RestoreAction::Unchanged, file.size);
                }
                // Stopped before it was reached.
                None => file.is_settled = true,
            }
        }
    }

    /// Shows what would be done.
    fn pretend(&self, batch: &Batch) {
        let report = self.writer.report;
        for file in batch.files.iter().filter(|file| !file.is_settled) {
            let is_update = matches!(file.place, Place::Update(_));
            let action = if is_update {
                RestoreAction::Updated
            } else {
                RestoreAction::Restored
            };
            self.writer.counters.restored();
            self.writer
                .counters
                .bytes_restored
                .fetch_add(self.bytes(file, false), Ordering::Relaxed);
            report.progress.item(&file.path(), action, file.size);
        }
        for leaf in &batch.leaves {
            self.writer.counters.restored();
            report.progress.item(
                &leaf.directory.path_of(&leaf.name),
                RestoreAction::Restored,
                0,
            );
        }
        for job in &batch.directories {
            if !job.unexpected.is_empty() {
                delete::remove_all(&self.writer.removal, &job.directory, &job.unexpected);
            }
            if job.metadata.is_some() {
                self.writer.counters.restored();
                report
                    .progress
                    .item(&job.directory.path(), RestoreAction::Restored, 0);
            }
        }
    }

    /// Bytes of the blobs of a file that are right on disk, or of those that are not.
    fn bytes(&self, file: &FileJob, are_kept: bool) -> u64 {
        file.content
            .iter()
            .enumerate()
            .filter(|(index, _)| file.keeps(*index) == are_kept)
            .filter_map(|(_, id)| self.repository.blob_bytes(&handle(id)))
            .sum()
    }

    fn make(&self, job: &LeafJob) {
        let path = || job.directory.path_of(&job.name);
        match self.try_make(job) {
            Ok(()) => {
                self.writer.counters.restored();
                self.writer
                    .report
                    .progress
                    .item(&path(), RestoreAction::Restored, 0);
            }
            Err(Trouble::Said(message)) => self.writer.report.error(&path(), message),
            Err(Trouble::System(doing, error)) => self.writer.report.failed(&path(), doing, error),
        }
    }

    fn try_make(&self, job: &LeafJob) -> Result<(), Trouble> {
        let target = self.writer.target;
        let directory = target
            .descriptor(&job.directory)
            .map_err(|error| Trouble::System("open the directory", error))?;
        let name = job.name.as_c_str();
        if let Leaf::Link(source) = &job.what {
            let first = source.directory.path_of(&source.name);
            let lost = || {
                Trouble::Said(format!(
                    "its other name `{}` was not restored",
                    crate::walk::path_text(&first)
                ))
            };
            let identity = (*source.identity.lock()).ok_or_else(lost)?;
            let from = target
                .descriptor(&source.directory)
                .map_err(|error| Trouble::System("open the link", error))?;
            let is_same = |directory: &std::os::fd::OwnedFd, name: &CStr| {
                rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == identity)
            };
            if job.is_there && is_same(&directory, name) {
                return Ok(());
            }
            // Only the very file that was restored is linked, not what may have taken its place.
            if !is_same(&from, &source.name) {
                return Err(lost());
            }
            self.clear(job)?;
            return rustix::fs::linkat(
                &from,
                source.name.as_c_str(),
                &directory,
                name,
                AtFlags::empty(),
            )
            .map_err(|error| Trouble::System("create the hard link", error));
        }
        self.clear(job)?;
        let (kind, metadata) = match &job.what {
            Leaf::Link(_) => return Ok(()),
            Leaf::Symlink { target, metadata } => {
                rustix::fs::symlinkat(target.as_slice(), &directory, name)
                    .map_err(|error| Trouble::System("create the symbolic link", error))?;
                (NodeKind::Symlink, metadata)
            }
            Leaf::Special {
                kind,
                device,
                metadata,
            } => {
                let Some(file_type) = file_type(*kind) else {
                    return Err(Trouble::Said(
                        "this kind of file cannot be restored".to_owned(),
                    ));
                };
                rustix::fs::mknodat(
                    &directory,
                    name,
                    file_type,
                    Mode::RUSR | Mode::WUSR,
                    *device,
                )
                .map_err(|error| Trouble::System("create the special file", error))?;
                (*kind, metadata)
            }
        };
        let path = || job.directory.path_of(&job.name);
        self.writer
            .applier
            .apply_at(directory.as_fd(), name, kind, metadata, &path);
        Ok(())
    }

    fn clear(&self, job: &LeafJob) -> Result<(), Trouble> {
        if !job.is_there {
            return Ok(());
        }
        delete::make_room(&self.writer.removal, &job.directory, &job.name)
            .map_err(|error| Trouble::System("remove what is in the way", error))
    }

    /// Deletes what a directory has too much and gives it its metadata.
    fn complete(&self, job: &DirectoryJob) {
        let report = self.writer.report;
        if !job.unexpected.is_empty() {
            delete::remove_all(&self.writer.removal, &job.directory, &job.unexpected);
        }
        let Some(metadata) = &job.metadata else {
            return;
        };
        match self.writer.target.descriptor(&job.directory) {
            Ok(descriptor) => {
                let path = || job.directory.path();
                job.directory.is_complete.store(true, Ordering::Relaxed);
                self.writer.applier.apply(
                    descriptor.as_fd(),
                    metadata,
                    job.directory.is_fresh,
                    &path,
                );
                self.writer.counters.restored();
                report
                    .progress
                    .item(&job.directory.path(), RestoreAction::Restored, 0);
            }
            Err(error) => report.failed(&job.directory.path(), "open the directory", error),
        }
    }

    fn verify(&self, batch: &Batch, summary: &mut RestoreSummary) {
        let report = self.writer.report;
        let is_root = self.writer.applier.is_root;
        let verified = parallel::map(
            batch.files.len(),
            || report.is_stopped(),
            |index| {
                let file = &batch.files[index];
                if file.is_settled || file.has_failed.load(Ordering::Relaxed) {
                    return 0;
                }
                match verify(self.repository, self.writer.target, file, is_root) {
                    None => 1,
                    Some(wrong) => {
                        report.error(&file.path(), wrong);
                        0
                    }
                }
            },
        );
        let verified: u64 = verified.into_iter().flatten().sum();
        summary.files_verified += verified;
        report.progress.verified(verified);
    }
}

enum Trouble {
    Said(String),
    System(&'static str, Errno),
}

const fn file_type(kind: NodeKind) -> Option<FileType> {
    match kind {
        NodeKind::Dev => Some(FileType::BlockDevice),
        NodeKind::CharDev => Some(FileType::CharacterDevice),
        NodeKind::Fifo => Some(FileType::Fifo),
        NodeKind::Socket => Some(FileType::Socket),
        NodeKind::File | NodeKind::Dir | NodeKind::Symlink | NodeKind::Irregular => None,
    }
}
