//! `stash snapshots`: the list of snapshots.

use clap::Args;
use repository::SnapshotId;
use repository::lock::LockKind;
use repository::snapshot::{self, Snapshot};
use serde_json::{Value, json};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::machine::table;
use crate::open;
use crate::values::{FilterOptions, size};

/// List snapshots
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stash -r /srv/backup snapshots\n  stash -r /srv/backup snapshots --host web-1 --path /var/www --latest 1")]
pub struct SnapshotsOptions {
    #[command(flatten)]
    filter: FilterOptions,
    /// Only the last N of each host and paths
    #[arg(long, value_name = "N")]
    latest: Option<usize>,
    /// Group by `host`, `paths`, `tags`, joined by commas
    #[arg(short, long, value_name = "GROUP", default_value = "")]
    group_by: String,
    /// Leave the paths out
    #[arg(short, long)]
    compact: bool,
    /// Ids, prefixes of ids or `latest`
    ids: Vec<String>,
}

/// Prints the table, or restic's JSON array.
pub async fn run(context: &Context, options: &SnapshotsOptions) -> Result<Outcome, Failure> {
    let repository = open::open(&context.global).await?;
    open::with_lock(&context.global, &repository, LockKind::Shared, async |_lock| {
        let filter = options.filter.to_filter()?;
        let mut snapshots = if options.ids.is_empty() {
            let all = snapshot::load_all(&repository).await?;
            all.into_iter().filter(|(_, snapshot)| filter.matches(snapshot)).collect()
        } else {
            let mut found = Vec::new();
            for id in &options.ids {
                found.push(snapshot::find(&repository, id, &filter).await?);
            }
            found
        };
        if let Some(count) = options.latest {
            snapshots = latest(snapshots, count);
        }
        show(context, options, snapshots)
    })
    .await?;
    Ok(Outcome::Done)
}

/// The last `count` of each host and paths.
fn latest(snapshots: Vec<(SnapshotId, Snapshot)>, count: usize) -> Vec<(SnapshotId, Snapshot)> {
    let grouping = snapshot::GroupBy { host: true, paths: true, tags: false };
    let mut kept: Vec<_> = snapshot::group(snapshots, grouping)
        .into_iter()
        .flat_map(|group| {
            let skipped = group.snapshots.len().saturating_sub(count);
            group.snapshots.into_iter().skip(skipped)
        })
        .collect();
    kept.sort_by(|(_, left), (_, right)| left.time.cmp(&right.time));
    kept
}

fn show(
    context: &Context,
    options: &SnapshotsOptions,
    snapshots: Vec<(SnapshotId, Snapshot)>,
) -> Result<(), Failure> {
    let grouping: snapshot::GroupBy = options.group_by.parse()?;
    if grouping.is_none() {
        if context.printer.is_json() {
            let values = snapshots.iter().map(json_of).collect::<Result<Vec<_>, _>>()?;
            context.printer.json(&values);
        } else {
            print_table(context, options, &snapshots);
        }
        return Ok(());
    }
    let groups = snapshot::group(snapshots, grouping);
    if context.printer.is_json() {
        let mut values = Vec::new();
        for group in &groups {
            let snapshots = group.snapshots.iter().map(json_of).collect::<Result<Vec<_>, _>>()?;
            values.push(json!({"group_key": group.key, "snapshots": snapshots}));
        }
        context.printer.json(&values);
        return Ok(());
    }
    for group in &groups {
        context.printer.data(&format!("snapshots for ({}):", group.key.describe()));
        print_table(context, options, &group.snapshots);
    }
    Ok(())
}

/// The snapshot as restic prints it: the file's fields, then `id` and `short_id`.
pub fn json_of((id, snapshot): &(SnapshotId, Snapshot)) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(snapshot)?;
    value["id"] = id.to_hex().into();
    value["short_id"] = id.short().into();
    Ok(value)
}

fn print_table(context: &Context, options: &SnapshotsOptions, snapshots: &[(SnapshotId, Snapshot)]) {
    let mut headings = vec!["ID", "Time", "Host", "Tags"];
    if !options.compact {
        headings.extend(["Paths", "Size"]);
    }
    let headings: Vec<String> = headings.into_iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = snapshots
        .iter()
        .map(|(id, snapshot)| {
            let mut row = vec![
                id.short(),
                snapshot.time.to_local_text(),
                snapshot.hostname.clone(),
                snapshot.tags.join(","),
            ];
            if !options.compact {
                row.push(snapshot.paths.join(", "));
                row.push(
                    snapshot.summary.as_ref().map_or_else(String::new, |summary| size(summary.total_bytes_processed)),
                );
            }
            row
        })
        .collect();
    for line in table::lines(&headings, &rows) {
        context.printer.data(&line);
    }
    context.printer.data(&format!("{} snapshots", snapshots.len()));
}
