//! Refuses what other objects forbid. What one object can decide, and what may not change in it, stands in its
//! definition.

use api::problem::Problem;
use api::rules::check_restore_session;
use api::v1beta1::{BackupConfiguration, RepositoryRef, RestoreSession, TargetRef, TaskRef};
use futures::FutureExt;
use kube_client::core::admission::{AdmissionResponse, Operation};
use serde::de::DeserializeOwned;
use session::model::{CLAIM_KIND, PVC_BACKUP_TASK, WORKLOAD_KINDS, target_model};

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
    if new.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let namespace = request.namespace.clone().unwrap_or_default();
    let target = new.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.as_ref());
    match foreign_target(reference, new.spec.task.as_ref(), &namespace) {
        Some(problem) => Some(problem),
        None => usage(&new.spec.repository, &namespace, answering).await,
    }
}

async fn restore(request: &Request, answering: &Answering) -> Option<Problem> {
    let new: RestoreSession = typed(request.object.as_ref()?)?;
    // One that exists cannot be changed, and what it may use was judged when it was created.
    if request.operation == Operation::Update {
        return None;
    }
    let namespace = request.namespace.clone().unwrap_or_default();
    let target = new.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.as_ref());
    let problem = foreign_target(reference, new.spec.task.as_ref(), &namespace);
    match problem.or_else(|| contradiction(&new)) {
        Some(problem) => Some(problem),
        None => usage(&new.spec.repository, &namespace, answering).await,
    }
}

/// Two rules for one host, which the definition cannot see: once the object is there they cannot be put right any more.
fn contradiction(restore: &RestoreSession) -> Option<Problem> {
    let mut problems = check_restore_session(restore).into_iter();
    problems.find(|it| it.is_error() && it.path.contains(".targetHosts["))
}

/// An object that cannot be read is judged by its definition, not here.
fn typed<K: DeserializeOwned>(object: &kube_client::core::DynamicObject) -> Option<K> {
    let value = serde_json::to_value(object).ok()?;
    serde_json::from_value(value).ok()
}

/// Only what would have to be mounted is refused in another namespace. What the published system reaches otherwise is
/// accepted; the controller says in a condition that it is not acted on yet.
fn foreign_target(
    reference: Option<&TargetRef>,
    task: Option<&TaskRef>,
    namespace: &str,
) -> Option<Problem> {
    let reference = reference?;
    let task = task.map_or("", |task| task.name.as_str());
    let kind = reference.kind.as_str();
    let is_mounted = kind == CLAIM_KIND || task.is_empty() && WORKLOAD_KINDS.contains(&kind);
    if !is_mounted || task.starts_with("kubedump") {
        return None;
    }
    target_model(reference, "", PVC_BACKUP_TASK, namespace)
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
