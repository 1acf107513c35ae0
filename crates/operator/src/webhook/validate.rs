//! Refuses what other objects or the earlier state of the same object forbid. What one object can decide stands in
//! its definition.

use api::problem::Problem;
use api::v1beta1::{
    BackupConfiguration, BackupInvokerPhase, RepositoryRef, RestoreSession, RestoreSessionSpec,
    TargetRef,
};
use futures::FutureExt;
use kube_client::core::admission::{AdmissionResponse, Operation};
use serde::de::DeserializeOwned;
use session::model::{PVC_BACKUP_TASK, target_model};

use crate::backup_configuration::{is_allowed, not_allowed, repository_place};
use crate::failure::chain;
use crate::webhook::{Answering, Request};

/// The field that the model of a target names for a target elsewhere.
const NAMESPACE_FIELD: &str = "spec.target.ref.namespace";

/// The answer to a request.
pub(super) async fn answer(request: &Request, answering: &Answering) -> AdmissionResponse {
    let response = AdmissionResponse::from(request);
    let problem = match request.kind.kind.as_str() {
        "BackupConfiguration" => backup(request, answering).await,
        "RestoreSession" => restore(request, answering).await,
        _ => None,
    };
    match problem {
        Some(problem) => response.deny(problem),
        None => response,
    }
}

async fn backup(request: &Request, answering: &Answering) -> Option<Problem> {
    let new: BackupConfiguration = typed(request.object.as_ref()?)?;
    let old = request.old_object.as_ref().and_then(typed);
    if new.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let namespace = request.namespace.clone().unwrap_or_default();
    let target = new.spec.target.as_ref();
    let problem = changed_target(old.as_ref(), &new).or_else(|| {
        foreign_target(
            target.and_then(|target| target.reference.as_ref()),
            &namespace,
        )
    });
    match problem {
        Some(problem) => Some(problem),
        None => usage(&new.spec.repository, &namespace, answering).await,
    }
}

async fn restore(request: &Request, answering: &Answering) -> Option<Problem> {
    let new: RestoreSession = typed(request.object.as_ref()?)?;
    let old: Option<RestoreSession> = request.old_object.as_ref().and_then(typed);
    if new.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if request.operation == Operation::Update {
        return changed_restore(old.as_ref()?, &new);
    }
    let namespace = request.namespace.clone().unwrap_or_default();
    let target = new.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.as_ref());
    match foreign_target(reference, &namespace) {
        Some(problem) => Some(problem),
        None => usage(&new.spec.repository, &namespace, answering).await,
    }
}

/// An object that cannot be read is judged by its definition, not here.
fn typed<K: DeserializeOwned>(object: &kube_client::core::DynamicObject) -> Option<K> {
    let value = serde_json::to_value(object).ok()?;
    serde_json::from_value(value).ok()
}

fn changed_target(old: Option<&BackupConfiguration>, new: &BackupConfiguration) -> Option<Problem> {
    let old = old?;
    let was_ready = old.status.as_ref()?.phase == Some(BackupInvokerPhase::Ready);
    (was_ready && old.spec.target != new.spec.target).then(|| {
        Problem::new(
            "spec.target",
            "the target of a BackupConfiguration that is ready cannot be changed",
        )
        .with_fix("create another BackupConfiguration, and delete this one")
    })
}

fn changed_restore(old: &RestoreSession, new: &RestoreSession) -> Option<Problem> {
    (settled(&old.spec) != settled(&new.spec)).then(|| {
        Problem::new("spec", "a RestoreSession cannot be changed")
            .with_fix("create another RestoreSession")
    })
}

/// With rules in one place.
fn settled(spec: &RestoreSessionSpec) -> RestoreSessionSpec {
    let mut settled = spec.clone();
    let rules = spec.effective_rules();
    if let Some(target) = &mut settled.target {
        target.rules = rules;
        settled.rules = Vec::new();
    }
    settled
}

fn foreign_target(reference: Option<&TargetRef>, namespace: &str) -> Option<Problem> {
    target_model(reference?, "", PVC_BACKUP_TASK, namespace)
        .err()
        .filter(|problem| problem.path == NAMESPACE_FIELD)
}

/// A Repository that does not exist yet forbids nothing; trouble is left to the controller.
async fn usage(
    reference: &RepositoryRef,
    namespace: &str,
    answering: &Answering,
) -> Option<Problem> {
    answering.stores.ready().now_or_never()?;
    let (place, name) = repository_place(reference, namespace);
    let repository = answering.stores.repository(&place, &name)?;
    match is_allowed(&answering.context, &repository, namespace).await {
        Ok(true) => None,
        Ok(false) => Some(not_allowed(&format!("{place}/{name}"), namespace)),
        Err(error) => {
            tracing::warn!(error = chain(&error), "a usage policy could not be judged");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use api::v1beta1::{BackupConfigurationStatus, BackupTarget, RestoreTarget, Rule};

    use super::*;

    #[test]
    fn the_target_of_a_ready_configuration_stays() {
        let configuration = |alias: &str, phase| BackupConfiguration {
            spec: api::v1beta1::BackupConfigurationSpec {
                target: Some(BackupTarget {
                    alias: Some(alias.to_owned()),
                    ..BackupTarget::default()
                }),
                ..Default::default()
            },
            status: Some(BackupConfigurationStatus {
                phase: Some(phase),
                ..Default::default()
            }),
            ..Default::default()
        };
        let ready = configuration("a", BackupInvokerPhase::Ready);
        let invalid = configuration("a", BackupInvokerPhase::Invalid);
        let changed = configuration("b", BackupInvokerPhase::Ready);
        assert!(changed_target(Some(&ready), &changed).is_some());
        assert!(changed_target(Some(&ready), &ready).is_none());
        assert!(changed_target(Some(&invalid), &changed).is_none());
        assert!(changed_target(None, &changed).is_none());
    }

    #[test]
    fn a_restore_stays_as_it_is_but_its_rules_may_move() {
        let rule = Rule {
            paths: vec!["/a".to_owned()],
            ..Rule::default()
        };
        let old = RestoreSession::new(
            "back",
            RestoreSessionSpec {
                rules: vec![rule.clone()],
                target: Some(RestoreTarget::default()),
                ..Default::default()
            },
        );
        let mut new = old.clone();
        new.spec.rules = Vec::new();
        new.spec.target.as_mut().unwrap().rules = vec![rule];
        assert!(changed_restore(&old, &new).is_none());
        new.spec.repository.name = "other".to_owned();
        assert!(changed_restore(&old, &new).is_some());
    }
}
