//! Reads what a BackupConfiguration depends on. Of a Secret and of a target only whether they exist.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Namespace, Secret};
use api::v1alpha1::{FromNamespaces, Repository};
use api::v1beta1::{BackupConfiguration, RepositoryRef, TargetRef};
use jiff::Timestamp;
use kube_client::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube_client::{Api, ResourceExt};
use session::model::{CLAIM_KIND, WORKLOAD_KINDS};
use session::usage;

use crate::backup_configuration::schedule::ticks;
use crate::context::Context;
use crate::failure::{ReconcileError, chain, found, status_code};
use crate::inject::Invoker;
use crate::stores::{Stores, Touched};
use crate::workload::{Outcome, WorkloadKey, backup_claims, target_of_backup};

/// Whether an object is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not, or it is being deleted.
    Missing,
    /// It cannot be found out, for this reason.
    Unknown(String),
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Where the Repository should be, as `namespace/name`.
    pub repository_name: String,
    /// The Repository.
    pub repository: Option<Arc<Repository>>,
    /// Whether its usage policy lets this namespace use it.
    pub is_allowed: bool,
    /// Its Secret; `None` when it is not known which one.
    pub secret: Option<Presence>,
    /// The target; `None` when there is none that could be.
    pub target: Option<Presence>,
    /// Who has the workload, when a sidecar is wanted.
    pub winner: Option<Invoker>,
    /// What became of the sidecar.
    pub outcome: Option<Outcome>,
}

/// Where the Repository of a reference lies.
pub fn repository_place(reference: &RepositoryRef, own: &str) -> (String, String) {
    let namespace = reference.namespace.as_deref().filter(|it| !it.is_empty());
    (namespace.unwrap_or(own).to_owned(), reference.name.clone())
}

/// Whether a change is one of something that this configuration depends on.
pub fn concerns(change: &Touched, configuration: &BackupConfiguration) -> bool {
    let own = configuration.namespace().unwrap_or_default();
    match change {
        Touched::Repository { namespace, name } => {
            repository_place(&configuration.spec.repository, &own)
                == (namespace.clone(), name.clone())
        }
        Touched::Workload(key) => names(configuration, key, &own),
        Touched::Namespace(name) => {
            own == *name && repository_place(&configuration.spec.repository, &own).0 != own
        }
        // Others that want the same workload may have lost it or won it.
        Touched::Invoker {
            invoker, target, ..
        } => {
            target
                .as_ref()
                .is_some_and(|key| names(configuration, key, &own))
                && *invoker != Invoker::of(configuration)
                && target_of_backup(configuration) == *target
        }
        Touched::Over { .. } => false,
    }
}

fn names(configuration: &BackupConfiguration, key: &WorkloadKey, own: &str) -> bool {
    let target = configuration.spec.target.as_ref();
    let reference = target.and_then(|target| target.reference.as_ref());
    reference.is_some_and(|it| key.is(it, own))
}

/// Reads everything.
pub async fn observe(
    configuration: &BackupConfiguration,
    context: &Context,
    stores: &Stores,
) -> Result<Observation, ReconcileError> {
    let own = configuration.namespace().unwrap_or_default();
    let (namespace, name) = repository_place(&configuration.spec.repository, &own);
    let repository = stores.repository(&namespace, &name);
    let is_allowed = match &repository {
        Some(repository) => {
            is_allowed_by_copies(stores, repository, &own)
                || is_allowed(context, repository, &own).await?
        }
        None => true,
    };
    let secret_name = repository
        .as_ref()
        .and_then(|it| it.spec.backend.storage_secret_name.clone())
        .filter(|name| !name.is_empty());
    let secret = match secret_name {
        Some(secret)
            if !asks_anew(configuration) && context.secrets.are_there(&namespace, &secret) =>
        {
            Some(Presence::Present)
        }
        Some(secret) => {
            let presence = secret_presence(context, &namespace, &secret).await?;
            let is_there = presence == Presence::Present;
            context.secrets.note(&namespace, &secret, is_there);
            Some(presence)
        }
        None => None,
    };
    let target = configuration.spec.target.as_ref();
    let target = match target.and_then(|target| target.reference.as_ref()) {
        Some(reference) => target_presence(context, stores, reference, &own).await?,
        None => None,
    };
    let workload = target_of_backup(configuration);
    let winner = workload.as_ref().and_then(|key| {
        let claims = backup_claims(stores, key);
        claims.first().map(|claim| Invoker::of(claim.as_ref()))
    });
    Ok(Observation {
        repository_name: format!("{namespace}/{name}"),
        repository,
        is_allowed,
        secret,
        target,
        winner,
        outcome: workload.and_then(|key| stores.outcome(&key)),
    })
}

