//! What a backup tells while it runs and when it is done.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::save::{BackupProgress, BackupSummary, Change, ItemDone, SourceError};
use repository::tree::NodeKind;
use serde_json::json;

use crate::Context;
use crate::printer::Verbosity;
use crate::progress::Board;
use crate::values::{clock, size};
use crate::verbs::entry::printable;

/// Puts what happens on the board, and in words where they are asked for.
#[derive(Debug)]
pub struct Reporter {
    context: Arc<Context>,
    board: Arc<Board>,
    wants_scan: bool,
    /// Whether anybody sees which files are being read.
    is_watched: bool,
}

impl Reporter {
    /// A reporter. Files are counted ahead only when somebody sees the percentage.
    pub fn new(context: &Arc<Context>, board: &Arc<Board>, is_scan_useless: bool) -> Self {
        let printer = &context.printer;
        let is_watched = printer.has_live_status()
            || (printer.is_json() && printer.verbosity() > Verbosity::Quiet);
        let is_seen = is_watched || printer.verbosity() >= Verbosity::Verbose;
        Self {
            context: Arc::clone(context),
            board: Arc::clone(board),
            wants_scan: is_seen && !is_scan_useless,
            is_watched,
        }
    }
}

impl BackupProgress for Reporter {
    fn wants_scan(&self) -> bool {
        self.wants_scan
    }

    fn scanned(&self, files: u64, bytes: u64, is_done: bool) {
        self.board.set_total(files, bytes, is_done);
        let printer = &self.context.printer;
        if !is_done {
            return;
        }
        let duration = self.board.elapsed();
        if printer.is_json() && printer.verbosity() >= Verbosity::Debug {
            let mut value = verbose_status("scan_finished", "", duration);
            value["data_size"] = bytes.into();
            value["total_files"] = files.into();
            printer.json(&value);
        } else {
            let seconds = duration.as_secs_f64();
            printer.verbose(&format!(
                "scan finished in {seconds:.3}s: {files} files, {}",
                size(bytes)
            ));
        }
    }

    fn file_started(&self, path: &Path) {
        if self.is_watched {
            self.board.begin(text(path));
        }
    }

    fn item_done(&self, item: &ItemDone<'_>) {
        if item.kind == NodeKind::File {
            self.board.add(1, 0);
            if self.is_watched {
                self.board.end(&text(item.path));
            }
        }
        let printer = &self.context.printer;
        let is_told = matches!(item.kind, NodeKind::File | NodeKind::Dir);
        if printer.verbosity() < Verbosity::Debug || !is_told {
            return;
        }
        if printer.is_json() {
            printer.json(&item_json(item));
        } else {
            printer.verbose(&item_line(item));
        }
    }

    fn bytes_done(&self, bytes: u64) {
        self.board.add(0, bytes);
    }

    fn error(&self, error: &SourceError) {
        self.board.add_error();
        let printer = &self.context.printer;
        if printer.is_json() {
            printer.json_error(&json!({
                "message_type": "error",
                "error": {"message": error.message},
                "during": error.during.as_str(),
                "item": error.path.display().to_string(),
            }));
        } else {
            printer.error(&format!("{}: {}", text(&error.path), error.message), None);
        }
    }

    fn note(&self, note: &SourceError) {
        self.context
            .printer
            .verbose(&format!("{}: {}", text(&note.path), note.message));
    }
}

