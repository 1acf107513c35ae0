//! `stash find`: where files, blobs, trees and packs are.

use archive::filter::{Case, PatternList};
use archive::find::{FindQuery, FoundObject, ObjectQuery};
use archive::ls::FoundNode;
use clap::Args;
use repository::snapshot::Snapshot;
use repository::time::Time;
use repository::{BlobKind, IndexedRepository, SnapshotId};
use serde_json::{Value, json};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Held, Stopping};
use crate::values::{FilterOptions, local_text, moment};
use crate::verbs::entry::{self, Form};
use crate::verbs::select;

/// Find files in all snapshots
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup find '*.conf'\n  stash -r /srv/backup find -l --newest 2026-01-31 id_rsa\n  stash -r /srv/backup find --blob 1f3a5c7e"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub struct FindOptions {
    #[command(flatten)]
    filter: FilterOptions,
    /// Take no notice of case
    #[arg(short, long)]
    ignore_case: bool,
    /// Only entries modified at this moment or later
    #[arg(short = 'O', long, value_name = "MOMENT", value_parser = moment)]
    oldest: Option<Time>,
    /// Only entries modified at this moment or before
    #[arg(short = 'N', long, value_name = "MOMENT", value_parser = moment)]
    newest: Option<Time>,
    /// Search only this snapshot (repeatable)
    #[arg(short, long = "snapshot", value_name = "ID")]
    snapshots: Vec<String>,
    /// Search the oldest snapshot first
    #[arg(short = 'R', long)]
    reverse: bool,
    /// The patterns are ids of data blobs
    #[arg(long, conflicts_with_all = ["tree", "pack"])]
    blob: bool,
    /// The patterns are ids of trees
    #[arg(long, conflicts_with = "pack")]
    tree: bool,
    /// The patterns are ids of packs
    #[arg(long)]
    pack: bool,
    /// Tell the pack of each blob and tree
    #[arg(long)]
    show_pack_id: bool,
    /// Show mode, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// Show sizes with units
    #[arg(long)]
    human_readable: bool,
    /// Names or paths with restic's wildcards, or ids
    #[arg(required = true)]
    patterns: Vec<String>,
}

impl FindOptions {
    const fn is_about_objects(&self) -> bool {
        self.blob || self.tree || self.pack
    }
}

/// Prints what is found, the newest snapshot first.
pub async fn run(context: &Context, options: &FindOptions) -> Result<Outcome, Failure> {
    let filter = options.filter.to_filter()?;
    let query = file_query(options)?;
    let repository = open::open(context).await?;
    open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::ByItself,
        async |held| {
            let mut snapshots =
                select::snapshots(context, &repository, &options.snapshots, &filter).await?;
            snapshots.sort_by_key(|(_, snapshot)| snapshot.time);
            if !options.reverse {
                snapshots.reverse();
            }
            let indexed = repository.load_index().await?;
            if options.is_about_objects() {
                find_objects(context, options, &indexed, &snapshots, held).await
            } else {
                find_files(context, options, (&indexed, &query), &snapshots, held).await
            }
        },
    )
    .await?;
    Ok(Outcome::Done)
}

fn file_query(options: &FindOptions) -> Result<FindQuery, Failure> {
    let case = if options.ignore_case {
        Case::Insensitive
    } else {
        Case::Sensitive
    };
    let patterns = if options.is_about_objects() {
        PatternList::default()
    } else {
        PatternList::compile(&options.patterns, case)?
    };
    Ok(FindQuery {
        patterns,
        oldest: options.oldest,
        newest: options.newest,
    })
}

