//! A claim that is both the data and the local backend of a Job.
//!
//! It is one volume of the Pod: a kubelet waits for ever for a Pod that names the same claim in two volumes. And the
//! repository must not be part of what is backed up, or every backup would hold all that were made before it.

use api::k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Volume, VolumeMount};
use api::v1alpha1::Repository;
use api::v1beta1::BackupTarget;
use kube_client::ResourceExt;
use session::model;

use crate::job::{HostData, JobError};

/// Leaves the first volume of every claim and lets the mounts of the others name it.
pub(super) fn once_per_claim(volumes: Vec<Volume>, mounts: &mut [VolumeMount]) -> Vec<Volume> {
    let mut kept: Vec<Volume> = Vec::new();
    for volume in volumes {
        let same = claim(&volume).and_then(|wanted| {
            let mut claims = kept.iter_mut().filter_map(|it| {
                let source = it.persistent_volume_claim.as_mut()?;
                Some((&it.name, source))
            });
            claims.find(|(_, source)| source.claim_name == wanted.claim_name)
        });
        let Some((name, source)) = same else {
            kept.push(volume);
            continue;
        };
        // Who only reads says so in the mount.
        let is_read_only = claim(&volume).is_some_and(|other| other.read_only == Some(true));
        source.read_only = source.read_only.filter(|_| is_read_only);
        for mount in mounts.iter_mut().filter(|it| it.name == volume.name) {
            mount.name.clone_from(name);
        }
    }
    kept
}

/// Refuses paths that hold the repository.
pub fn check_apart(
    data: &HostData,
    repository: &Repository,
    target: &BackupTarget,
) -> Result<(), JobError> {
    let Some(backend) = &repository.spec.backend.local else {
        return Ok(());
    };
    let Some(source) = &backend.source.persistent_volume_claim else {
        return Ok(());
    };
    let place = parts(backend.sub_path.as_deref().unwrap_or_default());
    let paths = model::backup_paths(target);
    for mount in &data.mounts {
        let volume = data.volumes.iter().find(|it| it.name == mount.name);
        let is_same = volume
            .and_then(claim)
            .is_some_and(|it| it.claim_name == source.claim_name);
        let below = parts(mount.sub_path.as_deref().unwrap_or_default());
        let Some(rest) = place.strip_prefix(below.as_slice()).filter(|_| is_same) else {
            continue;
        };
        let seen = [&parts(&mount.mount_path), rest].concat();
        let holds = |path: &String| seen.starts_with(&parts(path));
        if let Some(path) = paths.iter().find(|path| holds(path))
            && !target.exclude.iter().any(holds)
        {
            return Err(JobError::RepositoryInData {
                path: path.clone(),
                repository: repository.name_any(),
                claim: source.claim_name.clone(),
                seen: format!("/{}", seen.join("/")),
            });
        }
    }
    Ok(())
}

fn claim(volume: &Volume) -> Option<&PersistentVolumeClaimVolumeSource> {
    volume.persistent_volume_claim.as_ref()
}

fn parts(path: &str) -> Vec<&str> {
    let parts = path.split('/');
    parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}
