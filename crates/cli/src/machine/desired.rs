//! The valid manifests of one run, resolved: which configuration stores where, with which password.

use std::collections::BTreeMap;

use api::manifest::{AnyObject, Manifest};
use api::secret::{BackendSettings, Place};
use api::v1alpha1::Repository;
use api::v1beta1::{BackupConfiguration, BackupSession, RepositoryRef, RestoreSession};
use backend::RetryOptions;

use super::state::Key;
use crate::failure::Failure;

/// The name of a Repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl RepositoryKey {
    /// The key of its object.
    pub fn to_key(&self) -> Key {
        Key::new("Repository", &self.namespace, &self.name)
    }

    fn of(reference: &RepositoryRef, namespace: Option<&str>) -> Self {
        let own = namespace.unwrap_or("default");
        Self {
            namespace: reference.namespace.as_deref().unwrap_or(own).to_owned(),
            name: reference.name.clone(),
        }
    }
}

/// A Repository with its storage and password.
#[derive(Debug)]
pub struct ResolvedRepository {
    /// Its name.
    pub key: RepositoryKey,
    /// The object; never the Secret.
    pub object: Repository,
    /// Storage and password.
    pub settings: BackendSettings,
}

impl ResolvedRepository {
    /// The place, for people.
    pub fn location(&self) -> String {
        self.settings.display_url()
    }
}

/// What the manifests ask for.
#[derive(Debug, Default)]
pub struct Desired {
    /// Repositories by name.
    pub repositories: BTreeMap<RepositoryKey, ResolvedRepository>,
    /// Configurations in the order of the manifests.
    pub configurations: Vec<BackupConfiguration>,
    /// Restores in the order of the manifests.
    pub restores: Vec<RestoreSession>,
    /// Sessions that were asked for by manifest.
    pub sessions: Vec<BackupSession>,
}

impl Desired {
    /// Resolves manifests that have passed every rule.
    pub fn resolve(manifests: Vec<Manifest>) -> Result<Self, Failure> {
        let mut desired = Self::default();
        let mut secrets = BTreeMap::new();
        let mut repositories = Vec::new();
        for manifest in manifests {
            match manifest.object {
                AnyObject::Secret(secret) => {
                    let namespace = secret
                        .metadata
                        .namespace
                        .clone()
                        .unwrap_or_else(|| "default".to_owned());
                    secrets.insert(
                        (namespace, secret.metadata.name.clone().unwrap_or_default()),
                        secret,
                    );
                }
                AnyObject::Repository(repository) => repositories.push(repository),
                AnyObject::BackupConfiguration(configuration) => {
                    desired.configurations.push(*configuration);
                }
                AnyObject::RestoreSession(restore) => desired.restores.push(*restore),
                AnyObject::BackupSession(session) => desired.sessions.push(*session),
            }
        }
        for repository in repositories {
            let key = RepositoryKey {
                namespace: repository
                    .metadata
                    .namespace
                    .clone()
                    .unwrap_or_else(|| "default".to_owned()),
                name: repository.metadata.name.clone().unwrap_or_default(),
            };
            let secret_name = repository
                .spec
                .backend
                .storage_secret_name
                .clone()
                .unwrap_or_default();
            let secret = secrets
                .get(&(key.namespace.clone(), secret_name.clone()))
                .ok_or_else(|| {
                    Failure::new(format!(
                        "Repository {}: the Secret {secret_name} is not among the manifests",
                        key.name
                    ))
                })?;
            let settings = BackendSettings::new(&repository, secret, Place::Machine)?;
            // Found now rather than by each session; nothing is connected.
            agent::Storage::new(&settings, RetryOptions::default())?;
            desired.repositories.insert(
                key.clone(),
                ResolvedRepository {
                    key,
                    object: *repository,
                    settings,
                },
            );
        }
        Ok(desired)
    }

    /// Whether a configuration of this name is among the manifests.
    pub fn has(&self, key: &Key) -> bool {
        self.configurations.iter().any(|object| {
            object.metadata.namespace.as_deref().unwrap_or("default") == key.namespace
                && object.metadata.name.as_deref() == Some(key.name.as_str())
        })
    }

    /// The repository that a configuration stores into.
    pub fn repository_of(
        &self,
        configuration: &BackupConfiguration,
    ) -> Result<&ResolvedRepository, Failure> {
        self.find(
            &configuration.spec.repository,
            configuration.metadata.namespace.as_deref(),
        )
    }

    /// The repository that a restore reads from.
    pub fn repository_of_restore(
        &self,
        restore: &RestoreSession,
    ) -> Result<&ResolvedRepository, Failure> {
        self.find(
            &restore.spec.repository,
            restore.metadata.namespace.as_deref(),
        )
    }

    fn find(
        &self,
        reference: &RepositoryRef,
        namespace: Option<&str>,
    ) -> Result<&ResolvedRepository, Failure> {
        let key = RepositoryKey::of(reference, namespace);
        self.repositories.get(&key).ok_or_else(|| {
            Failure::new(format!(
                "Repository {}/{} is not among the manifests",
                key.namespace, key.name
            ))
        })
    }
}
