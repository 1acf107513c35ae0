//! Reads what a session depends on: much before it starts, little while agents show that they work.

use std::sync::Arc;

use api::conditions::reason;
use api::k8s_openapi::api::batch::v1::Job;
use api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use api::v1alpha1::Repository;
use api::v1beta1::{
    BackupConfiguration, BackupInvokerRef, BackupSession, BackupSessionStatus, TargetRef,
};
use jiff::Timestamp;
use kube_client::{Resource, ResourceExt};
use kube_runtime::reflector::ObjectRef;
use session::model::{self, Model};
use session::names;
use session::phase::is_final_backup;

use crate::backup_configuration::{is_allowed, repository_place};
use crate::backup_session::Passing;
use crate::context::Context;
use crate::data::{Data, running_restore};
use crate::failure::ReconcileError;
use crate::job::state::{self, Refusal, is_over};
use crate::reading::{self, Target};
use crate::stores::{Stores, Touched};
use crate::target::are_hosts_nodes;
use crate::workload;

/// What was read.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The invoker.
    pub configuration: Option<Arc<BackupConfiguration>>,
    /// Its Repository.
    pub repository: Option<Arc<Repository>>,
    /// Since when the API server is heard of without a longer gap: nobody could report to it before.
    pub in_touch_since: Option<Timestamp>,
    /// Whether its usage policy lets this namespace use it; asked before a start.
    pub is_allowed: bool,
    /// The invoker's other sessions.
    pub siblings: Vec<Arc<BackupSession>>,
    /// A restore that is at work on the same target.
    pub restore: Option<String>,
    /// The target.
    pub target: Target,
    /// The Jobs of this session.
    pub jobs: Vec<Job>,
    /// Pods: those around before a start, and those that should be at work after it.
    pub pods: Vec<Pod>,
    /// Jobs for which Kubernetes creates no Pod.
    pub refusals: Vec<Refusal>,
    /// Why Pods of Jobs wait for their volumes.
    pub unmounted: Vec<String>,
    /// Volume claims of the namespace, before Jobs are made.
    pub claims: Vec<PersistentVolumeClaim>,
}

/// Whether a session is not over.
pub fn is_open(session: &BackupSession) -> bool {
    let phase = session.status.as_ref().and_then(|status| status.phase);
    !phase.is_some_and(is_final_backup)
}

/// Whether agents were told to begin.
pub fn is_started(session: &BackupSession) -> bool {
    let targets = session.status.iter().flat_map(|status| &status.targets);
    targets
        .into_iter()
        .any(|target| target.total_hosts.is_some())
}

/// Whether a session waits for a restore.
fn is_waiting(session: &BackupSession) -> bool {
    let conditions = session.status.iter().flat_map(|status| &status.conditions);
    let mut reasons = conditions.filter_map(|it| it.reason.as_deref());
    reasons.any(|it| it == reason::WAITS_FOR_RESTORE)
}

/// Whether a change matters to a session.
pub fn concerns(change: &Touched, session: &BackupSession, stores: &Stores) -> bool {
    if !is_open(session) {
        return false;
    }
    match change {
        Touched::Invoker {
            invoker, target, ..
        } => {
            let is_mine = invoker.kind == session.spec.invoker.kind
                && invoker.name == session.spec.invoker.name
                && Some(&invoker.namespace) == session.metadata.namespace.as_ref();
            let is_near = target
                .as_ref()
                .is_some_and(|key| Some(&key.namespace) == session.metadata.namespace.as_ref());
            let waits = invoker.kind == "RestoreSession"
                && Some(&invoker.namespace) == session.metadata.namespace.as_ref()
                && is_waiting(session);
            is_mine
                || waits
                || is_near
                    && configuration_of(session, stores)
                        .is_some_and(|it| workload::target_of_backup(&it) == *target)
        }
        Touched::Workload(key) => {
            let own = session.metadata.namespace.as_deref().unwrap_or_default();
            key.namespace == own
                && configuration_of(session, stores)
                    .and_then(|it| target_of(&it))
                    .is_some_and(|it| key.is(&it, own))
        }
        Touched::Repository { .. } | Touched::Namespace(_) | Touched::Over { .. } => false,
    }
}

