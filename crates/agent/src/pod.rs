//! The agent in a Pod: it reads what to do from the API server, works, and reports there.
//!
//! A sidecar and a Job back up, an init container and a Job restore, a Job wipes out. What there is to do about a
//! session is said by `session::work` from nothing but the session's status, so that a Pod can go on where another
//! one stopped. The API server may be away at any time: work goes on, and reports wait.

mod backup_job;
mod client;
mod hooks;
mod lease;
mod owner;
mod progress;
mod reporter;
mod restore;
mod settings;
mod sidecar;
mod status;
mod watched;
mod wipe_out;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use kube_client::{Api, Client};
use tokio_util::sync::CancellationToken;

use crate::{CachePlace, Identity};

pub use backup_job::{BackupJob, run as back_up};
pub use client::{ApiError, ConnectError};
pub use restore::{Restore, run as restore};
pub use sidecar::{Sidecar, run as serve};
pub use wipe_out::{WipeOut, WipeOutError, run as wipe_out};

/// What writes of agents are recorded under.
pub const FIELD_MANAGER: &str = "stash-agent";

/// Which Pod this process is in, as the downward API tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its name.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// The node it runs on.
    pub node: String,
    /// Its address, where known.
    pub address: Option<String>,
    /// The user of this process, as snapshots and locks carry it.
    pub username: String,
    /// Where metadata of repositories is kept; nowhere unless a folder is given.
    pub cache: Option<PathBuf>,
}

/// An agent that knows its Pod and reaches the API server.
#[derive(Clone)]
pub struct PodAgent {
    client: Client,
    identity: Arc<PodIdentity>,
    /// When this process began, in milliseconds: it tells the starts of one container apart.
    start: i64,
    cancel: CancellationToken,
}

impl std::fmt::Debug for PodAgent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PodAgent")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Why an agent could not report anything.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The API server says something that waiting does not change.
    #[error("cannot read {object}")]
    Read {
        /// Which object.
        object: String,
        /// Why.
        #[source]
        source: ApiError,
    },
    /// The result is not in the session's status.
    #[error("the result could not be written into {object}")]
    NotReported {
        /// Which object.
        object: String,
    },
    /// The Pod's name does not tell which host it is.
    #[error("the Pod {pod} has no place among the hosts of the {kind} {name}")]
    NoHost {
        /// The Pod.
        pod: String,
        /// Kind of the workload.
        kind: String,
        /// Name of the workload.
        name: String,
    },
    /// The agent was asked to stop.
    #[error("stopped before the work was done")]
    Stopped,
}

impl PodAgent {
    /// Prepares to talk to the API server that `KUBECONFIG` names, or else to that of this Pod's cluster; nothing is
    /// sent yet. The token stops everything, with locks and Leases given back.
    pub async fn new(
        identity: PodIdentity,
        cancel: &CancellationToken,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            client: client::connect().await?,
            identity: Arc::new(identity),
            start: jiff::Timestamp::now().as_millisecond(),
            cancel: cancel.clone(),
        })
    }

    /// Objects of a kind in the Pod's namespace.
    fn here<K>(&self) -> Api<K>
    where
        K: kube_core::Resource<Scope = kube_core::NamespaceResourceScope, DynamicType = ()>,
    {
        self.in_namespace(&self.identity.namespace)
    }

    fn in_namespace<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube_core::Resource<Scope = kube_core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// For whom a session is.
#[derive(Debug, Clone, Copy)]
struct Invoker<'a> {
    kind: &'a str,
    name: &'a str,
}

/// In whose name a session works in this Pod.
async fn identity(
    agent: &PodAgent,
    session: &str,
    invoker: Invoker<'_>,
    created: jiff::Timestamp,
    cancel: &CancellationToken,
) -> Result<Identity, ApiError> {
    let me = agent.owner(cancel).await?;
    Ok(Identity {
        session: session.to_owned(),
        namespace: agent.identity.namespace.clone(),
        invoker_kind: invoker.kind.to_owned(),
        invoker_name: invoker.name.to_owned(),
        machine: me.to_string(),
        judge: Some(Arc::new(owner::PodJudge {
            agent: agent.clone(),
            me,
        })),
        username: agent.identity.username.clone(),
        cache: match agent.identity.cache.clone() {
            Some(folder) => CachePlace::Folder(folder),
            None => CachePlace::None,
        },
        created,
    })
}
