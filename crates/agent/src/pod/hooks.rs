//! Where hooks run in a cluster: in a container of the own Pod for a sidecar, in a running Pod of the workload for a
//! Job.
//!
//! A Job on a volume has no workload: its hooks run in the Job's own container, as on one machine. When a hook takes
//! too long the connection is closed; whether the command ends with it is the container runtime's to say.

mod choice;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::k8s_openapi::api::core::v1::Pod;
use api::v1beta1::TargetRef;
use async_trait::async_trait;
use kube_client::api::{AttachParams, ListParams};
use kube_client::client::UpgradeConnectionError;
use kube_client::{Api, Error};

use self::choice::{PlaceError, choose_container, port_of, running};
use super::PodAgent;
use super::client::{ApiError, Delays, call};
use crate::hooks::{HookError, HookPlace, HookRunner, read_some};

/// Kinds of workloads whose Pods can be found.
const WORKLOADS: [&str; 5] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
];
/// How long a hook that cannot begin is tried again: rights that were just given take a moment to be known everywhere,
/// and an API server or a kubelet may be away for one.
const BEGINNING: Duration = Duration::from_secs(30);
/// The first and the longest wait between two attempts.
const ATTEMPTS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
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
        let mut attempts = Attempts::new();
        loop {
            let answer = match &self.place {
                Place::OwnPod => call(pods.get(&self.agent.identity.pod)).await,
                Place::Workload(target) => call(pods.list(&ListParams::default()))
                    .await
                    .and_then(|list| running(list.items, target)),
            };
            match answer {
                Ok(pod) => return Ok(pod),
                Err(error) if error.is_final() => return Err(self.unusable(error)),
                Err(error) => attempts
                    .again(error)
                    .await
                    .map_err(|it| self.unusable(it))?,
            }
        }
    }
}

/// Makes a request again for a while.
struct Attempts {
    began: Instant,
    delays: Delays,
}

impl Attempts {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            delays: Delays::between(ATTEMPTS.0, ATTEMPTS.1),
        }
    }

    /// Waits for the next attempt, or gives the error back when there is none.
    async fn again(&mut self, error: ApiError) -> Result<(), ApiError> {
        if self.began.elapsed() > BEGINNING {
            return Err(error);
        }
        tracing::warn!(
            error = crate::backup::chain(&error),
            "cannot run a hook yet"
        );
        self.delays.wait().await;
        Ok(())
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
        let mut attempts = Attempts::new();
        let mut process = loop {
            match call(pods.exec(&name, words, &parameters)).await {
                Ok(process) => break process,
                Err(error) if !has_not_begun(&error) => return Err(self.unusable(error)),
                Err(error) => attempts
                    .again(error)
                    .await
                    .map_err(|it| self.unusable(it))?,
            }
        };
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

    async fn port(&self, container: Option<&str>, name: &str) -> Result<u16, HookError> {
        let pod = self.pod().await?;
        port_of(&pod, container, name).map_err(|error| self.unusable(error))
    }
}

/// Whether a command was refused in a way that may pass; a connection that breaks off may have begun it.
fn has_not_begun(error: &ApiError) -> bool {
    let code = match error {
        ApiError::Refused { code, .. } => *code,
        ApiError::Failed(error) => match **error {
            Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
                status.as_u16()
            }
            _ => return false,
        },
        ApiError::Silent | ApiError::Stopped => return false,
    };
    matches!(code, 403 | 429 | 500..=599)
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

    #[test]
    fn a_command_is_begun_again_only_where_it_was_refused() {
        let refused = |code| ApiError::Refused {
            code,
            message: String::new(),
        };
        let answered = |code: u16| {
            let status = code.try_into().unwrap();
            let source = UpgradeConnectionError::ProtocolSwitch(status);
            ApiError::from(Error::UpgradeConnection(source))
        };
        assert!(has_not_begun(&refused(403)) && has_not_begun(&answered(403)));
        assert!(has_not_begun(&answered(500)) && has_not_begun(&answered(503)));
        assert!(!has_not_begun(&answered(404)) && !has_not_begun(&refused(400)));
        assert!(!has_not_begun(&ApiError::Silent));
        let broken = UpgradeConnectionError::MissingConnectionUpgradeHeader;
        let broken = ApiError::from(Error::UpgradeConnection(broken));
        assert!(!has_not_begun(&broken));
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