fn configuration_of(session: &BackupSession, stores: &Stores) -> Option<Arc<BackupConfiguration>> {
    let invoker = &session.spec.invoker;
    if invoker.kind != BackupConfiguration::kind(&()) {
        return None;
    }
    let namespace = session.namespace()?;
    stores
        .configurations
        .get(&ObjectRef::new(&invoker.name).within(&namespace))
}

/// Reads everything that matters now.
pub async fn observe(
    session: &BackupSession,
    context: &Context,
    passing: &Passing,
    now: Timestamp,
) -> Result<Observation, ReconcileError> {
    let namespace = session.namespace().unwrap_or_default();
    let is_new = is_open(session) && !is_started(session);
    // A copy may not know yet what was applied together with the session.
    let known = configuration_of(session, &passing.stores).filter(|_| !is_new);
    let configuration = match known {
        Some(configuration) => Some(configuration),
        None => ask_configuration(context, &namespace, &session.spec.invoker).await?,
    };
    let mut seen = Observation {
        repository: configuration.as_ref().and_then(|it| {
            let (namespace, name) = repository_place(&it.spec.repository, &namespace);
            passing.stores.repository(&namespace, &name)
        }),
        in_touch_since: Some(context.touch.since(now)),
        is_allowed: true,
        siblings: siblings(session, passing),
        restore: None,
        target: Target::NotAsked,
        jobs: Vec::new(),
        pods: Vec::new(),
        refusals: Vec::new(),
        unmounted: Vec::new(),
        claims: Vec::new(),
        configuration,
    };
    let Some(configuration) = seen.configuration.clone().filter(|_| is_open(session)) else {
        return Ok(seen);
    };
    let Some(reference) = target_of(&configuration) else {
        return Ok(seen);
    };
    let status = session.status.clone().unwrap_or_default();
    let is_job = model::backup_model(&configuration.spec, &namespace) == Ok(Model::Job);
    let total = status.targets.first().and_then(|target| target.total_hosts);
    let around = Around {
        context,
        namespace: &namespace,
        reference: &reference,
        is_job,
    };
    match total {
        None => around.before(&mut seen, &configuration).await?,
        Some(total) => {
            let key = workload::target_of_backup(&configuration);
            // Nothing is noted of a workload that is gone.
            let is_gone = key.is_some_and(|key| passing.stores.outcome(&key).is_none());
            around
                .during(&mut seen, session, (total, is_gone), now)
                .await?;
        }
    }
    Ok(seen)
}

/// The target of a configuration.
pub fn target_of(configuration: &BackupConfiguration) -> Option<TargetRef> {
    let target = configuration.spec.target.as_ref()?;
    target.reference.clone()
}

async fn ask_configuration(
    context: &Context,
    namespace: &str,
    invoker: &BackupInvokerRef,
) -> Result<Option<Arc<BackupConfiguration>>, ReconcileError> {
    if invoker.kind != BackupConfiguration::kind(&()) {
        return Ok(None);
    }
    reading::get(context, namespace, &invoker.name)
        .await
        .map(|found| found.map(Arc::new))
}

fn siblings(session: &BackupSession, passing: &Passing) -> Vec<Arc<BackupSession>> {
    passing.sessions.state_filter(|other| {
        other.metadata.namespace == session.metadata.namespace
            && other.metadata.name != session.metadata.name
            && other.spec.invoker.kind == session.spec.invoker.kind
            && other.spec.invoker.name == session.spec.invoker.name
            && other.metadata.deletion_timestamp.is_none()
    })
}

/// Looks at what is around a target.
struct Around<'a> {
    context: &'a Context,
    namespace: &'a str,
    reference: &'a TargetRef,
    is_job: bool,
}

