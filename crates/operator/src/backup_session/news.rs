//! What is told of a session, from nothing but its status: whoever wrote it, and whoever reads it again.

use api::conditions::{Condition, condition_type as types, find_condition, reason};
use api::v1beta1::{
    BackupSession, BackupSessionPhase, BackupSessionStatus, BackupTargetStatus, HostBackupPhase,
    HostBackupStats,
};
use jiff::Timestamp;
use kube_client::ResourceExt;

use crate::events::{EventKind, News, Repeats};

fn news(kind: EventKind, reason: &'static str, message: String) -> News {
    News {
        kind,
        reason,
        message,
        repeats: Repeats::Never,
    }
}

/// News of the session itself.
pub fn of_session(status: &BackupSessionStatus) -> Vec<News> {
    let mut all = Vec::new();
    let waiting = find_condition(&status.conditions, types::WAITING);
    if let Some(waiting) =
        waiting.filter(|it| it.reason.as_deref() == Some(reason::WAITS_FOR_RESTORE))
    {
        let message = waiting.message.clone().unwrap_or_default();
        all.push(news(EventKind::Normal, reason::WAITS_FOR_RESTORE, message));
    }
    for target in &status.targets {
        all.extend(target.stats.iter().map(of_host));
        all.extend(target.stats.iter().filter_map(tolerated));
        let hooks = [
            (
                types::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED,
                "PreBackupHookFailed",
            ),
            (
                types::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED,
                "PostBackupHookFailed",
            ),
        ];
        for (type_, reason) in hooks {
            all.extend(failure(&target.conditions, type_, reason));
        }
    }
    for (type_, reason) in [
        (
            types::BACKEND_REPOSITORY_INITIALIZED,
            "RepositoryInitializationFailed",
        ),
        (types::RETENTION_POLICY_APPLIED, "RetentionFailed"),
        (
            types::REPOSITORY_INTEGRITY_VERIFIED,
            "RepositoryCheckFailed",
        ),
        (types::BACKUP_HISTORY_CLEANED, "HistoryCleanupFailed"),
    ] {
        all.extend(failure(&status.conditions, type_, reason));
    }
    all
}

fn failure(conditions: &[Condition], type_: &str, reason: &'static str) -> Option<News> {
    let condition = find_condition(conditions, type_).filter(|it| it.is_false())?;
    let message = condition.message.clone().unwrap_or_default();
    Some(news(EventKind::Warning, reason, message))
}

fn of_host(stats: &HostBackupStats) -> News {
    let host = &stats.hostname;
    if stats.phase == Some(HostBackupPhase::Failed) {
        let error = stats.error.as_deref().unwrap_or("it is not known why");
        return news(
            EventKind::Warning,
            "HostBackupFailed",
            format!("the host {host} was not backed up: {error}"),
        );
    }
    let snapshots: Vec<String> = stats
        .snapshots
        .iter()
        .map(|snapshot| {
            let id = snapshot.name.get(..8).unwrap_or(&snapshot.name);
            format!("{} as {id}", snapshot.path)
        })
        .collect();
    let what = if snapshots.is_empty() {
        String::new()
    } else {
        format!(": {}", snapshots.join(", "))
    };
    let message = format!("the host {host} was backed up{what}");
    news(EventKind::Normal, "HostBackupSucceeded", message)
}

/// What of a host that was backed up is missing all the same.
fn tolerated(stats: &HostBackupStats) -> Option<News> {
    let error = stats
        .error
        .as_deref()
        .filter(|_| stats.phase == Some(HostBackupPhase::Succeeded))?;
    let message = format!("the host {} was backed up, but {error}", stats.hostname);
    Some(news(EventKind::Warning, "FilesNotReadable", message))
}

/// How the session ended: told of the session and of its invoker.
pub fn of_end(session: &BackupSession, status: &BackupSessionStatus) -> Option<News> {
    let name = session.name_any();
    let lasted = status.session_duration.clone().unwrap_or_default();
    match status.phase? {
        BackupSessionPhase::Succeeded => Some(news(
            EventKind::Normal,
            "BackupSucceeded",
            format!("the session {name} succeeded in {lasted}"),
        )),
        BackupSessionPhase::Failed => Some(news(
            EventKind::Warning,
            "BackupFailed",
            format!("the session {name} failed after {lasted}: {}", why(status)),
        )),
        BackupSessionPhase::Skipped => Some(news(
            EventKind::Warning,
            "BackupSkipped",
            format!("the session {name} was skipped: {}", why(status)),
        )),
        _ => None,
    }
}

/// Why a session did not succeed: the first cause, in the order in which one follows from another.
fn why(status: &BackupSessionStatus) -> String {
    let holds = |conditions: &[Condition], type_, is: fn(&Condition) -> bool| {
        find_condition(conditions, type_)
            .filter(|it| is(it))
            .and_then(|it| it.message.clone())
    };
    let of_session = |type_, is| holds(&status.conditions, type_, is);
    let early = of_session(types::BACKUP_SKIPPED, Condition::is_true)
        .or_else(|| of_session(types::DEADLINE_EXCEEDED, Condition::is_true));
    let of_targets = || status.targets.iter().find_map(why_target);
    let late = || {
        [
            types::BACKEND_REPOSITORY_INITIALIZED,
            types::RETENTION_POLICY_APPLIED,
            types::REPOSITORY_INTEGRITY_VERIFIED,
        ]
        .into_iter()
        .find_map(|type_| of_session(type_, Condition::is_false))
    };
    early
        .or_else(of_targets)
        .or_else(late)
        .unwrap_or_else(|| "see its status".to_owned())
}

fn why_target(target: &BackupTargetStatus) -> Option<String> {
    let false_ = |type_| {
        find_condition(&target.conditions, type_)
            .filter(|it| it.is_false())
            .and_then(|it| it.message.clone())
    };
    let disrupted = find_condition(&target.conditions, types::BACKUP_DISRUPTED)
        .filter(|it| it.is_true())
        .and_then(|it| it.message.clone());
    let host = || {
        let failed = |it: &&HostBackupStats| it.phase == Some(HostBackupPhase::Failed);
        target
            .stats
            .iter()
            .find(failed)
            .map(|it| of_host(it).message)
    };
    false_(types::BACKUP_EXECUTOR_ENSURED)
        .or_else(|| false_(types::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED))
        .or(disrupted)
        .or_else(host)
        .or_else(|| false_(types::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED))
}

/// When the session was over.
pub fn ended(status: &BackupSessionStatus) -> Option<Timestamp> {
    let last = find_condition(&status.conditions, types::BACKUP_HISTORY_CLEANED)?;
    last.last_transition_time.as_ref().map(|time| time.0)
}
