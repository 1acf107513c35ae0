//! Reads who uses a Repository, and how far the removal of its data is.

use std::fmt::Debug;

use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::core::v1::{Namespace, Pod};
use api::v1alpha1::{Repository, TypedObjectReference};
use api::v1beta1::{BackupConfiguration, RepositoryRef, RestoreSession};
use kube_client::api::ListParams;
use kube_client::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use session::names;

use crate::context::Context;
use crate::failure::{ReconcileError, found};
use crate::inject::Invoker;
use crate::reading;
use crate::repository::place;
use crate::stores::Stores;

/// How far the removal of the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WipeOut {
    /// Nobody has begun.
    NotStarted,
    /// The Job runs.
    Running,
    /// The Job has no Pod, or not another one yet.
    Starting,
    /// Kubernetes creates no Pod for the Job, for this reason.
    Refused(String),
    /// Everything is gone.
    Done,
    /// The Job failed.
    Failed {
        /// Which one, by its uid.
        job: String,
        /// Why.
        why: String,
    },
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Who names the Repository, sorted.
    pub references: Vec<TypedObjectReference>,
    /// Who else needs the data, by the API server itself; asked before its removal begins.
    pub needed_by: Vec<TypedObjectReference>,
    /// Whether the Repository's own namespace is being deleted, which waits for the Repository.
    pub is_namespace_ending: bool,
    /// How far the removal of the data is; looked at only when the Repository is being deleted.
    pub wipe_out: WipeOut,
}

/// Whether a Repository is named by an invoker, or lists it from an earlier time.
pub fn concerns(invoker: &Invoker, named: &(String, String), repository: &Repository) -> bool {
    let metadata = &repository.metadata;
    let is_named =
        metadata.namespace.as_ref() == Some(&named.0) && metadata.name.as_ref() == Some(&named.1);
    let references = repository
        .status
        .iter()
        .flat_map(|status| &status.references);
    is_named || references.into_iter().any(|it| is(it, invoker))
}

fn is(reference: &TypedObjectReference, invoker: &Invoker) -> bool {
    reference.kind == invoker.kind
        && reference.name == invoker.name
        && reference.namespace.as_deref() == Some(invoker.namespace.as_str())
}

/// Reads everything.
pub async fn observe(
    repository: &Repository,
    context: &Context,
    stores: &Stores,
) -> Result<Observation, ReconcileError> {
    let is_deleted = repository.metadata.deletion_timestamp.is_some();
    let wipe_out = if is_deleted && repository.spec.wipe_out {
        wipe_out(repository, context).await?
    } else {
        WipeOut::NotStarted
    };
    let references = references(stores, repository);
    let is_next = is_deleted && repository.spec.wipe_out && wipe_out == WipeOut::NotStarted;
    let needed_by = if is_next && references.is_empty() {
        needed_by(repository, context).await?
    } else {
        Vec::new()
    };
    let is_namespace_ending = is_next && is_namespace_ending(repository, context).await?;
    Ok(Observation {
        references,
        needed_by,
        is_namespace_ending,
        wipe_out,
    })
}

async fn is_namespace_ending(
    repository: &Repository,
    context: &Context,
) -> Result<bool, ReconcileError> {
    let name = repository.namespace().unwrap_or_default();
    let namespaces: Api<Namespace> = Api::all(context.client());
    let namespace = namespaces.get_metadata_opt(&name).await;
    let namespace = namespace.map_err(ReconcileError::api("read", format!("Namespace {name}")))?;
    Ok(namespace.is_some_and(|it| it.metadata.deletion_timestamp.is_some()))
}

fn references(stores: &Stores, repository: &Repository) -> Vec<TypedObjectReference> {
    let configurations = stores
        .configurations
        .state_filter(|it| uses(it, &it.spec.repository, repository));
    let restores = stores
        .restores
        .state_filter(|it| uses(it, &it.spec.repository, repository));
    let mut all: Vec<TypedObjectReference> = configurations
        .iter()
        .map(|it| named::<BackupConfiguration>(it))
        .chain(restores.iter().map(|it| named::<RestoreSession>(it)))
        .collect();
    all.sort_by(|left, right| {
        (&left.kind, &left.namespace, &left.name).cmp(&(&right.kind, &right.namespace, &right.name))
    });
    all
}

/// Other Repositories at the same place that stay or are used while they wait to go, and invokers of which our copies do
/// not know yet.
async fn needed_by(
    repository: &Repository,
    context: &Context,
) -> Result<Vec<TypedObjectReference>, ReconcileError> {
    let repositories = list::<Repository>(context).await?;
    let configurations = list::<BackupConfiguration>(context).await?;
    let restores = list::<RestoreSession>(context).await?;
    let is_used = |other: &Repository| {
        let mut backups = configurations.iter();
        let mut back = restores.iter();
        backups.any(|it| uses(it, &it.spec.repository, other))
            || back.any(|it| uses(it, &it.spec.repository, other))
    };
    let of_repositories = repositories.iter().filter(|it| {
        it.metadata.uid != repository.metadata.uid
            && place::is_same(it, repository)
            && (it.metadata.deletion_timestamp.is_none() || is_used(it))
    });
    let of_configurations = configurations
        .iter()
        .filter(|it| uses(*it, &it.spec.repository, repository));
    let of_restores = restores
        .iter()
        .filter(|it| uses(*it, &it.spec.repository, repository));
    Ok(of_repositories
        .map(named::<Repository>)
        .chain(of_configurations.map(named::<BackupConfiguration>))
        .chain(of_restores.map(named::<RestoreSession>))
        .collect())
}

