//! `stash snapshots`: the list of snapshots.

use clap::Args;
use repository::SnapshotId;
use repository::snapshot::{GroupBy, IdentifiedSnapshot, Snapshot, group_by};
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::machine::table;
use crate::open::{self, Access, Stopping};
use crate::values::{FilterOptions, local_text, size};
use crate::verbs::select;

/// List snapshots
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup snapshots\n  stash -r /srv/backup snapshots --host web-1 --path /var/www --latest 1"
)]
pub struct SnapshotsOptions {
    #[command(flatten)]
    filter: FilterOptions,
    /// Only the last N of each host and paths
    #[arg(long, value_name = "N")]
    latest: Option<usize>,
    /// Group by `host`, `paths`, `tags`, joined by commas
    #[arg(short, long, value_name = "GROUP", default_value = "")]
    group_by: GroupBy,
    /// Leave the paths out
    #[arg(short, long)]
    compact: bool,
    /// Ids, prefixes of ids or `latest`
    ids: Vec<String>,
}

/// Prints the table, or restic's JSON array.
pub async fn run(context: &Context, options: &SnapshotsOptions) -> Result<Outcome, Failure> {
    let filter = options.filter.to_filter()?;
    let repository = open::open(context).await?;
    open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::AtOnce,
        async |_held| {
            let mut snapshots =
                select::snapshots(context, &repository, &options.ids, &filter).await?;
            if let Some(count) = options.latest {
                snapshots = latest(snapshots, count);
            }
            show(context, options, snapshots);
            Ok(Outcome::Done)
        },
    )
    .await
}

/// The last `count` of each host and paths.
fn latest(snapshots: Vec<(SnapshotId, Snapshot)>, count: usize) -> Vec<(SnapshotId, Snapshot)> {
    let mut kept: Vec<_> = group_by(snapshots, GroupBy::default())
        .into_iter()
        .flat_map(|(_, mut members)| {
            members.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
            let skipped = members.len().saturating_sub(count);
            members.into_iter().skip(skipped)
        })
        .collect();
    kept.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
    kept
}

fn show(context: &Context, options: &SnapshotsOptions, snapshots: Vec<(SnapshotId, Snapshot)>) {
    if options.group_by == GroupBy::NONE {
        if context.printer.is_json() {
            context.printer.json(&identified(&snapshots));
        } else {
            print_table(context, options, &snapshots);
        }
        return;
    }
    let groups = group_by(snapshots, options.group_by);
    if context.printer.is_json() {
        let values: Vec<_> = groups
            .iter()
            .map(|(key, members)| json!({"group_key": key, "snapshots": identified(members)}))
            .collect();
        context.printer.json(&values);
        return;
    }
    for (key, members) in &groups {
        context.printer.data(&format!("snapshots for ({key}):"));
        print_table(context, options, members);
    }
}

fn identified(snapshots: &[(SnapshotId, Snapshot)]) -> Vec<IdentifiedSnapshot<'_>> {
    snapshots
        .iter()
        .map(|(id, snapshot)| IdentifiedSnapshot::new(*id, snapshot))
        .collect()
}

/// The cells that all tables of snapshots begin with: id, time, host, tags.
pub fn cells((id, snapshot): &(SnapshotId, Snapshot)) -> Vec<String> {
    vec![
        id.short(),
        local_text(&snapshot.time),
        snapshot.hostname.clone(),
        snapshot.tags.join(","),
    ]
}

fn print_table(
    context: &Context,
    options: &SnapshotsOptions,
    snapshots: &[(SnapshotId, Snapshot)],
) {
    let mut headings = vec!["ID", "Time", "Host", "Tags"];
    if !options.compact {
        headings.push("Paths");
    }
    headings.push("Size");
    let headings: Vec<String> = headings.into_iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = snapshots
        .iter()
        .map(|found| {
            let mut row = cells(found);
            if !options.compact {
                row.push(found.1.paths.join(", "));
            }
            let summary = found.1.summary.as_ref();
            row.push(
                summary.map_or_else(String::new, |summary| size(summary.total_bytes_processed)),
            );
            row
        })
        .collect();
    for line in table::lines(&headings, &rows) {
        context.printer.data(&line);
    }
    context
        .printer
        .data(&format!("{} snapshots", snapshots.len()));
}
