//! Volume claims that a RestoreSession makes from its templates, and what is mounted of them.

use api::k8s_openapi::api::core::v1::{PersistentVolumeClaim, VolumeMount};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use api::problem::Problem;
use api::v1beta1::{RestoreSession, RestoreTarget, VolumeClaimTemplate};
use kube_client::{Resource, ResourceExt};
use session::labels::{self, Component};
use session::{host, names};

use crate::inject::Invoker;
use crate::job::data::HostData;
use crate::job::{claim_volume, nodes};

const ORDINAL: &str = "${POD_ORDINAL}";
/// Longest name of a volume in a Pod.
const VOLUME_NAME_BYTES: usize = 63;
/// Longest name of a claim.
const CLAIM_NAME_BYTES: usize = 253;

/// The claims of one replica and how a Job mounts them.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// The claims.
    pub claims: Vec<PersistentVolumeClaim>,
    /// The Job's view of them.
    pub data: HostData,
}

/// What is wrong with the templates.
pub fn template_problems(target: &RestoreTarget, namespace: &str) -> Vec<Problem> {
    let templates = &target.volume_claim_templates;
    if templates.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let count = target.replicas.unwrap_or(1);
    for (position, template) in templates.iter().enumerate() {
        let path = format!("spec.target.volumeClaimTemplates[{position}].metadata");
        let metadata = &template.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            problems.push(
                Problem::new(format!("{path}.name"), "the claim has no name")
                    .with_fix(format!("give it one, such as data-db-{ORDINAL}")),
            );
        } else if count > 1 && !name.contains(ORDINAL) {
            problems.push(
                Problem::new(
                    format!("{path}.name"),
                    "the claims of all replicas would have one name",
                )
                .with_value(name)
                .with_fix(format!("add {ORDINAL} to it")),
            );
        }
        let other = metadata.namespace.as_deref();
        if let Some(other) = other.filter(|it| !it.is_empty() && *it != namespace) {
            problems.push(
                Problem::new(
                    format!("{path}.namespace"),
                    "claims are made in the namespace of the RestoreSession",
                )
                .with_value(other)
                .with_fix("leave it out"),
            );
        }
    }
    problems.extend(mount_problems(target));
    problems
}

fn mount_problems(target: &RestoreTarget) -> Vec<Problem> {
    let present: Vec<String> = target
        .volume_claim_templates
        .iter()
        .map(volume_name)
        .collect();
    if target.volume_mounts.is_empty() {
        return vec![
            Problem::new("spec.target.volumeMounts", "no claim is mounted").with_fix(format!(
                "mount {} where the data was backed up",
                present.join(", ")
            )),
        ];
    }
    let unknown = target
        .volume_mounts
        .iter()
        .enumerate()
        .filter(|(_, mount)| !present.contains(&mount.name));
    unknown
        .map(|(position, mount)| {
            Problem::new(
                format!("spec.target.volumeMounts[{position}].name"),
                "no claim of spec.target.volumeClaimTemplates is called so",
            )
            .with_value(&mount.name)
            .with_fix(format!("use {}", present.join(", ")))
        })
        .collect()
}

/// By which name mounts mean a claim: the claim's without the number.
fn volume_name(template: &VolumeClaimTemplate) -> String {
    let name = template.metadata.name.as_deref().unwrap_or_default();
    let name = name.strip_suffix(&format!("-{ORDINAL}")).unwrap_or(name);
    let name = name.replace(ORDINAL, "n").replace('.', "-");
    names::shortened(&name, VOLUME_NAME_BYTES)
}

/// The claims of every replica. The data outlives the RestoreSession: it is noted as their maker, not as their owner.
pub fn claims(restore: &RestoreSession, target: &RestoreTarget) -> Vec<Claims> {
    let count = u32::try_from(target.replicas.unwrap_or(1)).unwrap_or(0);
    let alias = target.alias.as_deref();
    (0..count)
        .map(|ordinal| {
            let host = match target.replicas {
                Some(_) => host::replica_host(alias, ordinal),
                None => host::single_host(alias),
            };
            of_replica(restore, target, host, ordinal)
        })
        .collect()
}