/// A path for people.
fn text(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// A folder's name ends in a slash.
fn name(item: &ItemDone<'_>) -> String {
    let path = item.path.display();
    if item.kind == NodeKind::Dir && item.path != Path::new("/") {
        format!("{path}/")
    } else {
        path.to_string()
    }
}

fn verbose_status(action: &str, item: &str, duration: Duration) -> serde_json::Value {
    json!({
        "message_type": "verbose_status",
        "action": action,
        "item": item,
        "duration": duration.as_secs_f64(),
        "data_size": 0,
        "data_size_in_repo": 0,
        "metadata_size": 0,
        "metadata_size_in_repo": 0,
        "total_files": 0,
    })
}

fn item_json(item: &ItemDone<'_>) -> serde_json::Value {
    let duration = if item.change == Change::Unmodified {
        Duration::ZERO
    } else {
        item.duration
    };
    let mut value = verbose_status(item.change.as_str(), &name(item), duration);
    let (plain, packed) = match item.kind {
        NodeKind::Dir => ("metadata_size", "metadata_size_in_repo"),
        _ => ("data_size", "data_size_in_repo"),
    };
    value[plain] = item.added_bytes.into();
    value[packed] = item.added_packed_bytes.into();
    value
}

fn item_line(item: &ItemDone<'_>) -> String {
    let word = item.change.as_str();
    let name = printable(name(item).as_bytes());
    if item.change == Change::Unmodified {
        return format!("{word} {name}");
    }
    let seconds = item.duration.as_secs_f64();
    format!(
        "{word:<9} {name}, saved in {seconds:.3}s ({} added, {} stored)",
        size(item.added_bytes),
        size(item.added_packed_bytes)
    )
}

/// Prints the numbers: for people, or restic's `summary`.
pub fn summary(context: &Context, summary: &BackupSummary, is_dry_run: bool) {
    if context.printer.is_json() {
        context.printer.json(&summary_json(summary, is_dry_run));
        return;
    }
    let printer = &context.printer;
    let (files, dirs) = (&summary.files, &summary.dirs);
    let parent = match &summary.parent {
        Some(parent) => format!("compared with snapshot {}", parent.short()),
        None => "compared with no earlier snapshot, all files were read".to_owned(),
    };
    let verb = if is_dry_run { "Would add" } else { "Added" };
    printer.message(&format!("\n{parent}\n"));
    printer.message(&format!(
        "Files:       {:>5} new, {:>5} changed, {:>5} unmodified",
        files.new, files.changed, files.unmodified
    ));
    printer.message(&format!(
        "Dirs:        {:>5} new, {:>5} changed, {:>5} unmodified",
        dirs.new, dirs.changed, dirs.unmodified
    ));
    printer.verbose(&format!(
        "Data Blobs:  {:>5} new",
        summary.stored.data_blobs
    ));
    printer.verbose(&format!(
        "Tree Blobs:  {:>5} new",
        summary.stored.tree_blobs
    ));
    printer.message(&format!(
        "{verb} to the repository: {} ({} stored)\n",
        size(summary.data_added()),
        size(summary.data_added_packed())
    ));
    printer.message(&format!(
        "processed {} files, {} in {}",
        files.total(),
        size(summary.total_bytes_processed),
        clock(summary.duration)
    ));
    match &summary.snapshot_id {
        Some(id) => printer.message(&format!("snapshot {} saved", id.short())),
        None if is_dry_run => printer.message("dry run, nothing was saved"),
        None => printer.message("nothing has changed, no snapshot was made"),
    }
}

fn summary_json(summary: &BackupSummary, is_dry_run: bool) -> serde_json::Value {
    let mut value = json!({
        "message_type": "summary",
        "files_new": summary.files.new,
        "files_changed": summary.files.changed,
        "files_unmodified": summary.files.unmodified,
        "dirs_new": summary.dirs.new,
        "dirs_changed": summary.dirs.changed,
        "dirs_unmodified": summary.dirs.unmodified,
        "data_blobs": summary.stored.data_blobs,
        "tree_blobs": summary.stored.tree_blobs,
        "data_added": summary.data_added(),
        "data_added_packed": summary.data_added_packed(),
        "total_files_processed": summary.files.total(),
        "total_bytes_processed": summary.total_bytes_processed,
        "total_duration": summary.duration.as_secs_f64(),
        "backup_start": summary.backup_start,
        "backup_end": summary.backup_end,
    });
    if let Some(id) = &summary.snapshot_id {
        value["snapshot_id"] = id.to_hex().into();
    }
    if is_dry_run {
        value["dry_run"] = true.into();
    }
    value
}
