//! Jobs that back up or restore volumes from outside of the Pods that use them.
//!
//! Every function here is pure. A Job is one Pod that is never tried again (`backoffLimit: 0`): what became of the
//! host is in the session's status, and whether it is tried again is the session's to say. It goes with its session.
//!
//! A backup runs as the image's user 65534, or as the user of the workload's Pods, who can read what they wrote;
//! nothing is written to the data, which is mounted read-only. A restore runs as root, because only root gives files
//! their owners back. What the user sets in `runtimeSettings` wins.

use std::collections::{BTreeMap, BTreeSet};

use api::k8s_openapi::api::batch::v1::{Job, JobSpec};
use api::k8s_openapi::api::core::v1::{
    LocalObjectReference, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec,
    PodTemplateSpec, Volume, VolumeMount,
};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use api::v1alpha1::Repository;
use api::v1beta1::{BackupTarget, EmptyDirSettings, PodRuntimeSettings, RuntimeSettings};
use kube_client::ResourceExt;
use serde_json::Value;

use crate::ImageOptions;
use crate::apart::{self, RepositoryInData};
use crate::pod_parts::{AgentParts, Around, Place, VolumeError, Work};

mod claims;
mod data;
mod nodes;
mod share;
pub mod state;

pub use claims::{Claims, claims, interim, template_problems};
pub use data::{HostData, of_claim, of_workload};

/// Where the interim volume is mounted.
const INTERIM_PATH: &str = "/stash-interim-volume";
/// The name of the interim volume.
const INTERIM_VOLUME: &str = "stash-interim";
/// A Job that is over is kept for ten minutes, so that its log can be read; longer would keep a claim that somebody
/// deletes from going, for a Pod that has ended still holds its claims.
const TTL_SECONDS: i32 = 10 * 60;

/// Why there can be no Job. What the user can do about it is part of the message.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A mount names a volume that the Pods do not have.
    #[error(
        "spec.target.volumeMounts names the volume {volume}, which the Pods of the {workload} do not have; they have {present}"
    )]
    UnknownVolume {
        /// The volume.
        volume: String,
        /// The workload.
        workload: String,
        /// What there is.
        present: String,
    },
    /// A volume that lives and dies with its Pod.
    #[error(
        "the volume {volume} of the {workload} is private to each Pod and cannot be mounted by a Job; leave spec.task out to use a sidecar"
    )]
    Private {
        /// The volume.
        volume: String,
        /// The workload.
        workload: String,
    },
    /// A claim does not exist.
    #[error("the volume claim {claim} does not exist")]
    NoClaim {
        /// The claim.
        claim: String,
    },
    /// The Pods do not run, so that it is not known where their hosts are.
    #[error("no Pod of the {workload} runs, so that its nodes are not known")]
    NoNodes {
        /// The workload.
        workload: String,
    },
    /// Only one Pod in the cluster may use the claim.
    #[error(
        "the volume claim {claim} is ReadWriteOncePod and the Pod {pod} uses it; use a sidecar, or stop that Pod"
    )]
    InUse {
        /// The claim.
        claim: String,
        /// Who uses it.
        pod: String,
    },
    /// Two volumes at one place.
    #[error(
        "two volumes would be mounted at {path}; change spec.target.volumeMounts or the mountPath of the local backend"
    )]
    SamePath {
        /// The place.
        path: String,
    },
    /// A backup would contain the backups before it.
    #[error(transparent)]
    RepositoryInData(#[from] RepositoryInData),
    /// A claim can be mounted in its own namespace only.
    #[error(
        "the Repository {repository} lies in the volume claim {claim}, which Pods of the namespace {namespace} cannot mount; make a Repository in that namespace, or use another backend"
    )]
    ForeignClaim {
        /// The Repository.
        repository: String,
        /// Its claim.
        claim: String,
        /// The namespace of the session.
        namespace: String,
    },
    /// The volume of the backend cannot be mounted.
    #[error("the Repository {repository} cannot be used in a Pod")]
    Backend {
        /// The Repository.
        repository: String,
        /// Why.
        #[source]
        source: VolumeError,
    },
}

/// Everything that makes a Job.
#[derive(Debug, Clone)]
pub struct JobParts<'a> {
    /// Its name and namespace.
    pub name: String,
    /// Its namespace.
    pub namespace: &'a str,
    /// Labels of Job and Pod.
    pub labels: BTreeMap<String, String>,
    /// The session, with which it goes.
    pub owner: Option<OwnerReference>,
    /// Whether data is read or written.
    pub work: Work,
    /// Behind the name of the program, such as `agent backup …`.
    pub args: Vec<String>,
    /// What it runs.
    pub image: &'a ImageOptions,
    /// The Repository.
    pub repository: &'a Repository,
    /// What the user set.
    pub settings: Option<&'a RuntimeSettings>,
    /// The scratch folder.
    pub temp_dir: Option<&'a EmptyDirSettings>,
    /// The claim for interim data, if there is one.
    pub interim: Option<String>,
    /// Who it runs as.
    pub account: String,
    /// The data.
    pub data: &'a HostData,
}