async fn find_files(
    context: &Context,
    options: &FindOptions,
    (indexed, query): (&IndexedRepository, &FindQuery),
    snapshots: &[(SnapshotId, Snapshot)],
    held: &Held<'_>,
) -> Result<(), Failure> {
    let form = Form::new(options.long, options.human_readable);
    let is_json = context.printer.is_json();
    let (mut results, mut snapshots_shown) = (Vec::new(), 0_u64);
    for (id, snapshot) in snapshots {
        let mut matches: Vec<FoundNode> = Vec::new();
        let mut hits = 0_u64;
        let mut on_match = |path: &[u8], node: &repository::tree::Node| {
            hits += 1;
            if is_json {
                matches.push(FoundNode::new(path, node));
                return;
            }
            if hits == 1 {
                if snapshots_shown > 0 {
                    context.printer.message("");
                }
                let time = local_text(&snapshot.time);
                context.printer.message(&format!(
                    "Found matching entries in snapshot {} from {time}",
                    id.short()
                ));
            }
            context.printer.data(&entry::line(path, node, form));
        };
        archive::find::find(indexed, &snapshot.tree, query, &mut on_match, &held.cancel).await?;
        if hits > 0 {
            snapshots_shown += 1;
            if is_json {
                results.push(json!({"matches": matches, "hits": hits, "snapshot": id}));
            }
        }
        if context.printer.is_closed() {
            break;
        }
    }
    if is_json {
        context.printer.json(&results);
    }
    Ok(())
}

async fn find_objects(
    context: &Context,
    options: &FindOptions,
    indexed: &IndexedRepository,
    snapshots: &[(SnapshotId, Snapshot)],
    held: &Held<'_>,
) -> Result<(), Failure> {
    let query = if options.blob {
        ObjectQuery::blobs(&options.patterns)?
    } else if options.tree {
        ObjectQuery::trees(&options.patterns)?
    } else {
        ObjectQuery::packs(indexed, &options.patterns)?
    };
    let is_json = context.printer.is_json();
    let mut results = Vec::new();
    let mut hits = 0_u64;
    for (id, snapshot) in snapshots {
        let mut on_match = |object: FoundObject| {
            hits += 1;
            if is_json {
                results.push(object_json(&object, *id, snapshot));
            } else {
                show_object(
                    context,
                    &object,
                    (*id, snapshot),
                    options.show_pack_id.then_some(indexed),
                );
            }
        };
        archive::find::find_objects(indexed, &snapshot.tree, &query, &mut on_match, &held.cancel)
            .await?;
        if context.printer.is_closed() {
            break;
        }
    }
    if is_json {
        context.printer.json(&results);
    } else if hits == 0 {
        context.printer.message("No snapshot uses any of these");
    }
    Ok(())
}

const fn word(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Data => "blob",
        BlobKind::Tree => "tree",
    }
}

fn object_json(object: &FoundObject, id: SnapshotId, snapshot: &Snapshot) -> Value {
    let mut value = json!({
        "object_type": word(object.kind),
        "id": object.id,
        "path": String::from_utf8_lossy(&object.path),
    });
    if let Some(parent) = &object.parent_tree {
        value["parent_tree"] = parent.to_hex().into();
    }
    value["snapshot"] = id.to_hex().into();
    value["time"] = snapshot.time.to_string().into();
    value
}

fn show_object(
    context: &Context,
    object: &FoundObject,
    (id, snapshot): (SnapshotId, &Snapshot),
    packs: Option<&IndexedRepository>,
) {
    let printer = &context.printer;
    printer.data(&format!("Found {} {}", word(object.kind), object.id));
    let path = entry::printable(&object.path);
    match &object.parent_tree {
        Some(parent) => {
            printer.data(&format!(" ... in file {path}"));
            printer.data(&format!("     (tree {parent})"));
        }
        None => printer.data(&format!(" ... path {path}")),
    }
    printer.data(&format!(
        " ... in snapshot {} ({})",
        id.short(),
        local_text(&snapshot.time)
    ));
    let handle = repository::BlobHandle {
        kind: object.kind,
        id: object.id,
    };
    if let Some(location) = packs.and_then(|indexed| indexed.lookup(&handle)) {
        printer.data(&format!(" ... in pack {}", location.pack));
    }
}
