//! The conditions of a BackupConfiguration: what holds, what does not, and what to do about it.

use api::conditions::{Condition, ConditionStatus, condition_type as types, reason, set_condition};
use api::problem::Problem;
use api::v1alpha1::Repository;
use api::v1beta1::BackupConfiguration;
use jiff::Timestamp;
use session::model::{self, Model};

use crate::backup_configuration::observe::{Observation, Presence};
use crate::inject::Invoker;
use crate::workload::PartOutcome;

/// All conditions, with the times of those that were there before.
pub fn conditions(
    configuration: &BackupConfiguration,
    observation: &Observation,
    problems: &[Problem],
    now: Timestamp,
) -> Vec<Condition> {
    let status = configuration.status.clone().unwrap_or_default();
    let mut all = status.conditions;
    let is_valid = !problems.iter().any(Problem::is_error);
    let (name, found) = (
        observation.repository_name.as_str(),
        observation.repository.as_deref(),
    );
    let wanted = [
        (types::REPOSITORY_FOUND, Some(repository(name, found))),
        (
            types::BACKEND_SECRET_FOUND,
            secret(name, found, observation.secret.as_ref()),
        ),
        (types::VALIDATION_PASSED, Some(validation(problems))),
        (
            types::BACKUP_TARGET_FOUND,
            target(configuration, observation),
        ),
        (
            types::CRON_JOB_CREATED,
            Some(scheduled(configuration, is_valid)),
        ),
    ];
    for (type_, condition) in wanted {
        set(&mut all, type_, condition, now);
    }
    match sidecar(configuration, observation) {
        Sidecar::NotWanted => set(&mut all, types::STASH_SIDECAR_INJECTED, None, now),
        Sidecar::NotKnown => {}
        Sidecar::Known(condition) => set(
            &mut all,
            types::STASH_SIDECAR_INJECTED,
            Some(condition),
            now,
        ),
    }
    for condition in &mut all {
        condition.observed_generation = configuration.metadata.generation;
    }
    all
}

fn set(all: &mut Vec<Condition>, type_: &str, condition: Option<Condition>, now: Timestamp) {
    match condition {
        Some(condition) => {
            set_condition(all, condition, now);
        }
        None => all.retain(|present| present.type_ != type_),
    }
}

/// Whether the Repository that `spec.repository` names is there.
pub(crate) fn repository(name: &str, repository: Option<&Repository>) -> Condition {
    let found =
        |status, reason, message| Condition::new(types::REPOSITORY_FOUND, status, reason, message);
    match repository {
        None => found(
            ConditionStatus::False,
            reason::REPOSITORY_NOT_AVAILABLE,
            format!(
                "spec.repository names the Repository {name}, which does not exist; create it, or correct the name or namespace"
            ),
        ),
        Some(repository) if repository.metadata.deletion_timestamp.is_some() => found(
            ConditionStatus::False,
            reason::REPOSITORY_NOT_AVAILABLE,
            format!("the Repository {name} is being deleted; name another one in spec.repository"),
        ),
        Some(_) => found(
            ConditionStatus::True,
            reason::REPOSITORY_AVAILABLE,
            format!("the Repository {name} exists"),
        ),
    }
}

/// Whether its Secret is there; `None` when that was not asked.
pub(crate) fn secret(
    of_repository: &str,
    repository: Option<&Repository>,
    presence: Option<&Presence>,
) -> Option<Condition> {
    let repository = repository?;
    let namespace = repository.metadata.namespace.as_deref().unwrap_or_default();
    let name = repository.spec.backend.storage_secret_name.as_deref();
    let found = |status, reason, message| {
        Condition::new(types::BACKEND_SECRET_FOUND, status, reason, message)
    };
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Some(found(
            ConditionStatus::False,
            reason::BACKEND_SECRET_NOT_AVAILABLE,
            format!(
                "the Repository {of_repository} names no Secret; set its spec.backend.storageSecretName"
            ),
        ));
    };
    Some(match presence? {
        Presence::Present => found(
            ConditionStatus::True,
            reason::BACKEND_SECRET_AVAILABLE,
            format!("the Secret {namespace}/{name} exists"),
        ),
        Presence::Missing => found(
            ConditionStatus::False,
            reason::BACKEND_SECRET_NOT_AVAILABLE,
            format!(
                "the Secret {namespace}/{name}, which spec.backend.storageSecretName of the Repository {of_repository} names, does not exist; create it with RESTIC_PASSWORD and the keys of the backend"
            ),
        ),
        Presence::Unknown(why) => found(
            ConditionStatus::Unknown,
            reason::UNABLE_TO_CHECK_BACKEND_SECRET_AVAILABILITY,
            format!("it cannot be found out whether the Secret {namespace}/{name} exists: {why}"),
        ),
    })
}

