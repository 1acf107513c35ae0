//! What every container of an agent is made of, in a workload's Pod and in a Job's: environment, volumes, mounts and
//! security settings.
//!
//! Where the container goes, what it is called and what it does is said by [`crate::inject`] and by the makers of Jobs.

use api::k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, ObjectFieldSelector, VolumeMount,
};
use api::v1alpha1::LocalBackend;
use api::v1beta1::{ContainerRuntimeSettings, EmptyDirSettings};

use crate::ImageOptions;

mod security;
mod volumes;

pub use security::{Around, security_context};
pub use volumes::VolumeError;

/// Where scratch files lie in every container of ours; the cache lies below.
pub const SCRATCH_PATH: &str = "/stash-tmp";
/// Where the cache lies.
pub const CACHE_PATH: &str = "/stash-tmp/cache";
/// Where Kubernetes clients look for the token of the Pod.
pub const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Whether data is read or written: what the container may do follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Files are read.
    Backup,
    /// Files are written with their owners.
    Restore,
    /// No files of others are touched.
    Upkeep,
}

/// What kind of container it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Beside the containers of a workload, or the container of a Job.
    Beside,
    /// Before the containers of a workload. Its volumes have names of their own, so that it comes and goes without
    /// touching a sidecar in the same Pod.
    Before,
}

impl Place {
    /// The names of the scratch, token and local backend's volumes.
    pub const fn volume_names(self) -> [&'static str; 3] {
        match self {
            Self::Beside => ["stash-tmp-dir", "stash-token", "stash-local"],
            Self::Before => ["stash-init-tmp-dir", "stash-init-token", "stash-init-local"],
        }
    }
}

/// A container of an agent and its volumes.
#[derive(Debug, Clone)]
pub struct AgentParts<'a> {
    /// What it runs.
    pub image: &'a ImageOptions,
    /// Where it runs.
    pub place: Place,
    /// What it does.
    pub work: Work,
    /// Behind the name of the program, such as `agent sidecar …`.
    pub args: Vec<String>,
    /// What the user set for it.
    pub settings: Option<&'a ContainerRuntimeSettings>,
    /// The scratch folder.
    pub temp_dir: Option<&'a EmptyDirSettings>,
    /// The volume of the backend, when it is one.
    pub local: Option<&'a LocalBackend>,
    /// The data.
    pub mounts: Vec<VolumeMount>,
    /// Security settings of what is around it.
    pub around: Around,
}

impl AgentParts<'_> {
    /// The container.
    pub fn container(&self, name: &str) -> Container {
        let settings = self.settings.cloned().unwrap_or_default();
        let is_beside = self.place == Place::Beside;
        Container {
            name: name.to_owned(),
            image: Some(self.image.name.clone()),
            image_pull_policy: Some(self.image.pull_policy.clone()),
            args: Some(self.args.clone()),
            env: Some(self.environment(&settings)),
            env_from: Some(settings.env_from).filter(|list| !list.is_empty()),
            resources: settings.resources,
            // Kubernetes refuses probes and hooks of the life cycle on containers that run before others.
            liveness_probe: settings.liveness_probe.filter(|_| is_beside),
            readiness_probe: settings.readiness_probe.filter(|_| is_beside),
            lifecycle: settings.lifecycle.filter(|_| is_beside),
            security_context: Some(security_context(
                self.work,
                settings.security_context,
                &self.around,
            )),
            volume_mounts: Some(self.volume_mounts()),
            ..Container::default()
        }
    }

    /// What the agent is told by its environment, and behind it what the user adds. The Pod's identity cannot be
    /// replaced.
    fn environment(&self, settings: &ContainerRuntimeSettings) -> Vec<EnvVar> {
        let mut fixed = vec![
            from_field("NODE_NAME", "spec.nodeName"),
            from_field("POD_IP", "status.podIP"),
            from_field("POD_NAME", "metadata.name"),
            from_field("POD_NAMESPACE", "metadata.namespace"),
            from_field("POD_UID", "metadata.uid"),
        ];
        let caches = !self
            .temp_dir
            .is_some_and(|settings| settings.disable_caching);
        let nice = settings.nice.and_then(|nice| nice.adjustment);
        let ionice = settings.ionice.unwrap_or_default();
        let replaceable = [
            Some(("TMPDIR", SCRATCH_PATH.to_owned())),
            caches.then(|| ("STASH_CACHE_DIR", CACHE_PATH.to_owned())),
            nice.map(|value| ("NICE_ADJUSTMENT", value.to_string())),
            ionice
                .class
                .map(|value| ("IONICE_CLASS", value.to_string())),
            ionice
                .class_data
                .map(|value| ("IONICE_CLASS_DATA", value.to_string())),
        ];
        let is_of_user = |name: &str| settings.env.iter().any(|variable| variable.name == name);
        let ours = replaceable
            .into_iter()
            .flatten()
            .filter(|(name, _)| !is_of_user(name))
            .map(|(name, value)| with_value(name, value));
        let mut all: Vec<EnvVar> = fixed.drain(..).chain(ours).collect();
        for variable in &settings.env {
            if !all.iter().any(|present| present.name == variable.name) {
                all.push(variable.clone());
            }
        }
        all
    }
}

fn with_value(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

#[cfg(test)]
mod tests;
