//! The volumes of our containers and where they are mounted.

use api::k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource,
    KeyToPath, ObjectFieldSelector, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume,
    VolumeMount, VolumeProjection,
};
use api::v1alpha1::LocalBackend;
use serde_json::Value;

use crate::pod_parts::{AgentParts, SCRATCH_PATH, TOKEN_PATH};

/// How long a token is good; the kubelet brings a new one long before.
const TOKEN_SECONDS: i64 = 3607;
/// Everybody in the Pod may read the token's files, as with those that Kubernetes mounts by itself.
const TOKEN_MODE: i32 = 0o644;
/// The ConfigMap with the certificate of the API server, in every namespace.
const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";

/// A volume that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The volume source of a local backend is none that a Pod can have.
    #[error("the volume of the local backend is no volume of a Pod")]
    Source(#[source] serde_json::Error),
}

impl AgentParts<'_> {
    /// The volumes of the Pod that this container needs, besides those of the data.
    pub fn volumes(&self) -> Result<Vec<Volume>, VolumeError> {
        let [scratch, token, local] = self.place.volume_names();
        let settings = self.temp_dir.cloned().unwrap_or_default();
        let mut volumes = vec![
            Volume {
                name: scratch.to_owned(),
                empty_dir: Some(EmptyDirVolumeSource {
                    medium: settings.medium.filter(|medium| !medium.is_empty()),
                    size_limit: settings.size_limit,
                }),
                ..Volume::default()
            },
            Volume {
                name: token.to_owned(),
                projected: Some(token_source()),
                ..Volume::default()
            },
        ];
        if let Some(backend) = self.local {
            volumes.push(local_volume(local, backend)?);
        }
        Ok(volumes)
    }

    pub(super) fn volume_mounts(&self) -> Vec<VolumeMount> {
        let [scratch, token, local] = self.place.volume_names();
        let mount = |name: &str, path: &str| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        };
        let mut mounts = vec![
            mount(scratch, SCRATCH_PATH),
            VolumeMount {
                read_only: Some(true),
                ..mount(token, TOKEN_PATH)
            },
        ];
        mounts.extend(self.local.map(|backend| VolumeMount {
            sub_path: backend.sub_path.clone().filter(|path| !path.is_empty()),
            ..mount(local, &backend.mount_path)
        }));
        mounts.extend(self.mounts.iter().map(reduced));
        mounts
    }
}

/// What of a mount a container of ours takes over.
fn reduced(mount: &VolumeMount) -> VolumeMount {
    VolumeMount {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        sub_path: mount.sub_path.clone(),
        sub_path_expr: mount.sub_path_expr.clone(),
        read_only: mount.read_only,
        ..VolumeMount::default()
    }
}

/// A token of the Pod's ServiceAccount, also where the workload does not want one in its own containers.
fn token_source() -> ProjectedVolumeSource {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: None,
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".to_owned(),
        }),
        ..VolumeProjection::default()
    };
    let certificate = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: ROOT_CERTIFICATE.to_owned(),
            items: Some(vec![KeyToPath {
                key: "ca.crt".to_owned(),
                path: "ca.crt".to_owned(),
                mode: None,
            }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let namespace = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "namespace".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.namespace".to_owned(),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    ProjectedVolumeSource {
        default_mode: Some(TOKEN_MODE),
        sources: Some(vec![token, certificate, namespace]),
    }
}

/// The source of a local backend is spelled as in a Pod; only the name is added.
fn local_volume(name: &str, backend: &LocalBackend) -> Result<Volume, VolumeError> {
    let mut source = serde_json::to_value(&backend.source).map_err(VolumeError::Source)?;
    if let Value::Object(fields) = &mut source {
        fields.insert("name".to_owned(), Value::from(name));
    }
    serde_json::from_value(source).map_err(VolumeError::Source)
}
