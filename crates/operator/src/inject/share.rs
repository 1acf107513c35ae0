//! One claim is one volume of a Pod: a kubelet waits for ever for a Pod that names the same claim in two volumes.
//!
//! The claim of a local backend may be mounted by the other container of ours, or by the workload itself. Then its
//! volume is used, and it stays as long as any container mounts it.

use serde_json::Value;

use crate::inject::Part;

const CLAIM: &str = "/persistentVolumeClaim/claimName";

/// The part without volumes whose claim the template has under another name.
pub(super) fn adapted(workload: &Value, part: &Part) -> Part {
    let mut part = part.clone();
    let own = part.place.volume_names();
    let present: Vec<&Value> = volumes(workload)
        .filter(|volume| name(volume).is_none_or(|name| !own.contains(&name)))
        .collect();
    let mut renamed: Vec<(String, String)> = Vec::new();
    part.volumes.retain(|volume| {
        let claim = volume.pointer(CLAIM);
        let same = present
            .iter()
            .find(|other| claim.is_some() && other.pointer(CLAIM) == claim);
        match (same.and_then(|other| name(other)), name(volume)) {
            (Some(other), Some(name)) => {
                renamed.push((name.to_owned(), other.to_owned()));
                false
            }
            _ => true,
        }
    });
    let mounts = part
        .container
        .get_mut("volumeMounts")
        .and_then(Value::as_array_mut);
    for mount in mounts.into_iter().flatten() {
        let other = renamed.iter().find(|(name, _)| mount["name"] == **name);
        if let Some((_, other)) = other {
            mount["name"] = Value::from(other.as_str());
        }
    }
    part
}

/// Whether a container other than `except` mounts a volume.
pub(super) fn is_mounted(spec: &Value, volume: &str, except: &str) -> bool {
    ["initContainers", "containers"]
        .iter()
        .filter_map(|list| spec.get(list)?.as_array())
        .flatten()
        .filter(|container| container["name"] != except)
        .filter_map(|container| container.get("volumeMounts")?.as_array())
        .flatten()
        .any(|mount| mount["name"] == volume)
}

fn volumes(workload: &Value) -> impl Iterator<Item = &Value> {
    let list = workload.pointer("/spec/template/spec/volumes");
    list.and_then(Value::as_array).into_iter().flatten()
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("name")?.as_str()
}