fn of_replica(
    restore: &RestoreSession,
    target: &RestoreTarget,
    host: String,
    ordinal: u32,
) -> Claims {
    let templates = &target.volume_claim_templates;
    let made: Vec<PersistentVolumeClaim> = templates
        .iter()
        .map(|template| claim(restore, template, ordinal))
        .collect();
    let volumes = templates
        .iter()
        .zip(&made)
        .filter(|(template, _)| {
            let name = volume_name(template);
            target.volume_mounts.iter().any(|mount| mount.name == name)
        })
        .map(|(template, claim)| claim_volume(&volume_name(template), &claim.name_any()))
        .collect();
    Claims {
        data: HostData {
            host,
            volumes,
            mounts: target
                .volume_mounts
                .iter()
                .map(|mount| VolumeMount {
                    read_only: None,
                    ..mount.clone()
                })
                .collect(),
            node: None,
            security: None,
        },
        claims: made,
    }
}

fn claim(
    restore: &RestoreSession,
    template: &VolumeClaimTemplate,
    ordinal: u32,
) -> PersistentVolumeClaim {
    let number = ordinal.to_string();
    let metadata = &template.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let mut annotations = metadata.annotations.clone();
    annotations.extend(
        restore
            .uid()
            .map(|uid| (labels::MADE_BY_RESTORE.to_owned(), uid)),
    );
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name.replace(ORDINAL, &number)),
            namespace: restore.namespace(),
            labels: Some(labels::of_invoker(
                Some(&metadata.labels),
                &RestoreSession::kind(&()),
                &restore.name_any(),
                Component::Restore,
            )),
            annotations: Some(annotations),
            owner_references: Some(metadata.owner_references.clone())
                .filter(|list| !list.is_empty()),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    }
}

impl Claims {
    /// A claim of that name that another one has made; its data would be overwritten.
    pub fn foreign<'a>(
        &'a self,
        restore: &RestoreSession,
        present: &[PersistentVolumeClaim],
    ) -> Option<&'a str> {
        self.claims.iter().find_map(|claim| {
            let name = claim.metadata.name.as_deref()?;
            let present = present
                .iter()
                .find(|it| it.metadata.name.as_deref() == Some(name))?;
            let maker = present.annotations().get(labels::MADE_BY_RESTORE);
            let is_ours = maker.is_some() && maker.cloned() == restore.uid();
            (!is_ours).then_some(name)
        })
    }

    /// Places the Job where a claim that exists already is in use.
    pub fn place(
        &mut self,
        present: &[PersistentVolumeClaim],
        pods: &[api::k8s_openapi::api::core::v1::Pod],
    ) -> Result<(), crate::job::JobError> {
        for claim in present {
            let is_mine = self
                .claims
                .iter()
                .any(|mine| mine.metadata.name == claim.metadata.name);
            if is_mine && self.data.node.is_none() {
                self.data.node = nodes::of_claim(claim, pods)?;
            }
        }
        Ok(())
    }
}

/// The claim for interim data of one Job, which goes with the session that owns it.
pub fn interim<K>(
    template: Option<&VolumeClaimTemplate>,
    session: &K,
    (invoker, component): (&Invoker, Component),
    number: usize,
) -> Option<PersistentVolumeClaim>
where
    K: Resource<DynamicType = ()>,
{
    let template = template?;
    let suffix = template.metadata.name.as_deref().unwrap_or("interim");
    let name = match number {
        0 => format!("{}-{suffix}", session.name_any()),
        number => format!("{}-{suffix}-{number}", session.name_any()),
    };
    let user = Some(&template.metadata.labels);
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::shortened(&name, CLAIM_NAME_BYTES)),
            namespace: session.namespace(),
            labels: Some(labels::of_invoker(
                user,
                &invoker.kind,
                &invoker.name,
                component,
            )),
            annotations: Some(template.metadata.annotations.clone()).filter(|all| !all.is_empty()),
            owner_references: session.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    })
}
