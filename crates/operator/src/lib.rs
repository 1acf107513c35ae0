//! The controllers of a cluster: from BackupConfigurations to BackupSessions, their sidecars and Jobs, and back by
//! RestoreSessions.
//!
//! It schedules, injects, watches and closes. It never opens a repository: that is the work of the agents it starts.
//! Each controller is one file that drives, with `observe` (reads), `validate` and `plan` (pure) and `apply`
//! (writes) beside it. Everything is level-based: a crash between two writes is healed by the next pass.

mod apart;
pub mod backup_configuration;
pub mod backup_session;
pub mod builtin;
pub mod claims;
pub mod connection;
pub mod context;
pub mod controller;
pub mod data;
pub mod delays;
pub mod events;
pub mod failure;
pub mod inject;
pub mod job;
mod known;
pub mod leader;
pub mod metrics;
pub mod namespaces;
mod own_image;
pub mod pod_parts;
pub mod preparation;
pub mod presence;
pub mod rbac;
pub mod reading;
pub mod repository;
pub mod restore_session;
mod run;
pub mod servers;
pub mod stores;
pub mod target;
pub mod told;
pub mod touch;
pub mod turns;
pub mod webhook;
pub mod workload;
pub mod writing;

pub use connection::{Connection, connect};
pub use context::{ImageOptions, OperatorOptions, WebhookOptions};
pub use failure::OperatorError;
pub use own_image::own_image;
pub use run::run;

/// What the operator may do in its own namespace: its Lease, and the Secret with the certificates of its webhooks.
pub fn own_role(name: &str, namespace: &str) -> api::k8s_openapi::api::rbac::v1::Role {
    rbac::operator_role(name, namespace, &[webhook::CERTIFICATE_SECRET])
}

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "stash-operator";
