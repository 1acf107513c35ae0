use super::*;
use HostBackupPhase::{Failed, Succeeded};
use api::conditions::ConditionStatus;
use api::v1beta1::{BackupHooks, BackupSessionPhase, HostBackupStats, PostBackupHook};

fn spec(has_post_hook: bool) -> BackupConfigurationSpec {
    BackupConfigurationSpec {
        hooks: has_post_hook.then(|| BackupHooks {
            post_backup: Some(PostBackupHook {
                handler: api::v1beta1::Handler::default(),
                execution_policy: api::v1beta1::BackupPostHookPolicy::Always,
            }),
            ..BackupHooks::default()
        }),
        ..BackupConfigurationSpec::default()
    }
}

fn status(total: i32, hosts: &[(&str, HostBackupPhase)]) -> BackupSessionStatus {
    let stats = hosts.iter().map(|(host, phase)| HostBackupStats {
        hostname: (*host).to_owned(),
        phase: Some(*phase),
        snapshots: Vec::new(),
        duration: None,
        error: None,
    });
    let target = BackupTargetStatus {
        total_hosts: Some(total),
        stats: stats.collect(),
        ..BackupTargetStatus::default()
    };
    BackupSessionStatus {
        targets: vec![target],
        ..BackupSessionStatus::default()
    }
}

fn with(
    mut status: BackupSessionStatus,
    type_: &str,
    value: ConditionStatus,
) -> BackupSessionStatus {
    status
        .conditions
        .push(Condition::new(type_, value, "Reason", "message"));
    status
}

#[test]
fn each_host_backs_up_once_and_the_last_concludes() {
    let spec = spec(false);
    let step = |status: &BackupSessionStatus, host| next_step(&spec, status, 0, host);
    assert_eq!(
        step(&BackupSessionStatus::default(), "host-0"),
        Step::NotStarted
    );
    let one = status(2, &[("host-0", Succeeded)]);
    assert_eq!(step(&one, "host-1"), Step::BackUp);
    assert_eq!(step(&one, "host-0"), Step::WaitForOthers);
    let both = status(2, &[("host-0", Succeeded), ("host-1", Succeeded)]);
    assert_eq!(step(&both, "host-0"), Step::Conclude);
    assert_eq!(step(&both, "host-7"), Step::Conclude);
    let kept = with(both, types::RETENTION_POLICY_APPLIED, ConditionStatus::True);
    assert_eq!(step(&kept, "host-1"), Step::Conclude);
    let checked = with(
        kept,
        types::REPOSITORY_INTEGRITY_VERIFIED,
        ConditionStatus::True,
    );
    assert_eq!(step(&checked, "host-1"), Step::Done);
}

#[test]
fn a_failed_host_leaves_nothing_but_the_post_hook() {
    let failed = status(1, &[("host-0", Failed)]);
    assert_eq!(next_step(&spec(false), &failed, 0, "host-0"), Step::Done);
    assert_eq!(next_step(&spec(true), &failed, 0, "host-0"), Step::Conclude);
    let mut hooked = failed;
    let hook = types::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED;
    hooked.targets[0]
        .conditions
        .push(Condition::new(hook, ConditionStatus::True, "R", "m"));
    assert_eq!(next_step(&spec(true), &hooked, 0, "host-0"), Step::Done);
}

#[test]
fn a_session_that_was_stopped_is_left_alone() {
    let running = status(1, &[]);
    assert_eq!(next_step(&spec(false), &running, 0, "host-0"), Step::BackUp);
    for type_ in [
        types::DEADLINE_EXCEEDED,
        types::BACKUP_SKIPPED,
        types::BACKUP_HISTORY_CLEANED,
    ] {
        let stopped = with(running.clone(), type_, ConditionStatus::True);
        assert_eq!(
            next_step(&spec(true), &stopped, 0, "host-0"),
            Step::Done,
            "{type_}"
        );
    }
    let over = BackupSessionStatus {
        phase: Some(BackupSessionPhase::Failed),
        ..running
    };
    assert_eq!(next_step(&spec(true), &over, 0, "host-0"), Step::Done);
}

#[test]
fn a_failed_retention_ends_what_follows_a_backup() {
    let done = status(1, &[("host-0", Succeeded)]);
    assert!(!is_concluded(&spec(false), &done, 0));
    let failed = with(
        done,
        types::RETENTION_POLICY_APPLIED,
        ConditionStatus::False,
    );
    assert!(is_concluded(&spec(false), &failed, 0));
}
