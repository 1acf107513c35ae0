//! `stash forget`: removes snapshots by policy or by name.

use std::path::PathBuf;

use clap::Args;
use repository::forget::{
    CalendarDuration, EmptiedGroups, ForgetGroup, ForgetPlan, ForgetPolicy, parse_count,
};
use repository::lock::Lock;
use repository::snapshot::{GroupBy, parse_tag_list};
use repository::{Repository, SnapshotId};

use crate::Context;
use crate::failure::{Failure, Outcome, chain};
use crate::machine::table;
use crate::open::{self, Stopping};
use crate::values::{now, snapshot_filter};
use crate::verbs::prune::{self, PruneFlags, Removal};
use crate::verbs::{select, snapshots};

/// Remove snapshots by policy or by id
///
/// The data that they leave behind stays until `stash prune`, or `--prune` here.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --prune\n  stash -r /srv/backup forget --keep-within 1y6m --dry-run\n  stash -r /srv/backup forget 1f3a5c7e"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub struct ForgetOptions {
    /// Keep the last N snapshots, or `unlimited`; so for the next ones
    #[arg(short = 'l', long, value_name = "N", value_parser = parse_count)]
    keep_last: Option<i32>,
    /// Keep the last snapshot of each of the last N hours that have one
    #[arg(short = 'H', long, value_name = "N", value_parser = parse_count)]
    keep_hourly: Option<i32>,
    /// Keep the last snapshot of each of the last N days that have one
    #[arg(short = 'd', long, value_name = "N", value_parser = parse_count)]
    keep_daily: Option<i32>,
    /// Keep the last snapshot of each of the last N weeks that have one
    #[arg(short = 'w', long, value_name = "N", value_parser = parse_count)]
    keep_weekly: Option<i32>,
    /// Keep the last snapshot of each of the last N months that have one
    #[arg(short = 'm', long, value_name = "N", value_parser = parse_count)]
    keep_monthly: Option<i32>,
    /// Keep the last snapshot of each of the last N years that have one
    #[arg(short = 'y', long, value_name = "N", value_parser = parse_count)]
    keep_yearly: Option<i32>,
    /// Keep all snapshots this much older than the latest, as `1y5m7d2h`
    #[arg(long, value_name = "DURATION")]
    keep_within: Option<CalendarDuration>,
    /// Keep the hourly snapshots this much older than the latest
    #[arg(long, value_name = "DURATION")]
    keep_within_hourly: Option<CalendarDuration>,
    /// Keep the daily snapshots this much older than the latest
    #[arg(long, value_name = "DURATION")]
    keep_within_daily: Option<CalendarDuration>,
    /// Keep the weekly snapshots this much older than the latest
    #[arg(long, value_name = "DURATION")]
    keep_within_weekly: Option<CalendarDuration>,
    /// Keep the monthly snapshots this much older than the latest
    #[arg(long, value_name = "DURATION")]
    keep_within_monthly: Option<CalendarDuration>,
    /// Keep the yearly snapshots this much older than the latest
    #[arg(long, value_name = "DURATION")]
    keep_within_yearly: Option<CalendarDuration>,
    /// Keep snapshots with all of these tags (repeatable)
    #[arg(long, value_name = "TAG[,TAG]")]
    keep_tag: Vec<String>,
    /// Allow a policy to remove the last snapshot of a group
    #[arg(long)]
    unsafe_allow_remove_all: bool,

    /// Only snapshots of this host (repeatable)
    #[arg(
        long = "host",
        value_name = "HOST",
        env = "RESTIC_HOST",
        hide_env_values = true
    )]
    hosts: Vec<String>,
    /// Only snapshots with all of these tags (repeatable: any of the lists)
    #[arg(long = "tag", value_name = "TAG[,TAG]")]
    tags: Vec<String>,
    /// Only snapshots that hold this path (repeatable: all of them)
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Leave the paths out of the tables
    #[arg(short, long)]
    compact: bool,
    /// Apply the policy to each group of `host`, `paths`, `tags`, joined by commas; '' for one group
    #[arg(short, long, value_name = "GROUP", default_value = "host,paths")]
    group_by: GroupBy,
    /// Remove nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Remove the data that becomes unused as well
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    prune_flags: PruneFlags,
    /// Remove these snapshots, whatever the policy says
    ids: Vec<String>,
}

impl ForgetOptions {
    fn policy(&self) -> ForgetPolicy {
        ForgetPolicy {
            last: self.keep_last.unwrap_or(0),
            hourly: self.keep_hourly.unwrap_or(0),
            daily: self.keep_daily.unwrap_or(0),
            weekly: self.keep_weekly.unwrap_or(0),
            monthly: self.keep_monthly.unwrap_or(0),
            yearly: self.keep_yearly.unwrap_or(0),
            within: self.keep_within.unwrap_or_default(),
            within_hourly: self.keep_within_hourly.unwrap_or_default(),
            within_daily: self.keep_within_daily.unwrap_or_default(),
            within_weekly: self.keep_within_weekly.unwrap_or_default(),
            within_monthly: self.keep_within_monthly.unwrap_or_default(),
            within_yearly: self.keep_within_yearly.unwrap_or_default(),
            tags: self
                .keep_tag
                .iter()
                .map(|list| parse_tag_list(list))
                .collect(),
        }
    }
}

