//! The BackupSession resource: one run of a backup.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::Condition;
use crate::text::string_enum;
use crate::v1beta1::{BackupInvokerRef, HostProgress, TargetRef};

/// Whose backup runs.
#[derive(
    Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupSession",
    plural = "backupsessions",
    category = "stash",
    category = "appscode",
    category = "all",
    namespaced,
    status = "BackupSessionStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A BackupSession is one run of a backup and its result.",
    printcolumn = r#"{"name":"Invoker-Type","type":"string","jsonPath":".spec.invoker.kind"}"#,
    printcolumn = r#"{"name":"Invoker-Name","type":"string","jsonPath":".spec.invoker.name"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Duration","type":"string","jsonPath":".status.sessionDuration"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BackupSessionSpec {
    /// The object whose backup this is.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("a BackupSession belongs to one invoker; create another BackupSession"))]
    pub invoker: BackupInvokerRef,
    /// How often the session is repeated if it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub retry_left: Option<i32>,
}

string_enum! {
    /// How far a session is.
    BackupSessionPhase {
        /// Nothing has started.
        Pending,
        /// The session was left out, because another one runs or the invoker is not ready.
        Skipped,
        /// The backup runs.
        Running,
        /// Everything was done.
        Succeeded,
        /// Something failed.
        Failed,
        /// It is not known what became of the session.
        Unknown,
    }
}

string_enum! {
    /// How far one target of a session is.
    BackupTargetPhase {
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

string_enum! {
    /// How the backup of one host ended.
    HostBackupPhase {
        /// Everything was stored.
        Succeeded,
        /// Something was not stored.
        Failed,
    }
}

string_enum! {
    /// What is done before the backup of a target.
    PreBackupAction {
        /// Create the repository in the backend if there is none.
        InitializeBackendRepository,
    }
}

string_enum! {
    /// What is done after the backup of a target.
    PostBackupAction {
        /// Remove the snapshots that the retention policy does not keep.
        ApplyRetentionPolicy,
        /// Check the repository.
        VerifyRepositoryIntegrity,
        /// Report size and number of snapshots.
        SendRepositoryMetrics,
    }
}

/// How a session went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSessionStatus {
    /// How far the session is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupSessionPhase>,
    /// How long the session took, from its creation to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_duration: Option<String>,
    /// When the session counts as failed if it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_deadline: Option<Time>,
    /// Whether a session that repeats this one was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retried: Option<bool>,
    /// When the session is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry: Option<Time>,
    /// What was observed about the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How each target went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<BackupTargetStatus>,
}

/// How the backup of one target went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupTargetStatus {
    /// The target.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<TargetRef>,
    /// Number of hosts that will report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_hosts: Option<i32>,
    /// The hosts that will report, as far as their names were known when the target began (not published by AppsCode).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// How far the target is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupTargetPhase>,
    /// What each host reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<HostBackupStats>,
    /// How far the hosts are that work at the moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<HostProgress>,
    /// What this target does before its backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_backup_actions: Vec<PreBackupAction>,
    /// What this target does after its backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_backup_actions: Vec<PostBackupAction>,
    /// What was observed about the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// How the backup of one host went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostBackupStats {
    /// The host, as snapshots name it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<HostBackupPhase>,
    /// The snapshots that were made, one per path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotStats>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Why it failed; of a host that succeeded, what is missing all the same: files that could not be read, where that is tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One snapshot and what went into it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotStats {
    /// Id of the snapshot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path that was backed up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Size of the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_size: Option<String>,
    /// Size of the data that was new to the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<String>,
    /// How long it took, as `m:ss` or `h:mm:ss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_time: Option<String>,
    /// Numbers of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_stats: Option<FileStats>,
}

/// Numbers of files of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileStats {
    /// All files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_files: Option<i64>,
    /// Files that were not in the snapshot before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_files: Option<i64>,
    /// Files that changed since the snapshot before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_files: Option<i64>,
    /// Files that did not change since the snapshot before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmodified_files: Option<i64>,
}
