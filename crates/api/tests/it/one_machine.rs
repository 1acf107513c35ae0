//! What is refused without a cluster.

use api::rules::needs_cluster;

use crate::load;

#[test]
fn a_plain_set_needs_no_cluster() {
    let outcome = load(include_str!("manifests/local.yaml"));
    let found: Vec<_> = outcome
        .objects
        .iter()
        .flat_map(|manifest| needs_cluster(&manifest.object))
        .collect();
    assert_eq!(found, []);
}

#[test]
fn everything_that_needs_a_cluster_is_named_at_once() {
    let outcome = load(include_str!("manifests/cluster.yaml"));
    let found: Vec<String> = outcome
        .objects
        .iter()
        .flat_map(|manifest| needs_cluster(&manifest.object))
        .map(|problem| {
            format!(
                "{} {}",
                if problem.is_error() {
                    "error"
                } else {
                    "warning"
                },
                problem.path
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            "error spec.target.ref",
            "warning spec.target.volumeMounts",
            "error spec.interimVolumeTemplate",
            "warning spec.runtimeSettings",
            "warning spec.tempDir",
            "error spec.target.ref",
            "error spec.target.volumeClaimTemplates",
            "warning spec.target.replicas",
            "error spec.hooks.postRestore.containerName",
            "error spec.hooks.postRestore.tcpSocket.port",
        ]
    );
}
