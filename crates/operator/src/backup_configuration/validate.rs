//! What is wrong with a BackupConfiguration, found without reading anything more.

use api::problem::Problem;
use api::rules::{check_backup_configuration, check_repository};
use api::v1alpha1::Repository;
use api::v1beta1::BackupConfiguration;
use kube_client::ResourceExt;
use session::model::{Model, backup_model};

use crate::backup_configuration::observe::Observation;

/// Every problem that stops backups.
pub fn problems(configuration: &BackupConfiguration) -> Vec<Problem> {
    let mut problems: Vec<Problem> = check_backup_configuration(configuration)
        .into_iter()
        .filter(Problem::is_error)
        .collect();
    let namespace = configuration.namespace().unwrap_or_default();
    problems.extend(backup_model(&configuration.spec, &namespace).err());
    problems
}

/// Fields that are set and change nothing here.
fn without_effect(configuration: &BackupConfiguration) -> Vec<Problem> {
    let spec = &configuration.spec;
    let target = spec.target.clone().unwrap_or_default();
    let namespace = configuration.namespace().unwrap_or_default();
    let is_sidecar = backup_model(&configuration.spec, &namespace) == Ok(Model::Sidecar);
    let has_params = spec
        .task
        .as_ref()
        .is_some_and(|task| !task.params.is_empty());
    unused(&[
        ("spec.task.params", has_params),
        ("spec.target.replicas", target.replicas.is_some()),
        (
            "spec.target.snapshotClassName",
            target.volume_snapshot_class_name.is_some(),
        ),
        (
            "spec.interimVolumeTemplate",
            is_sidecar && spec.interim_volume_template.is_some(),
        ),
    ])
}

/// A warning for each of these fields that is set.
pub(crate) fn unused(fields: &[(&str, bool)]) -> Vec<Problem> {
    let set = fields.iter().filter(|(_, is_set)| *is_set);
    set.map(|(path, _)| Problem::new(*path, "has no effect here").as_warning())
        .collect()
}

/// The same, with what the Repository says, and with what stops nothing.
pub(super) fn validate(
    configuration: &BackupConfiguration,
    observation: &Observation,
) -> Vec<Problem> {
    let mut problems = problems(configuration);
    problems.extend(without_effect(configuration));
    problems.extend(of_repository(observation.repository.as_deref()));
    if !observation.is_allowed {
        problems.push(not_allowed(
            &observation.repository_name,
            &configuration.namespace().unwrap_or_default(),
        ));
    }
    problems
}

/// What is wrong with the backend of a Repository that its definition does not refuse. That it names no Secret is a
/// condition of its own.
pub(crate) fn of_repository(repository: Option<&Repository>) -> Vec<Problem> {
    let Some(repository) = repository else {
        return Vec::new();
    };
    let mut problems = check_repository(repository);
    problems.retain(|it| {
        it.is_error()
            && it.path.starts_with("spec.backend")
            && it.path != "spec.backend.storageSecretName"
    });
    for problem in &mut problems {
        problem.object = format!("Repository/{}", repository.name_any());
    }
    problems
}

/// The usage policy of a Repository does not let a namespace use it.
pub(crate) fn not_allowed(repository: &str, namespace: &str) -> Problem {
    Problem::new(
        "spec.repository.namespace",
        format!(
            "the usage policy of the Repository {repository} does not allow the namespace {namespace}"
        ),
    )
    .with_fix("change spec.usagePolicy.allowedNamespaces of the Repository, or use one of this namespace")
}
