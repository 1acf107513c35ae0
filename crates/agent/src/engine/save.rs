//! One snapshot of one path.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use api::arguments::BackupArguments;
use archive::filter::{ExcludeOptions, Excludes, parse_size};
use archive::parent::ParentChoice;
use archive::save::{BackupOptions, BackupProgress, BackupSummary};
use archive::source::BackupSource;
use repository::lock::LockKind;

use super::{Engine, EngineError, work_token};
use crate::stop::Stop;

/// What to save.
#[derive(Debug)]
pub struct SaveRequest<'a> {
    /// The directory or file.
    pub path: PathBuf,
    /// Host of the snapshot.
    pub host: &'a str,
    /// User of the snapshot.
    pub username: &'a str,
    /// The invoker's tag.
    pub tag: String,
    /// Exclude patterns of the target.
    pub excludes: &'a [String],
    /// Flags of the target.
    pub arguments: &'a BackupArguments,
}

impl Engine {
    /// Saves a path under a shared lock.
    pub async fn save(
        &self,
        request: &SaveRequest<'_>,
        progress: Arc<dyn BackupProgress>,
        stop: &Stop,
    ) -> Result<BackupSummary, EngineError> {
        let mut options = options(request)?;
        self.with_lock(
            LockKind::Shared,
            "lock the repository for the backup",
            stop,
            async |lock| {
                let indexed = self
                    .repository
                    .load_index()
                    .await
                    .map_err(EngineError::Index)?;
                options.lock = Some(lock.watch());
                let (token, _watch) = work_token(stop, lock);
                archive::save::backup(&indexed, &options, BackupSource::Paths, progress, token)
                    .await
                    .map_err(|source| EngineError::Backup {
                        path: request.path.display().to_string(),
                        source,
                    })
            },
        )
        .await
    }
}

fn options(request: &SaveRequest<'_>) -> Result<BackupOptions, EngineError> {
    let arguments = request.arguments;
    let words = |list: &[String]| list.iter().map(OsString::from).collect::<Vec<_>>();
    let mut patterns = words(request.excludes);
    patterns.extend(words(&arguments.excludes));
    let excludes = ExcludeOptions {
        patterns,
        insensitive_patterns: words(&arguments.excludes_any_case),
        caches: arguments.exclude_caches,
        if_present: words(&arguments.exclude_if_present),
        larger_than: arguments
            .exclude_larger_than
            .as_deref()
            .map(parse_size)
            .transpose()
            .map_err(EngineError::Size)?,
        ..ExcludeOptions::default()
    };
    // Patterns of manifests are taken as written: a shared machine's environment is not the user's.
    let excludes = Excludes::compile(&excludes, &|_| None).map_err(EngineError::Exclude)?;
    let mut tags = vec![request.tag.clone()];
    tags.extend(arguments.tags.iter().cloned());
    let version = concat!("stash ", env!("CARGO_PKG_VERSION"));
    Ok(BackupOptions {
        username: request.username.to_owned(),
        tags,
        parent: if arguments.force {
            ParentChoice::None
        } else {
            ParentChoice::default()
        },
        excludes,
        one_file_system: arguments.one_file_system,
        with_atime: arguments.with_atime,
        ignore_inode: arguments.ignore_inode,
        ignore_ctime: arguments.ignore_ctime,
        skip_lost_and_found: true,
        ..BackupOptions::new(vec![request.path.clone()], request.host, version)
    })
}