/// Whether nothing that was found earlier counts: before a session, and after a change of what the user wants.
fn asks_anew(configuration: &BackupConfiguration) -> bool {
    let status = configuration.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    observed != configuration.metadata.generation
        || ticks(configuration, true, Timestamp::now())
            .session
            .is_some()
}

/// Whether the copies say that objects of a namespace may use a Repository. If they do not, they may be behind.
pub fn is_allowed_by_copies(stores: &Stores, repository: &Repository, user: &str) -> bool {
    let owner = repository.namespace().unwrap_or_default();
    let policy = repository.spec.usage_policy.as_ref();
    let labels = stores.namespaces.labels(user);
    labels.is_some_and(|labels| usage::allows(policy, &owner, user, &labels))
}

/// Whether objects of a namespace may use a Repository. Labels are asked for only when they decide.
pub async fn is_allowed(
    context: &Context,
    repository: &Repository,
    user: &str,
) -> Result<bool, ReconcileError> {
    let owner = repository.namespace().unwrap_or_default();
    let policy = repository.spec.usage_policy.as_ref();
    let asks_labels = owner != user
        && policy
            .and_then(|policy| policy.allowed_namespaces.as_ref())
            .is_some_and(|allowed| allowed.from == FromNamespaces::Selector);
    let labels = if asks_labels {
        let api: Api<Namespace> = Api::all(context.client());
        let found = api.get_metadata_opt(user).await;
        found
            .map_err(ReconcileError::api("read", format!("Namespace {user}")))?
            .and_then(|it| it.metadata.labels)
            .unwrap_or_default()
    } else {
        BTreeMap::new()
    };
    Ok(usage::allows(policy, &owner, user, &labels))
}

/// Whether a Secret exists. What is in it is not read.
pub async fn secret_presence(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Presence, ReconcileError> {
    let api: Api<Secret> = Api::namespaced(context.client(), namespace);
    presence(
        api.get_metadata(name).await.map(|_| ()),
        &format!("Secret {namespace}/{name}"),
    )
}

/// Copies may be behind: what they do not have is asked for. Of what goes they tell.
async fn target_presence(
    context: &Context,
    stores: &Stores,
    reference: &TargetRef,
    own: &str,
) -> Result<Option<Presence>, ReconcileError> {
    let key = WorkloadKey {
        kind: reference.kind.clone(),
        namespace: own.to_owned(),
        name: reference.name.clone(),
    };
    let is_claim = reference.kind == CLAIM_KIND;
    if !is_claim && !WORKLOAD_KINDS.contains(&reference.kind.as_str()) {
        return Ok(None);
    }
    if stores.targets.are_there(&key) {
        return Ok(Some(Presence::Present));
    }
    let version = if is_claim { "v1" } else { key.api_version() };
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &key.kind));
    let api: Api<DynamicObject> = Api::namespaced_with(context.client(), own, &resource);
    let found: Result<PartialObjectMeta<DynamicObject>, _> = api.get_metadata(&key.name).await;
    if found
        .as_ref()
        .is_ok_and(|it| it.metadata.deletion_timestamp.is_some())
    {
        return Ok(Some(Presence::Missing));
    }
    presence(found.map(|_| ()), &key.to_string()).map(Some)
}

/// A refusal is something that the user should know of; other trouble is tried again.
fn presence(
    result: Result<(), kube_client::Error>,
    object: &str,
) -> Result<Presence, ReconcileError> {
    match result {
        Err(error) if status_code(&error) == Some(403) => Ok(Presence::Unknown(chain(&error))),
        result => Ok(
            match found(result).map_err(ReconcileError::api("look for", object))? {
                Some(()) => Presence::Present,
                None => Presence::Missing,
            },
        ),
    }
}
