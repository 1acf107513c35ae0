//! Where a repository lies: one of seven providers.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::v1alpha1::VolumeSource;

/// Where the repository lies and which Secret opens it. Exactly one provider is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageSecretName) && size(self.storageSecretName) > 0")
    .message("storageSecretName is required")
    .field_path(".storageSecretName"))]
#[x_kube(validation = Rule::new(
    "[has(self.local), has(self.s3), has(self.gcs), has(self.azure), has(self.swift), has(self.b2), \
     has(self.rest)].filter(x, x).size() == 1"
).message("exactly one of local, s3, gcs, azure, swift, b2 and rest must be set"))]
pub struct Backend {
    /// Name of the Secret in the Repository's namespace with `RESTIC_PASSWORD` and the provider's keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_secret_name: Option<String>,
    /// A Kubernetes volume: a host path, a volume claim, an NFS share and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalBackend>,
    /// Amazon S3 or a store that speaks its protocol, such as MinIO or Ceph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Backend>,
    /// Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsBackend>,
    /// Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureBackend>,
    /// OpenStack Swift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swift: Option<SwiftBackend>,
    /// Backblaze B2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b2: Option<B2Backend>,
    /// A server that speaks restic's REST protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestBackend>,
}

impl Backend {
    /// The keys of the providers that are set, in the order of the published API.
    pub fn providers(&self) -> Vec<&'static str> {
        [
            ("local", self.local.is_some()),
            ("s3", self.s3.is_some()),
            ("gcs", self.gcs.is_some()),
            ("azure", self.azure.is_some()),
            ("swift", self.swift.is_some()),
            ("b2", self.b2.is_some()),
            ("rest", self.rest.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect()
    }
}

/// A Kubernetes volume as backend. The volume source stands beside `mountPath`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mountPath != '/stash' && !self.mountPath.startsWith('/stash/')")
    .message("mountPath must not be /stash or lie under it: the program lies there in the image")
    .field_path(".mountPath"))]
pub struct LocalBackend {
    /// The volume, as in a Pod.
    #[serde(flatten)]
    pub source: VolumeSource,
    /// Absolute path where Pods mount the volume; the repository lies there. Not `/stash` or below it.
    #[schemars(length(min = 1, max = 4096))]
    pub mount_path: String,
    /// Folder of the volume that is mounted instead of its root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
}

/// A bucket of Amazon S3 or a compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Backend {
    /// Host name of the service, or its URL with scheme and port. A bare host name means https.
    #[schemars(length(min = 1))]
    pub endpoint: String,
    /// Name of the bucket.
    #[schemars(length(min = 1))]
    pub bucket: String,
    /// Folder in the bucket; the bucket's root when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Region of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Accept a server certificate that cannot be verified. Only for tests: use `CA_CERT_DATA` instead.
    #[serde(rename = "insecureTLS", skip_serializing_if = "Option::is_none")]
    pub insecure_tls: Option<bool>,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcsBackend {
    /// Name of the bucket.
    #[schemars(length(min = 1))]
    pub bucket: String,
    /// Folder in the bucket; the bucket's root when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Most connections at the same time; 0 leaves it to the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_connections: Option<i64>,
}

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureBackend {
    /// Name of the container.
    #[schemars(length(min = 1))]
    pub container: String,
    /// Folder in the container; the container's root when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Most connections at the same time; 0 leaves it to the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_connections: Option<i64>,
}

/// A container of OpenStack Swift.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwiftBackend {
    /// Name of the container.
    #[schemars(length(min = 1))]
    pub container: String,
    /// Folder in the container. Written as it stands: `/x` and `x` are different folders here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A bucket of Backblaze B2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct B2Backend {
    /// Name of the bucket.
    #[schemars(length(min = 1))]
    pub bucket: String,
    /// Folder in the bucket; the bucket's root when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Most connections at the same time; 0 leaves it to the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_connections: Option<i64>,
}

/// A server that speaks restic's REST protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) && size(self.url) > 0")
    .message("url is required")
    .field_path(".url"))]
pub struct RestBackend {
    /// URL of the repository on the server, with `http` or `https`. User and password belong in the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
}
