//! `stash cat`: prints internal objects.

use std::str::FromStr;

use backend::{FileKind, Handle};
use clap::{Args, ValueEnum};
use repository::snapshot::{self, SnapshotFilter, SnapshotRef};
use repository::{BlobHandle, BlobId, BlobKind, Id, Repository};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};

/// Print an object of the repository
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup cat config\n  stash -r /srv/backup cat snapshot latest\n  stash -r /srv/backup cat tree latest:home/alice"
)]
pub struct CatOptions {
    /// What kind of object
    kind: CatKind,
    /// Its id; for `snapshot` a prefix or `latest`, for `tree` SNAPSHOT:FOLDER
    id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CatKind {
    Masterkey,
    Config,
    Pack,
    Blob,
    Snapshot,
    Index,
    Key,
    Lock,
    Tree,
}

/// Prints the object as it is, JSON indented.
pub async fn run(context: &Context, options: &CatOptions) -> Result<Outcome, Failure> {
    let repository = open::open(context).await?;
    open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::AtOnce,
        async |_held| {
            let content = load(&repository, options).await?;
            context.printer.raw(&content)?;
            Ok(())
        },
    )
    .await?;
    Ok(Outcome::Done)
}

async fn load(repository: &Repository, options: &CatOptions) -> Result<Vec<u8>, Failure> {
    match options.kind {
        CatKind::Config => return pretty(&repository.config().to_json()),
        CatKind::Masterkey => return pretty(&repository.master_key_json()),
        _ => {}
    }
    let reference = options.id.as_deref().ok_or_else(|| {
        Failure::new("This kind of object needs an id")
            .with_hint("`stash list` prints the ids of a kind.")
    })?;
    match options.kind {
        CatKind::Pack => {
            let id = full_id(repository, FileKind::Pack, reference).await?;
            Ok(repository
                .backend()
                .read(&Handle::new(FileKind::Pack, id.to_hex()))
                .await?
                .to_vec())
        }
        CatKind::Key => {
            let id = full_id(repository, FileKind::Key, reference).await?;
            pretty(
                &repository
                    .backend()
                    .read(&Handle::new(FileKind::Key, id.to_hex()))
                    .await?,
            )
        }
        CatKind::Index => unpacked(repository, FileKind::Index, reference).await,
        CatKind::Lock => unpacked(repository, FileKind::Lock, reference).await,
        CatKind::Snapshot => {
            let (id, _) = snapshot::find(repository, reference, &SnapshotFilter::default()).await?;
            pretty(&repository.load_unpacked(FileKind::Snapshot, &id.0).await?)
        }
        CatKind::Blob => {
            let id = BlobId::from_str(reference)?;
            let indexed = repository.load_index().await?;
            let handle = BlobKind::ALL
                .into_iter()
                .map(|kind| BlobHandle { kind, id })
                .find(|handle| indexed.lookup(handle).is_some())
                .ok_or_else(|| Failure::new(format!("No index names a blob {id}")))?;
            Ok(indexed.load_blob(&handle).await?)
        }
        CatKind::Tree => {
            let reference = SnapshotRef::parse(reference);
            let (_, snapshot) =
                snapshot::find(repository, &reference.snapshot, &SnapshotFilter::default()).await?;
            let indexed = repository.load_index().await?;
            let id =
                archive::walk::find_tree(&indexed, &snapshot.tree, reference.subfolder.as_deref())
                    .await?;
            Ok(indexed
                .load_blob(&BlobHandle {
                    kind: BlobKind::Tree,
                    id,
                })
                .await?)
        }
        CatKind::Config | CatKind::Masterkey => unreachable_kind(),
    }
}

fn unreachable_kind() -> Result<Vec<u8>, Failure> {
    Err(Failure::new("This kind of object has no id"))
}

async fn unpacked(
    repository: &Repository,
    kind: FileKind,
    reference: &str,
) -> Result<Vec<u8>, Failure> {
    let id = full_id(repository, kind, reference).await?;
    pretty(&repository.load_unpacked(kind, &id).await?)
}

/// The id that a unique prefix stands for.
async fn full_id(repository: &Repository, kind: FileKind, prefix: &str) -> Result<Id, Failure> {
    if let Ok(id) = Id::from_str(prefix) {
        return Ok(id);
    }
    let matches: Vec<Id> = repository
        .list(kind)
        .await?
        .into_iter()
        .map(|(id, _)| id)
        .filter(|id| id.to_hex().starts_with(prefix))
        .collect();
    match matches.as_slice() {
        [id] => Ok(*id),
        [] => Err(Failure::new(format!(
            "No {kind} has an id that begins with `{prefix}`"
        ))),
        _ => Err(Failure::new(format!(
            "{} {kind} files have ids that begin with `{prefix}`",
            matches.len()
        ))
        .with_hint("Give more digits of the id.")),
    }
}

fn pretty(json: &[u8]) -> Result<Vec<u8>, Failure> {
    let value: serde_json::Value = serde_json::from_slice(json)?;
    let mut text = serde_json::to_vec_pretty(&value)?;
    text.push(b'\n');
    Ok(text)
}
