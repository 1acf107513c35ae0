//! `stash ls`: the entries of a snapshot.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use archive::ls::{self, ListError, ListOptions, ListedNode};
use archive::walk;
use clap::{Args, ValueEnum};
use repository::snapshot::{self, IdentifiedSnapshot, Snapshot, SnapshotRef};
use repository::time::Time;
use repository::tree::Node;
use repository::{BlobId, IndexedRepository, SnapshotId};
use serde_json::Value;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Held, Stopping};
use crate::values::FilterOptions;
use crate::verbs::entry::{self, Form};
use crate::verbs::select;

/// List the files of a snapshot
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup ls latest\n  stash -r /srv/backup ls -l 1f3a5c7e:home/alice\n  stash -r /srv/backup ls latest /etc --recursive"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub struct LsOptions {
    #[command(flatten)]
    filter: FilterOptions,
    /// Show mode, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// Show sizes with units
    #[arg(long)]
    human_readable: bool,
    /// With folders named: also what is in their subfolders
    #[arg(long)]
    recursive: bool,
    /// Order of the entries
    #[arg(short, long, value_enum, default_value = "name", value_name = "MODE")]
    sort: Sort,
    /// Turn the order round
    #[arg(long)]
    reverse: bool,
    /// SNAPSHOT or SNAPSHOT:FOLDER; a snapshot is an id, a prefix of one, or `latest`
    snapshot: String,
    /// Only these folders and files, absolute paths in the snapshot
    #[arg(value_name = "PATH")]
    folders: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Name,
    Size,
    #[value(alias = "mtime")]
    Time,
    Atime,
    Ctime,
    Extension,
}

/// Prints the entries.
pub async fn run(context: &Context, options: &LsOptions) -> Result<Outcome, Failure> {
    if let Some(path) = options.folders.iter().find(|path| path.is_relative()) {
        return Err(
            Failure::new(format!("`{}` is not an absolute path", path.display()))
                .with_hint("Paths in a snapshot begin with `/`."),
        );
    }
    let filter = options.filter.to_filter()?;
    let repository = open::open(context).await?;
    open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::ByItself,
        async |held| {
            let reference = SnapshotRef::parse(&options.snapshot);
            let found = snapshot::find(&repository, &reference.snapshot, &filter).await?;
            let indexed = repository.load_index().await?;
            let root =
                walk::find_tree(&indexed, &found.1.tree, reference.subfolder.as_deref()).await?;
            show_header(context, options, &found);
            list(context, options, (&indexed, &root), held).await
        },
    )
    .await?;
    Ok(Outcome::Done)
}

fn show_header(context: &Context, options: &LsOptions, found: &(SnapshotId, Snapshot)) {
    if context.printer.is_json() {
        let mut value =
            serde_json::to_value(IdentifiedSnapshot::new(found.0, &found.1)).unwrap_or(Value::Null);
        value["message_type"] = "snapshot".into();
        value["struct_type"] = "snapshot".into();
        context.printer.json(&value);
    } else {
        let paths: Vec<String> = options
            .folders
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let paths = paths.join(" ");
        context.printer.message(&format!(
            "{} filtered by [{paths}]:",
            select::describe(found)
        ));
    }
}

async fn list(
    context: &Context,
    options: &LsOptions,
    (indexed, root): (&IndexedRepository, &BlobId),
    held: &Held<'_>,
) -> Result<(), Failure> {
    let scope = ListOptions {
        directories: options
            .folders
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_vec())
            .collect(),
        recursive: options.recursive,
    };
    let is_in_order = options.sort == Sort::Name && !options.reverse;
    let cancel = held.cancel.child_token();
    let mut kept = Vec::new();
    let mut on_entry = |path: &[u8], node: &Node| {
        if context.printer.is_closed() {
            cancel.cancel();
        } else if is_in_order {
            show(context, options, path, node);
        } else {
            kept.push((path.to_vec(), node.clone()));
        }
    };
    let result = ls::list(indexed, root, &scope, &mut on_entry, &cancel).await;
    sort(&mut kept, options);
    for (path, node) in kept {
        show(context, options, &path, &node);
    }
    match result {
        // The reader has all it wants.
        Err(ListError::Cancelled) if !held.cancel.is_cancelled() => Ok(()),
        done => Ok(done?),
    }
}

fn show(context: &Context, options: &LsOptions, path: &[u8], node: &Node) {
    if context.printer.is_json() {
        context.printer.json(&ListedNode::new(path, node));
        return;
    }
    let form = Form::new(options.long, options.human_readable);
    context.printer.data(&entry::line(path, node, form));
}

fn sort(entries: &mut [(Vec<u8>, Node)], options: &LsOptions) {
    let moment = |time: Option<Time>| time.unwrap_or(Time::ZERO);
    entries.sort_by(|(path, node), (other_path, other)| {
        let order = match options.sort {
            Sort::Name => path.cmp(other_path),
            // The largest and the latest first, as restic has it.
            Sort::Size => other.size.cmp(&node.size),
            Sort::Time => moment(other.mtime).cmp(&moment(node.mtime)),
            Sort::Atime => moment(other.atime).cmp(&moment(node.atime)),
            Sort::Ctime => moment(other.ctime).cmp(&moment(node.ctime)),
            Sort::Extension => extension(path).cmp(extension(other_path)),
        };
        order.then_with(|| path.cmp(other_path))
    });
    if options.reverse {
        entries.reverse();
    }
}

fn extension(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.iter()
        .rposition(|byte| *byte == b'.')
        .map_or(&[], |dot| &name[dot..])
}
