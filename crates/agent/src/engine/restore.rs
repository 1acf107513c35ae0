//! Bringing back what a rule selects.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, PathBuf};
use std::sync::Arc;

use api::arguments::{self, RestoreArguments};
use archive::filter::{Case, PatternList};
use archive::restore::{
    Overwrite, RestoreOptions, RestoreProgress, RestoreSummary, Selection as Entries,
};
use repository::SnapshotId;
use repository::lock::LockKind;
use repository::snapshot::{self, Snapshot, SnapshotFilter};
use session::restore::{Choice, Selection};

use super::{Engine, EngineError, choice, landing, work_token};
use crate::stop::Stop;

/// What all snapshots of one restore brought back.
#[derive(Debug, Default)]
pub struct RestoredTotals {
    snapshots: Vec<String>,
    files_restored: u64,
    files_skipped: u64,
    bytes_restored: u64,
    errors_count: u64,
    first_error: Option<String>,
    warnings: Vec<String>,
}

impl RestoredTotals {
    fn add(&mut self, id: SnapshotId, summary: &RestoreSummary) {
        self.snapshots.push(id.short());
        self.files_restored += summary.files_restored;
        self.files_skipped += summary.files_skipped;
        self.bytes_restored += summary.bytes_restored;
        self.errors_count += summary.errors_count;
        let of_warning = summary
            .warnings
            .iter()
            .find(|warning| warning.is_failure())
            .map(ToString::to_string);
        let error = summary
            .errors
            .first()
            .map(|error| format!("{}: {}", error.path.display(), error.message));
        if self.first_error.is_none() {
            self.first_error = error.or(of_warning);
        }
        self.warnings
            .extend(summary.warnings.iter().map(ToString::to_string));
    }

    /// What is not as it was, though nothing is missing.
    pub fn tolerated(&self) -> Option<String> {
        (!self.warnings.is_empty()).then(|| self.warnings.join("; "))
    }

    /// What is missing, in a sentence; `None` when nothing is.
    pub fn incomplete(&self) -> Option<String> {
        let first = self.first_error.as_ref()?;
        Some(if self.errors_count > 1 {
            format!(
                "{} entries could not be restored, the first: {first}",
                self.errors_count
            )
        } else {
            format!("not everything could be restored: {first}")
        })
    }
}

impl fmt::Display for RestoredTotals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "restored {} entries ({}) from snapshot {}, {} were right already",
            self.files_restored,
            session::text::size(self.bytes_restored),
            self.snapshots.join(", "),
            self.files_skipped
        )?;
        self.warnings
            .iter()
            .try_for_each(|warning| write!(formatter, "; {warning}"))
    }
}

impl Engine {
    /// Restores what the selection names, each snapshot in turn; nothing, if some of it lies outside of `volumes`.
    pub async fn restore(
        &self,
        selection: &Selection,
        (arguments, volumes): (&RestoreArguments, Option<&[PathBuf]>),
        progress: Arc<dyn RestoreProgress>,
        stop: &Stop,
    ) -> Result<RestoredTotals, EngineError> {
        let options = options(selection, arguments)?;
        self.with_lock(
            LockKind::Shared,
            "lock the repository for the restore",
            stop,
            async |lock| {
                let chosen = self.choose(selection).await?;
                let indexed = self
                    .repository
                    .load_index()
                    .await
                    .map_err(EngineError::Index)?;
                let (token, _watch) = work_token(stop, lock);
                for (id, snapshot) in &chosen {
                    if let Some(volumes) = volumes {
                        landing::check(&indexed, (id, snapshot), &options, volumes).await?;
                    }
                }
                let mut totals = RestoredTotals::default();
                for (id, snapshot) in chosen {
                    let summary = archive::restore::restore(
                        &indexed,
                        &snapshot,
                        &options,
                        Arc::clone(&progress),
                        token.clone(),
                    )
                    .await
                    .map_err(|source| EngineError::Restore {
                        snapshot: id.short(),
                        source,
                    })?;
                    totals.add(id, &summary);
                }
                Ok(totals)
            },
        )
        .await
    }

