//! `stash list`: ids of the repository's files.

use backend::FileKind;
use clap::{Args, ValueEnum};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};

/// List the ids of files in the repository
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stash -r /srv/backup list snapshots")]
pub struct ListOptions {
    /// Which files
    kind: ListKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListKind {
    Blobs,
    Packs,
    Index,
    Snapshots,
    Keys,
    Locks,
}

/// Prints one id a line.
pub async fn run(context: &Context, options: &ListOptions) -> Result<Outcome, Failure> {
    let repository = open::open(context).await?;
    // Listing locks must not add one.
    if options.kind == ListKind::Locks {
        print_files(context, &repository, FileKind::Lock).await?;
        return Ok(Outcome::Done);
    }
    open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::AtOnce,
        async |_held| match options.kind {
            ListKind::Packs => print_files(context, &repository, FileKind::Pack).await,
            ListKind::Index => print_files(context, &repository, FileKind::Index).await,
            ListKind::Snapshots => print_files(context, &repository, FileKind::Snapshot).await,
            ListKind::Keys => print_files(context, &repository, FileKind::Key).await,
            ListKind::Locks => print_files(context, &repository, FileKind::Lock).await,
            ListKind::Blobs => print_blobs(context, &repository).await,
        },
    )
    .await?;
    Ok(Outcome::Done)
}

async fn print_files(
    context: &Context,
    repository: &repository::Repository,
    kind: FileKind,
) -> Result<(), Failure> {
    for (id, _) in repository.list(kind).await? {
        context.printer.data(&id.to_hex());
    }
    Ok(())
}

async fn print_blobs(
    context: &Context,
    repository: &repository::Repository,
) -> Result<(), Failure> {
    let indexed = repository.load_index().await?;
    for (handle, _) in indexed.index().iter() {
        context
            .printer
            .data(&format!("{} {}", handle.kind, handle.id));
    }
    Ok(())
}