async fn list<K>(context: &Context) -> Result<Vec<K>, ReconcileError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let listed = Api::<K>::all(context.client())
        .list(&ListParams::default())
        .await;
    listed
        .map(|list| list.items)
        .map_err(ReconcileError::api("list", K::plural(&()).into_owned()))
}

/// Whether an object names the Repository, and stays.
fn uses<K: Resource>(object: &K, reference: &RepositoryRef, repository: &Repository) -> bool {
    let own = object.meta().namespace.as_deref().unwrap_or_default();
    let namespace = reference.namespace.as_deref().filter(|it| !it.is_empty());
    let of_repository = repository.metadata.namespace.as_deref().unwrap_or_default();
    object.meta().deletion_timestamp.is_none()
        && Some(reference.name.as_str()) == repository.metadata.name.as_deref()
        && namespace.unwrap_or(own) == of_repository
}

fn named<K: Resource<DynamicType = ()>>(object: &K) -> TypedObjectReference {
    TypedObjectReference {
        api_group: Some(K::group(&()).into_owned()),
        kind: K::kind(&()).into_owned(),
        namespace: object.namespace(),
        name: object.name_any(),
    }
}

async fn wipe_out(repository: &Repository, context: &Context) -> Result<WipeOut, ReconcileError> {
    let namespace = repository.namespace().unwrap_or_default();
    let name = names::wipe_out_job(&repository.name_any());
    let jobs: Api<Job> = Api::namespaced(context.client(), &namespace);
    let job = found(jobs.get(&name).await).map_err(ReconcileError::api(
        "read",
        format!("Job {namespace}/{name}"),
    ))?;
    let Some(job) = job else {
        return Ok(WipeOut::NotStarted);
    };
    Ok(match state(repository, &job) {
        WipeOut::Failed { job: uid, why } => {
            let pods = reading::pods_of_job(context, &job).await?;
            let why = last_words(&pods).unwrap_or(why);
            WipeOut::Failed { job: uid, why }
        }
        WipeOut::Running if has_no_pod(&job) => reading::refusal(context, &job)
            .await?
            .map_or(WipeOut::Starting, |it| WipeOut::Refused(it.message)),
        state => state,
    })
}

fn has_no_pod(job: &Job) -> bool {
    let active = job.status.as_ref().and_then(|status| status.active);
    active.unwrap_or(0) == 0
}

/// What the agent said at last, as Kubernetes keeps it of a container that has failed.
fn last_words(pods: &[Pod]) -> Option<String> {
    let states = pods
        .iter()
        .flat_map(|pod| pod.status.iter())
        .flat_map(|status| status.container_statuses.iter().flatten())
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref())
        .filter(|ended| ended.exit_code != 0);
    let last = states.max_by_key(|ended| ended.finished_at.as_ref().map(|time| time.0))?;
    let message = last.message.as_deref().unwrap_or_default();
    let line = message.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().to_owned())
}

/// A Job of an earlier Repository of the same name says nothing about this one.
fn state(repository: &Repository, job: &Job) -> WipeOut {
    let uid = repository.metadata.uid.as_deref();
    let failed = |why| WipeOut::Failed {
        job: job.uid().unwrap_or_default(),
        why,
    };
    let is_ours = job
        .owner_references()
        .iter()
        .any(|owner| Some(owner.uid.as_str()) == uid);
    if !is_ours {
        return failed("a Job of an earlier Repository was in the way".to_owned());
    }
    let conditions = job
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    for condition in conditions.filter(|it| it.status == "True") {
        match condition.type_.as_str() {
            "Complete" => return WipeOut::Done,
            "Failed" => {
                let why = condition.message.clone();
                return failed(why.unwrap_or_else(|| "its Pods failed".to_owned()));
            }
            _ => {}
        }
    }
    WipeOut::Running
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_line_of_the_agent_that_failed_last_is_the_reason() {
        let pod = |second: u32, code: i32, message: &str| -> Pod {
            let ended = json!({
                "exitCode": code, "message": message,
                "finishedAt": format!("2026-01-02T10:00:{second:02}Z"),
            });
            serde_json::from_value(json!({
                "spec": { "containers": [] },
                "status": { "containerStatuses": [{
                    "name": "stash", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "terminated": ended },
                }] },
            }))
            .unwrap()
        };
        let pods = [
            pod(2, 1, "waiting\nno bucket\n\n"),
            pod(1, 1, "no Secret"),
            pod(3, 0, "done"),
        ];
        assert_eq!(last_words(&pods).as_deref(), Some("no bucket"));
        assert_eq!(last_words(&[pod(1, 1, "")]), None);
        assert_eq!(last_words(&[]), None);
    }
}
