//! The Job that removes the data of a Repository, with rights to read that Repository and its Secret only.

use std::collections::BTreeMap;

use api::k8s_openapi::api::batch::v1::{Job, JobSpec};
use api::k8s_openapi::api::core::v1::{
    LocalObjectReference, PodSpec, PodTemplateSpec, ServiceAccount,
};
use api::k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use api::v1alpha1::Repository;
use kube_client::{Resource, ResourceExt};
use session::{labels, names};

use crate::ImageOptions;
use crate::pod_parts::{AgentParts, Around, Place, VolumeError, Work};

/// What the objects are part of.
const COMPONENT: &str = "stash-wipe-out";
/// Finds the Jobs.
pub const SELECTOR: &str = "app.kubernetes.io/component=stash-wipe-out";
/// How often Kubernetes tries before we are asked again.
const BACKOFF_LIMIT: i32 = 2;

/// Everything that is made for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// Who it runs as.
    pub account: ServiceAccount,
    /// What it may do.
    pub role: Role,
    /// Ties the two together.
    pub binding: RoleBinding,
    /// The Job.
    pub job: Job,
}

/// Builds the objects. They go with the Repository.
pub fn objects(repository: &Repository, image: &ImageOptions) -> Result<Objects, VolumeError> {
    let name = names::wipe_out_job(&repository.name_any());
    let metadata = metadata(repository, &name);
    let namespace = metadata.namespace.clone().unwrap_or_default();
    Ok(Objects {
        account: ServiceAccount {
            metadata: metadata.clone(),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        role: Role {
            metadata: metadata.clone(),
            rules: Some(rules(repository)),
        },
        binding: RoleBinding {
            metadata: metadata.clone(),
            role_ref: RoleRef {
                api_group: Role::group(&()).into_owned(),
                kind: Role::kind(&()).into_owned(),
                name: name.clone(),
            },
            subjects: Some(vec![Subject {
                kind: ServiceAccount::kind(&()).into_owned(),
                name: name.clone(),
                namespace: Some(namespace),
                api_group: None,
            }]),
        },
        job: job(repository, image, metadata, &name)?,
    })
}

fn metadata(repository: &Repository, name: &str) -> ObjectMeta {
    let component = (labels::COMPONENT.to_owned(), COMPONENT.to_owned());
    let manager = (labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: repository.namespace(),
        labels: Some(BTreeMap::from([component, manager])),
        owner_references: repository.controller_owner_ref(&()).map(|it| vec![it]),
        ..ObjectMeta::default()
    }
}

fn rules(repository: &Repository) -> Vec<PolicyRule> {
    let get = |group: &str, resource: &str, name: String| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: Some(vec![name]),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    };
    let secret = repository.spec.backend.storage_secret_name.clone();
    let group = Repository::group(&());
    let mut rules = vec![get(&group, "repositories", repository.name_any())];
    rules.extend(secret.map(|name| get("", "secrets", name)));
    rules
}

fn job(
    repository: &Repository,
    image: &ImageOptions,
    metadata: ObjectMeta,
    name: &str,
) -> Result<Job, VolumeError> {
    let args = ["agent", "wipe-out", "--repository", &repository.name_any()];
    let parts = AgentParts {
        image,
        place: Place::Beside,
        work: Work::Upkeep,
        args: args.iter().map(|&word| word.to_owned()).collect(),
        settings: None,
        temp_dir: None,
        local: repository.spec.backend.local.as_ref(),
        mounts: Vec::new(),
        around: Around::own(None),
    };
    let secrets = image
        .pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    let mut container = parts.container(Place::Beside.container_name());
    // Nobody else is told why it failed.
    container.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    Ok(Job {
        spec: Some(JobSpec {
            backoff_limit: Some(BACKOFF_LIMIT),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: metadata.labels.clone(),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![container],
                    volumes: Some(parts.volumes()?),
                    restart_policy: Some("Never".to_owned()),
                    service_account_name: Some(name.to_owned()),
                    automount_service_account_token: Some(false),
                    image_pull_secrets: Some(secrets.collect::<Vec<_>>())
                        .filter(|list| !list.is_empty()),
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        metadata,
        status: None,
    })
}
