//! `stash.appscode.com/v1alpha1`: the Repository and the description of its backend.

mod backend;
mod repository;
mod volume_source;

pub use backend::{
    AzureBackend, B2Backend, Backend, GcsBackend, LocalBackend, RestBackend, S3Backend,
    SwiftBackend,
};
pub use repository::{
    AllowedNamespaces, FromNamespaces, Repository, RepositorySpec, RepositoryStatus,
    TypedObjectReference, UsagePolicy,
};
pub use volume_source::VolumeSource;

/// The API version of this module, group and version.
pub const API_VERSION: &str = "stash.appscode.com/v1alpha1";
