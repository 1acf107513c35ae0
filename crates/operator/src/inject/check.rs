//! Whether a container of ours fits into a workload, before the API server would refuse the result with fewer words.

use std::collections::BTreeSet;

use api::v1alpha1::Repository;
use kube_core::ResourceExt;
use serde_json::Value;

use crate::inject::{InjectError, describe};
use crate::pod_parts::AgentParts;

const MOUNTS_FIELD: &str = "spec.target.volumeMounts";

/// Every reason why it would not.
pub(super) fn check(
    workload: &Value,
    parts: &AgentParts<'_>,
    repository: &Repository,
) -> Result<(), InjectError> {
    if workload.pointer("/spec/template/spec").is_none() {
        return Err(InjectError::NoTemplate {
            workload: describe(workload),
        });
    }
    check_volumes(workload, parts)?;
    check_paths(parts)?;
    check_claim(workload, parts, repository)
}

/// The mounts name volumes of the Pods, or of the claims of a StatefulSet.
fn check_volumes(workload: &Value, parts: &AgentParts<'_>) -> Result<(), InjectError> {
    let names = |pointer: &str, name: &str| -> Vec<String> {
        let list = workload.pointer(pointer).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|entry| entry.pointer(name)?.as_str().map(str::to_owned))
            .filter(|name| !name.starts_with("stash-"))
            .collect()
    };
    let mut present = names("/spec/template/spec/volumes", "/name");
    present.extend(names("/spec/volumeClaimTemplates", "/metadata/name"));
    let unknown = parts
        .mounts
        .iter()
        .find(|mount| !present.contains(&mount.name));
    match unknown {
        None => Ok(()),
        Some(mount) => Err(InjectError::UnknownVolume {
            field: MOUNTS_FIELD,
            volume: mount.name.clone(),
            workload: describe(workload),
            present: if present.is_empty() {
                "none".to_owned()
            } else {
                present.join(", ")
            },
        }),
    }
}

fn check_paths(parts: &AgentParts<'_>) -> Result<(), InjectError> {
    let container = parts.place.container_name();
    let mut taken = BTreeSet::new();
    for mount in parts.container(container).volume_mounts.iter().flatten() {
        let path = mount.mount_path.trim_end_matches('/').to_owned();
        if !taken.insert(path.clone()) {
            return Err(InjectError::SamePath {
                path,
                container,
                field: MOUNTS_FIELD,
            });
        }
    }
    Ok(())
}

fn check_claim(
    workload: &Value,
    parts: &AgentParts<'_>,
    repository: &Repository,
) -> Result<(), InjectError> {
    let claim = parts
        .local
        .and_then(|local| local.source.persistent_volume_claim.as_ref());
    let namespace = workload
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let of_repository = repository.namespace().unwrap_or_default();
    match claim {
        Some(claim) if of_repository != namespace => Err(InjectError::ForeignClaim {
            repository: format!("{of_repository}/{}", repository.name_any()),
            claim: claim.claim_name.clone(),
            namespace: namespace.to_owned(),
        }),
        _ => Ok(()),
    }
}
