//! How a BackupConfiguration is carried out in a cluster, and what of the published API is not carried out yet.

use std::path::PathBuf;

use api::k8s_openapi::api::core::v1::VolumeMount;
use api::problem::Problem;
use api::v1beta1::{BackupConfigurationSpec, BackupTarget, RestoreTarget, Snapshotter, TargetRef};

/// The Task that backs up volume claims.
pub const PVC_BACKUP_TASK: &str = "pvc-backup";
/// The Task that restores volume claims.
pub const PVC_RESTORE_TASK: &str = "pvc-restore";
/// The kind of a volume claim.
pub const CLAIM_KIND: &str = "PersistentVolumeClaim";
/// The kinds of workloads.
pub const WORKLOAD_KINDS: &[&str] = &[
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
];

/// Where a volume claim that is the target is mounted unless the target says otherwise.
pub const DEFAULT_DATA_PATH: &str = "/stash-data";

/// Where a volume claim that is the target is mounted: as its first mount says.
pub fn data_path(mounts: &[VolumeMount]) -> String {
    let path = mounts.first().map(|mount| mount.mount_path.as_str());
    let path = path.filter(|path| !path.is_empty());
    path.unwrap_or(DEFAULT_DATA_PATH).to_owned()
}

/// Where volumes are mounted for a restore into a target of the cluster.
pub fn restore_volumes(target: Option<&RestoreTarget>) -> Vec<PathBuf> {
    let Some(target) = target else {
        return Vec::new();
    };
    let reference = target.reference.as_ref();
    if reference.is_some_and(|it| it.kind == CLAIM_KIND) {
        return vec![PathBuf::from(data_path(&target.volume_mounts))];
    }
    let mounts = target.volume_mounts.iter();
    mounts
        .map(|mount| PathBuf::from(&mount.mount_path))
        .collect()
}

/// What of a target is backed up: the paths it names, or all of a volume claim.
pub fn backup_paths(target: &BackupTarget) -> Vec<String> {
    let reference = target.reference.as_ref();
    if target.paths.is_empty() && reference.is_some_and(|it| it.kind == CLAIM_KIND) {
        return vec![data_path(&target.volume_mounts)];
    }
    target.paths.clone()
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// A container in the Pods of the workload.
    Sidecar,
    /// Pods of their own that mount the volumes.
    Job,
}

/// The model of a backup, for an object of a namespace.
pub fn backup_model(spec: &BackupConfigurationSpec, namespace: &str) -> Result<Model, Problem> {
    if spec.driver == Some(Snapshotter::VolumeSnapshotter) {
        return Err(
            Problem::new("spec.driver", "snapshots of volumes are not acted on yet")
                .with_value(Snapshotter::VolumeSnapshotter)
                .with_fix("use `Restic`"),
        );
    }
    let Some(target) = &spec.target else {
        return Err(Problem::new(
            "spec.target",
            "without a target the backup is one of the cluster's objects, which is not acted on yet",
        )
        .with_fix("name a workload or a volume claim in `spec.target.ref`"));
    };
    let Some(reference) = &target.reference else {
        return Err(Problem::new(
            "spec.target.ref",
            "without it the paths are directories of one machine, which a cluster does not have",
        )
        .with_fix("name a workload or a volume claim"));
    };
    let task = spec.task.as_ref().map_or("", |task| task.name.as_str());
    target_model(reference, task, PVC_BACKUP_TASK, namespace).and_then(|model| {
        check_paths(target, model)?;
        Ok(model)
    })
}

/// The model for a target with a Task; `known` is the Task that works on volumes.
pub fn target_model(
    reference: &TargetRef,
    task: &str,
    known: &str,
    namespace: &str,
) -> Result<Model, Problem> {
    if let Some(other) = reference.namespace.as_deref()
        && !other.is_empty()
        && other != namespace
    {
        return Err(Problem::new(
            "spec.target.ref.namespace",
            "the target lies in another namespace, whose volumes cannot be mounted here",
        )
        .with_value(other)
        .with_fix("create the object in the namespace of its target"));
    }
    if !task.is_empty() && task != known {
        return Err(
            Problem::new("spec.task.name", "this Task is not acted on yet")
                .with_value(task)
                .with_fix(format!("use `{known}` or none")),
        );
    }
    match reference.kind.as_str() {
        CLAIM_KIND => Ok(Model::Job),
        kind if WORKLOAD_KINDS.contains(&kind) => Ok(if task.is_empty() {
            Model::Sidecar
        } else {
            Model::Job
        }),
        kind => Err(Problem::new(
            "spec.target.ref.kind",
            "targets of this kind are not acted on yet",
        )
        .with_value(kind)
        .with_fix(format!("use {CLAIM_KIND}, {}", WORKLOAD_KINDS.join(", ")))),
    }
}

