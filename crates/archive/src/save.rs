//! Saving: a walk over the source, blobs into the repository, at last the snapshot.
//!
//! Owns the pipeline of a backup. Every thread takes one piece of work after the other and does all of it,
//! from opening a file to packing its blobs, so data changes hands only within large files. Memory is bounded:
//! by the buffers of large files, by one chunk per thread, and by the nodes of directories in progress.
//! Locking the repository and telling people about it is left to callers.

mod devices;
mod directory;
mod input;
mod large;
mod list;
mod plant;
mod progress;
mod read;
mod run;
mod scan;
mod schedule;
mod store;
mod summary;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use repository::chunker::ChunkerTables;
use repository::lock::{LockError, LockWatch};
use repository::snapshot::Snapshot;
use repository::time::Time;
use repository::{IndexedRepository, SaveError, SnapshotId};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::progress::{BackupProgress, ItemDone, NoProgress};
pub use self::summary::{BackupSummary, Change, ChangeCounts, During, SourceError};
use crate::filter::Excludes;
use crate::metadata::MetadataReader;
use crate::parent::{NewSnapshot, ParentChoice, ParentError, find_parent};
use crate::save::devices::Devices;
use crate::save::input::Input;
use crate::save::run::{Failure, Root, Rules, Run};
use crate::save::schedule::Scheduler;
use crate::save::store::Store;
use crate::save::summary::Tally;
use crate::source::{BackupSource, TargetError};

/// How long a cancelled run may take to come to rest, and then to upload what it has.
const REST: Duration = Duration::from_secs(5);

/// How to make a snapshot.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the command line"
)]
pub struct BackupOptions {
    /// What to save, as given: the form decides where it appears in the snapshot.
    pub paths: Vec<PathBuf>,
    /// Host of the snapshot.
    pub hostname: String,
    /// User of the snapshot.
    pub username: String,
    /// Tags of the snapshot.
    pub tags: Vec<String>,
    /// Time of the snapshot; absent means now.
    pub time: Option<Time>,
    /// What to compare with.
    pub parent: ParentChoice,
    /// What to leave out.
    pub excludes: Excludes,
    /// Stay on the file systems of the targets.
    pub one_file_system: bool,
    /// Store access times.
    pub with_atime: bool,
    /// A file with another inode number is not changed by that.
    pub ignore_inode: bool,
    /// A file with another change time is not changed by that.
    pub ignore_ctime: bool,
    /// Write nothing.
    pub dry_run: bool,
    /// Make no snapshot that has the same tree as its parent.
    pub skip_if_unchanged: bool,
    /// Leave out the `lost+found` of targets and of file systems mounted below them.
    pub skip_lost_and_found: bool,
    /// The lock under which it works; without it nothing is stored that others rely on. Absent for a repository
    /// that nobody else can reach, and for a dry run.
    pub lock: Option<LockWatch>,
    /// Threads that read and pack; absent means one per core.
    pub read_threads: Option<usize>,
    /// What the snapshot says made it.
    pub program_version: String,
}

impl BackupOptions {
    /// Everything below these paths, compared with the last snapshot of the same host and paths.
    pub fn new(
        paths: Vec<PathBuf>,
        hostname: impl Into<String>,
        program_version: impl Into<String>,
    ) -> Self {
        Self {
            paths,
            hostname: hostname.into(),
            username: String::new(),
            tags: Vec::new(),
            time: None,
            parent: ParentChoice::default(),
            excludes: Excludes::default(),
            one_file_system: false,
            with_atime: false,
            ignore_inode: false,
            ignore_ctime: false,
            dry_run: false,
            skip_if_unchanged: false,
            skip_lost_and_found: false,
            lock: None,
            read_threads: None,
            program_version: program_version.into(),
        }
    }
}

