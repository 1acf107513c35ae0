//! What to do about a RestoreSession, decided from what was read.

use api::conditions::{
    Condition, ConditionStatus, condition_type as types, find_condition, reason, set_condition,
};
use api::duration::GoDuration;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use api::problem::Problem;
use api::v1beta1::{RestorePhase, RestoreSession, RestoreSessionStatus, Snapshotter};
use jiff::{SignedDuration, Timestamp};
use kube_client::ResourceExt;
use session::model::{self, CLAIM_KIND, Model, PVC_RESTORE_TASK};
use session::phase;
use session::restore::is_superseded;

use crate::ImageOptions;
use crate::controller::Again;
use crate::job::state::unended;
use crate::preparation::Preparation;
use crate::restore_session::observe::Observation;
use crate::restore_session::{conditions, start, watch};

/// How data gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By an init container of a workload.
    Init,
    /// By Jobs that mount the volumes of a workload.
    Workload,
    /// By a Job on a volume claim.
    Claim,
    /// By Jobs on claims that are made from templates.
    Templates,
}

/// What to write, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What the agents need.
    pub preparation: Option<Box<Preparation>>,
    /// The new status; `None` when it is as it should be.
    pub status: Option<RestoreSessionStatus>,
    /// Jobs that have to end.
    pub ended_jobs: Vec<String>,
    /// Whether something is missing that nobody tells us of when it appears.
    pub has_to_ask_again: bool,
    /// When to look again.
    pub again: Again,
}

/// A RestoreSession with everything that decisions about it need.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The object.
    pub restore: &'a RestoreSession,
    /// How data gets back.
    pub way: Way,
    /// What was read.
    pub seen: &'a Observation,
    /// What agents run.
    pub image: &'a ImageOptions,
    /// The moment.
    pub now: Timestamp,
}

/// How the data of a RestoreSession gets back.
pub fn way(restore: &RestoreSession) -> Result<Way, Problem> {
    let spec = &restore.spec;
    if spec.driver == Some(Snapshotter::VolumeSnapshotter) {
        return Err(
            Problem::new("spec.driver", "snapshots of volumes are not acted on yet")
                .with_value(Snapshotter::VolumeSnapshotter)
                .with_fix("use `Restic`"),
        );
    }
    let Some(target) = &spec.target else {
        return Err(
            Problem::new("spec.target", "nothing is named to restore into")
                .with_fix("name a workload or a volume claim, or give volumeClaimTemplates"),
        );
    };
    let task = spec.task.as_ref().map_or("", |task| task.name.as_str());
    if !target.volume_claim_templates.is_empty() {
        if !task.is_empty() && task != PVC_RESTORE_TASK {
            return Err(
                Problem::new("spec.task.name", "this Task is not acted on yet")
                    .with_value(task)
                    .with_fix(format!("use `{PVC_RESTORE_TASK}` or none")),
            );
        }
        return Ok(Way::Templates);
    }
    let Some(reference) = &target.reference else {
        return Err(
            Problem::new("spec.target.ref", "nothing is named to restore into")
                .with_fix("name a workload or a volume claim, or give volumeClaimTemplates"),
        );
    };
    let namespace = restore.namespace().unwrap_or_default();
    let model = model::target_model(reference, task, PVC_RESTORE_TASK, &namespace)?;
    Ok(match model {
        Model::Sidecar => Way::Init,
        Model::Job if reference.kind == CLAIM_KIND => Way::Claim,
        Model::Job => Way::Workload,
    })
}

/// Whether nothing is left to do. A restore that nobody repeats ends with its phase; an init container tries again,
/// unless another restore has had the workload since.
pub fn has_ended(restore: &RestoreSession, way: Option<&Way>) -> bool {
    let Some(status) = &restore.status else {
        return false;
    };
    match status.phase {
        Some(RestorePhase::Succeeded) => true,
        Some(RestorePhase::Failed | RestorePhase::Unknown) => {
            way != Some(&Way::Init) || is_superseded(status)
        }
        _ => false,
    }
}

