//! From what the engine did to the published status fields.

use std::error::Error;
use std::time::Duration;

use api::conditions::{Condition, condition_type, find_condition};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use api::v1beta1::{
    BackupSessionStatus, BackupTargetPhase, FileStats, HostBackupPhase, SnapshotStats,
};
use archive::save::BackupSummary;
use session::hooks::HookData;

use super::{BackupRun, Progressing};

/// A moment as Kubernetes writes it, in whole seconds.
pub fn time(moment: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

/// The messages of an error and its sources.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

/// A span as a Go duration, to the millisecond.
pub fn go_duration(span: Duration) -> String {
    let milliseconds = Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    api::duration::GoDuration::from_std(milliseconds).to_string()
}

/// The tag that makes a snapshot this invoker's.
pub fn tag(run: &BackupRun) -> String {
    let identity = &run.identity;
    session::retention::invoker_tag(
        &identity.invoker_kind,
        &identity.namespace,
        &identity.invoker_name,
    )
}

/// The tag that names the target of a snapshot, where there is one.
pub fn target_tag(run: &BackupRun) -> Option<String> {
    let reference = run.spec.target.as_ref()?.reference.as_ref()?;
    Some(session::source::target_tag(
        reference,
        &run.identity.namespace,
    ))
}

/// The published numbers of one snapshot.
pub fn snapshot_stats(path: &str, summary: &BackupSummary) -> SnapshotStats {
    let count = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
    SnapshotStats {
        name: summary
            .snapshot_id
            .map(|id| id.to_hex())
            .unwrap_or_default(),
        path: path.to_owned(),
        total_size: Some(session::text::size(summary.total_bytes_processed)),
        uploaded: Some(session::text::size(summary.data_added_packed())),
        processing_time: Some(session::text::processing_time(summary.duration)),
        file_stats: Some(FileStats {
            total_files: count(summary.files.total()),
            new_files: count(summary.files.new),
            modified_files: count(summary.files.changed),
            unmodified_files: count(summary.files.unmodified),
        }),
    }
}

/// What could not be read, in a sentence; `None` when everything was.
pub fn unreadable(summary: &BackupSummary) -> Option<String> {
    if summary.errors_count == 0 {
        return None;
    }
    let named = super::denied::named(&summary.errors, summary.errors_count);
    let id = summary.snapshot_id.map(|id| id.short()).unwrap_or_default();
    Some(format!(
        "{} files could not be read and are not in snapshot {id} ({named})",
        summary.errors_count,
    ))
}

/// Whether the session has failed so far.
pub fn has_failed(status: &BackupSessionStatus) -> bool {
    let is_false =
        |type_| find_condition(&status.conditions, type_).is_some_and(Condition::is_false);
    let is_late = find_condition(&status.conditions, condition_type::DEADLINE_EXCEEDED)
        .is_some_and(Condition::is_true);
    is_late
        || is_false(condition_type::BACKEND_REPOSITORY_INITIALIZED)
        || is_false(condition_type::RETENTION_POLICY_APPLIED)
        || is_false(condition_type::REPOSITORY_INTEGRITY_VERIFIED)
        || status
            .targets
            .iter()
            .any(|target| session::phase::target(target) != BackupTargetPhase::Succeeded)
}

/// What a hook's templates see: the result once there is one, `Running` before.
pub(super) fn hook_data(work: &Progressing<'_>, moment: Moment) -> HookData {
    let identity = &work.run.identity;
    let phase = match (moment, has_failed(&work.status)) {
        (Moment::Before, _) => "Running",
        (Moment::After, true) => "Failed",
        (Moment::After, false) => "Succeeded",
    };
    let mut errors: Vec<String> = Vec::new();
    let told = work
        .status
        .targets
        .iter()
        .flat_map(|target| {
            let failed = target
                .stats
                .iter()
                .filter(|host| host.phase != Some(HostBackupPhase::Succeeded));
            let of_hosts = failed.filter_map(|host| host.error.clone());
            of_hosts.chain(failed_messages(&target.conditions))
        })
        .chain(failed_messages(&work.status.conditions));
    for error in told {
        // A hook that failed is told by its host and by its condition.
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    let lasted = work.clock.now().duration_since(work.began);
    HookData {
        name: identity.session.clone(),
        namespace: identity.namespace.clone(),
        invoker_kind: identity.invoker_kind.clone(),
        invoker_name: identity.invoker_name.clone(),
        target: work
            .run
            .spec
            .target
            .as_ref()
            .and_then(|target| target.reference.clone()),
        phase: phase.to_owned(),
        duration: go_duration(Duration::try_from(lasted).unwrap_or_default()),
        error: errors.join("; "),
        retry_left: work.run.retries_left,
    }
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before the backup.
    Before,
    /// After it.
    After,
}

fn failed_messages(conditions: &[Condition]) -> impl Iterator<Item = String> {
    conditions
        .iter()
        .filter(|condition| condition.is_false())
        .filter_map(|condition| condition.message.clone())
}
