//! `stash prune`: removes data that no snapshot uses.

use clap::Args;
use repository::lock::Lock;
use repository::prune::{
    self, MaxUnused, PruneOptions, PrunePlan, PruneProgress, PruneStep, PruneSummary,
};
use repository::{Repository, SnapshotId};
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};
use crate::printer::Verbosity;
use crate::values::{parse_size, size};

/// Remove data that no snapshot uses
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup prune --dry-run\n  stash -r /srv/backup prune --max-unused 10%"
)]
pub struct PruneArguments {
    /// Change nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    flags: PruneFlags,
}

/// What prune may do; `forget --prune` takes the same.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Prune options")]
pub struct PruneFlags {
    /// Unused data that may stay: a share of the repository as `5%`, a size, or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = max_unused)]
    max_unused: MaxUnused,
    /// Stop repacking before this much was repacked
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_repack_size: Option<u64>,
    /// Leave packs of file contents alone unless they are unused as a whole
    #[arg(long)]
    repack_cacheable_only: bool,
    /// Join small packs
    #[arg(long)]
    repack_small: bool,
    /// Join packs that are smaller than this
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    repack_smaller_than: Option<u64>,
    /// Compress what is stored uncompressed
    #[arg(long)]
    repack_uncompressed: bool,
}

impl PruneFlags {
    const fn to_options(&self) -> PruneOptions {
        PruneOptions {
            max_unused: self.max_unused,
            max_repack_bytes: self.max_repack_size,
            repack_cacheable_only: self.repack_cacheable_only,
            repack_small: self.repack_small,
            repack_smaller_than_bytes: self.repack_smaller_than,
            repack_uncompressed: self.repack_uncompressed,
        }
    }
}

/// `5%`, `unlimited` or a size.
fn max_unused(text: &str) -> Result<MaxUnused, String> {
    if text == "unlimited" {
        return Ok(MaxUnused::Unlimited);
    }
    let Some(share) = text.strip_suffix('%') else {
        return parse_size(text).map(MaxUnused::Bytes);
    };
    match share.parse::<f64>() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(MaxUnused::Percent(percent)),
        _ => Err(format!(
            "`{text}` is no share: write a number from 0 to below 100 and `%`"
        )),
    }
}

/// Plans, shows and carries out.
pub async fn run(context: &Context, options: &PruneArguments) -> Result<Outcome, Failure> {
    let repository = open::open(context).await?;
    let kind = lock_kind(context, options.dry_run);
    // Every moment of it may be its last, so it is dropped where it stands.
    open::with_lock(context, &repository, kind, Stopping::AtOnce, async |held| {
        let removal = Removal {
            ids: &[],
            is_dry_run: options.dry_run,
        };
        let summary =
            carry_out(context, (&repository, held.lock), &options.flags, &removal).await?;
        if context.printer.is_json() {
            show_json(context, &summary, options.dry_run);
        }
        Ok(Outcome::Done)
    })
    .await
}

/// restic's prune has no JSON; these are its numbers.
fn show_json(context: &Context, summary: &PruneSummary, is_dry_run: bool) {
    let PruneSummary {
        blobs,
        bytes,
        packs,
    } = summary;
    context.printer.json(&json!({
        "message_type": "summary", "dry_run": is_dry_run, "blobs": blobs, "bytes": bytes, "packs": packs,
    }));
}

/// The lock for removing. A dry run with `--no-lock` removes nothing and may do without.
pub fn lock_kind(context: &Context, is_dry_run: bool) -> Access {
    if is_dry_run && context.global.no_lock {
        Access::Read
    } else {
        Access::Remove
    }
}

/// What `forget` leaves to prune.
#[derive(Debug, Clone, Copy)]
pub struct Removal<'a> {
    /// Snapshots that a dry run of `forget` would have removed.
    pub ids: &'a [SnapshotId],
    /// Whether nothing is changed.
    pub is_dry_run: bool,
}

/// Prunes under the exclusive lock of the caller.
pub async fn carry_out(
    context: &Context,
    (repository, lock): (&Repository, Option<&Lock>),
    flags: &PruneFlags,
    removal: &Removal<'_>,
) -> Result<PruneSummary, Failure> {
    let printer = &context.printer;
    printer.message("Loading the index and finding the data that is still in use");
    let indexed = repository.load_index().await?;
    let plan = prune::plan(&indexed, removal.ids, &flags.to_options()).await?;
    show_plan(context, &plan, removal.is_dry_run);
    let Some(lock) = lock.filter(|_| !removal.is_dry_run) else {
        return Ok(*plan.summary());
    };
    if plan.is_empty() {
        printer.message("Nothing to remove");
        return Ok(*plan.summary());
    }
    let progress = |progress: PruneProgress| {
        printer.status(&[format!(
            "{} {} of {}",
            step_text(progress.step),
            progress.done,
            progress.total
        )]);
    };
    let done = plan.execute(lock, &progress).await?;
    printer.clear_status();
    printer.message(&format!(
        "Removed {} in {} packs; {} remain",
        size(done.removed_bytes()),
        done.packs.remove + done.packs.repack + done.packs.unreferenced,
        size(done.remaining_bytes())
    ));
    Ok(done)
}

