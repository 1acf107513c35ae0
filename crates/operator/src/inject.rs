//! The sidecar and the init container in a workload's Pod template: the same result for the controller and for the
//! webhook, as a pure function of the workload, the invoker and its Repository.
//!
//! Workloads are handled as JSON, so that fields of a newer Kubernetes survive. Only what is ours is touched: one
//! container, its volumes, one annotation of the template and two of the workload, and the image's pull secrets that
//! were not there. A workload that has it all already comes back as it is, whatever defaults the API server filled
//! in; what is ours is found again by its names and goes without a trace.

use api::k8s_openapi::api::core::v1::VolumeMount;
use api::v1alpha1::Repository;
use api::v1beta1::{BackupConfiguration, RestoreSession, TargetRef};
use serde_json::Value;

use crate::ImageOptions;
use crate::apart::{self, RepositoryInData};
use crate::pod_parts::{AgentParts, Around, Place, VolumeError, Work};

mod check;
mod compare;
mod part;
mod pull_secrets;
mod share;
mod template;

pub use part::{Invoker, Part};

/// Why a container of ours cannot go into a workload. What the user can do about it is part of the message.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// A mount names a volume that the Pods do not have.
    #[error(
        "{field} names the volume {volume}, which the Pods of the {workload} do not have; they have {present}"
    )]
    UnknownVolume {
        /// The field of the invoker.
        field: &'static str,
        /// The volume it names.
        volume: String,
        /// The workload.
        workload: String,
        /// What there is.
        present: String,
    },
    /// Two volumes at one place.
    #[error(
        "two volumes would be mounted at {path} in the container {container}; change {field} or the mountPath of the local backend"
    )]
    SamePath {
        /// The place.
        path: String,
        /// Our container.
        container: &'static str,
        /// The field of the invoker.
        field: &'static str,
    },
    /// The name of our container is taken.
    #[error(
        "the {workload} has a container named {container} that is not ours; give it another name"
    )]
    NameTaken {
        /// The workload.
        workload: String,
        /// The name.
        container: &'static str,
    },
    /// The volume of the backend cannot be mounted here.
    #[error("the Repository {repository} cannot be used in a Pod")]
    Backend {
        /// The Repository.
        repository: String,
        /// Why.
        #[source]
        source: VolumeError,
    },
    /// A claim can be mounted in its own namespace only.
    #[error(
        "the Repository {repository} lies in the volume claim {claim}, which Pods of the namespace {namespace} cannot mount; make a Repository in that namespace, or use another backend"
    )]
    ForeignClaim {
        /// The Repository.
        repository: String,
        /// Its claim.
        claim: String,
        /// The namespace of the workload.
        namespace: String,
    },
    /// A backup would contain the backups before it.
    #[error(transparent)]
    RepositoryInData(#[from] RepositoryInData),
    /// The object is no workload.
    #[error("the {workload} has no Pod template")]
    NoTemplate {
        /// The object.
        workload: String,
    },
    /// Our own part cannot be written as JSON.
    #[error("cannot encode the container {container}")]
    Encode {
        /// Our container.
        container: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// What is to become of one of our containers in a workload.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// It stays as it is, because it is not known what it should be like.
    AsItIs,
    /// It goes.
    Absent,
    /// It is there, just so.
    Present(Box<Part>),
}

/// The workload as it should be.
pub fn inject(
    workload: &Value,
    sidecar: &Wanted,
    init: &Wanted,
    image: &ImageOptions,
) -> Result<Value, InjectError> {
    let mut result = workload.clone();
    for (place, wanted) in [(Place::Beside, sidecar), (Place::Before, init)] {
        match wanted {
            Wanted::AsItIs => {}
            Wanted::Absent => template::remove(&mut result, place),
            Wanted::Present(part) => {
                let part = share::adapted(&result, part);
                template::put(&mut result, &part)?;
            }
        }
    }
    let has_ours = [Place::Beside, Place::Before]
        .into_iter()
        .any(|place| template::has(&result, place));
    let secrets: &[String] = if has_ours { &image.pull_secrets } else { &[] };
    pull_secrets::set(&mut result, secrets);
    Ok(result)
}

/// The invoker whose container the workload carries, as its annotation says.
pub fn carried(workload: &Value, place: Place) -> Option<Invoker> {
    template::carried(workload, place)
}

/// The digest of what was put into the workload's template for our container.
pub fn digest(workload: &Value, place: Place) -> Option<&str> {
    template::digest(workload, place)
}

/// Whether the workload's template holds our container.
pub fn has(workload: &Value, place: Place) -> bool {
    template::has(workload, place)
}

/// The sidecar that backs up a workload.
pub fn sidecar(
    workload: &Value,
    configuration: &BackupConfiguration,
    repository: &Repository,
    image: &ImageOptions,
) -> Result<Part, InjectError> {
    let spec = &configuration.spec;
    let target = spec.target.clone().unwrap_or_default();
    let reference = target.reference.clone().unwrap_or_default();
    let invoker = Invoker::of(configuration);
    let mut args = words(&["agent", "sidecar", "--invoker-kind", &invoker.kind]);
    args.extend(words(&["--invoker-name", &invoker.name]));
    args.extend(target_args(&reference));
    let parts = AgentParts {
        image,
        place: Place::Beside,
        work: Work::Backup,
        args,
        settings: spec
            .runtime_settings
            .as_ref()
            .and_then(|settings| settings.container.as_ref()),
        temp_dir: spec.temp_dir.as_ref(),
        local: repository.spec.backend.local.as_ref(),
        around: around(workload, &target.volume_mounts),
        mounts: target.volume_mounts.clone(),
    };
    let part = part::build(workload, invoker, &parts, repository)?;
    let volumes = workload.pointer("/spec/template/spec/volumes");
    let volumes = volumes
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    apart::check(repository, &target, volumes, &target.volume_mounts)?;
    Ok(part)
}

/// The init container that restores into a workload before it starts.
pub fn init_container(
    workload: &Value,
    restore: &RestoreSession,
    repository: &Repository,
    image: &ImageOptions,
) -> Result<Part, InjectError> {
    let spec = &restore.spec;
    let target = spec.target.clone().unwrap_or_default();
    let invoker = Invoker::of(restore);
    let args = words(&[
        "agent",
        "restore",
        "--restore-session",
        &invoker.name,
        "--init",
    ]);
    let parts = AgentParts {
        image,
        place: Place::Before,
        work: Work::Restore,
        args,
        settings: spec
            .runtime_settings
            .as_ref()
            .and_then(|settings| settings.container.as_ref()),
        temp_dir: spec.temp_dir.as_ref(),
        local: repository.spec.backend.local.as_ref(),
        around: around(workload, &target.volume_mounts),
        mounts: target.volume_mounts,
    };
    part::build(workload, invoker, &parts, repository)
}

fn target_args(reference: &TargetRef) -> Vec<String> {
    words(&[
        "--target-kind",
        &reference.kind,
        "--target-name",
        &reference.name,
    ])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// The security settings of the workload's Pods, whose data is in the first mount.
fn around(workload: &Value, mounts: &[VolumeMount]) -> Around {
    Around::workload(workload, mounts.first().map(|mount| mount.name.as_str()))
}

/// `Kind name` of a workload, for messages.
fn describe(workload: &Value) -> String {
    let text = |pointer: &str| {
        workload
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!("{} {}", text("/kind"), text("/metadata/name"))
}

#[cfg(test)]
mod tests;
