//! Workloads: which BackupConfiguration and which RestoreSession have a container of ours in them, put in and taken
//! out again.
//!
//! A workload is looked at when it changes, and when an invoker that names it changes or goes. Which Pods exist and
//! what runs in them is the business of Kubernetes.

use std::fmt::Debug;
use std::sync::Arc;

use api::k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use api::k8s_openapi::api::core::v1::ReplicationController;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube_client::core::{NamespaceResourceScope, PartialObjectMeta};
use kube_client::{Api, Resource};
use kube_runtime::reflector::{self, ObjectRef};
use kube_runtime::{Controller, WatchStreamExt, watcher};
use tokio_util::sync::CancellationToken;

use crate::connection::watched;
use crate::context::Context;
use crate::controller::{Again, drive};
use crate::failure::ReconcileError;
use crate::stores::{Stores, Touched};

mod apply;
mod claims;
mod observe;
mod plan;

pub use claims::{
    BackupClaim, WorkloadKey, backup_claims, restore_claims, target_of_backup, target_of_restore,
};
pub use observe::is_owned;
pub(crate) use observe::read;
pub use plan::{Outcome, PartOutcome, wanted_restore, wanted_sidecar};

/// The controllers of the five kinds of workloads.
pub fn controllers(
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> Vec<BoxFuture<'static, ()>> {
    vec![
        controller::<Deployment>("deployment", context, stores, stop),
        controller::<StatefulSet>("statefulset", context, stores, stop),
        controller::<DaemonSet>("daemonset", context, stores, stop),
        controller::<ReplicaSet>("replicaset", context, stores, stop),
        controller::<ReplicationController>("replicationcontroller", context, stores, stop),
    ]
}

/// Only metadata is watched; a workload that concerns us is read when it is looked at.
fn controller<K>(
    name: &'static str,
    context: &Arc<Context>,
    stores: &Arc<Stores>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::all(context.watching());
    let (copies, writer) = reflector::store();
    let lost = copies.clone();
    let (deleted, users) = (Arc::clone(stores), Arc::clone(stores));
    let changes = watcher(api, watched())
        .default_backoff()
        // Who wrote which field is the larger part of the metadata and not looked at.
        .modify(|meta| meta.metadata.managed_fields = None)
        .reflect(writer)
        .inspect(move |event| {
            if let Ok(watcher::Event::Delete(meta)) = event {
                // Those who want it hear that it is gone.
                let key = WorkloadKey::of(meta);
                deleted.note(&key, None);
                deleted.tell(Touched::Workload(key));
            }
        })
        .applied_objects();
    let present = copies.clone();
    stores.targets.know(&K::kind(&()), move |key| {
        let found = present.get(&ObjectRef::new(&key.name).within(&key.namespace));
        found.is_some_and(|meta| meta.metadata.deletion_timestamp.is_none())
    });
    let controller = Controller::for_stream(changes, copies.clone());
    let concerned = move |change: &Touched| match change {
        Touched::Invoker {
            invoker, target, ..
        } => {
            let named = target
                .iter()
                .filter(|key| key.kind == K::kind(&()))
                .map(|key| ObjectRef::new(&key.name).within(&key.namespace));
            let carrying = copies
                .state_filter(|meta| observe::names(meta, invoker))
                .into_iter()
                .map(|meta| ObjectRef::from_obj(meta.as_ref()));
            named.chain(carrying).collect()
        }
        // The volume of a local backend is mounted by every sidecar that uses it.
        Touched::Repository { namespace, name } => users
            .targets_of(namespace, name)
            .into_iter()
            .filter(|key| key.kind == K::kind(&()))
            .map(|key| ObjectRef::new(&key.name).within(&key.namespace))
            .collect(),
        Touched::Workload(_) | Touched::Namespace(_) | Touched::Over { .. } => Vec::new(),
    };
    let all = move || {
        let copies = lost.state();
        copies
            .iter()
            .map(|meta| ObjectRef::from_obj(meta.as_ref()))
            .collect()
    };
    let controller = controller.reconcile_on(stores.listen(concerned, all));
    let stores = Arc::clone(stores);
    drive(
        name,
        controller,
        Arc::clone(context),
        stop.clone(),
        move |meta, context| {
            let stores = Arc::clone(&stores);
            async move { pass(&meta, &context, &stores).await }
        },
    )
    .boxed()
}

/// Brings one workload to where it should be.
async fn pass<K>(
    meta: &PartialObjectMeta<K>,
    context: &Context,
    stores: &Stores,
) -> Result<Again, ReconcileError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    stores.ready().await;
    let key = WorkloadKey::of(meta);
    let backup = backup_claims(stores, &key);
    let restore = restore_claims(stores, &key);
    if backup.is_empty() && restore.is_empty() && !observe::is_marked(meta) {
        stores.note(&key, None);
        return Ok(Again::OnChange);
    }
    if meta.metadata.deletion_timestamp.is_some() {
        return Ok(Again::OnChange);
    }
    if let Some(owner) = observe::owner(&meta.metadata) {
        // Deployments hand their annotations down to their ReplicaSets, whose templates are not ours to change.
        stores.note(&key, plan::owned(&key, &owner, &backup, &restore).as_ref());
        return Ok(Again::OnChange);
    }
    let seen = observe::fingerprint(meta, stores, &backup, &restore);
    if stores.outcome(&key).is_some_and(|last| last.seen == seen) {
        return Ok(Again::OnChange);
    }
    if let Some(waiting) = plan::waiting(&seen, meta, &backup, &restore) {
        stores.note(&key, Some(&waiting));
        return Ok(Again::OnChange);
    }
    let Some(live) = observe::read(context, &key).await? else {
        stores.note(&key, None);
        return Ok(Again::OnChange);
    };
    let mut plan = plan::plan(&live, stores, &backup, &restore, &context.options.image);
    let doubt = format!("a copy that is behind of {key}");
    if observe::is_doubtful(context, &key, &live, &plan).await? {
        tracing::debug!(workload = %key, "a copy is behind; nothing is removed yet");
        return Ok(Again::After(context.delays.after_failure(&doubt)));
    }
    context.delays.forget(&doubt);
    plan.outcome.seen = seen;
    apply::apply(context, stores, &key, &live, plan).await?;
    Ok(Again::OnChange)
}