const fn step_text(step: PruneStep) -> &'static str {
    match step {
        PruneStep::RemoveUnreferenced => "Removing unreferenced packs:",
        PruneStep::Repack => "Repacking packs:",
        PruneStep::WriteIndex => "Writing index files:",
        PruneStep::RemoveIndex => "Removing old index files:",
        PruneStep::RemovePacks => "Removing packs:",
    }
}

fn show_plan(context: &Context, plan: &PrunePlan, is_dry_run: bool) {
    let summary = plan.summary();
    let verbosity = context.printer.verbosity();
    if is_dry_run {
        context
            .printer
            .message("\nWould have made the following changes:");
    }
    if verbosity >= Verbosity::Verbose {
        show_use(context, summary);
    }
    let PruneSummary {
        blobs,
        bytes,
        packs,
    } = summary;
    if packs.unreferenced > 0 {
        context.printer.message(&format!(
            "\nto delete:       {:>10} unreferenced packs / {}",
            packs.unreferenced,
            size(bytes.unreferenced)
        ));
    }
    let row = |label: &str, count: u64, bytes: u64| {
        context
            .printer
            .message(&format!("{label:<16} {count:>10} blobs / {}", size(bytes)));
    };
    context.printer.message("");
    row("to repack:", blobs.repack, bytes.repack);
    row("this removes:", blobs.repack_remove, bytes.repack_remove);
    row(
        "to delete:",
        blobs.remove,
        bytes.remove + bytes.unreferenced,
    );
    row(
        "total prune:",
        summary.removed_blobs(),
        summary.removed_bytes(),
    );
    if bytes.uncompressed > 0 {
        context.printer.verbose(&format!(
            "not yet compressed:          {}",
            size(bytes.uncompressed)
        ));
    }
    row(
        "remaining:",
        summary.remaining_blobs(),
        summary.remaining_bytes(),
    );
    context.printer.message(&format!(
        "unused size after prune: {} ({:.2}% of remaining size)",
        size(summary.unused_bytes_after()),
        percent(summary.unused_bytes_after(), summary.remaining_bytes())
    ));
    if verbosity >= Verbosity::Verbose {
        show_packs(context, summary);
    }
    if verbosity >= Verbosity::Debug {
        plan.removed_packs()
            .for_each(|pack| context.printer.verbose(&format!("to delete: pack {pack}")));
        plan.repacked_packs()
            .for_each(|pack| context.printer.verbose(&format!("to repack: pack {pack}")));
    }
    context.printer.message("");
}

fn show_use(context: &Context, summary: &PruneSummary) {
    let row = |label: &str, count: u64, bytes: u64| {
        context
            .printer
            .verbose(&format!("{label:<16} {count:>10} blobs / {}", size(bytes)));
    };
    context.printer.verbose("");
    row("used:", summary.blobs.used, summary.bytes.used);
    if summary.blobs.duplicate > 0 {
        row(
            "duplicates:",
            summary.blobs.duplicate,
            summary.bytes.duplicate,
        );
    }
    row("unused:", summary.blobs.unused, summary.bytes.unused);
    row("total:", summary.total_blobs(), summary.total_bytes());
    context.printer.verbose(&format!(
        "unused size: {:.2}% of total size",
        percent(summary.unused_bytes(), summary.total_bytes())
    ));
}

fn show_packs(context: &Context, summary: &PruneSummary) {
    let packs = &summary.packs;
    for (label, count) in [
        ("totally used packs:", packs.used),
        ("partly used packs:", packs.partly_used),
        ("unused packs:", packs.unused),
        ("unreferenced packs:", packs.unreferenced),
        ("to keep:", packs.keep),
        ("to repack:", packs.repack),
        ("to delete:", packs.remove + packs.unreferenced),
    ] {
        context.printer.verbose(&format!("{label:<20} {count:>9}"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64 * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_limits_are_shares_sizes_or_unlimited() {
        assert_eq!(max_unused("5%"), Ok(MaxUnused::Percent(5.0)));
        assert_eq!(max_unused("0.5%"), Ok(MaxUnused::Percent(0.5)));
        assert_eq!(max_unused("10M"), Ok(MaxUnused::Bytes(10 << 20)));
        assert_eq!(max_unused("unlimited"), Ok(MaxUnused::Unlimited));
        for text in ["100%", "-1%", "NaN%", "x", ""] {
            assert!(max_unused(text).is_err(), "{text}");
        }
    }
}
