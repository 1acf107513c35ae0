//! The last step of a session: history, phase, duration; and after it the session that repeats it.

use api::conditions::{Condition, ConditionStatus, condition_type as types, reason, set_condition};
use api::duration::GoDuration;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use api::v1beta1::{BackupSession, BackupSessionPhase, BackupSessionStatus};
use jiff::Timestamp;
use kube_client::ResourceExt;
use session::history::{self, Entry};
use session::phase;
use session::retry::{self, Retry};

use crate::backup_configuration::session_of;
use crate::backup_session::plan::{Case, Plan};
use crate::backup_session::start;
use crate::controller::Again;
use crate::job::state::unended;

/// Ends a session, and whatever still works for it.
pub fn close(case: &Case<'_>, mut status: BackupSessionStatus) -> Plan {
    let cleaned = Condition::new(
        types::BACKUP_HISTORY_CLEANED,
        ConditionStatus::True,
        reason::SUCCESSFULLY_CLEANED_BACKUP_HISTORY,
        "only the newest sessions are kept",
    );
    set_condition(&mut status.conditions, cleaned, case.now);
    status.conditions.retain(|it| it.type_ != types::WAITING);
    for target in &mut status.targets {
        target.phase = Some(phase::target(target));
    }
    let phase = phase::backup_session(&status);
    status.phase = Some(phase);
    let lasted = case.now.duration_since(case.created());
    let lasted = std::time::Duration::try_from(lasted).unwrap_or_default();
    let lasted = GoDuration::from_std(lasted).rounded_to_seconds();
    status.session_duration = Some(lasted.to_string());
    status.next_retry = next_retry(case, phase).map(Time);
    let again = Again::at(status.next_retry.as_ref().map(|time| time.0), case.now);
    Plan {
        adoption: start::adoption(case),
        preparation: None,
        forgotten: forgotten(case, &status),
        retry: None,
        ended_jobs: unended(&case.seen.jobs),
        status: Some(status),
        again,
    }
}

/// Ends a session that does nothing. Others of that kind are dropped at once, for as long as no session runs nobody else
/// does it; what has been backed up stays in the history.
pub fn skip(case: &Case<'_>, status: BackupSessionStatus) -> Plan {
    let mut plan = close(case, status);
    let own = case.session.name_any();
    let skipped = case.seen.siblings.iter().filter(|it| {
        let phase = it.status.as_ref().and_then(|status| status.phase);
        phase == Some(BackupSessionPhase::Skipped)
    });
    let skipped: Vec<String> = skipped.map(|it| it.name_any()).collect();
    plan.forgotten
        .retain(|name| *name == own || skipped.contains(name));
    plan
}

fn next_retry(case: &Case<'_>, phase: BackupSessionPhase) -> Option<Timestamp> {
    let spec = &case.seen.configuration.as_ref()?.spec;
    let left = case.session.spec.retry_left.unwrap_or(0);
    match retry::after(phase, left, false, spec.retry_config.as_ref(), case.now) {
        Retry::At(moment) => Some(moment),
        Retry::None => None,
    }
}

/// Sessions that the history drops, this one among them if nothing is to be kept. One that is about to be repeated
/// stays until it is.
fn forgotten(case: &Case<'_>, status: &BackupSessionStatus) -> Vec<String> {
    let Some(configuration) = case.seen.configuration.as_deref() else {
        return Vec::new();
    };
    let entry = |session: &BackupSession, status: &BackupSessionStatus| {
        let created = session.metadata.creation_timestamp.as_ref();
        let waits = status.next_retry.is_some() && status.retried != Some(true);
        (!waits).then(|| Entry {
            name: session.name_any(),
            created: created.map_or(case.now, |time| time.0),
            phase: status.phase.unwrap_or(BackupSessionPhase::Pending),
        })
    };
    let mut entries: Vec<Entry> = case
        .seen
        .siblings
        .iter()
        .filter_map(|it| entry(it, &it.status.clone().unwrap_or_default()))
        .collect();
    entries.extend(entry(case.session, status));
    history::to_remove(&entries, configuration.spec.backup_history_limit)
}

/// A session that is over may have to be repeated.
pub fn after_the_end(case: &Case<'_>) -> Plan {
    let mut plan = Plan {
        adoption: None,
        preparation: None,
        forgotten: Vec::new(),
        retry: None,
        status: None,
        ended_jobs: Vec::new(),
        again: Again::OnChange,
    };
    let mut status = case.status();
    let next = status.next_retry.as_ref().map(|time| time.0);
    let (Some(next), Some(configuration)) = (next, case.seen.configuration.as_deref()) else {
        return plan;
    };
    if status.retried == Some(true) || configuration.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    if next > case.now {
        plan.again = Again::at(Some(next), case.now);
        return plan;
    }
    let mut session = session_of(configuration, next);
    let left = case.session.spec.retry_left.unwrap_or(0);
    session.spec.retry_left = Some(left.saturating_sub(1).max(0));
    plan.retry = Some(Box::new(session));
    status.retried = Some(true);
    plan.status = Some(status);
    plan
}
