//! Reads a workload and, before something is removed, what the copies may have missed.

use std::fmt::Write;
use std::sync::Arc;

use api::v1beta1::{BackupConfiguration, RestoreSession};
use kube_client::core::{
    ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, PartialObjectMeta,
};
use kube_client::{Api, Resource};
use serde_json::Value;
use session::labels;

use crate::context::Context;
use crate::failure::{ReconcileError, found};
use crate::inject::Invoker;
use crate::pod_parts::Place;
use crate::stores::Stores;
use crate::workload::{WorkloadKey, plan::Plan, target_of_backup, target_of_restore};

fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Whether a workload says that it carries something of ours.
pub fn is_marked<K>(meta: &PartialObjectMeta<K>) -> bool {
    [labels::BACKUP_INVOKER, labels::RESTORE_INVOKER]
        .iter()
        .any(|name| annotation(&meta.metadata, name).is_some())
}

/// Whether a workload says that it carries something for this invoker.
pub fn names<K>(meta: &PartialObjectMeta<K>, invoker: &Invoker) -> bool {
    [labels::BACKUP_INVOKER, labels::RESTORE_INVOKER]
        .iter()
        .filter_map(|name| annotation(&meta.metadata, name))
        // Asked of every workload at each change of an invoker.
        .filter(|text| text.contains(&invoker.name))
        .any(|text| serde_json::from_str::<Invoker>(text).is_ok_and(|named| named == *invoker))
}

/// `Kind name` of the workload that makes this one from its own template.
pub fn owner(metadata: &ObjectMeta) -> Option<String> {
    metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| {
            owner.controller == Some(true)
                && ["Deployment", "DeploymentConfig"].contains(&owner.kind.as_str())
        })
        .map(|owner| format!("{} {}", owner.kind, owner.name))
}

/// The same for a workload as JSON.
pub fn is_owned(workload: &Value) -> bool {
    let metadata = workload.get("metadata").cloned().unwrap_or_default();
    serde_json::from_value::<ObjectMeta>(metadata).is_ok_and(|it| owner(&it).is_some())
}

/// Everything that a decision depends on, so that the same is not decided twice. The status of a workload changes
/// often and does not count.
pub fn fingerprint<K>(
    meta: &PartialObjectMeta<K>,
    stores: &Stores,
    backup: &[Arc<BackupConfiguration>],
    restore: &[Arc<RestoreSession>],
) -> String {
    let metadata = &meta.metadata;
    let mut text = format!("{:?} {:?}", metadata.uid, metadata.generation);
    for name in [
        labels::BACKUP_INVOKER,
        labels::RESTORE_INVOKER,
        labels::ADDED_PULL_SECRETS,
    ] {
        push(&mut text, &annotation(metadata, name));
    }
    let repository = |reference: &api::v1beta1::RepositoryRef, namespace: Option<&String>| {
        let own = namespace.map(String::as_str).unwrap_or_default();
        let namespace = reference.namespace.as_deref().unwrap_or(own);
        let found = stores.repository(namespace, &reference.name);
        found.map(|it| (it.metadata.uid.clone(), it.metadata.generation))
    };
    if let Some(claim) = backup.first() {
        let status = claim.status.as_ref();
        push(&mut text, &claim.metadata.uid);
        push(&mut text, &claim.metadata.generation);
        push(
            &mut text,
            &status.map(|it| (it.phase, it.observed_generation)),
        );
        push(
            &mut text,
            &repository(&claim.spec.repository, claim.metadata.namespace.as_ref()),
        );
    }
    if let Some(claim) = restore.first() {
        let status = claim.status.as_ref();
        let conditions = status.map(|it| {
            let all = it.conditions.iter();
            all.map(|one| (one.type_.clone(), one.status))
                .collect::<Vec<_>>()
        });
        push(&mut text, &claim.metadata.uid);
        push(&mut text, &status.map(|it| it.phase));
        push(&mut text, &conditions);
        push(
            &mut text,
            &repository(&claim.spec.repository, claim.metadata.namespace.as_ref()),
        );
    }
    text
}

fn push(text: &mut String, part: &impl std::fmt::Debug) {
    // Writing into a text does not fail.
    let _ = write!(text, " {part:?}");
}

/// The client of a workload's kind.
pub fn api(context: &Context, workload: &WorkloadKey) -> Api<DynamicObject> {
    let (group, version) = workload
        .api_version()
        .split_once('/')
        .unwrap_or(("", workload.api_version()));
    let kind = GroupVersionKind::gvk(group, version, &workload.kind);
    let resource = ApiResource::from_gvk(&kind);
    Api::namespaced_with(context.client(), &workload.namespace, &resource)
}

/// The workload as it is now, with fields that this program does not know.
pub async fn read(
    context: &Context,
    workload: &WorkloadKey,
) -> Result<Option<Value>, ReconcileError> {
    let live = found(api(context, workload).get(&workload.name).await)
        .map_err(ReconcileError::api("read", workload.to_string()))?;
    live.map(serde_json::to_value)
        .transpose()
        .map_err(|source| ReconcileError::Encode {
            object: workload.to_string(),
            source,
        })
}

/// Before a container goes, its invoker is asked for: if it still wants it there, a copy is behind.
pub async fn is_doubtful(
    context: &Context,
    workload: &WorkloadKey,
    live: &Value,
    plan: &Plan,
) -> Result<bool, ReconcileError> {
    for (place, invoker) in &plan.removed {
        let Some(invoker) = invoker
            .clone()
            .or_else(|| crate::inject::carried(live, *place))
        else {
            continue;
        };
        let target = match place {
            Place::Beside => {
                ask::<BackupConfiguration>(context, &invoker, target_of_backup).await?
            }
            Place::Before => ask::<RestoreSession>(context, &invoker, target_of_restore).await?,
        };
        if target.as_ref() == Some(workload) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn ask<K>(
    context: &Context,
    invoker: &Invoker,
    target: fn(&K) -> Option<WorkloadKey>,
) -> Result<Option<WorkloadKey>, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = kube_client::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    if invoker.kind != K::kind(&()) || invoker.name.is_empty() || invoker.namespace.is_empty() {
        return Ok(None);
    }
    let api: Api<K> = Api::namespaced(context.client(), &invoker.namespace);
    let object = format!("{} {}/{}", invoker.kind, invoker.namespace, invoker.name);
    let live = found(api.get(&invoker.name).await).map_err(ReconcileError::api("read", object))?;
    Ok(live
        .filter(|it| it.meta().deletion_timestamp.is_none())
        .and_then(|it| target(&it)))
}
