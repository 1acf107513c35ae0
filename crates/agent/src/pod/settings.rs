//! From a reference to the settings of a Repository, read with this Pod's own rights.

use api::k8s_openapi::api::core::v1::Secret;
use api::secret::{BackendSettings, Place, SettingsError};
use api::v1alpha1::{Repository, RepositoryStatus};
use api::v1beta1::RepositoryRef;
use kube_client::Api;
use tokio_util::sync::CancellationToken;

use super::PodAgent;
use super::client::{ApiError, call, until_answered};

/// Why a Repository gives no settings.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The Repository cannot be read.
    #[error("cannot read the Repository {namespace}/{name}")]
    Repository {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ApiError,
    },
    /// The Repository names no Secret.
    #[error("the Repository {namespace}/{name} names no Secret in spec.backend.storageSecretName")]
    NoSecret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The Secret cannot be read.
    #[error("cannot read the Secret {namespace}/{name}")]
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: ApiError,
    },
    /// Both do not go together.
    #[error("the Repository {namespace}/{name} and its Secret {secret} cannot be used")]
    Settings {
        /// Namespace of both.
        namespace: String,
        /// Name of the Repository.
        name: String,
        /// Name of the Secret.
        secret: String,
        /// Why.
        #[source]
        source: SettingsError,
    },
}

/// A Repository with what opens it.
#[derive(Debug)]
pub(super) struct Opened {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What was known of it.
    pub status: RepositoryStatus,
    /// Storage and password.
    pub settings: BackendSettings,
}

/// Reads a Repository and its Secret; an API server that is away is waited for.
pub(super) async fn open(
    agent: &PodAgent,
    reference: &RepositoryRef,
    cancel: &CancellationToken,
) -> Result<Opened, OpenError> {
    let namespace = reference
        .namespace
        .clone()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or_else(|| agent.identity.namespace.clone());
    let name = reference.name.clone();
    let repositories: Api<Repository> = agent.in_namespace(&namespace);
    let asked = until_answered(cancel, "the Repository", async || {
        call(repositories.get(&name)).await
    });
    let repository = asked.await.map_err(|source| OpenError::Repository {
        namespace: namespace.clone(),
        name: name.clone(),
        source,
    })?;
    let Some(secret_name) = repository.spec.backend.storage_secret_name.clone() else {
        return Err(OpenError::NoSecret { namespace, name });
    };
    let secrets: Api<Secret> = agent.in_namespace(&namespace);
    let asked = until_answered(cancel, "the Secret", async || {
        call(secrets.get(&secret_name)).await
    });
    let secret = asked.await.map_err(|source| OpenError::Secret {
        namespace: namespace.clone(),
        name: secret_name.clone(),
        source,
    })?;
    match BackendSettings::new(&repository, &secret, Place::Pod) {
        Ok(settings) => Ok(Opened {
            uid: repository.metadata.uid.unwrap_or_default(),
            status: repository.status.unwrap_or_default(),
            namespace,
            name,
            settings,
        }),
        Err(source) => Err(OpenError::Settings {
            namespace,
            name,
            secret: secret_name,
            source,
        }),
    }
}
