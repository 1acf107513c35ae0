//! The Repository resource.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::string_enum;
use crate::v1alpha1::Backend;

/// Where snapshots are kept and who may use that place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "stash.appscode.com",
    version = "v1alpha1",
    kind = "Repository",
    plural = "repositories",
    shortname = "repo",
    category = "stash",
    category = "appscode",
    namespaced,
    status = "RepositoryStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Repository says where snapshots are kept: one backend and the Secret that opens it.",
    printcolumn = r#"{"name":"Integrity","type":"boolean","jsonPath":".status.integrity"}"#,
    printcolumn = r#"{"name":"Size","type":"string","jsonPath":".status.totalSize"}"#,
    printcolumn = r#"{"name":"Snapshot-Count","type":"integer","jsonPath":".status.snapshotCount"}"#,
    printcolumn = r#"{"name":"Last-Successful-Backup","type":"date","format":"date-time","jsonPath":".status.lastBackupTime"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.wipeOut) || !self.wipeOut || !(has(self.backend.local) || has(self.backend.b2))"
).message("wipeOut is not available for the backends local and b2").field_path(".wipeOut"))]
pub struct RepositorySpec {
    /// Where the repository lies: exactly one provider.
    pub backend: Backend,
    /// Also delete the stored data when this object is deleted. Not available for `local` and `b2`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wipe_out: bool,
    /// Who else may use this Repository. Without it only the Repository's own namespace may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_policy: Option<UsagePolicy>,
}

/// Who may use a Repository.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsagePolicy {
    /// The namespaces whose objects may name this Repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// The namespaces that may use a Repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.from) || self.from != 'Selector' || has(self.selector)")
    .message("from is Selector, so that selector is required: without one no namespace is allowed")
    .field_path(".selector"))]
pub struct AllowedNamespaces {
    /// `All`, `Selector` or `Same`; the Repository's own namespace when absent.
    #[serde(default = "same_namespace")]
    pub from: FromNamespaces,
    /// Matched against the labels of a namespace when `from` is `Selector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl Default for AllowedNamespaces {
    fn default() -> Self {
        Self {
            from: FromNamespaces::Same,
            selector: None,
        }
    }
}

fn same_namespace() -> FromNamespaces {
    FromNamespaces::Same
}

string_enum! {
    /// Which namespaces a usage policy allows.
    FromNamespaces {
        /// Every namespace.
        All,
        /// The namespaces whose labels match the selector.
        Selector,
        /// Only the namespace of the Repository.
        Same,
    }
}

/// What is known about the stored repository.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// The generation of the object this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the first backup into this repository finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_backup_time: Option<Time>,
    /// When the latest successful backup was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_backup_time: Option<Time>,
    /// Whether the last check found the repository sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<bool>,
    /// Size of the stored data, such as `1.204 GiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size: Option<String>,
    /// How many snapshots the repository holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_count: Option<i64>,
    /// How many snapshots the last retention run removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots_removed_on_last_cleanup: Option<i64>,
    /// The objects that use this Repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<TypedObjectReference>,
}

/// The name of another object, with its kind and namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypedObjectReference {
    /// API group of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: String,
}
