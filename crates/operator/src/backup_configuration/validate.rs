//! What is wrong with a BackupConfiguration, found without reading anything more.

use api::problem::Problem;
use api::rules::check_backup_configuration;
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
    if !observation.is_allowed {
        problems.push(not_allowed(
            &observation.repository_name,
            &configuration.namespace().unwrap_or_default(),
        ));
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
