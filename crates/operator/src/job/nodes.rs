//! Where a Pod must run so that it can mount what others use.

use api::k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PersistentVolumeClaim, Pod,
};

use kube_client::ResourceExt;
use session::labels;

use crate::job::JobError;
use crate::target::node_of;

/// The affinity of the user, on one node only. Terms are alternatives, so that each gets the node.
pub(super) fn pinned(affinity: Option<Affinity>, node: &str) -> Affinity {
    let mut affinity = affinity.unwrap_or_default();
    let of_node = affinity
        .node_affinity
        .get_or_insert_with(NodeAffinity::default);
    let required = of_node
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(NodeSelector::default);
    if required.node_selector_terms.is_empty() {
        required
            .node_selector_terms
            .push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields
            .get_or_insert_default()
            .push(NodeSelectorRequirement {
                key: "metadata.name".to_owned(),
                operator: "In".to_owned(),
                values: Some(vec![node.to_owned()]),
            });
    }
    affinity
}

/// The node on which a claim can be mounted; `None` when any will do, because nobody uses it or several nodes may.
pub(super) fn of_claim(
    claim: &PersistentVolumeClaim,
    pods: &[Pod],
) -> Result<Option<String>, JobError> {
    let modes = claim
        .spec
        .iter()
        .flat_map(|spec| spec.access_modes.iter().flatten());
    let modes: Vec<&str> = modes.map(String::as_str).collect();
    if modes.contains(&"ReadWriteMany") || modes.contains(&"ReadOnlyMany") {
        return Ok(None);
    }
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let user = pods
        .iter()
        .filter(|pod| uses(pod, name) && !is_ours(pod))
        .find_map(|pod| Some((pod, node_of(pod)?)));
    match user {
        Some((pod, _)) if modes.contains(&"ReadWriteOncePod") => Err(JobError::InUse {
            claim: name.to_owned(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
        }),
        user => Ok(user.map(|(_, node)| node)),
    }
}

/// Our own Jobs do not stand in each other's way for good.
fn is_ours(pod: &Pod) -> bool {
    pod.labels().get(labels::MANAGED_BY).map(String::as_str) == Some(labels::MANAGER)
}

fn uses(pod: &Pod, claim: &str) -> bool {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| volume.persistent_volume_claim.as_ref())
        .any(|source| source.claim_name == claim)
}
