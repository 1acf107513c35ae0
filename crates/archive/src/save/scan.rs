//! Counting files and bytes ahead, so that progress knows where it will end.

use std::fs::{Metadata, symlink_metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::save::run::Run;
use crate::save::summary::{During, SourceError};
use crate::source::LayoutNode;

/// Files between two reports.
const REPORT_EVERY: u64 = 512;

/// Walks the targets by the rules of the backup. Blocks; ends early when the run stops.
pub(crate) fn scan(run: &Run, layout: &LayoutNode, working_directory: &Path) {
    let mut scanner = Scanner {
        run,
        files: 0,
        bytes: 0,
    };
    scanner.layout(layout, working_directory);
    if !run.scheduler.is_stopped() {
        run.progress.scanned(scanner.files, scanner.bytes, true);
    }
}

struct Scanner<'a> {
    run: &'a Run,
    files: u64,
    bytes: u64,
}

impl Scanner<'_> {
    fn layout(&mut self, layout: &LayoutNode, working_directory: &Path) {
        for node in layout.children.values() {
            match &node.path {
                Some(path) => self.target(&crate::path::absolute(working_directory, path)),
                None => self.layout(node, working_directory),
            }
        }
    }

    fn target(&mut self, target: &Path) {
        let allowed = self
            .run
            .rules
            .devices
            .as_ref()
            .and_then(|devices| devices.allowed(target));
        let is_target = self.run.rules.is_target(target);
        let mut waiting = vec![target.to_path_buf()];
        while let Some(path) = waiting.pop() {
            if self.run.scheduler.is_stopped() {
                return;
            }
            let is_asked_for = is_target && path == target;
            if !is_asked_for && self.run.rules.excludes.is_excluded(&path) {
                continue;
            }
            match symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    let is_foreign =
                        self.run.rules.devices.is_some() && allowed != Some(metadata.dev());
                    if !is_foreign {
                        self.directory(&path, &mut waiting);
                    }
                }
                Ok(metadata) if metadata.is_file() => self.file(&metadata),
                _ => {}
            }
        }
    }

    fn file(&mut self, metadata: &Metadata) {
        if self.run.rules.excludes.is_too_large(metadata.len()) {
            return;
        }
        self.files += 1;
        self.bytes += metadata.len();
        if self.files.is_multiple_of(REPORT_EVERY) {
            self.run.progress.scanned(self.files, self.bytes, false);
        }
    }

    fn directory(&mut self, path: &Path, waiting: &mut Vec<PathBuf>) {
        let tags = self
            .run
            .rules
            .excludes
            .tag_files()
            .iter()
            .any(|tag| tag.is_in(path));
        if tags {
            return;
        }
        match std::fs::read_dir(path) {
            Ok(entries) => waiting.extend(entries.flatten().map(|entry| entry.path())),
            // The backup itself meets the same error and counts it.
            Err(error) => self.run.progress.error(&SourceError {
                path: path.to_owned(),
                during: During::Scan,
                message: format!("cannot list the directory: {error}"),
            }),
        }
    }
}
