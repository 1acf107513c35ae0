//! `stash diff`: what changed between two snapshots.

use archive::diff::{Change, DiffOptions as CompareOptions, DiffStat, DiffSummary};
use archive::walk;
use clap::Args;
use repository::snapshot::{self, SnapshotFilter, SnapshotRef};
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};
use crate::values::size;
use crate::verbs::entry::printable;

/// Show what changed between two snapshots
///
/// Marks: + added, - removed, M content changed, U metadata changed, T type changed, ? content changed under the
/// same metadata, which smells of damage.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup diff 1f3a5c7e latest\n  stash -r /srv/backup diff 1f3a5c7e:home/alice latest:home/alice"
)]
pub struct DiffOptions {
    /// Show entries of which only the metadata changed
    #[arg(long)]
    metadata: bool,
    /// The earlier SNAPSHOT or SNAPSHOT:FOLDER
    from: String,
    /// The later one
    to: String,
}

/// Prints the changes and their numbers.
pub async fn run(context: &Context, options: &DiffOptions) -> Result<Outcome, Failure> {
    let repository = open::open(context).await?;
    open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::ByItself,
        async |held| {
            let (from, to) = (
                SnapshotRef::parse(&options.from),
                SnapshotRef::parse(&options.to),
            );
            let filter = SnapshotFilter::default();
            let (from_id, before) = snapshot::find(&repository, &from.snapshot, &filter).await?;
            let (to_id, after) = snapshot::find(&repository, &to.snapshot, &filter).await?;
            let indexed = repository.load_index().await?;
            let before = walk::find_tree(&indexed, &before.tree, from.subfolder.as_deref()).await?;
            let after = walk::find_tree(&indexed, &after.tree, to.subfolder.as_deref()).await?;
            context.printer.message(&format!(
                "comparing snapshot {} to {}:\n",
                from_id.short(),
                to_id.short()
            ));
            let mut on_change = |change: Change| show_change(context, &change);
            let compare = CompareOptions {
                metadata: options.metadata,
            };
            let summary = archive::diff::diff(
                &indexed,
                &before,
                &after,
                compare,
                &mut on_change,
                &held.cancel,
            )
            .await?;
            show_summary(context, options, &summary);
            for error in &summary.errors {
                context.printer.error(error, None);
            }
            Ok(if summary.errors.is_empty() {
                Outcome::Done
            } else {
                Outcome::Failed
            })
        },
    )
    .await
}

fn show_change(context: &Context, change: &Change) {
    if context.printer.is_json() {
        context.printer.json(&json!({
            "message_type": "change",
            "path": String::from_utf8_lossy(&change.path),
            "modifier": change.modifier,
        }));
    } else {
        context.printer.data(&format!(
            "{:<5}{}",
            change.modifier,
            printable(&change.path)
        ));
    }
}

fn show_summary(context: &Context, options: &DiffOptions, summary: &DiffSummary) {
    if context.printer.is_json() {
        context.printer.json(&json!({
            "message_type": "statistics",
            "source_snapshot": options.from,
            "target_snapshot": options.to,
            "changed_files": summary.changed_files,
            "added": summary.added,
            "removed": summary.removed,
        }));
        return;
    }
    let DiffStat {
        files,
        dirs,
        others,
        data_blobs,
        tree_blobs,
        bytes,
    } = summary.added;
    let gone = summary.removed;
    let lines = [
        String::new(),
        format!(
            "Files:       {files:>5} new, {:>5} removed, {:>5} changed",
            gone.files, summary.changed_files
        ),
        format!("Dirs:        {dirs:>5} new, {:>5} removed", gone.dirs),
        format!("Others:      {others:>5} new, {:>5} removed", gone.others),
        format!(
            "Data Blobs:  {data_blobs:>5} new, {:>5} removed",
            gone.data_blobs
        ),
        format!(
            "Tree Blobs:  {tree_blobs:>5} new, {:>5} removed",
            gone.tree_blobs
        ),
        format!("  Added:   {}", size(bytes)),
        format!("  Removed: {}", size(gone.bytes)),
    ];
    for line in lines {
        context.printer.message(&line);
    }
}
