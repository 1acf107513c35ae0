//! What to do about a session, decided from what was read.

use api::conditions::{
    Condition, ConditionStatus, condition_type as types, find_condition, reason, set_condition,
};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use api::v1beta1::{BackupSession, BackupSessionStatus, BackupTargetPhase, BackupTargetStatus};
use jiff::Timestamp;
use serde_json::Value;
use session::phase;

use crate::ImageOptions;
use crate::backup_session::observe::{Observation, is_open, target_of};
use crate::backup_session::{close, start, watch};
use crate::controller::Again;
use crate::preparation::Preparation;

/// What to write, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What the session's metadata lacks.
    pub adoption: Option<Value>,
    /// What the agents need.
    pub preparation: Option<Box<Preparation>>,
    /// Other sessions that are dropped from the history, or this one.
    pub forgotten: Vec<String>,
    /// The session that repeats this one.
    pub retry: Option<Box<BackupSession>>,
    /// The new status; `None` when it is as it should be.
    pub status: Option<BackupSessionStatus>,
    /// Jobs that have to end.
    pub ended_jobs: Vec<String>,
    /// When to look again.
    pub again: Again,
}

/// A session with everything that decisions about it need.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The session.
    pub session: &'a BackupSession,
    /// What was read.
    pub seen: &'a Observation,
    /// What agents run.
    pub image: &'a ImageOptions,
    /// The moment.
    pub now: Timestamp,
}

impl Case<'_> {
    /// When the session was made.
    pub fn created(&self) -> Timestamp {
        let created = self.session.metadata.creation_timestamp.as_ref();
        created.map_or(self.now, |time| time.0)
    }

    /// The status as it is.
    pub fn status(&self) -> BackupSessionStatus {
        self.session.status.clone().unwrap_or_default()
    }
}

/// Decides.
pub fn plan(
    session: &BackupSession,
    seen: &Observation,
    image: &ImageOptions,
    now: Timestamp,
) -> Plan {
    let case = Case {
        session,
        seen,
        image,
        now,
    };
    if !is_open(session) {
        return close::after_the_end(&case);
    }
    let mut status = case.status();
    let spec = seen.configuration.as_ref().map(|it| &it.spec);
    if status.session_deadline.is_none() {
        let patience = spec.and_then(|spec| spec.time_out);
        let patience = patience.map(|it| jiff::SignedDuration::from_nanos(it.nanoseconds()));
        status.session_deadline = patience
            .and_then(|patience| case.created().checked_add(patience).ok())
            .map(Time);
    }
    let deadline = status.session_deadline.as_ref().map(|time| time.0);
    // What was finished while nobody looked is finished. What agents gave up because of the deadline is late.
    let is_good = |it: &BackupTargetStatus| phase::target(it) == BackupTargetPhase::Succeeded;
    if watch::is_concluded(&case, &status) && status.targets.iter().all(is_good) {
        return watch::watch(&case, status);
    }
    if deadline.is_some_and(|deadline| deadline <= now) {
        return late(&case, status);
    }
    let is_started = status
        .targets
        .first()
        .is_some_and(|target| target.total_hosts.is_some());
    let mut plan = if is_started {
        watch::watch(&case, status)
    } else {
        start::start(&case, status)
    };
    if plan.status.as_ref().is_none_or(|it| !phase_is_final(it)) {
        plan.again = plan.again.sooner(Again::at(deadline, now));
    }
    plan
}

fn phase_is_final(status: &BackupSessionStatus) -> bool {
    status.phase.is_some_and(phase::is_final_backup)
}

/// The session has taken too long.
fn late(case: &Case<'_>, mut status: BackupSessionStatus) -> Plan {
    let spec = case.seen.configuration.as_ref().map(|it| &it.spec);
    let limit = spec.and_then(|spec| spec.time_out).unwrap_or_default();
    let has_begun = status.targets.iter().any(|it| !it.progress.is_empty());
    let waiting = find_condition(&status.conditions, types::WAITING);
    let waiting = waiting.and_then(|it| it.message.clone());
    let trouble = waiting.or_else(|| watch::trouble(case));
    let message = match trouble.filter(|_| !has_begun) {
        Some(trouble) => {
            format!("the session was not done within spec.timeOut of {limit}: {trouble}")
        }
        None => format!(
            "the session was not done within spec.timeOut of {limit}; allow more time, or back up less"
        ),
    };
    let condition = Condition::new(
        types::DEADLINE_EXCEEDED,
        ConditionStatus::True,
        reason::FAILED_TO_COMPLETE_WITHIN_DEADLINE,
        message,
    );
    set_condition(&mut status.conditions, condition, case.now);
    close::close(case, status)
}

/// The API server refuses what the agents need.
pub fn refused(case: &Case<'_>, why: &str) -> Plan {
    unexecuted(case, case.status(), why)
}

/// A session that cannot be carried out.
pub fn unexecuted(case: &Case<'_>, mut status: BackupSessionStatus, why: &str) -> Plan {
    let reference = case.seen.configuration.as_deref().and_then(target_of);
    let mut target = BackupTargetStatus {
        reference,
        ..BackupTargetStatus::default()
    };
    let condition = Condition::new(
        types::BACKUP_EXECUTOR_ENSURED,
        ConditionStatus::False,
        reason::FAILED_TO_ENSURE_BACKUP_EXECUTOR,
        why,
    );
    set_condition(&mut target.conditions, condition, case.now);
    status.targets = vec![target];
    close::close(case, status)
}

/// Goes on with this status.
pub fn go_on(case: &Case<'_>, mut status: BackupSessionStatus, again: Again) -> Plan {
    for target in &mut status.targets {
        target.phase = Some(phase::target(target));
    }
    status.phase = Some(phase::backup_session(&status));
    Plan {
        adoption: start::adoption(case),
        preparation: None,
        forgotten: Vec::new(),
        retry: None,
        status: (status != case.status()).then_some(status),
        ended_jobs: Vec::new(),
        again,
    }
}

#[cfg(test)]
mod tests;
