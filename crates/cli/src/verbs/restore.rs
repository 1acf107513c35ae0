//! `stash restore`: a snapshot, or parts of it, back into a folder.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use archive::filter::{Case, PatternList, read_patterns};
use archive::restore::{
    FileError, Overwrite, RestoreAction, RestoreOptions, RestoreProgress, RestoreSummary, Selection,
};
use clap::{Args, ValueEnum};
use repository::snapshot::{self, SnapshotRef};
use serde_json::json;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open::{self, Access, Stopping};
use crate::printer::Verbosity;
use crate::progress::{Board, Display};
use crate::values::{FilterOptions, clock, size};
use crate::verbs::entry::printable;
use crate::verbs::select;

/// Restore a snapshot into a folder
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash -r /srv/backup restore latest --target /\n  stash -r /srv/backup restore latest:home/alice --target /tmp/alice --include '*.txt'\n  stash -r /srv/backup restore latest --host web-1 --path /var/www --target /mnt --delete --dry-run -vv"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, each on its own"
)]
pub struct RestoreArguments {
    /// The folder to restore into
    #[arg(short, long, value_name = "FOLDER")]
    target: PathBuf,
    /// Only what matches this pattern (repeatable)
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<OsString>,
    /// Read include patterns from a file (repeatable)
    #[arg(long, value_name = "FILE")]
    include_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE")]
    iinclude_file: Vec<PathBuf>,
    /// All but what matches this pattern (repeatable)
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

    /// What happens to files that exist
    #[arg(long, value_enum, default_value = "always", value_name = "BEHAVIOUR")]
    overwrite: OverwriteMode,
    /// Remove what the snapshot does not have; try `--dry-run -vv` first
    #[arg(long)]
    delete: bool,
    /// Touch nothing, only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Read the restored files again and compare
    #[arg(long)]
    verify: bool,
    /// Leave holes where files are zero
    #[arg(long)]
    sparse: bool,
    /// Take owners by name where this machine knows the name
    #[arg(long)]
    ownership_by_name: bool,
    #[command(flatten)]
    filter: FilterOptions,

