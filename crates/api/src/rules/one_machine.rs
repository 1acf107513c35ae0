//! What one machine without a cluster can do, and what it refuses with the reason.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::manifest::AnyObject;
use crate::problem::Problem;
use crate::rules::hooks::{handlers_of_backup, handlers_of_restore, ports};
use crate::secret::local_path_on_this_machine;
use crate::v1alpha1::Repository;
use crate::v1beta1::{
    BackupConfiguration, BackupSession, EmptyDirSettings, Handler, RestoreSession, RuntimeSettings,
    Snapshotter, TargetRef, TaskRef,
};

/// What an object asks for that needs a cluster (errors), and what has no effect without one (warnings).
pub fn needs_cluster(object: &AnyObject) -> Vec<Problem> {
    match object {
        AnyObject::Secret(_) => Vec::new(),
        AnyObject::Repository(repository) => repository_needs_cluster(repository),
        AnyObject::BackupConfiguration(configuration) => backup_needs_cluster(configuration),
        AnyObject::BackupSession(session) => session_needs_cluster(session),
        AnyObject::RestoreSession(session) => restore_needs_cluster(session),
    }
}

/// As [`needs_cluster`].
pub fn repository_needs_cluster(repository: &Repository) -> Vec<Problem> {
    let local = repository.spec.backend.local.as_ref();
    local
        .and_then(|local| local_path_on_this_machine(local).err())
        .into_iter()
        .collect()
}

/// As [`needs_cluster`].
pub fn backup_needs_cluster(configuration: &BackupConfiguration) -> Vec<Problem> {
    let spec = &configuration.spec;
    let mut problems = Vec::new();
    match &spec.target {
        None => problems.push(
            Problem::new(
                "spec.target",
                "without a target the backup is one of a whole cluster",
            )
            .with_fix("add a target with the `paths` of directories of this machine"),
        ),
        Some(target) => {
            problems.extend(
                target
                    .reference
                    .as_ref()
                    .map(|reference| refuse_reference(reference, "paths")),
            );
            if !target.volume_mounts.is_empty() {
                problems.push(no_effect("spec.target.volumeMounts"));
            }
            if target.replicas.is_some() {
                problems.push(no_effect("spec.target.replicas"));
            }
            if target.volume_snapshot_class_name.is_some() {
                problems.push(no_effect("spec.target.snapshotClassName"));
            }
        }
    }
    problems.extend(refuse_driver(spec.driver));
    problems.extend(refuse_task(spec.task.as_ref()));
    problems.extend(refuse_interim_volume(
        spec.interim_volume_template.is_some(),
    ));
    problems.extend(refuse_containers(&handlers_of_backup(spec.hooks.as_ref())));
    problems.extend(without_effect(
        spec.runtime_settings.as_ref(),
        spec.temp_dir.as_ref(),
    ));
    problems
}

/// As [`needs_cluster`].
pub fn session_needs_cluster(session: &BackupSession) -> Vec<Problem> {
    let invoker = &session.spec.invoker;
    let is_batch = invoker.kind == "BackupBatch";
    let problem = Problem::new("spec.invoker.kind", "a BackupBatch needs a cluster")
        .with_value(&invoker.kind)
        .with_fix("use a BackupConfiguration per target");
    is_batch.then_some(problem).into_iter().collect()
}

/// As [`needs_cluster`].
pub fn restore_needs_cluster(session: &RestoreSession) -> Vec<Problem> {
    let spec = &session.spec;
    let mut problems = Vec::new();
    if let Some(target) = &spec.target {
        problems.extend(
            target
                .reference
                .as_ref()
                .map(|reference| refuse_reference(reference, "rules")),
        );
        if !target.volume_claim_templates.is_empty() {
            problems.push(
                Problem::new(
                    "spec.target.volumeClaimTemplates",
                    "volume claims exist only in a cluster",
                )
                .with_fix(
                    "remove the field: files are restored to the directories of this machine",
                ),
            );
        }
        if !target.volume_mounts.is_empty() {
            problems.push(no_effect("spec.target.volumeMounts"));
        }
        if target.replicas.is_some() {
            problems.push(no_effect("spec.target.replicas"));
        }
    }
    problems.extend(refuse_driver(spec.driver));
    problems.extend(refuse_task(spec.task.as_ref()));
    problems.extend(refuse_interim_volume(
        spec.interim_volume_template.is_some(),
    ));
    problems.extend(refuse_containers(&handlers_of_restore(spec.hooks.as_ref())));
    problems.extend(without_effect(
        spec.runtime_settings.as_ref(),
        spec.temp_dir.as_ref(),
    ));
    problems
}

fn refuse_reference(reference: &TargetRef, instead: &str) -> Problem {
    let what = match reference.kind.as_str() {
        "" => "an object of a cluster".to_owned(),
        kind => format!("a {kind}"),
    };
    Problem::new(
        "spec.target.ref",
        format!("the target is {what}, which exists only in a cluster"),
    )
    .with_value(format!("{}/{}", reference.kind, reference.name))
    .with_fix(format!(
        "remove `ref` and keep `{instead}`: a target without it is directories of this machine"
    ))
}

fn refuse_driver(driver: Option<Snapshotter>) -> Option<Problem> {
    (driver == Some(Snapshotter::VolumeSnapshotter)).then(|| {
        Problem::new(
            "spec.driver",
            "snapshots of volumes are taken by the storage system of a cluster",
        )
        .with_value(Snapshotter::VolumeSnapshotter)
        .with_fix("use `Restic`")
    })
}

fn refuse_task(task: Option<&TaskRef>) -> Option<Problem> {
    let task = task.filter(|task| !task.name.is_empty())?;
    Some(
        Problem::new("spec.task", "a Task runs as a Job in a cluster")
            .with_value(&task.name)
            .with_fix("remove it; what a Task dumps can be made by a `preBackup` hook"),
    )
}

fn refuse_interim_volume(is_set: bool) -> Option<Problem> {
    is_set.then(|| {
        Problem::new(
            "spec.interimVolumeTemplate",
            "volume claims exist only in a cluster",
        )
        .with_fix("remove the field")
    })
}

fn refuse_containers(handlers: &[(&'static str, &Handler)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, handler) in handlers {
        if let Some(container) = &handler.container_name {
            problems.push(
                Problem::new(
                    format!("{path}.containerName"),
                    "containers exist only in a cluster",
                )
                .with_value(container)
                .with_fix("remove it: the hook runs on this machine"),
            );
        } else {
            // A named port without a container is refused by the rules of the hook itself.
            continue;
        }
        for (action, port) in ports(handler) {
            if let IntOrString::String(name) = port
                && name.parse::<u16>().is_err()
            {
                problems.push(
                    Problem::new(
                        format!("{path}.{action}.port"),
                        "ports have names only in a cluster",
                    )
                    .with_value(name)
                    .with_fix("use the number of the port"),
                );
            }
        }
    }
    problems
}

fn without_effect(
    runtime: Option<&RuntimeSettings>,
    scratch: Option<&EmptyDirSettings>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if runtime.is_some() {
        problems.push(no_effect("spec.runtimeSettings"));
    }
    if scratch.is_some() {
        problems.push(no_effect("spec.tempDir"));
    }
    problems
}

fn no_effect(path: &str) -> Problem {
    Problem::new(path, "the field has no effect without a cluster").as_warning()
}
