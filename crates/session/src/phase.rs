//! Phases computed from conditions and target results (reference 1.4, 1.5 and 1.8).
//!
//! One deliberate difference: metrics are pulled (decision 12), so no session waits for `MetricsPushed` and none
//! fails by it. `BackupHistoryCleaned` is the last step of a backup; whether it is True or False, the session
//! is over, and an uncleaned history fails nobody's backup.

use api::conditions::{Condition, condition_type as types, find_condition};
use api::v1beta1::{
    BackupInvokerPhase, BackupSessionPhase, BackupSessionStatus, BackupTargetPhase,
    BackupTargetStatus, HostBackupPhase, HostRestorePhase, HostRestoreStats, RestorePhase,
    RestoreSessionStatus,
};

use crate::expected::Expected;

fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find_condition(conditions, type_).is_some_and(Condition::is_true)
}

fn is_false(conditions: &[Condition], type_: &str) -> bool {
    find_condition(conditions, type_).is_some_and(Condition::is_false)
}

fn is_any_false(conditions: &[Condition], types: &[&str]) -> bool {
    types.iter().any(|type_| is_false(conditions, type_))
}

/// Phase of a BackupConfiguration. On one machine `is_scheduled` stands for the published `CronJobCreated`.
pub fn invoker(conditions: &[Condition], needs_repository: bool) -> BackupInvokerPhase {
    let has = |type_| is_true(conditions, type_);
    let is_missing =
        |type_| find_condition(conditions, type_).is_some_and(|condition| !condition.is_true());
    if is_missing(types::REPOSITORY_FOUND) || is_missing(types::BACKEND_SECRET_FOUND) {
        return BackupInvokerPhase::NotReady;
    }
    if is_false(conditions, types::VALIDATION_PASSED) {
        return BackupInvokerPhase::Invalid;
    }
    let has_repository =
        !needs_repository || (has(types::REPOSITORY_FOUND) && has(types::BACKEND_SECRET_FOUND));
    if has(types::VALIDATION_PASSED) && has(types::CRON_JOB_CREATED) && has_repository {
        BackupInvokerPhase::Ready
    } else {
        BackupInvokerPhase::NotReady
    }
}

/// Phase of one target of a session.
pub fn target(status: &BackupTargetStatus) -> BackupTargetPhase {
    let has_failed = is_any_false(
        &status.conditions,
        &[
            types::BACKUP_EXECUTOR_ENSURED,
            types::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED,
            types::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED,
        ],
    ) || is_true(&status.conditions, types::BACKUP_DISRUPTED);
    if has_failed {
        return BackupTargetPhase::Failed;
    }
    if status.total_hosts.is_none() {
        return BackupTargetPhase::Pending;
    }
    if crate::work::missing(status) > 0 {
        return BackupTargetPhase::Running;
    }
    if status
        .stats
        .iter()
        .any(|host| host.phase == Some(HostBackupPhase::Failed))
    {
        BackupTargetPhase::Failed
    } else {
        BackupTargetPhase::Succeeded
    }
}

/// Phase of a BackupSession.
pub fn backup_session(status: &BackupSessionStatus) -> BackupSessionPhase {
    let conditions = &status.conditions;
    if is_true(conditions, types::BACKUP_SKIPPED) {
        return BackupSessionPhase::Skipped;
    }
    let phases: Vec<BackupTargetPhase> = status.targets.iter().map(target).collect();
    let is_over = find_condition(conditions, types::BACKUP_HISTORY_CLEANED).is_some();
    if is_over {
        let has_failed = is_true(conditions, types::DEADLINE_EXCEEDED)
            || is_any_false(
                conditions,
                &[
                    types::GLOBAL_PRE_BACKUP_HOOK_SUCCEEDED,
                    types::GLOBAL_POST_BACKUP_HOOK_SUCCEEDED,
                    types::BACKEND_REPOSITORY_INITIALIZED,
                    types::RETENTION_POLICY_APPLIED,
                    types::REPOSITORY_INTEGRITY_VERIFIED,
                ],
            )
            || phases
                .iter()
                .any(|phase| *phase != BackupTargetPhase::Succeeded);
        return if has_failed {
            BackupSessionPhase::Failed
        } else {
            BackupSessionPhase::Succeeded
        };
    }
    if phases
        .iter()
        .all(|phase| *phase == BackupTargetPhase::Pending)
    {
        return BackupSessionPhase::Pending;
    }
    BackupSessionPhase::Running
}

/// Phase of a RestoreSession.
pub fn restore_session(status: &RestoreSessionStatus) -> RestorePhase {
    let conditions = &status.conditions;
    if is_false(conditions, types::VALIDATION_PASSED) {
        return RestorePhase::Invalid;
    }
    let has_failed = is_true(conditions, types::DEADLINE_EXCEEDED)
        || is_any_false(
            conditions,
            &[
                types::RESTORE_EXECUTOR_ENSURED,
                types::PRE_RESTORE_HOOK_EXECUTION_SUCCEEDED,
                types::POST_RESTORE_HOOK_EXECUTION_SUCCEEDED,
                types::GLOBAL_PRE_RESTORE_HOOK_SUCCEEDED,
                types::GLOBAL_POST_RESTORE_HOOK_SUCCEEDED,
            ],
        );
    if has_failed {
        return RestorePhase::Failed;
    }
    if is_any_false(
        conditions,
        &[
            types::REPOSITORY_FOUND,
            types::BACKEND_SECRET_FOUND,
            types::RESTORE_TARGET_FOUND,
        ],
    ) {
        return RestorePhase::Pending;
    }
    let Some(expected) = Expected::of_restore(status) else {
        return RestorePhase::Pending;
    };
    let is_finished = |host: &&HostRestoreStats| {
        matches!(
            host.phase,
            Some(
                HostRestorePhase::Succeeded | HostRestorePhase::Failed | HostRestorePhase::Unknown
            )
        )
    };
    let finished = status.stats.iter().filter(is_finished);
    let finished = finished.map(|host| host.hostname.as_str());
    if !expected.has_all(finished) || find_condition(conditions, types::RESTORE_COMPLETED).is_none()
    {
        return RestorePhase::Running;
    }
    let has = |phase| status.stats.iter().any(|host| host.phase == Some(phase));
    if has(HostRestorePhase::Unknown) {
        RestorePhase::Unknown
    } else if has(HostRestorePhase::Failed) {
        RestorePhase::Failed
    } else {
        RestorePhase::Succeeded
    }
}

/// Whether a session of this phase is over.
pub const fn is_final_backup(phase: BackupSessionPhase) -> bool {
    matches!(
        phase,
        BackupSessionPhase::Skipped | BackupSessionPhase::Succeeded | BackupSessionPhase::Failed
    )
}

/// Whether a restore of this phase is over.
pub const fn is_final_restore(phase: RestorePhase) -> bool {
    matches!(
        phase,
        RestorePhase::Succeeded
            | RestorePhase::Failed
            | RestorePhase::Unknown
            | RestorePhase::Invalid
    )
}

#[cfg(test)]
mod tests;
