//! Whether everything that a restore needs is there.

use api::conditions::{Condition, ConditionStatus, condition_type as types, reason, set_condition};
use api::problem::Problem;
use api::rules::check_restore_session;
use api::v1beta1::{RestoreSession, RestoreSessionStatus};
use jiff::Timestamp;
use kube_client::ResourceExt;

use crate::backup_configuration::{
    not_allowed, of_repository, repository_condition, secret_condition, unused,
    validation_condition,
};
use crate::job;
use crate::reading::Target;
use crate::restore_session::observe::Observation;
use crate::restore_session::plan::{Way, way};
use crate::target;

/// Every problem of a RestoreSession that is found without looking at other objects, and what stops nothing.
fn problems(restore: &RestoreSession) -> Vec<Problem> {
    let mut problems = check_restore_session(restore);
    let namespace = restore.namespace().unwrap_or_default();
    match way(restore) {
        Err(problem) => problems.push(problem),
        Ok(Way::Templates) => {
            let target = restore.spec.target.as_ref();
            problems.extend(
                target
                    .map(|target| job::template_problems(target, &namespace))
                    .unwrap_or_default(),
            );
        }
        Ok(Way::Init | Way::Workload) => {
            let target = restore.spec.target.as_ref();
            if target.is_some_and(|target| target.volume_mounts.is_empty()) {
                problems.push(
                    Problem::new(
                        "spec.target.volumeMounts",
                        "no volume is named to restore into",
                    )
                    .with_fix("name the volumes of the Pods, mounted as they were backed up"),
                );
            }
        }
        Ok(Way::Claim) => {}
    }
    problems.extend(without_effect(restore));
    problems
}

/// Fields that are set and change nothing here.
fn without_effect(restore: &RestoreSession) -> Vec<Problem> {
    let spec = &restore.spec;
    let target = spec.target.clone().unwrap_or_default();
    let settings = spec.runtime_settings.clone().unwrap_or_default();
    let settings = settings.container.unwrap_or_default();
    let has_params = spec
        .task
        .as_ref()
        .is_some_and(|task| !task.params.is_empty());
    let is_init = way(restore) == Ok(Way::Init);
    let has_probes = settings.liveness_probe.is_some()
        || settings.readiness_probe.is_some()
        || settings.lifecycle.is_some();
    unused(&[
        ("spec.task.params", has_params),
        (
            "spec.target.replicas",
            target.replicas.is_some() && target.volume_claim_templates.is_empty(),
        ),
        (
            "spec.interimVolumeTemplate",
            is_init && spec.interim_volume_template.is_some(),
        ),
        (
            "spec.runtimeSettings.container (livenessProbe, readinessProbe, lifecycle)",
            has_probes,
        ),
    ])
}

/// Sets the conditions about what is needed.
pub fn set(
    restore: &RestoreSession,
    seen: &Observation,
    status: &mut RestoreSessionStatus,
    now: Timestamp,
) {
    let mut problems = problems(restore);
    problems.extend(of_repository(seen.repository.as_deref()));
    if !seen.is_allowed {
        let namespace = restore.namespace().unwrap_or_default();
        problems.push(not_allowed(&seen.repository_name, &namespace));
    }
    let (name, repository) = (seen.repository_name.as_str(), seen.repository.as_deref());
    let wanted = [
        (
            types::REPOSITORY_FOUND,
            Some(repository_condition(name, repository)),
        ),
        (
            types::BACKEND_SECRET_FOUND,
            secret_condition(name, repository, seen.secret.as_ref()),
        ),
        (
            types::VALIDATION_PASSED,
            Some(validation_condition(&problems)),
        ),
        (types::RESTORE_TARGET_FOUND, target(restore, seen)),
    ];
    for (type_, condition) in wanted {
        match condition {
            Some(mut condition) => {
                condition.observed_generation = restore.metadata.generation;
                set_condition(&mut status.conditions, condition, now);
            }
            None => status.conditions.retain(|it| it.type_ != type_),
        }
    }
}

fn target(restore: &RestoreSession, seen: &Observation) -> Option<Condition> {
    let target = restore.spec.target.as_ref()?;
    let reference = target.reference.as_ref()?;
    let name = target::describe(reference);
    match &seen.target {
        Target::NotAsked => None,
        Target::Missing => Some(Condition::new(
            types::RESTORE_TARGET_FOUND,
            ConditionStatus::False,
            reason::TARGET_NOT_AVAILABLE,
            format!(
                "spec.target.ref names the {name}, which does not exist in this namespace or is being deleted; create it, or correct the name"
            ),
        )),
        Target::Workload(_) | Target::Claim(_) => Some(Condition::new(
            types::RESTORE_TARGET_FOUND,
            ConditionStatus::True,
            reason::TARGET_AVAILABLE,
            format!("the {name} exists"),
        )),
    }
}
