//! `stash backup`: files, folders or a stream into a new snapshot.

mod report;
mod targets;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use archive::filter::{ExcludeOptions, Excludes};
use archive::parent::ParentChoice;
use archive::save::{BackupOptions, BackupSummary};
use archive::source::BackupSource;
use clap::Args;
use repository::lock::Lock;
use repository::snapshot::{GroupBy, parse_tag_list};
use repository::time::Time;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Identity, Stopping};
use crate::progress::{Board, Display};
use crate::values::{moment, parse_size};

use self::report::Reporter;

/// Back up files and folders
///
/// Files that cannot be read are told, and the exit code is 3. `lost+found` at the top of a file system is left out.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup backup /home --exclude '*.tmp' --tag daily\n  stash -r /srv/backup backup --files-from list.txt\n  stash -r /srv/backup backup --stdin-filename db.sql --stdin-from-command -- pg_dumpall"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub struct BackupArguments {
    /// Leave out what matches this pattern (repeatable)
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<OsString>,
    /// Read exclude patterns from a file (repeatable)
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
    /// Leave out the content of folders with a CACHEDIR.TAG file
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out the content of folders that hold this file, but for the file itself (repeatable)
    #[arg(long, value_name = "FILENAME[:HEADER]")]
    exclude_if_present: Vec<OsString>,
    /// Leave out files that are larger
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    exclude_larger_than: Option<u64>,
    /// Stay on the file systems of the targets
    #[arg(short = 'x', long)]
    one_file_system: bool,

    /// Read targets from a file, one pattern a line, `-` for stdin (repeatable)
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// Read targets from a file, one path a line as it stands (repeatable)
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<PathBuf>,
    /// Read targets from a file, each path ended by a NUL (repeatable)
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    /// Read the content of one file from stdin
    #[arg(long, conflicts_with_all = ["stdin_from_command", "targets", "files_from", "files_from_verbatim", "files_from_raw"])]
    stdin: bool,
    /// Name of that file in the snapshot
    #[arg(long, value_name = "FILENAME", default_value = "stdin")]
    stdin_filename: PathBuf,
    /// The targets are a command, whose output becomes the file; its failure fails the backup
    #[arg(long, requires = "targets", conflicts_with_all = ["files_from", "files_from_verbatim", "files_from_raw"])]
    stdin_from_command: bool,

    /// Tags of the snapshot (repeatable)
    #[arg(long, value_name = "TAG[,TAG]")]
    tag: Vec<String>,
    /// Host of the snapshot instead of this machine's name
    #[arg(
        short = 'H',
        long,
        value_name = "HOST",
        env = "RESTIC_HOST",
        hide_env_values = true
    )]
    host: Option<String>,
    /// Time of the snapshot, as `2026-01-31 23:59:59`, instead of now
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    time: Option<Time>,
    /// Compare with this snapshot instead of the latest of the same group
    #[arg(long, value_name = "SNAPSHOT")]
    parent: Option<String>,
    /// Compare with none: read every file
    #[arg(short, long)]
    force: bool,
    /// What makes the group: `host`, `paths`, `tags`, joined by commas
    #[arg(short, long, value_name = "GROUP", default_value = "host,paths")]
    group_by: GroupBy,
    /// A file with another inode number is not changed by that
    #[arg(long)]
    ignore_inode: bool,
    /// A file with another change time is not changed by that
    #[arg(long)]
    ignore_ctime: bool,
    /// Store access times
    #[arg(long)]
    with_atime: bool,

    /// Store nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Make no snapshot when nothing has changed
    #[arg(long)]
    skip_if_unchanged: bool,
    /// Do not count the files ahead; the progress then has no percentage
    #[arg(long)]
    no_scan: bool,
    /// Read this many files at the same time
    #[arg(long, value_name = "N", env = "RESTIC_READ_CONCURRENCY", hide_env_values = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    read_concurrency: Option<u16>,

    /// Files and folders, or the command after `--`
    #[arg(value_name = "TARGET")]
    targets: Vec<OsString>,
}

