//! Which target of a session a Pod works on, and as which host.

use api::v1beta1::{BackupConfiguration, BackupSessionStatus, BackupTargetStatus};
use session::host;

use super::super::{PodAgent, PodError};

/// How this Pod takes part in sessions.
#[derive(Debug, Clone)]
pub(in crate::pod) struct Role {
    /// Which target of a session.
    pub target: Target,
    /// The host to work as; told by the Pod's own name unless given.
    pub host: Option<String>,
    /// Whether this Pod is one of the workload's own.
    pub is_inside: bool,
}

/// A target of a session.
#[derive(Debug, Clone)]
pub(in crate::pod) enum Target {
    /// By its place.
    Number(usize),
    /// By what it refers to; the first if none does.
    Named {
        /// Kind of the workload.
        kind: String,
        /// Its name.
        name: String,
    },
}

impl Role {
    /// Which target of a session this Pod works on.
    pub(super) fn index(&self, status: Option<&BackupSessionStatus>) -> usize {
        let targets = status
            .map(|status| status.targets.as_slice())
            .unwrap_or_default();
        let is_mine = |target: &BackupTargetStatus| match (&target.reference, &self.target) {
            (Some(reference), Target::Named { kind, name }) => {
                reference.kind == *kind && reference.name == *name
            }
            _ => false,
        };
        match self.target {
            Target::Number(number) => number,
            Target::Named { .. } => targets.iter().position(is_mine).unwrap_or(0),
        }
    }

    /// The host that this Pod works as.
    pub(super) fn host_of(
        &self,
        agent: &PodAgent,
        configuration: &BackupConfiguration,
    ) -> Result<String, PodError> {
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        let target = configuration.spec.target.as_ref();
        let reference = target.and_then(|target| target.reference.clone());
        let reference = reference.unwrap_or_default();
        let alias = target.and_then(|target| target.alias.as_deref());
        let identity = &agent.identity;
        host::pod_host(&reference.kind, alias, &identity.pod, &identity.node).ok_or_else(|| {
            PodError::NoHost {
                pod: identity.pod.clone(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
            }
        })
    }
}
