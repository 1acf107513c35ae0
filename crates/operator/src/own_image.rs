//! The image of the operator's own Pod, which everything that it starts runs as well.

use api::k8s_openapi::api::core::v1::Pod;
use kube_client::{Api, Client};

use crate::failure::OperatorError;

/// Name of the operator's container in the chart and in the manifests.
const CONTAINER: &str = "operator";

/// Reads it: with several containers, the one that is called `operator`.
///
/// # Errors
///
/// Where the Pod does not exist, as for an operator outside of the cluster, or may not be read.
pub async fn own_image(
    client: Client,
    namespace: &str,
    pod: &str,
) -> Result<String, OperatorError> {
    let failed = |source| OperatorError::NoImage {
        pod: format!("{namespace}/{pod}"),
        source,
    };
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let found = pods
        .get(pod)
        .await
        .map_err(|source| failed(Some(Box::new(source))))?;
    image_of(&found).ok_or_else(|| failed(None))
}

fn image_of(pod: &Pod) -> Option<String> {
    let containers = pod.spec.as_ref()?.containers.as_slice();
    let own = containers.iter().find(|it| it.name == CONTAINER);
    match (own, containers) {
        (Some(own), _) | (None, [own]) => own.image.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_container_of_the_operator_is_told_from_its_neighbours() {
        let of = |containers: serde_json::Value| {
            let pod = json!({ "spec": { "containers": containers } });
            image_of(&serde_json::from_value(pod).unwrap())
        };
        let operator = json!({ "name": "operator", "image": "stash:2" });
        let mesh = json!({ "name": "mesh", "image": "mesh:1" });
        let renamed = json!({ "name": "stash", "image": "stash:2" });
        assert_eq!(of(json!([mesh, operator])).as_deref(), Some("stash:2"));
        assert_eq!(of(json!([renamed])).as_deref(), Some("stash:2"));
        assert_eq!(of(json!([mesh, renamed])), None);
    }
}