/// Makes a snapshot.
pub async fn run(
    context: &Arc<Context>,
    mut arguments: BackupArguments,
) -> Result<Outcome, Failure> {
    let is_stream = arguments.stdin || arguments.stdin_from_command;
    let paths = if is_stream {
        Vec::new()
    } else {
        targets::collect(context, &arguments)?
    };
    if !is_stream && paths.is_empty() {
        return Err(Failure::new("Nothing to back up")
            .with_hint("Name files or folders, as `stash backup /home`."));
    }
    let mut options = options(&arguments, paths)?;
    let source = source(&mut arguments);
    let repository = open::open(context).await?;
    let summary = open::with_lock(
        context,
        &repository,
        if arguments.dry_run {
            Access::Read
        } else {
            Access::Append
        },
        Stopping::ByItself,
        async |held| {
            context.printer.verbose("load index files");
            let indexed = repository.load_index().await?;
            options.lock = held.lock.map(Lock::watch);
            let board = Board::new("backup");
            let progress = Arc::new(Reporter::new(
                context,
                &board,
                arguments.no_scan || is_stream,
            ));
            let display = Display::start(context, &board);
            let result =
                archive::save::backup(&indexed, &options, source, progress, held.cancel.clone())
                    .await;
            display.stop().await;
            Ok(result?)
        },
    )
    .await?;
    report::summary(context, &summary, arguments.dry_run);
    Ok(outcome(context, &summary))
}

/// Files that are missing in the snapshot make the run incomplete.
fn outcome(context: &Context, summary: &BackupSummary) -> Outcome {
    if !summary.is_incomplete() {
        return Outcome::Done;
    }
    let failure = Failure::new(format!(
        "{} files or folders could not be read and are missing or incomplete in the snapshot",
        summary.errors_count
    ))
    .with_outcome(Outcome::Incomplete);
    failure.show(&context.printer);
    Outcome::Incomplete
}

fn options(arguments: &BackupArguments, paths: Vec<PathBuf>) -> Result<BackupOptions, Failure> {
    let identity = Identity::of_this_process();
    let excludes = ExcludeOptions {
        patterns: arguments.exclude.clone(),
        pattern_files: arguments.exclude_file.clone(),
        insensitive_patterns: arguments.iexclude.clone(),
        insensitive_pattern_files: arguments.iexclude_file.clone(),
        caches: arguments.exclude_caches,
        if_present: arguments.exclude_if_present.clone(),
        larger_than: arguments.exclude_larger_than,
    };
    let parent = match &arguments.parent {
        _ if arguments.force => ParentChoice::None,
        Some(reference) => ParentChoice::Snapshot(reference.clone()),
        None => ParentChoice::Auto(arguments.group_by),
    };
    let host = arguments.host.clone().filter(|host| !host.is_empty());
    Ok(BackupOptions {
        username: identity.username,
        tags: arguments
            .tag
            .iter()
            .flat_map(|list| parse_tag_list(list))
            .filter(|tag| !tag.is_empty())
            .collect(),
        time: arguments.time,
        parent,
        excludes: Excludes::compile(&excludes, &|name| std::env::var_os(name))?,
        one_file_system: arguments.one_file_system,
        with_atime: arguments.with_atime,
        ignore_inode: arguments.ignore_inode,
        ignore_ctime: arguments.ignore_ctime || arguments.ignore_inode,
        dry_run: arguments.dry_run,
        skip_if_unchanged: arguments.skip_if_unchanged,
        skip_lost_and_found: true,
        read_threads: arguments.read_concurrency.map(usize::from),
        ..BackupOptions::new(
            paths,
            host.unwrap_or(identity.hostname),
            concat!("stash ", env!("CARGO_PKG_VERSION")),
        )
    })
}

fn source(arguments: &mut BackupArguments) -> BackupSource {
    let filename = arguments.stdin_filename.clone();
    if arguments.stdin {
        BackupSource::Stdin {
            filename,
            reader: Box::new(std::io::stdin()),
        }
    } else if arguments.stdin_from_command {
        BackupSource::Command {
            filename,
            command: std::mem::take(&mut arguments.targets),
        }
    } else {
        BackupSource::Paths
    }
}
