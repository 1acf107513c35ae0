//! `stash stats`: how much snapshots hold.

use clap::Args;
use repository::snapshot::Snapshot;
use repository::stats::{Stats, StatsMode, stats};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};
use crate::values::{FilterOptions, size};
use crate::verbs::select;

/// Count what snapshots hold
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup stats\n  stash -r /srv/backup stats --mode raw-data latest"
)]
pub struct StatsOptions {
    #[command(flatten)]
    filter: FilterOptions,
    /// What is counted: restore-size, files-by-contents, blobs-per-file, raw-data
    #[arg(long, default_value = "restore-size", value_name = "MODE")]
    mode: StatsMode,
    /// Ids, prefixes of ids or `latest`; all when none is given
    ids: Vec<String>,
}

/// Prints the numbers.
pub async fn run(context: &Context, options: &StatsOptions) -> Result<Outcome, Failure> {
    let filter = options.filter.to_filter()?;
    let repository = open::open(context).await?;
    open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::AtOnce,
        async |_held| {
            let selected = select::snapshots(context, &repository, &options.ids, &filter).await?;
            let selected: Vec<Snapshot> =
                selected.into_iter().map(|(_, snapshot)| snapshot).collect();
            let indexed = repository.load_index().await?;
            let count = selected.len();
            let progress = |counted: &Stats| {
                context.printer.status(&[format!(
                    "{} of {count} snapshots, {} files, {}",
                    counted.snapshots_count,
                    counted.total_file_count,
                    size(counted.total_size)
                )]);
            };
            let counted = stats(&indexed, &selected, options.mode, &progress).await?;
            context.printer.clear_status();
            show(context, options.mode, &counted);
            Ok(Outcome::Done)
        },
    )
    .await
}

fn show(context: &Context, mode: StatsMode, counted: &Stats) {
    if context.printer.is_json() {
        context.printer.json(counted);
        return;
    }
    let printer = &context.printer;
    printer.message(&format!("Stats in {mode} mode:"));
    printer.data(&format!(
        "     Snapshots processed:  {}",
        counted.snapshots_count
    ));
    if counted.total_blob_count > 0 {
        printer.data(&format!(
            "        Total Blob Count:  {}",
            counted.total_blob_count
        ));
    }
    if counted.total_file_count > 0 {
        printer.data(&format!(
            "        Total File Count:  {}",
            counted.total_file_count
        ));
    }
    if counted.total_uncompressed_size > 0 {
        printer.data(&format!(
            " Total Uncompressed Size:  {}",
            size(counted.total_uncompressed_size)
        ));
    }
    printer.data(&format!(
        "              Total Size:  {}",
        size(counted.total_size)
    ));
    if counted.compression_progress > 0.0 {
        printer.data(&format!(
            "    Compression Progress:  {:.2}%",
            counted.compression_progress
        ));
    }
    if counted.compression_ratio > 0.0 {
        printer.data(&format!(
            "       Compression Ratio:  {:.2}x",
            counted.compression_ratio
        ));
    }
    if counted.compression_space_saving > 0.0 {
        printer.data(&format!(
            "Compression Space Saving:  {:.2}%",
            counted.compression_space_saving
        ));
    }
}