/// Builds the Job.
pub fn job(parts: &JobParts<'_>) -> Result<Job, JobError> {
    let settings = parts.settings.cloned().unwrap_or_default();
    let pod = settings.pod.unwrap_or_default();
    let security = pod
        .security_context
        .clone()
        .or_else(|| parts.data.security.clone());
    let mut mounts = parts.data.mounts.clone();
    let mut volumes = parts.data.volumes.clone();
    if let Some(claim) = &parts.interim {
        volumes.push(claim_volume(INTERIM_VOLUME, claim));
        mounts.push(VolumeMount {
            name: INTERIM_VOLUME.to_owned(),
            mount_path: INTERIM_PATH.to_owned(),
            ..VolumeMount::default()
        });
    }
    let container = AgentParts {
        image: parts.image,
        place: Place::Beside,
        work: parts.work,
        args: parts.args.clone(),
        settings: settings.container.as_ref(),
        temp_dir: parts.temp_dir,
        local: parts.repository.spec.backend.local.as_ref(),
        mounts,
        around: Around::own(security.clone()),
    };
    check(parts, &container)?;
    volumes.extend(container.volumes().map_err(|source| JobError::Backend {
        repository: parts.repository.name_any(),
        source,
    })?);
    let mut agent = container.container(Place::Beside.container_name());
    let mounts = agent.volume_mounts.get_or_insert_default();
    let volumes = share::once_per_claim(volumes, mounts);
    let spec = pod_spec(parts, pod.clone(), security);
    let mut labels = pod.pod_labels;
    labels.extend(parts.labels.clone());
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(parts.name.clone()),
            namespace: Some(parts.namespace.to_owned()),
            labels: Some(parts.labels.clone()),
            owner_references: parts.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            ttl_seconds_after_finished: Some(TTL_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(pod.pod_annotations).filter(|all| !all.is_empty()),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![agent],
                    volumes: Some(volumes),
                    ..spec
                }),
            },
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// What the user set for the Pod, on the node where the volumes can be mounted.
fn pod_spec(
    parts: &JobParts<'_>,
    pod: PodRuntimeSettings,
    security: Option<PodSecurityContext>,
) -> PodSpec {
    fn filled<T>(list: Vec<T>) -> Option<Vec<T>> {
        Some(list).filter(|list| !list.is_empty())
    }
    let has_node = pod.node_name.as_ref().is_some_and(|name| !name.is_empty());
    let affinity = match &parts.data.node {
        Some(node) if !has_node => Some(nodes::pinned(pod.affinity, node)),
        _ => pod.affinity,
    };
    let mut secrets = pod.image_pull_secrets;
    for name in &parts.image.pull_secrets {
        let secret = LocalObjectReference { name: name.clone() };
        if !secrets.contains(&secret) {
            secrets.push(secret);
        }
    }
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(parts.account.clone()),
        // Our container has a token of its own; others that the user adds by an admission plugin may want one.
        automount_service_account_token: Some(pod.automount_service_account_token.unwrap_or(false)),
        security_context: security,
        image_pull_secrets: filled(secrets),
        affinity,
        node_name: pod.node_name.filter(|name| !name.is_empty()),
        node_selector: Some(pod.node_selector).filter(|all| !all.is_empty()),
        scheduler_name: pod.scheduler_name,
        tolerations: filled(pod.tolerations),
        priority_class_name: pod.priority_class_name,
        priority: pod.priority,
        readiness_gates: filled(pod.readiness_gates),
        runtime_class_name: pod.runtime_class_name,
        enable_service_links: pod.enable_service_links,
        topology_spread_constraints: filled(pod.topology_spread_constraints),
        ..PodSpec::default()
    }
}

fn check(parts: &JobParts<'_>, container: &AgentParts<'_>) -> Result<(), JobError> {
    let mut taken = BTreeSet::new();
    let container_of = container.container(Place::Beside.container_name());
    for mount in container_of.volume_mounts.iter().flatten() {
        let path = mount.mount_path.trim_end_matches('/').to_owned();
        if !taken.insert(path.clone()) {
            return Err(JobError::SamePath { path });
        }
    }
    let claim = container
        .local
        .and_then(|local| local.source.persistent_volume_claim.as_ref());
    let of_repository = parts.repository.namespace().unwrap_or_default();
    match claim {
        Some(claim) if of_repository != parts.namespace => Err(JobError::ForeignClaim {
            repository: format!("{of_repository}/{}", parts.repository.name_any()),
            claim: claim.claim_name.clone(),
            namespace: parts.namespace.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A claim as a volume. Whether it is only read is said by the mount: a claim that is attached for reading only
/// cannot be shared with who writes it.
fn claim_volume(name: &str, claim: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: None,
        }),
        ..Volume::default()
    }
}

/// Refuses paths that hold the repository.
pub fn check_apart(
    data: &HostData,
    repository: &Repository,
    target: &BackupTarget,
) -> Result<(), JobError> {
    let volumes: Vec<Value> = data
        .volumes
        .iter()
        .map(|volume| serde_json::to_value(volume).unwrap_or_default())
        .collect();
    apart::check(repository, target, &volumes, &data.mounts)?;
    Ok(())
}

#[cfg(test)]
mod tests;
