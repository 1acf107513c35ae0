//! What a Pod does about a session, from nothing but the session's status: so that any Pod can go on where another
//! one stopped, at any point (decision 16).
//!
//! The order of one target: every host runs the pre hook and backs up; when all have reported, one of them
//! concludes: retention, check, post hook. The operator closes the session after that.

use api::conditions::{Condition, condition_type as types, find_condition};
use api::v1beta1::{
    BackupConfigurationSpec, BackupSessionStatus, BackupTargetStatus, HostBackupPhase,
    HostRestorePhase, RestoreSessionStatus,
};

use crate::expected::Expected;

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The operator has not started this target yet.
    NotStarted,
    /// This host has not reported: run the pre hook and back it up.
    BackUp,
    /// This host is done and others are not: look again when the session changes.
    WaitForOthers,
    /// All hosts have reported: apply retention, check, and run the post hook, whatever of it is not done yet.
    Conclude,
    /// Nothing is left for Pods.
    Done,
}

/// What a Pod that works as `host` does about target `index` of a session.
pub fn next_step(
    spec: &BackupConfigurationSpec,
    status: &BackupSessionStatus,
    index: usize,
    host: &str,
) -> Step {
    if is_stopped(status) {
        return Step::Done;
    }
    let Some(target) = status.targets.get(index) else {
        return Step::NotStarted;
    };
    let Some(expected) = Expected::of_target(target) else {
        return Step::NotStarted;
    };
    let has_all = expected.has_all(reported(target));
    if is_disrupted(target) || is_concluded(spec, status, index) {
        Step::Done
    } else if has_all {
        Step::Conclude
    } else if expected.includes(host) && !reported(target).any(|it| it == host) {
        Step::BackUp
    } else {
        Step::WaitForOthers
    }
}

/// Whether the session is over or was stopped: by its end, its deadline, or because it was skipped.
pub fn is_stopped(status: &BackupSessionStatus) -> bool {
    let has = |type_| find_condition(&status.conditions, type_).is_some();
    status.phase.is_some_and(crate::phase::is_final_backup)
        || has(types::BACKUP_SKIPPED)
        || has(types::DEADLINE_EXCEEDED)
        || has(types::BACKUP_HISTORY_CLEANED)
}

fn is_disrupted(target: &BackupTargetStatus) -> bool {
    find_condition(&target.conditions, types::BACKUP_DISRUPTED).is_some_and(Condition::is_true)
}

fn reported(target: &BackupTargetStatus) -> impl Iterator<Item = &str> + Clone {
    target.stats.iter().map(|stats| stats.hostname.as_str())
}

/// How many hosts of a target that has begun have not reported.
pub fn missing(target: &BackupTargetStatus) -> usize {
    let expected = Expected::of_target(target);
    expected.map_or(0, |expected| expected.missing(reported(target)))
}

/// Whether nothing is left to do for Pods on target `index`: every host has reported, what follows a good backup is
/// done or has failed, and the post hook has run or was left out by its policy (which sets its condition as well).
pub fn is_concluded(
    spec: &BackupConfigurationSpec,
    status: &BackupSessionStatus,
    index: usize,
) -> bool {
    let Some(target) = status.targets.get(index) else {
        return false;
    };
    if target.total_hosts.is_none() || missing(target) > 0 {
        return false;
    }
    if follows_up(target) && !is_followed_up(status) {
        return false;
    }
    let has_hook = spec
        .hooks
        .as_ref()
        .is_some_and(|hooks| hooks.post_backup.is_some());
    let post_hook = types::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED;
    !has_hook || find_condition(&target.conditions, post_hook).is_some()
}

/// Whether retention and check are due: only after a backup of which every host is whole.
pub fn follows_up(target: &BackupTargetStatus) -> bool {
    let pre_hook = types::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED;
    let has_failed_hook =
        find_condition(&target.conditions, pre_hook).is_some_and(Condition::is_false);
    let has_failed =
        |stats: &api::v1beta1::HostBackupStats| stats.phase == Some(HostBackupPhase::Failed);
    !has_failed_hook && !target.stats.iter().any(has_failed)
}

fn is_followed_up(status: &BackupSessionStatus) -> bool {
    let conditions = &status.conditions;
    let retention = find_condition(conditions, types::RETENTION_POLICY_APPLIED);
    retention.is_some_and(Condition::is_false)
        || find_condition(conditions, types::REPOSITORY_INTEGRITY_VERIFIED).is_some()
}

/// Whether a restore goes on for this host. A Pod that came while it went on waits for its end.
pub fn is_restored_now(status: &RestoreSessionStatus, host: &str) -> bool {
    Expected::of_restore(status).is_some_and(|expected| expected.includes(host))
}

/// Whether every host of a restore that has begun has reported.
pub fn has_all_restored(status: &RestoreSessionStatus) -> bool {
    let reported = status.stats.iter().map(|stats| stats.hostname.as_str());
    Expected::of_restore(status).is_some_and(|expected| expected.has_all(reported))
}

/// Whether a host has its data: its restore has succeeded, or the session has. The application may start then, also
/// in Pods that appear later.
pub fn is_restored(status: &RestoreSessionStatus, host: &str) -> bool {
    status.phase == Some(api::v1beta1::RestorePhase::Succeeded)
        || status
            .stats
            .iter()
            .any(|stats| stats.hostname == host && stats.phase == Some(HostRestorePhase::Succeeded))
}

#[cfg(test)]
mod tests;
