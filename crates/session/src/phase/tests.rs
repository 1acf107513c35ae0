use api::conditions::ConditionStatus;
use api::v1beta1::{HostBackupStats, HostRestoreStats};

use super::*;

fn condition(type_: &str, is_true: bool) -> Condition {
    Condition::new(
        type_,
        if is_true {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        "Reason",
        "",
    )
}

fn host(phase: HostBackupPhase) -> HostBackupStats {
    HostBackupStats {
        hostname: "host-0".into(),
        phase: Some(phase),
        snapshots: Vec::new(),
        duration: None,
        error: None,
    }
}

fn session(target: BackupTargetStatus, conditions: Vec<Condition>) -> BackupSessionStatus {
    BackupSessionStatus {
        targets: vec![target],
        conditions,
        ..Default::default()
    }
}

fn done(phase: HostBackupPhase) -> BackupTargetStatus {
    BackupTargetStatus {
        total_hosts: Some(1),
        stats: vec![host(phase)],
        ..Default::default()
    }
}

#[test]
fn a_session_without_hosts_is_pending() {
    assert_eq!(
        backup_session(&BackupSessionStatus::default()),
        BackupSessionPhase::Pending
    );
    assert_eq!(
        backup_session(&session(BackupTargetStatus::default(), vec![])),
        BackupSessionPhase::Pending
    );
}

#[test]
fn a_session_runs_until_its_history_is_cleaned() {
    let running = session(done(HostBackupPhase::Succeeded), vec![]);
    assert_eq!(backup_session(&running), BackupSessionPhase::Running);
    let over = session(
        done(HostBackupPhase::Succeeded),
        vec![condition(types::BACKUP_HISTORY_CLEANED, true)],
    );
    assert_eq!(backup_session(&over), BackupSessionPhase::Succeeded);
}

#[test]
fn an_uncleaned_history_fails_no_backup() {
    let over = session(
        done(HostBackupPhase::Succeeded),
        vec![condition(types::BACKUP_HISTORY_CLEANED, false)],
    );
    assert_eq!(backup_session(&over), BackupSessionPhase::Succeeded);
}

#[test]
fn a_failed_host_action_or_deadline_fails_the_session() {
    let cleaned = || condition(types::BACKUP_HISTORY_CLEANED, true);
    let failed_host = session(done(HostBackupPhase::Failed), vec![cleaned()]);
    assert_eq!(backup_session(&failed_host), BackupSessionPhase::Failed);
    for type_ in [
        types::RETENTION_POLICY_APPLIED,
        types::REPOSITORY_INTEGRITY_VERIFIED,
        types::BACKEND_REPOSITORY_INITIALIZED,
    ] {
        let failed = session(
            done(HostBackupPhase::Succeeded),
            vec![cleaned(), condition(type_, false)],
        );
        assert_eq!(
            backup_session(&failed),
            BackupSessionPhase::Failed,
            "{type_}"
        );
    }
    let late = session(
        done(HostBackupPhase::Succeeded),
        vec![cleaned(), condition(types::DEADLINE_EXCEEDED, true)],
    );
    assert_eq!(backup_session(&late), BackupSessionPhase::Failed);
}

#[test]
fn a_session_that_ended_before_its_hosts_reported_has_failed() {
    let target = BackupTargetStatus {
        total_hosts: Some(1),
        ..Default::default()
    };
    assert_eq!(
        backup_session(&session(
            target,
            vec![condition(types::BACKUP_HISTORY_CLEANED, true)]
        )),
        BackupSessionPhase::Failed
    );
}

#[test]
fn a_skipped_session_stays_skipped() {
    let skipped = session(
        BackupTargetStatus::default(),
        vec![condition(types::BACKUP_SKIPPED, true)],
    );
    assert_eq!(backup_session(&skipped), BackupSessionPhase::Skipped);
}

#[test]
fn a_failed_pre_hook_fails_the_target_without_hosts() {
    let target_status = BackupTargetStatus {
        total_hosts: Some(1),
        conditions: vec![condition(types::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED, false)],
        ..Default::default()
    };
    assert_eq!(target(&target_status), BackupTargetPhase::Failed);
}

#[test]
fn an_invoker_is_ready_when_all_it_needs_is_there() {
    let all = |secret: bool| {
        vec![
            condition(types::REPOSITORY_FOUND, true),
            condition(types::BACKEND_SECRET_FOUND, secret),
            condition(types::VALIDATION_PASSED, true),
            condition(types::CRON_JOB_CREATED, true),
        ]
    };
    assert_eq!(invoker(&all(true), true), BackupInvokerPhase::Ready);
    assert_eq!(invoker(&all(false), true), BackupInvokerPhase::NotReady);
    assert_eq!(
        invoker(&[condition(types::VALIDATION_PASSED, false)], true),
        BackupInvokerPhase::Invalid
    );
    assert_eq!(invoker(&[], true), BackupInvokerPhase::NotReady);
}

#[test]
fn a_restore_is_over_when_every_host_reported_and_its_hooks_ran() {
    let host = |phase| HostRestoreStats {
        hostname: "host-0".into(),
        phase: Some(phase),
        duration: None,
        error: None,
    };
    let status = |phase, conditions| RestoreSessionStatus {
        total_hosts: Some(1),
        stats: vec![host(phase)],
        conditions,
        ..Default::default()
    };
    let completed = || vec![condition(types::RESTORE_COMPLETED, true)];
    assert_eq!(
        restore_session(&RestoreSessionStatus::default()),
        RestorePhase::Pending
    );
    assert_eq!(
        restore_session(&status(HostRestorePhase::Running, vec![])),
        RestorePhase::Running
    );
    assert_eq!(
        restore_session(&status(HostRestorePhase::Succeeded, vec![])),
        RestorePhase::Running
    );
    assert_eq!(
        restore_session(&status(HostRestorePhase::Succeeded, completed())),
        RestorePhase::Succeeded
    );
    assert_eq!(
        restore_session(&status(HostRestorePhase::Failed, completed())),
        RestorePhase::Failed
    );
}
