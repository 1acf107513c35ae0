//! The volumes that a Job works on: those of a claim, and those of a workload's Pods.

use api::k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodSecurityContext, Volume, VolumeMount,
};
use session::{host, model};

use crate::job::{JobError, claim_volume, nodes};
use crate::pod_parts::{Place, Work};
use crate::target::{Workload, node_of};

/// The name of the volume of a claim.
const CLAIM_VOLUME: &str = "stash-volume";

/// What one Job works on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostData {
    /// As which host.
    pub host: String,
    /// The volumes.
    pub volumes: Vec<Volume>,
    /// Where they are mounted.
    pub mounts: Vec<VolumeMount>,
    /// The node where they can be mounted.
    pub node: Option<String>,
    /// As whom, unless the user says so.
    pub security: Option<PodSecurityContext>,
}

/// The data of a claim, mounted as the target's first mount says.
pub fn of_claim(
    claim: &PersistentVolumeClaim,
    mounts: &[VolumeMount],
    pods: &[Pod],
    (work, host): (Work, String),
) -> Result<HostData, JobError> {
    let name = claim.metadata.name.clone().unwrap_or_default();
    let first = mounts.first().cloned().unwrap_or_default();
    Ok(HostData {
        host,
        volumes: vec![claim_volume(CLAIM_VOLUME, &name)],
        mounts: vec![mount(
            &VolumeMount {
                name: CLAIM_VOLUME.to_owned(),
                mount_path: model::data_path(mounts),
                ..first
            },
            work,
        )],
        node: nodes::of_claim(claim, pods)?,
        security: None,
    })
}

fn mount(mount: &VolumeMount, work: Work) -> VolumeMount {
    VolumeMount {
        read_only: (work == Work::Backup).then_some(true),
        ..mount.clone()
    }
}

/// The data of every host of a workload: one Job for each.
pub fn of_workload(
    workload: &Workload,
    alias: Option<&str>,
    mounts: &[VolumeMount],
    (claims, pods): (&[PersistentVolumeClaim], &[Pod]),
    work: Work,
) -> Result<Vec<HostData>, JobError> {
    let around = Around {
        workload,
        mounts,
        claims,
        pods,
        work,
    };
    match workload.kind.as_str() {
        "StatefulSet" => workload
            .ordinals()
            .map(|ordinal| around.host(host::replica_host(alias, ordinal), Some(ordinal), None))
            .collect(),
        "DaemonSet" => {
            let nodes = workload.nodes(pods);
            if nodes.is_empty() {
                return Err(JobError::NoNodes {
                    workload: workload.describe(),
                });
            }
            nodes
                .into_iter()
                .map(|node| around.host(host::node_host(alias, &node), None, Some(node)))
                .collect()
        }
        _ => Ok(vec![around.host(host::single_host(alias), None, None)?]),
    }
}

struct Around<'a> {
    workload: &'a Workload,
    mounts: &'a [VolumeMount],
    claims: &'a [PersistentVolumeClaim],
    pods: &'a [Pod],
    work: Work,
}

