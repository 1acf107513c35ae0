//! The BackupBatch and RestoreBatch resources: several targets in one session.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::Condition;
use crate::duration::GoDuration;
use crate::text::string_enum;
use crate::v1beta1::backup_configuration::{is_unset, restic};
use crate::v1beta1::{
    BackupHooks, BackupInvokerPhase, BackupTarget, EmptyDirSettings, HostRestoreStats,
    RepositoryRef, RestoreHooks, RestorePhase, RestoreTarget, RetentionPolicy, RetryConfig,
    RuntimeSettings, Snapshotter, TargetRef, TaskRef, VolumeClaimTemplate,
};

string_enum! {
    /// In which order the members of a batch run.
    ExecutionOrder {
        /// All at once.
        Parallel,
        /// One after the other, in the order they are listed.
        Sequential,
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "serde wants the type of the field"
)]
fn parallel() -> Option<ExecutionOrder> {
    Some(ExecutionOrder::Parallel)
}

/// Several targets that are backed up together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupBatch",
    plural = "backupbatches",
    category = "stash",
    category = "appscode",
    category = "all",
    namespaced,
    status = "BackupBatchStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A BackupBatch backs up several targets in one session.",
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.schedule"}"#,
    printcolumn = r#"{"name":"Paused","type":"boolean","jsonPath":".spec.paused"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchSpec {
    /// The targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub members: Vec<BackupBatchMember>,
    /// When: as in a BackupConfiguration.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub schedule: String,
    /// How data gets into snapshots.
    #[serde(default = "restic")]
    pub driver: Option<Snapshotter>,
    /// Where snapshots are kept.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub repository: RepositoryRef,
    /// Which snapshots are kept.
    pub retention_policy: RetentionPolicy,
    /// Settings of the Pods that start sessions; each member has its own for its backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// What is done before the first and after the last member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<BackupHooks>,
    /// In which order the members run.
    #[serde(default = "parallel")]
    pub execution_order: Option<ExecutionOrder>,
    /// Do not start sessions by the schedule; sessions created by hand still run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// How many finished sessions are kept; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub backup_history_limit: Option<i32>,
    /// How long a session may take before it counts as failed.
    #[serde(rename = "timeOut", skip_serializing_if = "Option::is_none")]
    pub time_out: Option<GoDuration>,
    /// Whether and when a failed session is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_config: Option<RetryConfig>,
}

/// One target of a BackupBatch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchMember {
    /// Task that carries out the backup of a volume claim or an application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// What is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<BackupTarget>,
    /// Settings of the Pods and containers that run the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// The scratch folder of the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<EmptyDirSettings>,
    /// Volume claim for data that is dumped before it is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<VolumeClaimTemplate>,
    /// What is done before and after the backup of this member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<BackupHooks>,
}

/// Whether the backups of a batch can run, and what was observed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchStatus {
    /// The generation of the object this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What was observed about the batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What was observed about each member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_conditions: Vec<BackupBatchMemberConditions>,
    /// Whether backups can run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupInvokerPhase>,
}

/// What was observed about one member of a batch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupBatchMemberConditions {
    /// The target of the member.
    pub target: TargetRef,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Several targets that are restored together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "RestoreBatch",
    plural = "restorebatches",
    category = "stash",
    category = "appscode",
    category = "all",
    namespaced,
    status = "RestoreBatchStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A RestoreBatch restores several targets together.",
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository.name"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Duration","type":"string","jsonPath":".status.sessionDuration"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RestoreBatchSpec {
    /// How data gets out of snapshots.
    #[serde(default = "restic")]
    pub driver: Option<Snapshotter>,
    /// Where the snapshots are.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub repository: RepositoryRef,
    /// The targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub members: Vec<RestoreBatchMember>,
    /// In which order the members run.
    #[serde(default = "parallel")]
    pub execution_order: Option<ExecutionOrder>,
    /// What is done before the first and after the last member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RestoreHooks>,
    /// How long the restore may take before it counts as failed.
    #[serde(rename = "timeOut", skip_serializing_if = "Option::is_none")]
    pub time_out: Option<GoDuration>,
}

/// One target of a RestoreBatch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreBatchMember {
    /// Task that carries out the restore of a volume claim or an application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// Where data is restored to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<RestoreTarget>,
    /// Settings of the Pods and containers that run the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_settings: Option<RuntimeSettings>,
    /// The scratch folder of the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temp_dir: Option<EmptyDirSettings>,
    /// Volume claim for data that is restored before it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interim_volume_template: Option<VolumeClaimTemplate>,
    /// What is done before and after the restore of this member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RestoreHooks>,
}

/// How the restore of a batch went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreBatchStatus {
    /// How far the restore is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,
    /// How long the restore took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_duration: Option<String>,
    /// When the restore counts as failed if it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_deadline: Option<Time>,
    /// What was observed about the batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How each member went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<RestoreMemberStatus>,
}

string_enum! {
    /// How far one member of a restore is.
    RestoreTargetPhase {
        /// Nothing has started.
        Pending,
        /// All hosts succeeded.
        Succeeded,
        /// Some host is not done.
        Running,
        /// Some host failed.
        Failed,
    }
}

/// How the restore of one member went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreMemberStatus {
    /// The target of the member.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<TargetRef>,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Number of hosts that will report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_hosts: Option<i32>,
    /// How far the member is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestoreTargetPhase>,
    /// What each host reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<HostRestoreStats>,
}
