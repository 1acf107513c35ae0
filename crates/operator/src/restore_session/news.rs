//! What is told of a restore, from nothing but its status.

use api::conditions::{ConditionStatus, condition_type as types, find_condition, reason};
use api::v1beta1::{HostRestorePhase, RestorePhase, RestoreSession, RestoreSessionStatus};
use jiff::Timestamp;
use kube_client::ResourceExt;

use crate::events::{EventKind, News, Repeats};

/// Conditions whose trouble is told as it is.
const TOLD: &[&str] = &[
    types::REPOSITORY_FOUND,
    types::BACKEND_SECRET_FOUND,
    types::VALIDATION_PASSED,
    types::RESTORE_TARGET_FOUND,
    types::STASH_INIT_CONTAINER_INJECTED,
    types::RESTORE_JOB_CREATED,
    types::PRE_RESTORE_HOOK_EXECUTION_SUCCEEDED,
    types::POST_RESTORE_HOOK_EXECUTION_SUCCEEDED,
];

fn news(kind: EventKind, reason: &'static str, message: String) -> News {
    News {
        kind,
        reason,
        message,
        repeats: Repeats::Never,
    }
}

/// All news.
pub fn of_restore(restore: &RestoreSession, status: &RestoreSessionStatus) -> Vec<News> {
    let mut all: Vec<News> = status
        .conditions
        .iter()
        .filter(|it| TOLD.contains(&it.type_.as_str()) && it.status != ConditionStatus::True)
        .filter_map(|it| {
            let text = it.reason.as_deref()?;
            let reason = reason::ALL.iter().copied().find(|known| *known == text)?;
            let message = it.message.clone().unwrap_or_default();
            Some(news(EventKind::Warning, reason, message))
        })
        .collect();
    if let Some(waiting) = find_condition(&status.conditions, types::WAITING) {
        let message = waiting.message.clone().unwrap_or_default();
        all.push(news(EventKind::Normal, reason::WAITS_FOR_BACKUP, message));
    }
    for stats in &status.stats {
        let host = &stats.hostname;
        all.push(if stats.phase == Some(HostRestorePhase::Succeeded) {
            let message = format!("the host {host} was restored");
            news(EventKind::Normal, "HostRestoreSucceeded", message)
        } else {
            let error = stats.error.as_deref().unwrap_or("it is not known why");
            let message = format!("the host {host} was not restored: {error}");
            news(EventKind::Warning, "HostRestoreFailed", message)
        });
        if let (Some(HostRestorePhase::Succeeded), Some(tolerated)) = (stats.phase, &stats.error) {
            let message = format!("the host {host} was restored, but {tolerated}");
            all.push(news(EventKind::Warning, "RestoredWithWarnings", message));
        }
    }
    all.extend(of_end(restore, status));
    all
}

fn of_end(restore: &RestoreSession, status: &RestoreSessionStatus) -> Option<News> {
    let name = restore.name_any();
    let lasted = status.session_duration.clone().unwrap_or_default();
    match status.phase? {
        RestorePhase::Succeeded => Some(news(
            EventKind::Normal,
            "RestoreSucceeded",
            format!("the restore {name} succeeded in {lasted}"),
        )),
        RestorePhase::Failed => {
            let why = [types::DEADLINE_EXCEEDED, types::RESTORE_COMPLETED]
                .into_iter()
                .find_map(|type_| find_condition(&status.conditions, type_)?.message.clone());
            let why = why.unwrap_or_else(|| "see its status".to_owned());
            Some(news(
                EventKind::Warning,
                "RestoreFailed",
                format!("the restore {name} failed after {lasted}: {why}"),
            ))
        }
        _ => None,
    }
}

/// When the restore was over.
pub fn ended(status: &RestoreSessionStatus) -> Option<Timestamp> {
    let last = find_condition(&status.conditions, types::RESTORE_COMPLETED)?;
    last.last_transition_time.as_ref().map(|time| time.0)
}
