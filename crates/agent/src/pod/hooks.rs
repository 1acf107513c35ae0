//! Where hooks run in a cluster: in a container of the own Pod for a sidecar, in a running Pod of the workload for a
//! Job.
//!
//! A Job on a volume has no workload: its hooks run in the Job's own container, as on one machine. When a hook takes
//! too long the connection is closed; whether the command ends with it is the container runtime's to say.

use std::fmt;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Pod;
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use api::v1beta1::TargetRef;
use async_trait::async_trait;
use kube_client::Api;
use kube_client::api::{AttachParams, ListParams};

use super::PodAgent;
use super::client::{ApiError, call};
use super::owner::CONTAINERS;
use crate::hooks::{HookError, HookPlace, HookRunner, read_some};

/// Kinds of workloads whose Pods can be found.
const WORKLOADS: [&str; 5] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
];
/// How much of an output is on its way at most.
const BUFFER_BYTES: usize = 64 * 1024;

/// Reaches the Pod of a target.
struct PodHooks {
    agent: PodAgent,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    /// The Pod that this process is in, as one of its containers.
    OwnPod,
    /// A running Pod of a workload.
    Workload(TargetRef),
}

impl fmt::Debug for PodHooks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PodHooks")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A Pod that cannot be used.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error("no Pod of it is running")]
    NoPod,
    #[error("it has no container {0}")]
    NoContainer(String),
    #[error("its address is not known yet")]
    NoAddress,
    #[error("the connection to the command broke off")]
    BrokenOff,
}

/// Where the hooks of a target run; `is_inside` says whether this process lives in the target's own Pod.
pub(super) fn place(agent: &PodAgent, target: Option<&TargetRef>, is_inside: bool) -> HookPlace {
    match target {
        _ if is_inside => PodHooks::at(agent, Place::OwnPod),
        Some(target) if WORKLOADS.contains(&target.kind.as_str()) => {
            PodHooks::at(agent, Place::Workload(target.clone()))
        }
        _ => HookPlace::Here,
    }
}

impl PodHooks {
    fn at(agent: &PodAgent, place: Place) -> HookPlace {
        HookPlace::Pod(Arc::new(Self {
            agent: agent.clone(),
            place,
        }))
    }

    fn describe(&self) -> String {
        match &self.place {
            Place::OwnPod => format!("the Pod {}", self.agent.identity.pod),
            Place::Workload(target) => format!("a Pod of the {} {}", target.kind, target.name),
        }
    }

    fn unusable(&self, source: impl std::error::Error + Send + Sync + 'static) -> HookError {
        HookError::Place {
            place: self.describe(),
            source: Box::new(source),
        }
    }

    fn pods(&self) -> Api<Pod> {
        let namespace = match &self.place {
            Place::Workload(target) => target.namespace.as_deref(),
            Place::OwnPod => None,
        };
        self.agent
            .in_namespace(namespace.unwrap_or(&self.agent.identity.namespace))
    }

    /// The Pod as it is now.
    async fn pod(&self) -> Result<Pod, HookError> {
        let pods = self.pods();
        let found = match &self.place {
            Place::OwnPod => call(pods.get(&self.agent.identity.pod)).await,
            Place::Workload(target) => {
                call(pods.list(&ListParams::default()))
                    .await
                    .and_then(|list| {
                        list.items
                            .into_iter()
                            .find(|pod| is_running(pod) && belongs(pod, target))
                            .ok_or(ApiError::Refused {
                                code: 404,
                                message: PlaceError::NoPod.to_string(),
                            })
                    })
            }
        };
        found.map_err(|error| self.unusable(error))
    }
}

#[async_trait]
impl HookRunner for PodHooks {
    async fn run_command(
        &self,
        container: Option<&str>,
        words: &[String],
    ) -> Result<(), HookError> {
        let pod = self.pod().await?;
        let name = pod.metadata.name.clone().unwrap_or_default();
        let container = choose_container(&pod, container).map_err(|error| self.unusable(error))?;
        let parameters = AttachParams {
            container: Some(container),
            stdin: false,
            stdout: true,
            stderr: true,
            tty: false,
            max_stdin_buf_size: None,
            max_stdout_buf_size: Some(BUFFER_BYTES),
            max_stderr_buf_size: Some(BUFFER_BYTES),
        };
        let pods = self.pods();
        let mut process = call(pods.exec(&name, words, &parameters))
            .await
            .map_err(|error| self.unusable(error))?;
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let Some(ending) = process.take_status() else {
            return Err(self.unusable(PlaceError::BrokenOff));
        };
        let (out, errors, ended) = tokio::join!(read_some(stdout), read_some(stderr), ending);
        let ended = ended.ok_or_else(|| self.unusable(PlaceError::BrokenOff))?;
        let Some(status) = failure(&ended) else {
            return Ok(());
        };
        Err(HookError::Command {
            program: words.first().cloned().unwrap_or_default(),
            status,
            output: format!("{out}{errors}"),
        })
    }

    async fn host(&self) -> Result<String, HookError> {
        match &self.place {
            Place::OwnPod => {
                let address = self.agent.identity.address.clone();
                Ok(address.unwrap_or_else(|| "localhost".to_owned()))
            }
            Place::Workload(_) => {
                let pod = self.pod().await?;
                let address = pod.status.and_then(|status| status.pod_ip);
                address.ok_or_else(|| self.unusable(PlaceError::NoAddress))
            }
        }
    }
}

/// The container that is meant: the named one, or the first that is the application's.
fn choose_container(pod: &Pod, named: Option<&str>) -> Result<String, PlaceError> {
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

/// How a command failed, in words; `None` when it succeeded.
fn failure(ended: &api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Status) -> Option<String> {
    if ended.status.as_deref() == Some("Success") {
        return None;
    }
    let causes = ended
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten());
    let code = causes
        .clone()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.clone());
    Some(match code {
        Some(code) => format!("exit status: {code}"),
        None => ended
            .message
            .clone()
            .unwrap_or_else(|| "an unknown error".to_owned()),
    })
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
    fn an_exit_code_is_told() {
        let status = |value| failure(&serde_json::from_value(value).unwrap());
        assert_eq!(status(json!({"status": "Success"})), None);
        let failed = json!({"status": "Failure", "message": "command terminated", "details": {
            "causes": [{"reason": "ExitCode", "message": "3"}]
        }});
        assert_eq!(status(failed).as_deref(), Some("exit status: 3"));
        let lost = json!({"status": "Failure", "message": "container not found"});
        assert_eq!(status(lost).as_deref(), Some("container not found"));
    }
}
