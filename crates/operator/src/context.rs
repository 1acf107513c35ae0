//! What every controller is given: the client, the options, and where it counts and tells.

use std::net::SocketAddr;

use kube_client::Client;

use crate::connection::Connection;
use crate::delays::Delays;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::presence::Secrets;
use crate::touch::Touch;

/// The image that sidecars, init containers and Jobs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOptions {
    /// Its name with tag or digest.
    pub name: String,
    /// When a node pulls it: `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
    /// Secrets that nodes pull it with; they must exist where the Pods run.
    pub pull_secrets: Vec<String>,
}

/// How the API server reaches the webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookOptions {
    /// Where the operator listens.
    pub address: SocketAddr,
    /// Name of the Service in front of it, in the operator's namespace.
    pub service: String,
    /// Where the API server finds it instead, when the operator runs outside the cluster: `https://HOST:PORT`.
    pub url: Option<String>,
    /// How long the API server waits for an answer before it goes on without.
    pub timeout_seconds: u8,
    /// Namespaces whose workloads are not sent, besides the operator's own.
    pub excluded_namespaces: Vec<String>,
    /// Name of the ClusterRole with which the configurations are removed.
    pub owner: Option<String>,
}

/// What the operator is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorOptions {
    /// The namespace of the operator: its Lease and its certificates lie there.
    pub namespace: String,
    /// Name of this process among others that may lead, such as its Pod's name.
    pub identity: String,
    /// Whether to wait for leadership. Off only where nobody else can be running.
    pub elects_leader: bool,
    /// What Pods run.
    pub image: ImageOptions,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub metrics_address: SocketAddr,
    /// The webhooks; without them the controllers do everything alone.
    pub webhook: Option<WebhookOptions>,
}

/// Shared by all controllers.
#[derive(Debug)]
pub struct Context {
    /// The API server.
    pub connection: Connection,
    /// What the operator was told.
    pub options: OperatorOptions,
    /// What is counted.
    pub metrics: Metrics,
    /// What is told to users.
    pub events: Events,
    /// Since when the API server is heard of.
    pub touch: Touch,
    /// How long each object waits after a failure.
    pub delays: Delays,
    /// Which Secrets were there when they were asked for last.
    pub secrets: Secrets,
}

impl Context {
    /// Puts the parts together.
    pub fn new(connection: Connection, options: OperatorOptions) -> Self {
        Self {
            events: Events::new(connection.requests.clone(), &options.identity),
            connection,
            options,
            metrics: Metrics::new(),
            touch: Touch::default(),
            delays: Delays::new(),
            secrets: Secrets::default(),
        }
    }

    /// A client for one more user.
    pub fn client(&self) -> Client {
        self.connection.requests.clone()
    }

    /// A client for one more watch, with the settings of [`crate::connection::watched`].
    pub fn watching(&self) -> Client {
        self.connection.watches.clone()
    }
}
