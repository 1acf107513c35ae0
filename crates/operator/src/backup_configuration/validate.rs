//! What is wrong with a BackupConfiguration, found without reading anything more.

use api::problem::Problem;
use api::rules::{check_backup_configuration, check_repository};
use api::v1alpha1::Repository;
use api::v1beta1::BackupConfiguration;
use kube_client::ResourceExt;
use session::model::backup_model;

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

/// The same, with what the Repository says.
pub(super) fn validate(
    configuration: &BackupConfiguration,
    observation: &Observation,
) -> Vec<Problem> {
    let mut problems = problems(configuration);
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
