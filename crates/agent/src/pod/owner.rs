//! The name under which this Pod takes locks, and the proof that another Pod is gone.

use api::k8s_openapi::api::core::v1::{ContainerState, Namespace, Pod};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use async_trait::async_trait;
use jiff::Timestamp;
use kube_client::Api;
use repository::lock::Judge;
use session::owner::{PodOwner, Verdict};
use tokio_util::sync::CancellationToken;

use super::PodAgent;
use super::client::{ApiError, call, until_answered};

/// Names of the containers that take locks.
pub(super) const CONTAINERS: [&str; 2] = ["stash", "stash-init"];

impl PodAgent {
    /// Who this process is for other Pods.
    pub(super) async fn owner(&self, cancel: &CancellationToken) -> Result<PodOwner, ApiError> {
        let identity = &self.identity;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let asked = until_answered(cancel, "the uid of the namespace", async || {
            match call(namespaces.get_metadata(&identity.namespace)).await {
                Err(error) if error.is_forbidden() => Ok(None),
                answer => answer.map(Some),
            }
        });
        let uid = asked.await?.and_then(|namespace| namespace.metadata.uid);
        let namespace_uid = uid.unwrap_or_else(|| {
            tracing::warn!(
                namespace = identity.namespace,
                "the uid of the namespace may not be read: other Pods cannot tell when a lock of this one is dead"
            );
            // A name that nobody else has: others then judge by nothing but age.
            format!("of-{}", identity.uid)
        });
        Ok(PodOwner {
            pod: identity.pod.clone(),
            pod_uid: identity.uid.clone(),
            namespace: identity.namespace.clone(),
            namespace_uid,
            start: self.start.to_string(),
        })
    }
}

/// Asks the API server about holders of locks.
#[derive(Debug)]
pub(super) struct PodJudge {
    pub agent: PodAgent,
    pub me: PodOwner,
}

#[async_trait]
impl Judge for PodJudge {
    async fn is_gone(&self, hostname: &str) -> bool {
        let owner = match self.me.judge(hostname) {
            Verdict::Gone => return true,
            Verdict::Me | Verdict::Unknown => return false,
            Verdict::Ask(owner) => owner,
        };
        let pods: Api<Pod> = self.agent.in_namespace(&owner.namespace);
        match call(pods.get_opt(&owner.pod)).await {
            Ok(None) => true,
            Ok(Some(pod)) => is_over(&pod, &owner),
            Err(error) => {
                let error = crate::backup::chain(&error);
                tracing::warn!(
                    error,
                    pod = owner.pod,
                    "cannot ask for the holder of a lock"
                );
                false
            }
        }
    }
}

/// Whether the Pod of this name proves that the owner has ended: it is another one, it has ended for good, or a
/// container of ours has ended or began anew since the owner's start.
fn is_over(pod: &Pod, owner: &PodOwner) -> bool {
    if pod.metadata.uid.as_deref() != Some(owner.pod_uid.as_str()) {
        return true;
    }
    let Some(status) = &pod.status else {
        return false;
    };
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return true;
    }
    let start = owner.start.parse().ok();
    let Some(start) = start.and_then(|start| Timestamp::from_millisecond(start).ok()) else {
        return false;
    };
    let containers = status.container_statuses.iter().flatten();
    containers
        .chain(status.init_container_statuses.iter().flatten())
        .filter(|container| CONTAINERS.contains(&container.name.as_str()))
        .filter_map(|container| container.state.as_ref())
        .any(|state| is_later(state, start))
}

/// What is reported may be older than the truth, so only a later moment proves something.
fn is_later(state: &ContainerState, start: Timestamp) -> bool {
    let running = state
        .running
        .as_ref()
        .and_then(|running| running.started_at.as_ref());
    let ended = state
        .terminated
        .as_ref()
        .and_then(|ended| ended.finished_at.as_ref());
    let is_later = |time: Option<&Time>| time.is_some_and(|time| time.0 > start);
    is_later(running) || is_later(ended)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner() -> PodOwner {
        PodOwner {
            pod: "web-1".to_owned(),
            pod_uid: "u1".to_owned(),
            namespace: "shop".to_owned(),
            namespace_uid: "n1".to_owned(),
            start: "1700000000500".to_owned(),
        }
    }

    fn pod(uid: &str, phase: &str, state: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-1", "uid": uid},
            "status": {"phase": phase, "containerStatuses": [
                {"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                 "state": {"running": {"startedAt": "2030-01-01T00:00:00Z"}}},
                {"name": "stash", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_that_is_another_one_or_has_ended_holds_nothing() {
        let running = json!({"running": {"startedAt": "2023-11-14T22:13:20Z"}});
        assert!(!is_over(&pod("u1", "Running", &running), &owner()));
        assert!(is_over(&pod("u2", "Running", &running), &owner()));
        assert!(is_over(&pod("u1", "Succeeded", &running), &owner()));
        assert!(is_over(&pod("u1", "Failed", &running), &owner()));
        assert!(!is_over(&pod("u1", "Unknown", &running), &owner()));
    }

    #[test]
    fn a_container_that_began_anew_or_ended_holds_nothing() {
        let is_over = |state| is_over(&pod("u1", "Running", &state), &owner());
        assert!(is_over(
            json!({"running": {"startedAt": "2023-11-14T22:13:21Z"}})
        ));
        assert!(is_over(
            json!({"terminated": {"exitCode": 137, "finishedAt": "2023-11-14T22:14:00Z"}})
        ));
        // What the API server has not heard of yet proves nothing.
        assert!(!is_over(
            json!({"terminated": {"exitCode": 137, "finishedAt": "2023-11-14T22:13:00Z"}})
        ));
        assert!(!is_over(
            json!({"waiting": {"reason": "ContainerCreating"}})
        ));
    }
}