/// Whether the object breaks a rule. What stops nothing is told beside that.
pub(crate) fn validation(problems: &[Problem]) -> Condition {
    let messages: Vec<String> = problems.iter().map(Problem::to_string).collect();
    if !problems.iter().any(Problem::is_error) {
        let mut message = "the object breaks no rule".to_owned();
        for warning in &messages {
            message.push_str("; ");
            message.push_str(warning);
        }
        return Condition::new(
            types::VALIDATION_PASSED,
            ConditionStatus::True,
            reason::RESOURCE_VALIDATION_PASSED,
            message,
        );
    }
    Condition::new(
        types::VALIDATION_PASSED,
        ConditionStatus::False,
        reason::RESOURCE_VALIDATION_FAILED,
        messages.join("\n"),
    )
}

fn target(configuration: &BackupConfiguration, observation: &Observation) -> Option<Condition> {
    let target = configuration.spec.target.as_ref()?;
    let reference = target.reference.as_ref()?;
    let name = format!("{} {}", reference.kind, reference.name);
    let found = |status, reason, message| {
        Condition::new(types::BACKUP_TARGET_FOUND, status, reason, message)
    };
    Some(match observation.target.as_ref()? {
        Presence::Present => found(
            ConditionStatus::True,
            reason::TARGET_AVAILABLE,
            format!("the {name} exists"),
        ),
        Presence::Missing => found(
            ConditionStatus::False,
            reason::TARGET_NOT_AVAILABLE,
            format!(
                "spec.target.ref names the {name}, which does not exist in this namespace or is being deleted; create it, or correct the name"
            ),
        ),
        Presence::Unknown(why) => found(
            ConditionStatus::Unknown,
            reason::UNABLE_TO_CHECK_TARGET_AVAILABILITY,
            format!("it cannot be found out whether the {name} exists: {why}"),
        ),
    })
}

/// The published type for a CronJob says here that the operator starts sessions.
fn scheduled(configuration: &BackupConfiguration, is_valid: bool) -> Condition {
    let spec = &configuration.spec;
    let (status, reason, message) = if !is_valid {
        (
            ConditionStatus::False,
            reason::CRON_JOB_CREATION_FAILED,
            "no session is started while the object breaks a rule; see ValidationPassed".to_owned(),
        )
    } else if spec.schedule.trim().is_empty() {
        (
            ConditionStatus::True,
            reason::CRON_JOB_CREATION_SUCCEEDED,
            "spec.schedule is empty: sessions are started by hand".to_owned(),
        )
    } else if spec.paused {
        (
            ConditionStatus::True,
            reason::CRON_JOB_CREATION_SUCCEEDED,
            "spec.paused is set: sessions are started by hand".to_owned(),
        )
    } else {
        (
            ConditionStatus::True,
            reason::CRON_JOB_CREATION_SUCCEEDED,
            format!(
                "the operator starts sessions by the schedule {}",
                spec.schedule
            ),
        )
    };
    Condition::new(types::CRON_JOB_CREATED, status, reason, message)
}

enum Sidecar {
    /// The backup runs in another way.
    NotWanted,
    /// Nothing has been done yet; what was said before stays.
    NotKnown,
    Known(Condition),
}

fn sidecar(configuration: &BackupConfiguration, observation: &Observation) -> Sidecar {
    let namespace = configuration.metadata.namespace.as_deref();
    let model = model::backup_model(&configuration.spec, namespace.unwrap_or_default());
    if model != Ok(Model::Sidecar) {
        return Sidecar::NotWanted;
    }
    let me = Invoker::of(configuration);
    let reference = configuration
        .spec
        .target
        .as_ref()
        .and_then(|target| target.reference.as_ref());
    let name = reference.map_or_else(String::new, |it| format!("{} {}", it.kind, it.name));
    let failed = |message| {
        Sidecar::Known(Condition::new(
            types::STASH_SIDECAR_INJECTED,
            ConditionStatus::False,
            reason::SIDECAR_INJECTION_FAILED,
            message,
        ))
    };
    match &observation.winner {
        Some(winner) if *winner != me => {
            return failed(format!(
                "the {name} belongs to the BackupConfiguration {}, which is newer; a workload carries one sidecar: delete one of the two",
                winner.name
            ));
        }
        _ => {}
    }
    let outcome = observation.outcome.as_ref();
    match outcome.map(|outcome| &outcome.sidecar) {
        Some(PartOutcome::Present(invoker)) if *invoker == me => {
            let by_hand = outcome.and_then(|outcome| outcome.by_hand);
            let restarts = by_hand.map_or_else(String::new, |remedy| {
                format!("; Pods that run already get it when they are replaced: {remedy}")
            });
            Sidecar::Known(Condition::new(
                types::STASH_SIDECAR_INJECTED,
                ConditionStatus::True,
                reason::SIDECAR_INJECTION_SUCCEEDED,
                format!("the Pod template of the {name} has the sidecar{restarts}"),
            ))
        }
        Some(PartOutcome::Failed(invoker, why)) if *invoker == me => failed(why.clone()),
        _ => Sidecar::NotKnown,
    }
}
