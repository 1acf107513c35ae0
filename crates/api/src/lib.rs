//! The Kubernetes resources of Stash: types, schema, defaults, one-object rules and the Secret contract.
//!
//! Everything here is a pure function over values: reading files, talking to a cluster and opening
//! repositories belong to other crates. [`crd::crds`] generates the definitions a cluster gets, and the same
//! schema validates manifests that are read from files ([`manifest`]).

mod suggest;
mod text;
mod transition;

pub mod arguments;
pub mod conditions;
pub mod crd;
pub mod duration;
pub mod manifest;
pub mod problem;
pub mod rules;
pub mod schedule;
pub mod secret;
pub mod v1alpha1;
pub mod v1beta1;

pub use crd::crds;
pub use k8s_openapi;