/// Decides.
pub fn plan(
    restore: &RestoreSession,
    seen: &Observation,
    image: &ImageOptions,
    now: Timestamp,
) -> Plan {
    let found = way(restore);
    if has_ended(restore, found.as_ref().ok()) {
        return nothing(Again::OnChange);
    }
    let mut status = restore.status.clone().unwrap_or_default();
    conditions::set(restore, seen, &mut status, now);
    let case = Case {
        restore,
        way: found.unwrap_or(Way::Init),
        seen,
        image,
        now,
    };
    if !holds(&status, types::VALIDATION_PASSED) {
        return go_on(&case, status, Again::OnChange);
    }
    let has_begun = status.total_hosts.is_some();
    let mut anew = None;
    if has_begun {
        start::follow(&case, &mut status);
        anew = start::anew(&case).filter(|_| !is_superseded(&status));
    }
    let deadline = deadline(&case, &mut status);
    if deadline.is_some_and(|deadline| deadline <= now) {
        return Plan {
            preparation: anew,
            ..late(&case, status)
        };
    }
    let is_missing = [
        types::REPOSITORY_FOUND,
        types::BACKEND_SECRET_FOUND,
        types::RESTORE_TARGET_FOUND,
    ]
    .into_iter()
    .any(|type_| find_condition(&status.conditions, type_).is_some_and(|it| !it.is_true()))
        || !holds(&status, types::BACKEND_SECRET_FOUND);
    let mut plan = if has_begun {
        Plan {
            preparation: anew,
            ..watch::watch(&case, status)
        }
    } else if is_missing {
        Plan {
            has_to_ask_again: true,
            ..go_on(&case, status, Again::OnChange)
        }
    } else {
        start::start(&case, status)
    };
    plan.again = plan.again.sooner(Again::at(deadline, now));
    plan
}

/// Whether a condition is True.
pub fn holds(status: &RestoreSessionStatus, type_: &str) -> bool {
    find_condition(&status.conditions, type_).is_some_and(Condition::is_true)
}

pub(super) fn nothing(again: Again) -> Plan {
    Plan {
        preparation: None,
        status: None,
        ended_jobs: Vec::new(),
        has_to_ask_again: false,
        again,
    }
}

fn created(case: &Case<'_>) -> Timestamp {
    let created = case.restore.metadata.creation_timestamp.as_ref();
    created.map_or(case.now, |time| time.0)
}

/// A deadline that has passed is over for good.
fn deadline(case: &Case<'_>, status: &mut RestoreSessionStatus) -> Option<Timestamp> {
    if status.session_deadline.is_none() {
        let limit = case.restore.spec.time_out;
        let limit = limit.map(|limit| SignedDuration::from_nanos(limit.nanoseconds()));
        status.session_deadline = limit
            .and_then(|limit| created(case).checked_add(limit).ok())
            .map(Time);
    }
    status.session_deadline.as_ref().map(|time| time.0)
}

fn late(case: &Case<'_>, mut status: RestoreSessionStatus) -> Plan {
    let limit = case.restore.spec.time_out.unwrap_or_default();
    let is_waiting = case.way != Way::Init && status.progress.is_empty();
    let waiting = find_condition(&status.conditions, types::WAITING);
    let waiting = waiting.and_then(|it| it.message.clone());
    status.conditions.retain(|it| it.type_ != types::WAITING);
    let trouble = waiting.or_else(|| watch::trouble(case).filter(|_| is_waiting));
    let remedy = "delete the RestoreSession and create it anew";
    let message = match trouble {
        Some(trouble) => format!(
            "the restore was not done within spec.timeOut of {limit}: {trouble}; when that is put right, {remedy}"
        ),
        None => format!(
            "the restore was not done within spec.timeOut of {limit}; {remedy} with more time"
        ),
    };
    let condition = Condition::new(
        types::DEADLINE_EXCEEDED,
        ConditionStatus::True,
        reason::FAILED_TO_COMPLETE_WITHIN_DEADLINE,
        message,
    );
    // What was restored in time stays restored.
    if !watch::is_whole(&status) {
        set_condition(&mut status.conditions, condition, case.now);
    }
    let plan = watch::conclude(case, status, Again::OnChange);
    Plan {
        ended_jobs: unended(&case.seen.jobs),
        ..plan
    }
}

/// Goes on with this status.
pub fn go_on(case: &Case<'_>, mut status: RestoreSessionStatus, again: Again) -> Plan {
    let before = case.restore.status.clone().unwrap_or_default();
    let phase = phase::restore_session(&status);
    status.phase = Some(phase);
    if !phase::is_final_restore(phase) {
        status.session_duration = None;
    } else if before.phase != Some(phase) {
        let lasted = case.now.duration_since(created(case));
        let lasted = std::time::Duration::try_from(lasted).unwrap_or_default();
        let lasted = GoDuration::from_std(lasted).rounded_to_seconds();
        status.session_duration = Some(lasted.to_string());
    }
    Plan {
        status: (status != before).then_some(status),
        ..nothing(again)
    }
}

#[cfg(test)]
mod tests;