/// What is not mounted cannot be read: the program would back up its own image.
fn check_paths(target: &BackupTarget, model: Model) -> Result<(), Problem> {
    let is_claim = target
        .reference
        .as_ref()
        .is_some_and(|reference| reference.kind == CLAIM_KIND);
    if is_claim {
        return Ok(());
    }
    if target.paths.is_empty() {
        return Err(
            Problem::new("spec.target.paths", "nothing is named to back up")
                .with_fix("list the directories, as they are mounted by spec.target.volumeMounts"),
        );
    }
    if model == Model::Job && target.volume_mounts.is_empty() {
        return Err(
            Problem::new("spec.target.volumeMounts", "no volume is named to mount")
                .with_fix("name the volumes of the Pods that hold the data"),
        );
    }
    for (position, path) in target.paths.iter().enumerate() {
        let is_mounted = target
            .volume_mounts
            .iter()
            .any(|mount| is_below(path, &mount.mount_path) || is_below(&mount.mount_path, path));
        if !is_mounted {
            return Err(Problem::new(
                format!("spec.target.paths[{position}]"),
                "the path is in none of the volumes of spec.target.volumeMounts",
            )
            .with_value(path)
            .with_fix("mount the volume that holds it, or correct the path"));
        }
    }
    Ok(())
}

fn is_below(path: &str, folder: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        text.split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    parts(path).starts_with(&parts(folder))
}

#[cfg(test)]
mod tests {
    use api::v1beta1::TaskRef;

    use super::*;

    fn spec(kind: &str, task: &str, paths: &[&str], mounts: &[&str]) -> BackupConfigurationSpec {
        BackupConfigurationSpec {
            task: Some(TaskRef {
                name: task.to_owned(),
                params: Vec::new(),
            }),
            target: Some(BackupTarget {
                reference: Some(TargetRef {
                    kind: kind.to_owned(),
                    name: "web".to_owned(),
                    ..TargetRef::default()
                }),
                paths: paths.iter().map(|&path| path.to_owned()).collect(),
                volume_mounts: mounts
                    .iter()
                    .map(|&path| VolumeMount {
                        name: "data".to_owned(),
                        mount_path: path.to_owned(),
                        ..VolumeMount::default()
                    })
                    .collect(),
                ..BackupTarget::default()
            }),
            ..BackupConfigurationSpec::default()
        }
    }

    fn path_of(spec: &BackupConfigurationSpec) -> String {
        backup_model(spec, "shop").unwrap_err().path
    }

    #[test]
    fn workloads_get_a_sidecar_and_claims_and_those_who_ask_for_it_a_job() {
        let model = |spec: &BackupConfigurationSpec| backup_model(spec, "shop").unwrap();
        let sidecar = spec("Deployment", "", &["/data"], &["/data"]);
        assert_eq!(model(&sidecar), Model::Sidecar);
        let job = spec("StatefulSet", "pvc-backup", &["/data"], &["/data"]);
        assert_eq!(model(&job), Model::Job);
        assert_eq!(model(&spec(CLAIM_KIND, "", &[], &[])), Model::Job);
        assert_eq!(model(&spec(CLAIM_KIND, "pvc-backup", &[], &[])), Model::Job);
    }

    #[test]
    fn a_claim_without_paths_is_backed_up_as_a_whole() {
        let paths = |spec: &BackupConfigurationSpec| backup_paths(spec.target.as_ref().unwrap());
        assert_eq!(paths(&spec(CLAIM_KIND, "", &[], &[])), ["/stash-data"]);
        assert_eq!(paths(&spec(CLAIM_KIND, "", &[], &["/srv"])), ["/srv"]);
        let some = spec(CLAIM_KIND, "", &["/srv/a"], &["/srv"]);
        assert_eq!(paths(&some), ["/srv/a"]);
        assert!(paths(&spec("Deployment", "", &[], &["/srv"])).is_empty());
    }

    #[test]
    fn what_is_not_acted_on_is_named_by_its_field() {
        let dump = spec("Deployment", "postgres-backup-14", &["/data"], &["/data"]);
        assert_eq!(path_of(&dump), "spec.task.name");
        let app = spec("AppBinding", "", &["/data"], &["/data"]);
        assert_eq!(path_of(&app), "spec.target.ref.kind");
        let mut snapshots = spec("Deployment", "", &["/data"], &["/data"]);
        snapshots.driver = Some(Snapshotter::VolumeSnapshotter);
        assert_eq!(path_of(&snapshots), "spec.driver");
        let mut foreign = spec("Deployment", "", &["/data"], &["/data"]);
        let target = foreign.target.as_mut().unwrap();
        target.reference.as_mut().unwrap().namespace = Some("other".to_owned());
        assert_eq!(path_of(&foreign), "spec.target.ref.namespace");
        assert_eq!(path_of(&BackupConfigurationSpec::default()), "spec.target");
    }

    #[test]
    fn paths_must_lie_in_what_is_mounted() {
        let outside = spec("Deployment", "", &["/data", "/etc"], &["/data"]);
        assert_eq!(path_of(&outside), "spec.target.paths[1]");
        assert_eq!(
            path_of(&spec("Deployment", "", &[], &["/data"])),
            "spec.target.paths"
        );
        let above = spec("Deployment", "", &["/srv"], &["/srv/a", "/srv/b"]);
        assert!(backup_model(&above, "shop").is_ok());
        let beside = spec("Deployment", "", &["/database"], &["/data"]);
        assert_eq!(path_of(&beside), "spec.target.paths[0]");
    }
}