impl Around<'_> {
    /// `node` is where the host is known to be.
    fn host(
        &self,
        host: String,
        ordinal: Option<u32>,
        mut node: Option<String>,
    ) -> Result<HostData, JobError> {
        let mut volumes: Vec<Volume> = Vec::new();
        for mount in self.mounts {
            if volumes.iter().any(|volume| volume.name == mount.name) {
                continue;
            }
            let volume = self.volume(&mount.name, ordinal)?;
            if node.is_none() {
                node = self.node(&volume, ordinal)?;
            }
            volumes.push(volume);
        }
        let mounts = self.mounts.iter().map(|it| mount(it, self.work));
        Ok(HostData {
            host,
            mounts: mounts.collect(),
            volumes,
            node,
            security: self.security(),
        })
    }

    /// A volume of the Pods by its name.
    fn volume(&self, name: &str, ordinal: Option<u32>) -> Result<Volume, JobError> {
        let templates = &self.workload.claim_templates;
        if let (Some(ordinal), true) = (ordinal, templates.iter().any(|it| it == name)) {
            let claim = format!("{name}-{}", self.workload.pod(ordinal));
            return Ok(claim_volume(name, &claim));
        }
        let present = self.workload.template.volumes.iter().flatten();
        let Some(volume) = present.clone().find(|volume| volume.name == name) else {
            let mut names: Vec<&str> = present.map(|volume| volume.name.as_str()).collect();
            names.extend(templates.iter().map(String::as_str));
            names.retain(|name| !name.starts_with("stash-"));
            return Err(JobError::UnknownVolume {
                volume: name.to_owned(),
                workload: self.workload.describe(),
                present: if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                },
            });
        };
        if volume.empty_dir.is_some() || volume.ephemeral.is_some() {
            return Err(JobError::Private {
                volume: name.to_owned(),
                workload: self.workload.describe(),
            });
        }
        Ok(volume.clone())
    }

    /// Where a volume can be mounted; `None` when anywhere.
    fn node(&self, volume: &Volume, ordinal: Option<u32>) -> Result<Option<String>, JobError> {
        if volume.host_path.is_some() {
            return Ok(self.pods_of(ordinal).find_map(node_of));
        }
        let Some(source) = &volume.persistent_volume_claim else {
            return Ok(None);
        };
        let name = source.claim_name.as_str();
        let claim = self
            .claims
            .iter()
            .find(|claim| claim.metadata.name.as_deref() == Some(name))
            .ok_or_else(|| JobError::NoClaim {
                claim: name.to_owned(),
            })?;
        nodes::of_claim(claim, self.pods)
    }

    /// The Pods of a host. Those of a Deployment belong to it through a ReplicaSet, whose name begins with its own.
    fn pods_of(&self, ordinal: Option<u32>) -> impl Iterator<Item = &Pod> {
        let (workload, wanted) = (self.workload, ordinal.map(|it| self.workload.pod(it)));
        self.pods.iter().filter(move |pod| match &wanted {
            Some(name) => pod.metadata.name.as_ref() == Some(name),
            None => {
                let owners = pod.metadata.owner_references.iter().flatten();
                owners.into_iter().any(|owner| {
                    let is_of_replica_set = owner.kind == "ReplicaSet"
                        && owner
                            .name
                            .rsplit_once('-')
                            .is_some_and(|(name, _)| name == workload.name);
                    owner.uid == workload.uid || is_of_replica_set
                })
            }
        })
    }

    /// The user of the Pods, or of the container that has the first volume: who wrote the data can read it.
    fn security(&self) -> Option<PodSecurityContext> {
        let template = &self.workload.template;
        let mut security = template.security_context.clone().unwrap_or_default();
        let first = self.mounts.first()?;
        let container = template.containers.iter().find(|container| {
            let mounts = container.volume_mounts.iter().flatten();
            mounts.into_iter().any(|mount| mount.name == first.name)
        });
        let of_container = container.and_then(|container| container.security_context.clone());
        if let Some(of_container) = of_container {
            security.run_as_user = of_container.run_as_user.or(security.run_as_user);
            security.run_as_group = of_container.run_as_group.or(security.run_as_group);
        }
        // The ownership of the files is the workload's own business.
        security.fs_group_change_policy =
            Some("OnRootMismatch".to_owned()).filter(|_| security.fs_group.is_some());
        security.sysctls = None;
        let mut containers = template
            .containers
            .iter()
            .filter(|container| container.name != Place::Beside.container_name())
            .map(|container| container.security_context.as_ref()?.run_as_non_root)
            .peekable();
        let each_refuses_root =
            containers.peek().is_some() && containers.all(|refuses| refuses == Some(true));
        if security.run_as_non_root == Some(true) || each_refuses_root {
            security.run_as_non_root = Some(true);
        } else if self.work == Work::Restore {
            // A restore runs as root unless the workload refuses that or the user says otherwise.
            security.run_as_user = None;
            security.run_as_group = None;
            security.run_as_non_root = None;
        }
        Some(security).filter(|security| *security != PodSecurityContext::default())
    }
}
