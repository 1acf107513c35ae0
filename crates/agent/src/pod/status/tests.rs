use api::conditions::{ConditionStatus, reason};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use api::v1alpha1::TypedObjectReference;
use api::v1beta1::{
    BackupTargetPhase, BackupTargetStatus, HostBackupPhase, HostBackupStats, HostRestorePhase,
    HostRestoreStats,
};

use super::*;

fn worker(host: &str) -> Worker {
    Worker {
        index: 0,
        host: host.to_owned(),
        pod_uid: format!("uid-of-{host}"),
    }
}

fn stats(host: &str, phase: HostBackupPhase) -> HostBackupStats {
    HostBackupStats {
        hostname: host.to_owned(),
        phase: Some(phase),
        snapshots: Vec::new(),
        duration: None,
        error: None,
    }
}

fn entry(host: &str, pod_uid: &str, percent: i32) -> HostProgress {
    HostProgress {
        hostname: host.to_owned(),
        pod_uid: pod_uid.to_owned(),
        percent: Some(percent),
        ..HostProgress::default()
    }
}

fn condition(type_: &str, status: ConditionStatus, message: &str) -> Condition {
    Condition::new(type_, status, reason::BACKEND_REPOSITORY_FOUND, message)
}

fn session(total: i32) -> BackupSessionStatus {
    BackupSessionStatus {
        targets: vec![BackupTargetStatus {
            total_hosts: Some(total),
            ..BackupTargetStatus::default()
        }],
        ..BackupSessionStatus::default()
    }
}

#[test]
fn every_host_adds_its_own_result_and_takes_nothing_from_others() {
    let mut present = session(2);
    present.targets[0].stats = vec![stats("host-0", HostBackupPhase::Succeeded)];
    present.targets[0].progress = vec![entry("host-1", "uid-of-host-1", 40)];
    // This agent read the session before the other host had reported.
    let mut ours = session(2);
    ours.targets[0].stats = vec![stats("host-1", HostBackupPhase::Succeeded)];
    merge_backup(&mut present, &ours, &worker("host-1"), None);
    let target = &present.targets[0];
    assert_eq!(target.stats.len(), 2);
    assert!(target.progress.is_empty());
    assert_eq!(target.phase, Some(BackupTargetPhase::Succeeded));
}

#[test]
fn a_host_reports_once_whoever_is_late() {
    let mut present = session(1);
    present.targets[0].stats = vec![stats("host-0", HostBackupPhase::Succeeded)];
    let mut ours = session(1);
    ours.targets[0].stats = vec![stats("host-0", HostBackupPhase::Failed)];
    merge_backup(&mut present, &ours, &worker("host-0"), None);
    assert_eq!(
        present.targets[0].stats,
        [stats("host-0", HostBackupPhase::Succeeded)]
    );
}

#[test]
fn what_the_operator_says_stays() {
    let mut present = session(1);
    present.session_deadline = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    present.conditions = vec![condition(
        types::DEADLINE_EXCEEDED,
        ConditionStatus::True,
        "late",
    )];
    let mut ours = session(1);
    ours.conditions = vec![condition(
        types::BACKUP_SKIPPED,
        ConditionStatus::True,
        "not ours to say",
    )];
    merge_backup(&mut present, &ours, &worker("host-0"), None);
    assert_eq!(present.conditions.len(), 1);
    assert!(present.session_deadline.is_some());
}

#[test]
fn of_two_hosts_the_failure_stays() {
    let type_ = types::BACKEND_REPOSITORY_INITIALIZED;
    let said = |status, message| {
        let mut status_of = session(2);
        status_of.conditions = vec![condition(type_, status, message)];
        status_of
    };
    let mut present = session(2);
    merge_backup(
        &mut present,
        &said(ConditionStatus::True, "created"),
        &worker("a"),
        None,
    );
    merge_backup(
        &mut present,
        &said(ConditionStatus::True, "found"),
        &worker("b"),
        None,
    );
    assert_eq!(present.conditions[0].message.as_deref(), Some("created"));
    merge_backup(
        &mut present,
        &said(ConditionStatus::False, "refused"),
        &worker("b"),
        None,
    );
    merge_backup(
        &mut present,
        &said(ConditionStatus::True, "found"),
        &worker("a"),
        None,
    );
    assert_eq!(present.conditions[0].message.as_deref(), Some("refused"));
}

#[test]
fn the_progress_of_a_pod_that_took_over_is_not_removed_by_its_predecessor() {
    let mut present = session(1);
    present.targets[0].progress = vec![entry("host-0", "another", 10)];
    merge_backup(&mut present, &session(1), &worker("host-0"), None);
    assert_eq!(present.targets[0].progress.len(), 1);
    let mine = entry("host-0", "uid-of-host-0", 50);
    merge_backup(&mut present, &session(1), &worker("host-0"), Some(&mine));
    assert_eq!(present.targets[0].progress, [mine]);
}

#[test]
fn a_restore_that_is_tried_again_replaces_its_failure_but_never_its_success() {
    let result = |phase| RestoreSessionStatus {
        stats: vec![HostRestoreStats {
            hostname: "host-0".to_owned(),
            phase: Some(phase),
            duration: None,
            error: None,
        }],
        ..RestoreSessionStatus::default()
    };
    let mut present = RestoreSessionStatus::default();
    for (phase, shown) in [
        (HostRestorePhase::Failed, HostRestorePhase::Failed),
        (HostRestorePhase::Succeeded, HostRestorePhase::Succeeded),
        (HostRestorePhase::Failed, HostRestorePhase::Succeeded),
    ] {
        merge_restore(&mut present, &result(phase), &worker("host-0"), None);
        assert_eq!(present.stats.len(), 1);
        assert_eq!(present.stats[0].phase, Some(shown));
    }
}

#[test]
fn the_status_of_a_repository_goes_forward_and_keeps_its_references() {
    let time = |second| Some(Time(jiff::Timestamp::from_second(second).unwrap()));
    let mut present = RepositoryStatus {
        first_backup_time: time(100),
        last_backup_time: time(500),
        snapshot_count: Some(5),
        references: vec![TypedObjectReference {
            api_group: None,
            kind: "BackupConfiguration".to_owned(),
            namespace: None,
            name: "home".to_owned(),
        }],
        ..RepositoryStatus::default()
    };
    let older = RepositoryStatus {
        first_backup_time: time(50),
        last_backup_time: time(400),
        snapshot_count: Some(4),
        ..RepositoryStatus::default()
    };
    merge_repository(&mut present, &older);
    assert_eq!(present.first_backup_time, time(50));
    assert_eq!(present.last_backup_time, time(500));
    assert_eq!(present.snapshot_count, Some(5));
    let newer = RepositoryStatus {
        first_backup_time: time(600),
        last_backup_time: time(600),
        snapshot_count: Some(6),
        integrity: Some(true),
        ..RepositoryStatus::default()
    };
    merge_repository(&mut present, &newer);
    assert_eq!(present.first_backup_time, time(50));
    assert_eq!(present.snapshot_count, Some(6));
    assert_eq!(present.integrity, Some(true));
    assert_eq!(present.references.len(), 1);
}
