//! Reads what a restore depends on.

use std::sync::Arc;

use api::conditions::condition_type as types;
use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use api::v1alpha1::Repository;
use api::v1beta1::RestoreSession;
use jiff::Timestamp;
use kube_client::ResourceExt;
use session::names;

use crate::backup_configuration::{Presence, is_allowed, repository_place, secret_presence};
use crate::context::Context;
use crate::data::{Data, running_backup};
use crate::failure::ReconcileError;
use crate::inject::Invoker;
use crate::job::state::{Refusal, is_over, needs_look};
use crate::reading::{self, Target};
use crate::restore_session::plan::{Way, has_ended, way};
use crate::stores::{Stores, Touched};
use crate::target::are_hosts_nodes;
use crate::workload::{PartOutcome, restore_claims, target_of_restore};

/// What was read.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Where the Repository should be, as `namespace/name`.
    pub repository_name: String,
    /// The Repository.
    pub repository: Option<Arc<Repository>>,
    /// Since when the API server is heard of without a longer gap: nobody could report to it before.
    pub in_touch_since: Option<Timestamp>,
    /// A backup that is at work on the same data, before a start.
    pub backup: Option<String>,
    /// Whether its usage policy lets this namespace use it.
    pub is_allowed: bool,
    /// Its Secret; `None` when it is not known which one.
    pub secret: Option<Presence>,
    /// The target.
    pub target: Target,
    /// Who has the workload, when an init container is wanted.
    pub winner: Option<Invoker>,
    /// What became of the init container.
    pub init: Option<PartOutcome>,
    /// Uid of the workload for which this process has made what the init container needs.
    pub prepared: Option<String>,
    /// Why Pods that run do not get it by themselves, and what to do about it.
    pub by_hand: Option<&'static str>,
    /// The Jobs of this restore.
    pub jobs: Vec<Job>,
    /// Pods of the namespace.
    pub pods: Vec<Pod>,
    /// Jobs for which Kubernetes creates no Pod.
    pub refusals: Vec<Refusal>,
    /// Why Pods of Jobs wait for their volumes.
    pub unmounted: Vec<String>,
    /// Volume claims of the namespace.
    pub claims: Vec<PersistentVolumeClaim>,
}

/// Whether a change matters to a restore.
pub fn concerns(change: &Touched, restore: &RestoreSession) -> bool {
    let own = restore.namespace().unwrap_or_default();
    match change {
        Touched::Over { namespace } => own == *namespace && is_waiting(restore),
        Touched::Repository { namespace, name } => {
            repository_place(&restore.spec.repository, &own) == (namespace.clone(), name.clone())
        }
        Touched::Namespace(name) => {
            own == *name && repository_place(&restore.spec.repository, &own).0 != own
        }
        Touched::Workload(key) => {
            let target = restore.spec.target.as_ref();
            target
                .and_then(|target| target.reference.as_ref())
                .is_some_and(|it| key.is(it, &own))
        }
        Touched::Invoker {
            invoker, target, ..
        } => {
            target.is_some()
                && invoker.kind == "RestoreSession"
                && *invoker != Invoker::of(restore)
                && target_of_restore(restore) == *target
        }
    }
}

fn is_waiting(restore: &RestoreSession) -> bool {
    let conditions = restore.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|it| it.type_ == types::WAITING)
}

/// Reads everything that matters now.
pub async fn observe(
    restore: &RestoreSession,
    context: &Context,
    stores: &Stores,
) -> Result<Observation, ReconcileError> {
    let own = restore.namespace().unwrap_or_default();
    let (namespace, name) = repository_place(&restore.spec.repository, &own);
    let workload = target_of_restore(restore);
    let outcome = workload.as_ref().and_then(|key| stores.outcome(key));
    let mut seen = Observation {
        repository_name: format!("{namespace}/{name}"),
        repository: stores.repository(&namespace, &name),
        in_touch_since: Some(context.touch.since(Timestamp::now())),
        backup: None,
        is_allowed: true,
        secret: None,
        target: Target::NotAsked,
        winner: workload.as_ref().and_then(|key| {
            let claims = restore_claims(stores, key);
            claims.first().map(|claim| Invoker::of(claim.as_ref()))
        }),
        by_hand: outcome.as_ref().and_then(|outcome| outcome.by_hand),
        init: outcome.map(|outcome| outcome.init),
        prepared: None,
        jobs: Vec::new(),
        pods: Vec::new(),
        refusals: Vec::new(),
        unmounted: Vec::new(),
        claims: Vec::new(),
    };
    let way = way(restore);
    if has_ended(restore, way.as_ref().ok()) {
        return Ok(seen);
    }
    if let Some(repository) = &seen.repository {
        seen.is_allowed = is_allowed(context, repository, &own).await?;
        let secret = repository.spec.backend.storage_secret_name.clone();
        if let Some(secret) = secret.filter(|name| !name.is_empty()) {
            seen.secret = Some(secret_presence(context, &namespace, &secret).await?);
        }
    }
    let Ok(way) = way else {
        return Ok(seen);
    };
    let target = restore.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.as_ref());
    if let (Some(reference), true) = (reference, way != Way::Templates) {
        seen.target = reading::target(context, &own, reference).await?;
    }
    let total = restore.status.as_ref().and_then(|it| it.total_hosts);
    if total.is_none() {
        let data = Data::of_restore(restore, &seen.target);
        seen.backup = running_backup(context, &own, &data).await?;
    }
    match total {
        None if way != Way::Init => {
            seen.claims = reading::list(context, &own, "").await?;
            seen.pods = reading::list(context, &own, "").await?;
        }
        None => {
            if reference.is_some_and(are_hosts_nodes) {
                seen.pods = reading::list(context, &own, "").await?;
            }
        }
        Some(total) => during(&mut seen, restore, context, (way, total)).await?,
    }
    Ok(seen)
}

/// Jobs with their Pods, or the Pods around a workload.
async fn during(
    seen: &mut Observation,
    restore: &RestoreSession,
    context: &Context,
    (way, total): (Way, i32),
) -> Result<(), ReconcileError> {
    let own = restore.namespace().unwrap_or_default();
    let status = restore.status.clone().unwrap_or_default();
    let reported = status.stats.len();
    let is_silent = needs_look(&status.progress, reported, total, Timestamp::now());
    if way == Way::Init {
        if is_silent {
            seen.pods = reading::list(context, &own, "").await?;
        }
        return Ok(());
    }
    for number in 0..usize::try_from(total).unwrap_or(0) {
        let name = names::restore_job(&restore.name_any(), number);
        let job: Option<Job> = reading::get(context, &own, &name).await?;
        if let Some(job) = job {
            if is_over(&job) || is_silent {
                let pods = reading::pods_of_job(context, &job).await?;
                if pods.is_empty() && !is_over(&job) {
                    seen.refusals.extend(reading::refusal(context, &job).await?);
                }
                for pod in pods.iter().filter(|_| !is_over(&job)) {
                    let unmounted = reading::unmounted(context, pod).await?;
                    seen.unmounted.extend(unmounted);
                }
                seen.pods.extend(pods);
            }
            seen.jobs.push(job);
        }
    }
    for entry in status.progress.iter().filter(|_| is_silent) {
        let pod: Option<Pod> = reading::get(context, &own, &entry.pod).await?;
        seen.pods.extend(pod);
    }
    Ok(())
}