/// A backup without a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The targets.
    #[error("cannot lay out what to save")]
    Targets(#[source] TargetError),
    /// The parent snapshot.
    #[error("cannot find what to compare with")]
    Parent(#[source] Box<ParentError>),
    /// The repository's chunker polynomial.
    #[error("the repository's chunker polynomial is unusable: its config is damaged")]
    Polynomial,
    /// All targets are excluded or unreadable.
    #[error("nothing was saved: all targets are excluded or cannot be read")]
    Empty {
        /// What could not be read.
        errors: Vec<SourceError>,
    },
    /// Standard input or the command's output broke, or the command failed.
    #[error("cannot save {}", filename.display())]
    Stream {
        /// The file it was to become.
        filename: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// Blobs cannot be stored.
    #[error("cannot store what was read")]
    Store(#[source] SaveError),
    /// The snapshot itself cannot be stored.
    #[error("cannot store the snapshot")]
    Snapshot(#[source] SaveError),
    /// The repository's lock was lost, or cannot be looked at. Nothing was made visible after that, because others
    /// may have removed what was stored.
    #[error("the backup was given up before it was complete")]
    Lock(#[source] LockError),
    /// The caller ended it. What was stored is used by the next backup.
    #[error("the backup was cancelled")]
    Cancelled,
}

/// Makes a snapshot. The caller holds the repository's lock and drops the future only to give up.
///
/// Trouble with single files is in the summary. Cancelling ends it within seconds and leaves no snapshot.
pub async fn backup(
    repository: &IndexedRepository,
    options: &BackupOptions,
    source: BackupSource,
    progress: Arc<dyn BackupProgress>,
    cancel: CancellationToken,
) -> Result<BackupSummary, BackupError> {
    let began = Instant::now();
    let zone = TimeZone::system();
    let start = now(&zone);
    raise_open_files();
    let input = Input::resolve(options, source).await?;
    let paths = input.snapshot_paths();
    let time = options.time.unwrap_or(start);
    let new = NewSnapshot {
        hostname: &options.hostname,
        paths: &paths,
        tags: &options.tags,
        time,
    };
    let parent = find_parent(repository, &options.parent, new)
        .await
        .map_err(|error| BackupError::Parent(Box::new(error)))?;

    let run = Arc::new(prepare(
        repository,
        options,
        &input,
        zone.clone(),
        progress,
    )?);
    input
        .missing()
        .iter()
        .for_each(|path| run.error(path, "does not exist, skipping"));
    let filename = input.filename();
    let old_root = parent.as_ref().map(|(_, snapshot)| snapshot.tree);
    let threads = threads(options);
    let worked = work(
        &run,
        input,
        Plan {
            threads,
            time,
            old_root,
        },
        &cancel,
    )
    .await;
    let root = match worked {
        Ok(root) => root,
        Err(failure) => return Err(give_up(&run, options, failure, filename).await),
    };
    let counts = run.tally.counts();
    if root.is_empty {
        return Err(BackupError::Empty {
            errors: counts.errors,
        });
    }
    if let Some(writer) = run.store.writer() {
        writer
            .finish()
            .await
            .map_err(|error| lost(options).unwrap_or(BackupError::Store(error)))?;
    }
    let mut summary = BackupSummary {
        backup_start: start,
        backup_end: now(&zone),
        duration: Duration::ZERO,
        files: counts.files,
        dirs: counts.dirs,
        stored: run.store.summary(),
        total_bytes_processed: counts.bytes,
        parent: parent.as_ref().map(|(id, _)| *id),
        snapshot_id: None,
        errors: counts.errors,
        errors_count: counts.errors_count,
        notes: counts.notes,
        notes_count: counts.notes_count,
    };
    let is_unchanged = options.skip_if_unchanged && old_root == Some(root.tree);
    if !options.dry_run && !is_unchanged {
        if cancel.is_cancelled() {
            return Err(lost(options).unwrap_or(BackupError::Cancelled));
        }
        if let Some(lock) = &options.lock {
            lock.ensure_held().await.map_err(BackupError::Lock)?;
        }
        summary.snapshot_id =
            Some(save_snapshot(repository, options, (time, paths), root, &summary).await?);
    }
    summary.duration = began.elapsed();
    Ok(summary)
}

/// What the threads of a run need besides the run.
#[derive(Clone, Copy)]
struct Plan {
    threads: usize,
    time: Time,
    old_root: Option<repository::BlobId>,
}

fn prepare(
    repository: &IndexedRepository,
    options: &BackupOptions,
    input: &Input,
    zone: TimeZone,
    progress: Arc<dyn BackupProgress>,
) -> Result<Run, BackupError> {
    let targets = match input {
        Input::Targets(targets) => targets.paths.clone(),
        Input::Stream { .. } => Vec::new(),
    };
    let tables = ChunkerTables::new(repository.config().chunker_polynomial())
        .ok_or(BackupError::Polynomial)?;
    Ok(Run {
        repository: repository.clone(),
        runtime: Handle::current(),
        store: Store::new(repository, options),
        metadata: MetadataReader::new(zone, options.with_atime),
        tables,
        rules: Rules {
            excludes: options.excludes.clone(),
            devices: options
                .one_file_system
                .then(|| Devices::of_targets(&targets)),
            ignore_inode: options.ignore_inode,
            ignore_ctime: options.ignore_ctime,
            skip_lost_and_found: options.skip_lost_and_found,
            targets,
            is_stream: matches!(input, Input::Stream { .. }),
        },
        tally: Tally::default(),
        progress,
        scheduler: Scheduler::new((12 + 4 * threads(options)).min(48)),
        root: Mutex::new(None),
    })
}

fn threads(options: &BackupOptions) -> usize {
    let cores = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    options.read_threads.unwrap_or_else(cores).clamp(1, 64)
}

/// Lets plain threads do the work and waits for them, or for the caller's patience to end.
async fn work(
    run: &Arc<Run>,
    input: Input,
    plan: Plan,
    cancel: &CancellationToken,
) -> Result<Root, Failure> {
    let _guard = StopOnDrop(Arc::clone(run));
    let stopper = match &input {
        Input::Stream { stopper, .. } => stopper.clone(),
        Input::Targets(_) => None,
    };
    let (sender, mut receiver) = oneshot::channel();
    let threads_run = Arc::clone(run);
    let spawned = std::thread::Builder::new()
        .name("save".to_owned())
        .spawn(move || {
            // Nobody listens any more when the caller has given up.
            let _ = sender.send(perform(&threads_run, input, plan));
        });
    spawned.map_err(Failure::Thread)?;
    tokio::select! {
        result = &mut receiver => return result.unwrap_or_else(|_| Err(Failure::Thread(panicked()))),
        () = cancel.cancelled() => {}
    }
    run.scheduler.stop(Failure::Cancelled);
    if let Some(stopper) = stopper {
        stopper.stop();
    }
    // A thread that waits for standard input cannot be woken; it ends with the process.
    let _ = tokio::time::timeout(REST, receiver).await;
    Err(Failure::Cancelled)
}

fn perform(run: &Arc<Run>, input: Input, plan: Plan) -> Result<Root, Failure> {
    match input {
        Input::Targets(targets) => std::thread::scope(|scope| {
            if run.progress.wants_scan() {
                let (run, targets) = (Arc::clone(run), Arc::clone(&targets));
                let builder = std::thread::Builder::new().name("scan".to_owned());
                let scan = move || scan::scan(&run, &targets.layout, &targets.working_directory);
                if let Err(error) = builder.spawn_scoped(scope, scan) {
                    tracing::warn!(%error, "cannot count files ahead");
                }
            }
            plant::plant_targets(
                run,
                &targets.layout,
                &targets.working_directory,
                plan.old_root,
            );
            run.work(plan.threads)
        }),
        Input::Stream { path, reader, .. } => {
            plant::plant_stream(run, &path, reader, plan.time, plan.old_root);
            run.work(plan.threads)
        }
    }
}

fn panicked() -> std::io::Error {
    std::io::Error::other("a thread of the backup panicked")
}

/// Ends the run when the future is dropped.
struct StopOnDrop(Arc<Run>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.scheduler.stop(Failure::Cancelled);
    }
}

/// What is to be told when the lock is lost, whatever came of that.
fn lost(options: &BackupOptions) -> Option<BackupError> {
    let is_lost = |lock: &LockWatch| lock.lost().is_cancelled();
    let is_lost = options.lock.as_ref().is_some_and(is_lost);
    is_lost.then_some(BackupError::Lock(LockError::Lost))
}

/// After a cancelled run, uploads what is packed, so that the next one finds it; not without the lock.
async fn give_up(
    run: &Run,
    options: &BackupOptions,
    failure: Failure,
    filename: PathBuf,
) -> BackupError {
    if let Some(error) = lost(options) {
        if let Some(writer) = run.store.writer() {
            writer.abandon().await;
        }
        return error;
    }
    match failure {
        Failure::Store(source) => BackupError::Store(source),
        Failure::Stream(source) => BackupError::Stream { filename, source },
        Failure::Thread(source) => BackupError::Thread(source),
        Failure::Cancelled => {
            if let Some(writer) = run.store.writer() {
                match tokio::time::timeout(REST, writer.clone().finish()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(error = run::chain(&error), "the last packs are lost");
                    }
                    Err(_) => {
                        tracing::warn!("the last packs were not uploaded in time");
                        // The caller releases the lock next, and nothing may be stored after that.
                        writer.abandon().await;
                    }
                }
            }
            lost(options).unwrap_or(BackupError::Cancelled)
        }
    }
}

async fn save_snapshot(
    repository: &IndexedRepository,
    options: &BackupOptions,
    (time, paths): (Time, Vec<String>),
    root: Root,
    summary: &BackupSummary,
) -> Result<SnapshotId, BackupError> {
    let snapshot = Snapshot {
        time,
        parent: summary.parent,
        tree: root.tree,
        paths,
        hostname: options.hostname.clone(),
        username: options.username.clone(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        excludes: options.excludes.recorded().to_vec(),
        tags: options.tags.clone(),
        original: None,
        program_version: options.program_version.clone(),
        summary: Some(summary.for_snapshot()),
    };
    snapshot
        .save(repository)
        .await
        .map_err(BackupError::Snapshot)
}

fn now(zone: &TimeZone) -> Time {
    Time::from(&Zoned::now().with_time_zone(zone.clone()))
}

/// Deep trees need an open directory per level; the customary soft limit is for programs that use `select`.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "cannot raise the number of open files");
        }
    }
}
