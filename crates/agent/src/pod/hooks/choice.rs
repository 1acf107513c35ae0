//! Which Pod of a workload a hook runs in, which of its containers, and which port is meant.

use api::k8s_openapi::api::core::v1::Pod;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use api::v1beta1::TargetRef;

use super::super::client::ApiError;
use super::super::owner::CONTAINERS;

/// A Pod that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("no Pod of it is running")]
    NoPod,
    #[error("it has no container {0}")]
    NoContainer(String),
    #[error("its container {container} has no port `{port}`")]
    NoPort { container: String, port: String },
    #[error("its address is not known yet")]
    NoAddress,
    #[error("the connection to the command broke off")]
    BrokenOff,
}

/// A running Pod of a workload.
pub(super) fn running(pods: Vec<Pod>, target: &TargetRef) -> Result<Pod, ApiError> {
    let mut pods = pods.into_iter();
    pods.find(|pod| is_running(pod) && belongs(pod, target))
        .ok_or_else(|| ApiError::Refused {
            code: 404,
            message: PlaceError::NoPod.to_string(),
        })
}

/// The number of a port that a container gives a name.
pub(super) fn port_of(pod: &Pod, container: Option<&str>, port: &str) -> Result<u16, PlaceError> {
    let container = choose_container(pod, container)?;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers
        .filter(|it| it.name == container)
        .flat_map(|it| it.ports.iter().flatten());
    let found = ports.find(|it| it.name.as_deref() == Some(port));
    found
        .and_then(|it| u16::try_from(it.container_port).ok())
        .ok_or_else(|| PlaceError::NoPort {
            container,
            port: port.to_owned(),
        })
}

/// The container that is meant: the named one, or the first that is the application's.
pub(super) fn choose_container(pod: &Pod, named: Option<&str>) -> Result<String, PlaceError> {
    let containers = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| container.name.as_str());
    match named.filter(|name| !name.is_empty()) {
        Some(name) => containers
            .clone()
            .find(|container| *container == name)
            .ok_or_else(|| PlaceError::NoContainer(name.to_owned())),
        None => containers
            .clone()
            .find(|container| !CONTAINERS.contains(container))
            .ok_or_else(|| PlaceError::NoContainer("of an application".to_owned())),
    }
    .map(str::to_owned)
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a Pod is one of a workload's, by its owner: a Deployment owns Pods through a ReplicaSet that is named after
/// it and the template's hash.
fn belongs(pod: &Pod, target: &TargetRef) -> bool {
    let is_owner = |owner: &OwnerReference| owner.controller == Some(true);
    let owner = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| is_owner(owner));
    let Some(owner) = owner else {
        return false;
    };
    if target.kind != "Deployment" {
        return owner.kind == target.kind && owner.name == target.name;
    }
    let hash = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    owner.kind == "ReplicaSet"
        && hash.is_some_and(|hash| owner.name == format!("{}-{hash}", target.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(owner: &str, kind: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web-7d9f-x1", "labels": {"pod-template-hash": "7d9f"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u", "controller": true}],
            },
            "spec": {"containers": [{"name": "stash"}, {"name": "app"}, {"name": "logs"}]},
            "status": {"phase": "Running"},
        }))
        .unwrap()
    }

    fn target(kind: &str, name: &str) -> TargetRef {
        TargetRef {
            kind: kind.to_owned(),
            name: name.to_owned(),
            ..TargetRef::default()
        }
    }

    #[test]
    fn a_pod_is_found_by_its_owner() {
        let of_deployment = pod("web-7d9f", "ReplicaSet");
        assert!(belongs(&of_deployment, &target("Deployment", "web")));
        assert!(!belongs(&of_deployment, &target("Deployment", "we")));
        assert!(!belongs(&of_deployment, &target("StatefulSet", "web-7d9f")));
        assert!(belongs(&of_deployment, &target("ReplicaSet", "web-7d9f")));
        assert!(belongs(
            &pod("db", "StatefulSet"),
            &target("StatefulSet", "db")
        ));
        assert!(is_running(&of_deployment));
    }

    #[test]
    fn the_first_container_is_the_applications_not_ours() {
        let pod = pod("web", "DaemonSet");
        assert_eq!(choose_container(&pod, None).unwrap(), "app");
        assert_eq!(choose_container(&pod, Some("logs")).unwrap(), "logs");
        let error = choose_container(&pod, Some("db")).unwrap_err();
        assert!(error.to_string().contains("db"));
    }

    #[test]
    fn a_port_is_found_by_its_name_in_the_container_that_is_meant() {
        let mut pod = pod("web", "DaemonSet");
        let ports = json!([{"containerPort": 8080, "name": "http"}]);
        let containers = &mut pod.spec.as_mut().unwrap().containers;
        containers[1].ports = serde_json::from_value(ports).unwrap();
        assert_eq!(port_of(&pod, None, "http").unwrap(), 8080);
        assert_eq!(port_of(&pod, Some("app"), "http").unwrap(), 8080);
        let error = port_of(&pod, Some("logs"), "http").unwrap_err();
        assert_eq!(error.to_string(), "its container logs has no port `http`");
    }
}
