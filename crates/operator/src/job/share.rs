//! A claim that is both the data and the local backend of a Job.
//!
//! It is one volume of the Pod: a kubelet waits for ever for a Pod that names the same claim in two volumes.

use api::k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Volume, VolumeMount};
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

fn claim(volume: &Volume) -> Option<&PersistentVolumeClaimVolumeSource> {
    volume.persistent_volume_claim.as_ref()
}
