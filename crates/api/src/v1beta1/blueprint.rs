//! The BackupBlueprint resource: a template for backups that annotations switch on.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::v1alpha1::RepositorySpec;
use crate::v1beta1::{
    BackupHooks, EmptyDirSettings, RetentionPolicy, RetryConfig, RuntimeSettings, TaskRef,
    VolumeClaimTemplate,
};

/// A template for Repositories and BackupConfigurations. Every text may contain `${VARIABLE}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupBlueprint",
    plural = "backupblueprints",
    shortname = "bb",
    category = "stash",
    category = "appscode",
    derive = "PartialEq",
    derive = "Default",
    doc = "A BackupBlueprint is a template for backups that annotations switch on.",
    printcolumn = r#"{"name":"Task","type":"string","jsonPath":".spec.task.name"}"#,
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.schedule"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackupBlueprintSpec {
    /// The Repository that is made for each target.
    #[serde(flatten)]
    pub repository: RepositorySpec,
    /// Namespace of the BackupConfigurations; that of the target when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_namespace: Option<String>,
    /// Namespace of the Repositories; that of the target when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_namespace: Option<String>,
    /// When: as in a BackupConfiguration.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schedule: String,
    /// Task that carries out the backup of a volume claim or an application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// Which snapshots are kept.
    pub retention_policy: RetentionPolicy,
    /// Settings of the Pods and containers that run the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// The scratch folder of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<EmptyDirSettings>,
    /// Volume claim for data that is dumped before it is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<VolumeClaimTemplate>,
    /// What is done before and after each backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<BackupHooks>,
    /// How many finished sessions are kept; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_history_limit: Option<i32>,
    /// How long a session may take before it counts as failed.
    #[serde(rename = "timeOut", skip_serializing_if = "Option::is_none")]
    pub time_out: Option<GoDuration>,
    /// Whether and when a failed session is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_config: Option<RetryConfig>,
}
