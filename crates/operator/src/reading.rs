//! Reading single objects, lists of a namespace, and targets.

use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use api::v1beta1::TargetRef;
use kube_client::api::ListParams;
use kube_client::core::NamespaceResourceScope;
use kube_client::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use session::model::CLAIM_KIND;

use crate::context::Context;
use crate::failure::{ReconcileError, found};
use crate::job::state::{Refusal, is_being_created, why_unmounted};
use crate::target::Workload;
use crate::workload::{self, WorkloadKey};

/// The target as it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Nobody has looked.
    NotAsked,
    /// It does not exist, or is being deleted.
    Missing,
    /// A workload.
    Workload(Box<Workload>),
    /// A volume claim.
    Claim(Box<PersistentVolumeClaim>),
}

/// An object as it is now, if it exists.
pub async fn get<K>(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    if name.is_empty() {
        return Ok(None);
    }
    let api: Api<K> = Api::namespaced(context.client(), namespace);
    let object = format!("{} {namespace}/{name}", K::kind(&()));
    found(api.get(name).await).map_err(ReconcileError::api("read", object))
}

/// Whether an object is not what it was when it was read.
pub async fn has_changed<K>(context: &Context, object: &K) -> Result<bool, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let namespace = object.namespace().unwrap_or_default();
    let live: Option<K> = get(context, &namespace, &object.name_any()).await?;
    Ok(live.is_none_or(|it| it.resource_version() != object.resource_version()))
}

/// The objects of a namespace, those with certain labels if a selector is given.
pub async fn list<K>(
    context: &Context,
    namespace: &str,
    selector: &str,
) -> Result<Vec<K>, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client(), namespace);
    let list = api.list(&ListParams::default().labels(selector)).await;
    list.map(|list| list.items).map_err(ReconcileError::api(
        "list",
        format!("{} of {namespace}", K::plural(&())),
    ))
}

/// The Pods of a Job, and none of an earlier Job of its name.
pub async fn pods_of_job(context: &Context, job: &Job) -> Result<Vec<Pod>, ReconcileError> {
    let namespace = job.namespace().unwrap_or_default();
    let uid = job.uid().unwrap_or_default();
    let selector = format!("batch.kubernetes.io/controller-uid={uid}");
    list(context, &namespace, &selector).await
}

/// Why Kubernetes creates no Pod for a Job, as the last event about that says.
pub async fn refusal(context: &Context, job: &Job) -> Result<Option<Refusal>, ReconcileError> {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let uid = job.uid().unwrap_or_default();
    let of_job = format!("involvedObject.uid={uid},reason=FailedCreate");
    let events: Api<Event> = Api::namespaced(context.client(), &namespace);
    let listed = events.list(&ListParams::default().fields(&of_job)).await;
    let listed = listed.map_err(ReconcileError::api(
        "list",
        format!("events of the Job {namespace}/{name}"),
    ))?;
    let last = listed
        .items
        .into_iter()
        .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    Ok(last
        .and_then(|event| event.message)
        .map(|message| Refusal { job: name, message }))
}

/// Why Kubernetes cannot mount the volumes of a Pod that waits for them, as the last event about that says.
pub async fn unmounted(context: &Context, pod: &Pod) -> Result<Option<String>, ReconcileError> {
    if !is_being_created(pod) {
        return Ok(None);
    }
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let uid = pod.uid().unwrap_or_default();
    let of_pod = format!("involvedObject.uid={uid},type=Warning");
    let events: Api<Event> = Api::namespaced(context.client(), &namespace);
    let listed = events.list(&ListParams::default().fields(&of_pod)).await;
    let listed = listed.map_err(ReconcileError::api(
        "list",
        format!("events of the Pod {namespace}/{name}"),
    ))?;
    Ok(why_unmounted(&name, listed.items))
}

/// A target as it is now.
pub async fn target(
    context: &Context,
    namespace: &str,
    reference: &TargetRef,
) -> Result<Target, ReconcileError> {
    let name = &reference.name;
    if reference.kind == CLAIM_KIND {
        let claim: Option<PersistentVolumeClaim> = get(context, namespace, name).await?;
        let claim = claim.filter(|claim| claim.metadata.deletion_timestamp.is_none());
        return Ok(claim.map_or(Target::Missing, |claim| Target::Claim(Box::new(claim))));
    }
    let key = WorkloadKey {
        kind: reference.kind.clone(),
        namespace: namespace.to_owned(),
        name: name.clone(),
    };
    let live = workload::read(context, &key).await?;
    let workload = live.and_then(|live| Workload::read(&live));
    Ok(workload.map_or(Target::Missing, |it| Target::Workload(Box::new(it))))
}
