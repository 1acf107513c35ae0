//! `stash dump`: one file, or a folder as an archive, on stdout or into a file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use archive::dump::{ArchiveFormat, DumpError, DumpSummary, DumpTarget};
use archive::walk;
use clap::{Args, ValueEnum};
use repository::IndexedRepository;
use repository::snapshot::{self, SnapshotRef};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};
use crate::values::FilterOptions;

/// Write a file of a snapshot, or a folder as an archive, to stdout
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup dump latest /etc/hosts\n  stash -r /srv/backup dump latest:home/alice / | tar -t\n  stash -r /srv/backup dump --archive zip --target alice.zip latest /home/alice"
)]
pub struct DumpOptions {
    #[command(flatten)]
    filter: FilterOptions,
    /// Format for folders
    #[arg(short, long, value_enum, default_value = "tar", value_name = "FORMAT")]
    archive: Format,
    /// Write into this file, which appears when it is complete, instead of stdout
    #[arg(short, long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// SNAPSHOT or SNAPSHOT:FOLDER
    snapshot: String,
    /// The file or folder
    path: OsString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Tar,
    Zip,
}

/// Writes it.
pub async fn run(context: &Context, options: &DumpOptions) -> Result<Outcome, Failure> {
    let filter = options.filter.to_filter()?;
    let repository = open::open(context).await?;
    let dumped = open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::ByItself,
        async |held| {
            let reference = SnapshotRef::parse(&options.snapshot);
            let (_, snapshot) = snapshot::find(&repository, &reference.snapshot, &filter).await?;
            let indexed = repository.load_index().await?;
            let root =
                walk::find_tree(&indexed, &snapshot.tree, reference.subfolder.as_deref()).await?;
            let target =
                archive::dump::find_target(&indexed, &root, options.path.as_bytes()).await?;
            let summary = match &options.target {
                Some(file) => write_file(&indexed, &target, options, (file, &held.cancel)).await?,
                None => match write_stdout(&indexed, &target, options, &held.cancel).await? {
                    Some(summary) => summary,
                    None => return Ok(Outcome::Failed),
                },
            };
            if summary.left_out > 0 {
                context.printer.warning(&format!(
                "{} entries were left out: the archive format cannot hold sockets, devices and pipes",
                summary.left_out
            ));
            }
            Ok(Outcome::Done)
        },
    );
    Box::pin(dumped).await
}

/// Nothing is returned when the reader has gone: it knows, and nobody else is to be told.
async fn write_stdout(
    indexed: &IndexedRepository,
    target: &DumpTarget,
    options: &DumpOptions,
    cancel: &CancellationToken,
) -> Result<Option<DumpSummary>, Failure> {
    if matches!(target, DumpTarget::Folder { .. }) && io::stdout().is_terminal() {
        return Err(Failure::new("An archive is not for a terminal").with_hint(
            "Send it into a file or a program: `| tar -t`, `> FILE`, or give `--target FILE`.",
        ));
    }
    let mut output = BufWriter::with_capacity(1 << 18, io::stdout());
    match archive::dump::dump(indexed, target, options.format(), &mut output, cancel).await {
        Ok(summary) => Ok(Some(summary)),
        Err(DumpError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes beside the file and puts it in its place when it is complete; what is no regular file is written directly.
async fn write_file(
    indexed: &IndexedRepository,
    target: &DumpTarget,
    options: &DumpOptions,
    (path, cancel): (&Path, &CancellationToken),
) -> Result<DumpSummary, Failure> {
    let cannot =
        |error: io::Error| Failure::new(format!("Cannot write {}: {error}", path.display()));
    let is_special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    let (temporary, file) = if is_special {
        (
            None,
            OpenOptions::new().write(true).open(path).map_err(cannot)?,
        )
    } else {
        let temporary = beside(path);
        let file = File::create_new(&temporary).map_err(cannot)?;
        (Some(temporary), file)
    };
    let mut output = BufWriter::with_capacity(1 << 18, file);
    let mut result = archive::dump::dump(indexed, target, options.format(), &mut output, cancel)
        .await
        .map_err(Failure::from);
    if result.is_ok()
        && let Err(error) = output.flush()
    {
        result = Err(cannot(error));
    }
    let Some(temporary) = temporary else {
        return result;
    };
    match result {
        Ok(summary) => {
            std::fs::rename(&temporary, path).map_err(cannot)?;
            Ok(summary)
        }
        Err(failure) => {
            // The failure matters more than a temporary file that stays.
            let _ = std::fs::remove_file(&temporary);
            Err(failure)
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

impl DumpOptions {
    const fn format(&self) -> ArchiveFormat {
        match self.archive {
            Format::Tar => ArchiveFormat::Tar,
            Format::Zip => ArchiveFormat::Zip,
        }
    }
}