    async fn choose(
        &self,
        selection: &Selection,
    ) -> Result<Vec<(SnapshotId, Snapshot)>, EngineError> {
        let of_host = SnapshotFilter {
            hosts: vec![selection.source_host.clone()],
            ..SnapshotFilter::default()
        };
        match &selection.choice {
            Choice::Snapshots(references) => {
                let mut found = Vec::new();
                for reference in references {
                    // An id is exact; `latest` means those of the source host (decision 9).
                    if let Some(age) = choice::age(reference) {
                        let all = self.snapshots_of(&of_host).await?;
                        found.extend(choice::of_each_path(&all, selection, age)?);
                    } else {
                        found.push(
                            snapshot::find(&self.repository, reference, &of_host)
                                .await
                                .map_err(EngineError::Find)?,
                        );
                    }
                }
                Ok(found)
            }
            Choice::LatestOfPaths(paths) => {
                let all = self.snapshots_of(&of_host).await?;
                choice::of_paths(&all, selection, paths)
            }
            Choice::LatestOfEachPath => {
                let all = self.snapshots_of(&of_host).await?;
                choice::of_each_path(&all, selection, 0)
            }
        }
    }

    async fn snapshots_of(
        &self,
        filter: &SnapshotFilter,
    ) -> Result<Vec<(SnapshotId, Snapshot)>, EngineError> {
        let mut all = snapshot::load_all(&self.repository)
            .await
            .map_err(EngineError::Snapshots)?;
        all.retain(|(_, snapshot)| filter.matches(snapshot));
        Ok(all)
    }
}

fn options(
    selection: &Selection,
    wanted: &RestoreArguments,
) -> Result<RestoreOptions, EngineError> {
    let list = |patterns: &[String]| {
        let words: Vec<OsString> = patterns.iter().map(OsString::from).collect();
        PatternList::compile(&words, Case::Sensitive).map_err(EngineError::Pattern)
    };
    let entries = match (selection.include.is_empty(), selection.exclude.is_empty()) {
        (true, true) => Entries::All,
        (false, true) => Entries::Include(vec![list(&selection.include)?]),
        (true, false) => Entries::Exclude(vec![list(&selection.exclude)?]),
        (false, false) => {
            return Err(EngineError::Arguments(
                "a rule may have include or exclude, not both".to_owned(),
            ));
        }
    };
    let overwrite = match wanted.overwrite {
        arguments::Overwrite::Always => Overwrite::Always,
        arguments::Overwrite::IfChanged => Overwrite::IfChanged,
        arguments::Overwrite::IfNewer => Overwrite::IfNewer,
        arguments::Overwrite::Never => Overwrite::Never,
    };
    let target = PathBuf::from(wanted.target.as_deref().unwrap_or("/"));
    let is_root = target.components().all(|part| part == Component::RootDir);
    if wanted.delete && is_root && !matches!(entries, Entries::Include(_)) {
        return Err(EngineError::Arguments(
            "target.args: `--delete` would remove everything else below `/`; name what may go in `include` of the rule, or a folder by `--target`".to_owned(),
        ));
    }
    Ok(RestoreOptions {
        target,
        selection: entries,
        overwrite,
        delete: wanted.delete,
        sparse: wanted.sparse,
        verify: wanted.verify,
        ..RestoreOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(include: &[&str], exclude: &[&str], target: Option<&str>) -> bool {
        let list = |patterns: &[&str]| patterns.iter().map(|&it| it.to_owned()).collect();
        let selection = Selection {
            source_host: "host-0".to_owned(),
            target: None,
            choice: Choice::LatestOfEachPath,
            include: list(include),
            exclude: list(exclude),
        };
        let arguments = RestoreArguments {
            delete: true,
            target: target.map(str::to_owned),
            ..RestoreArguments::default()
        };
        options(&selection, &arguments).is_ok()
    }

    #[test]
    fn nothing_is_deleted_below_the_root_but_what_is_named() {
        assert!(!delete(&[], &[], None));
        assert!(!delete(&[], &["/data/cache"], None));
        assert!(!delete(&[], &["/data/cache"], Some("//")));
        assert!(delete(&["/data"], &[], None));
        assert!(delete(&[], &["/data/cache"], Some("/restored")));
    }
}
