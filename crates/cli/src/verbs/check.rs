//! `stash check`: whether the repository is whole.

use std::sync::Arc;

use clap::Args;
use repository::check::{
    self, CheckAdvance, CheckError, CheckOptions, CheckProgress, CheckReport, CheckStep,
    DataSubset, ReadData,
};
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};
use crate::values::{FilterOptions, size};

/// Check that the repository is whole
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup check\n  stash -r /srv/backup check --read-data\n  stash -r /srv/backup check --read-data-subset 1/7      a seventh each day of the week"
)]
pub struct CheckArguments {
    /// Read and verify all data
    #[arg(long, conflicts_with = "read_data_subset")]
    read_data: bool,
    /// Read and verify a part: `n/t` for the n-th of t parts, or a random `10%` or `5G`
    #[arg(long, value_name = "SUBSET")]
    read_data_subset: Option<DataSubset>,
    /// Also say how much no snapshot uses
    #[arg(long)]
    check_unused: bool,
    /// Accepted for compatibility: nothing is cached
    #[arg(long, hide = true)]
    with_cache: bool,
    #[command(flatten)]
    filter: FilterOptions,
}

/// Checks and tells.
pub async fn run(context: &Arc<Context>, arguments: &CheckArguments) -> Result<Outcome, Failure> {
    let options = CheckOptions {
        read_data: match arguments.read_data_subset {
            Some(subset) => ReadData::Subset(subset),
            None if arguments.read_data => ReadData::All,
            None => ReadData::None,
        },
        check_unused: arguments.check_unused,
        filter: arguments.filter.to_filter()?,
    };
    let repository = open::open_past_cache(context).await?;
    // A check removes nothing and is right beside backups, so it does not keep them out as restic's does.
    let report = open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::ByItself,
        async |held| {
            let reporter = Reporter(Arc::clone(context));
            Ok(check::check(&repository, &options, &reporter, &held.cancel).await?)
        },
    )
    .await?;
    context.printer.clear_status();
    show(context, &report);
    if !report.has_errors() {
        return Ok(Outcome::Done);
    }
    let failure = Failure::new("The repository contains errors");
    let remedies: Vec<String> = report
        .remedies
        .iter()
        .map(|remedy| format!("{remedy}."))
        .collect();
    Err(if context.printer.is_json() {
        failure
    } else {
        failure.with_hint(remedies.join("\n\n"))
    })
}

/// Tells errors as they are found.
#[derive(Debug)]
struct Reporter(Arc<Context>);

impl CheckProgress for Reporter {
    fn advanced(&self, advance: CheckAdvance) {
        if self.0.printer.has_live_status() {
            self.0.printer.status(&[status(advance)]);
        }
    }

    fn found(&self, error: &CheckError) {
        if self.0.printer.is_json() {
            self.0
                .printer
                .json_error(&json!({"message_type": "error", "message": error.to_string()}));
        } else {
            self.0.printer.error(&error.to_string(), None);
        }
    }
}

fn status(advance: CheckAdvance) -> String {
    let what = match advance.step {
        CheckStep::Snapshots => "snapshots read",
        CheckStep::Packs => "packs compared with the index",
        CheckStep::Trees => "trees read",
        CheckStep::Data => "packs read",
    };
    let mut line = format!("{} of {} {what}", advance.done, advance.total);
    if advance.bytes_total > 0 {
        line.push_str(&format!(
            ", {} of {}",
            size(advance.bytes_done),
            size(advance.bytes_total)
        ));
    }
    line
}

fn show(context: &Context, report: &CheckReport) {
    let printer = &context.printer;
    if printer.is_json() {
        printer.json(&report.summary());
        return;
    }
    for note in &report.notes {
        printer.message(note);
    }
    let counts = &report.counts;
    let mut line = format!(
        "checked {} snapshots, {} trees and {} packs",
        counts.snapshots, counts.trees, counts.packs
    );
    if counts.packs_read > 0 {
        line.push_str(&format!(
            "; read {} packs, {}",
            counts.packs_read,
            size(counts.bytes_read)
        ));
    }
    printer.message(&line);
    if report.suggests_prune {
        printer.message("`stash prune` would remove what is left over");
    }
    if !report.has_errors() {
        printer.message("no errors were found");
    }
}