    /// SNAPSHOT or SNAPSHOT:FOLDER; a snapshot is an id, a prefix of one, or `latest`
    snapshot: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OverwriteMode {
    /// Files are made as the snapshot has them
    Always,
    /// The same, but files of equal size and time are taken to be right
    IfChanged,
    /// Only files that are newer in the snapshot
    IfNewer,
    /// Files that exist stay
    Never,
}

/// Restores.
pub async fn run(context: &Arc<Context>, arguments: RestoreArguments) -> Result<Outcome, Failure> {
    let filter = arguments.filter.to_filter()?;
    let reference = SnapshotRef::parse(&arguments.snapshot);
    let options = options(&arguments, &reference)?;
    let repository = open::open(context).await?;
    let board = Board::new("restore");
    let reporter = Arc::new(Reporter {
        context: Arc::clone(context),
        board: Arc::clone(&board),
    });
    let summary = open::with_lock(
        context,
        &repository,
        Access::Read,
        Stopping::ByItself,
        async |held| {
            let found = snapshot::find(&repository, &reference.snapshot, &filter).await?;
            let target = arguments.target.display();
            context.printer.message(&format!(
                "restoring {} to {target}",
                select::describe(&found)
            ));
            let indexed = repository.load_index().await?;
            let display = Display::start(context, &board);
            let progress: Arc<Reporter> = Arc::clone(&reporter);
            let result = archive::restore::restore(
                &indexed,
                &found.1,
                &options,
                progress,
                held.cancel.clone(),
            )
            .await;
            display.stop().await;
            Ok(result?)
        },
    )
    .await?;
    show(context, &board, &arguments, &summary);
    outcome(&summary)
}

fn outcome(summary: &RestoreSummary) -> Result<Outcome, Failure> {
    if summary.errors_count > 0 {
        return Err(Failure::new(format!("There were {} errors", summary.errors_count))
            .with_hint("What is named above is missing or incomplete in the target; restoring again completes it."));
    }
    if summary.is_incomplete() {
        return Err(Failure::new(
            "Ownership or attributes could not be restored",
        ));
    }
    Ok(Outcome::Done)
}

fn options(
    arguments: &RestoreArguments,
    reference: &SnapshotRef,
) -> Result<RestoreOptions, Failure> {
    Ok(RestoreOptions {
        target: arguments.target.clone(),
        selection: selection(arguments)?,
        overwrite: match arguments.overwrite {
            OverwriteMode::Always => Overwrite::Always,
            OverwriteMode::IfChanged => Overwrite::IfChanged,
            OverwriteMode::IfNewer => Overwrite::IfNewer,
            OverwriteMode::Never => Overwrite::Never,
        },
        delete: arguments.delete,
        dry_run: arguments.dry_run,
        verify: arguments.verify,
        sparse: arguments.sparse,
        subfolder: reference.subfolder.clone(),
        ownership_by_name: arguments.ownership_by_name,
    })
}

fn selection(arguments: &RestoreArguments) -> Result<Selection, Failure> {
    let includes = [
        compile(&arguments.include, &arguments.include_file, Case::Sensitive)?,
        compile(
            &arguments.iinclude,
            &arguments.iinclude_file,
            Case::Insensitive,
        )?,
    ];
    let excludes = [
        compile(&arguments.exclude, &arguments.exclude_file, Case::Sensitive)?,
        compile(
            &arguments.iexclude,
            &arguments.iexclude_file,
            Case::Insensitive,
        )?,
    ];
    let has = |lists: &[PatternList]| lists.iter().any(|list| !list.is_empty());
    let is_including =
        has(&includes) || !arguments.include_file.is_empty() || !arguments.iinclude_file.is_empty();
    match (is_including, has(&excludes)) {
        (true, true) => Err(Failure::new(
            "Include and exclude patterns cannot be given together",
        )),
        (true, false) => Ok(Selection::Include(includes.into())),
        (false, true) => Ok(Selection::Exclude(excludes.into())),
        (false, false) => Ok(Selection::All),
    }
}

fn compile(patterns: &[OsString], files: &[PathBuf], case: Case) -> Result<PatternList, Failure> {
    let mut all = patterns.to_vec();
    for file in files {
        all.extend(read_patterns(file, &|name| std::env::var_os(name))?);
    }
    Ok(PatternList::compile(&all, case)?)
}

fn show(context: &Context, board: &Board, arguments: &RestoreArguments, summary: &RestoreSummary) {
    for warning in &summary.warnings {
        context.printer.warning(&warning.to_string());
    }
    if context.printer.is_json() {
        context.printer.json(&summary_json(board, summary));
        return;
    }
    let verb = if arguments.dry_run {
        "Would have restored"
    } else {
        "Restored"
    };
    let mut line = format!(
        "Summary: {verb} {} files/dirs ({}) in {}",
        summary.files_restored,
        size(summary.bytes_restored),
        clock(board.elapsed())
    );
    if summary.files_skipped > 0 {
        line.push_str(&format!(
            ", skipped {} files/dirs {}",
            summary.files_skipped,
            size(summary.bytes_skipped)
        ));
    }
    if summary.files_deleted > 0 {
        line.push_str(&format!(", deleted {} files/dirs", summary.files_deleted));
    }
    context.printer.message(&line);
    if arguments.verify {
        context
            .printer
            .message(&format!("verified {} files", summary.files_verified));
    }
}

/// restic's `summary`; zeros are left out.
fn summary_json(board: &Board, summary: &RestoreSummary) -> serde_json::Value {
    let mut value = json!({"message_type": "summary"});
    for (field, number) in [
        ("seconds_elapsed", board.elapsed().as_secs()),
        ("total_files", summary.total_files),
        ("files_restored", summary.files_restored),
        ("files_skipped", summary.files_skipped),
        ("files_deleted", summary.files_deleted),
        ("total_bytes", summary.total_bytes),
        ("bytes_restored", summary.bytes_restored),
        ("bytes_skipped", summary.bytes_skipped),
    ] {
        if number != 0 {
            value[field] = number.into();
        }
    }
    value
}

#[derive(Debug)]
struct Reporter {
    context: Arc<Context>,
    board: Arc<Board>,
}

impl RestoreProgress for Reporter {
    fn planned(&self, files: u64, bytes: u64) {
        self.board.add_total(files, bytes);
    }

    fn bytes_done(&self, bytes: u64) {
        self.board.add(0, bytes);
    }

    fn item(&self, path: &[u8], action: RestoreAction, bytes: u64) {
        if action == RestoreAction::Restored || action == RestoreAction::Updated {
            self.board.add(1, 0);
        }
        let printer = &self.context.printer;
        if printer.verbosity() < Verbosity::Debug {
            return;
        }
        if printer.is_json() {
            printer.json(&json!({
                "message_type": "verbose_status",
                "action": action.word(),
                "item": String::from_utf8_lossy(path),
                "size": bytes,
            }));
        } else {
            let with_size = if bytes > 0 {
                format!(" with size {}", size(bytes))
            } else {
                String::new()
            };
            printer.verbose(&format!(
                "{:<9} {}{with_size}",
                action.word(),
                printable(path)
            ));
        }
    }

    fn error(&self, error: &FileError) {
        self.board.add_error();
        let printer = &self.context.printer;
        let path = error.path.display().to_string();
        if printer.is_json() {
            printer.json_error(&json!({
                "message_type": "error",
                "error": {"message": error.message},
                "during": "restore",
                "item": path,
            }));
        } else {
            printer.error(
                &format!("{}: {}", printable(path.as_bytes()), error.message),
                None,
            );
        }
    }
}