impl Around<'_> {
    /// Everything that a start depends on.
    async fn before(
        &self,
        seen: &mut Observation,
        configuration: &BackupConfiguration,
    ) -> Result<(), ReconcileError> {
        seen.siblings = self.fresh(&seen.siblings).await?;
        let (place, name) = repository_place(&configuration.spec.repository, self.namespace);
        let repository: Option<Repository> = reading::get(self.context, &place, &name).await?;
        seen.repository = repository.map(Arc::new);
        if let Some(repository) = &seen.repository {
            seen.is_allowed = is_allowed(self.context, repository, self.namespace).await?;
        }
        seen.target = reading::target(self.context, self.namespace, self.reference).await?;
        let target = configuration.spec.target.as_ref();
        let mounts = target.map_or(&[][..], |target| &target.volume_mounts);
        let data = Data::of_target(self.reference, &seen.target, mounts);
        seen.restore = running_restore(self.context, self.namespace, &data).await?;
        if self.is_job || are_hosts_nodes(self.reference) {
            seen.pods = reading::list(self.context, self.namespace, "").await?;
        }
        if self.is_job {
            seen.claims = reading::list(self.context, self.namespace, "").await?;
        }
        Ok(())
    }

    /// A copy may not know yet that another session is over, or that it has begun; before one is skipped for it, it is
    /// asked for.
    async fn fresh(
        &self,
        siblings: &[Arc<BackupSession>],
    ) -> Result<Vec<Arc<BackupSession>>, ReconcileError> {
        let mut all = Vec::new();
        for sibling in siblings {
            if !is_open(sibling) {
                all.push(Arc::clone(sibling));
                continue;
            }
            let live: Option<BackupSession> =
                reading::get(self.context, self.namespace, &sibling.name_any()).await?;
            all.extend(
                live.filter(|it| it.metadata.deletion_timestamp.is_none())
                    .map(Arc::new),
            );
        }
        Ok(all)
    }

    /// Jobs always; Pods and target only where agents have not just said that they work, or the workload may be gone.
    async fn during(
        &self,
        seen: &mut Observation,
        session: &BackupSession,
        (total, is_gone): (i32, bool),
        now: Timestamp,
    ) -> Result<(), ReconcileError> {
        if self.is_job {
            let name = session.name_any();
            for number in 0..usize::try_from(total).unwrap_or(0) {
                let job = names::backup_job(&name, number);
                seen.jobs
                    .extend(reading::get::<Job>(self.context, self.namespace, &job).await?);
            }
            for job in seen.jobs.iter().filter(|job| is_over(job)) {
                seen.pods
                    .extend(reading::pods_of_job(self.context, job).await?);
            }
        }
        let status = session.status.clone().unwrap_or_default();
        if !is_gone && !needs_look(&status, total, now) {
            return Ok(());
        }
        seen.target = reading::target(self.context, self.namespace, self.reference).await?;
        if !self.is_job && are_hosts_nodes(self.reference) {
            // Which nodes have Pods at all tells whether one has gone.
            seen.pods = reading::list(self.context, self.namespace, "").await?;
            return Ok(());
        }
        let progress = status.targets.iter().flat_map(|target| &target.progress);
        for entry in progress {
            let pod: Option<Pod> = reading::get(self.context, self.namespace, &entry.pod).await?;
            seen.pods.extend(pod);
        }
        if self.is_job {
            for job in seen.jobs.iter().filter(|job| !is_over(job)) {
                let pods = reading::pods_of_job(self.context, job).await?;
                if pods.is_empty() {
                    let refusal = reading::refusal(self.context, job).await?;
                    seen.refusals.extend(refusal);
                }
                for pod in &pods {
                    seen.unmounted
                        .extend(reading::unmounted(self.context, pod).await?);
                }
                seen.pods.extend(pods);
            }
        }
        Ok(())
    }
}

/// Whether some work is done by nobody who has just said so.
fn needs_look(status: &BackupSessionStatus, total: i32, now: Timestamp) -> bool {
    status
        .targets
        .first()
        .is_none_or(|target| state::needs_look(&target.progress, target.stats.len(), total, now))
}

/// Whether a session was there first.
pub fn is_older(session: &BackupSession, than: &BackupSession) -> bool {
    let key = |it: &BackupSession| {
        let created = it.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, it.metadata.name.clone())
    };
    key(session) < key(than)
}