/// Plans, shows and carries out.
pub async fn run(context: &Context, options: ForgetOptions) -> Result<Outcome, Failure> {
    let policy = options.policy();
    let emptied = if options.unsafe_allow_remove_all {
        EmptiedGroups::Allow
    } else {
        EmptiedGroups::Refuse
    };
    policy.validate()?;
    if options.ids.is_empty() {
        refuse_empty_policy(&options, &policy)?;
    }
    let filter = snapshot_filter(&options.hosts, &options.tags, &options.paths)?;
    let repository = open::open(context).await?;
    let kind = prune::lock_kind(context, options.dry_run);
    open::with_lock(context, &repository, kind, Stopping::AtOnce, async |held| {
        let selected = select::snapshots(context, &repository, &options.ids, &filter).await?;
        let plan = if options.ids.is_empty() {
            context
                .printer
                .message(&format!("Applying Policy: {policy}"));
            ForgetPlan::new(selected, options.group_by, &policy, emptied, now())?
        } else {
            ForgetPlan::of_named(selected)
        };
        show(context, &options, &plan);
        carry_out(context, &options, (&repository, held.lock), plan).await
    })
    .await
}

/// Before anything is opened: forgetting the options must not forget the snapshots.
fn refuse_empty_policy(options: &ForgetOptions, policy: &ForgetPolicy) -> Result<(), Failure> {
    let has_filter =
        !options.hosts.is_empty() || !options.tags.is_empty() || !options.paths.is_empty();
    match (
        policy.is_empty(),
        options.unsafe_allow_remove_all,
        has_filter,
    ) {
        (false, ..) | (true, true, true) => Ok(()),
        (true, false, _) => Err(Failure::new(
            "No policy was specified, no snapshots will be removed",
        )
        .with_hint("Say what to keep, as `--keep-daily 7`, or name the snapshots to remove.")),
        (true, true, false) => Err(Failure::new(
            "Removing all snapshots of all hosts and paths is refused",
        )
        .with_hint("Say which, by `--host`, `--tag` or `--path`.")),
    }
}

async fn carry_out(
    context: &Context,
    options: &ForgetOptions,
    (repository, lock): (&Repository, Option<&Lock>),
    plan: ForgetPlan,
) -> Result<Outcome, Failure> {
    let removals = plan.removals();
    if removals.is_empty() {
        return Ok(Outcome::Done);
    }
    let mut outcome = Outcome::Done;
    match lock.filter(|_| !options.dry_run) {
        Some(lock) => outcome = remove(context, (repository, lock), plan).await?,
        None => {
            let ids: Vec<String> = removals.iter().map(SnapshotId::short).collect();
            context.printer.message(&format!(
                "Would have removed the following snapshots:\n{}\n",
                ids.join(" ")
            ));
        }
    }
    if options.prune {
        let removal = Removal {
            ids: if options.dry_run { &removals } else { &[] },
            is_dry_run: options.dry_run,
        };
        prune::carry_out(context, (repository, lock), &options.prune_flags, &removal).await?;
    }
    Ok(outcome)
}

async fn remove(
    context: &Context,
    (repository, lock): (&Repository, &Lock),
    plan: ForgetPlan,
) -> Result<Outcome, Failure> {
    let done = plan.execute(repository, lock).await?;
    context
        .printer
        .message(&format!("Removed {} snapshots", done.removed.len()));
    for (id, error) in &done.failed {
        context.printer.error(
            &format!("Cannot remove snapshot {}: {}", id.short(), chain(error)),
            None,
        );
    }
    Ok(if done.failed.is_empty() {
        Outcome::Done
    } else {
        Outcome::Incomplete
    })
}

fn show(context: &Context, options: &ForgetOptions, plan: &ForgetPlan) {
    if context.printer.is_json() {
        if !plan.groups.is_empty() {
            context.printer.json(&plan.groups);
        }
        return;
    }
    for group in &plan.groups {
        let key = group.key.to_string();
        if !key.is_empty() {
            context
                .printer
                .message(&format!("\nsnapshots for ({key}):"));
        }
        show_group(context, options, group);
    }
    if !plan.named.is_empty() {
        let mut remove = plan.named.clone();
        remove.sort_by_key(|(id, snapshot)| std::cmp::Reverse((snapshot.time, *id)));
        show_group(
            context,
            options,
            &ForgetGroup {
                remove,
                ..ForgetGroup::default()
            },
        );
    }
}

/// Tables of what stays, with the reasons, and of what goes; oldest first.
fn show_group(context: &Context, options: &ForgetOptions, group: &ForgetGroup) {
    for (word, list) in [("keep", &group.keep), ("remove", &group.remove)] {
        if list.is_empty() {
            continue;
        }
        context
            .printer
            .message(&format!("{word} {} snapshots:", list.len()));
        let mut headings = vec!["ID", "Time", "Host", "Tags"];
        if word == "keep" {
            headings.push("Reasons");
        }
        if !options.compact {
            headings.push("Paths");
        }
        let headings: Vec<String> = headings.into_iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for (position, found) in list.iter().enumerate().rev() {
            let mut row = snapshots::cells(found);
            if word == "keep" {
                row.push(
                    group
                        .reasons
                        .get(position)
                        .map_or_else(String::new, |reason| reason.matches.join(", ")),
                );
            }
            if !options.compact {
                row.push(found.1.paths.join(", "));
            }
            rows.push(row);
        }
        for line in table::lines(&headings, &rows) {
            context.printer.message(&line);
        }
        context.printer.message("");
    }
}
