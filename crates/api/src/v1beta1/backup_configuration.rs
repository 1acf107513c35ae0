//! The BackupConfiguration resource.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::Condition;
use crate::duration::GoDuration;
use crate::text::string_enum;
use crate::transition::target_stays_when_ready;
use crate::v1beta1::{
    BackupHooks, BackupTarget, EmptyDirSettings, RepositoryRef, RetentionPolicy, RuntimeSettings,
    Snapshotter, TaskRef, VolumeClaimTemplate,
};

/// What is backed up, when, where to, and how long it is kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "BackupConfiguration",
    plural = "backupconfigurations",
    shortname = "bc",
    category = "stash",
    category = "appscode",
    category = "all",
    namespaced,
    status = "BackupConfigurationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A BackupConfiguration says what is backed up, when, where to, and how long it is kept.",
    printcolumn = r#"{"name":"Task","type":"string","jsonPath":".spec.task.name"}"#,
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.schedule"}"#,
    printcolumn = r#"{"name":"Paused","type":"boolean","jsonPath":".spec.paused"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new(target_stays_when_ready())
        .message("the workload (ref) and the alias of a BackupConfiguration that is ready cannot be changed; create another BackupConfiguration, and delete this one")
        .field_path(".spec.target")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.driver) && self.driver == 'VolumeSnapshotter') || \
     (has(self.repository) && has(self.repository.name) && size(self.repository.name) > 0)"
).message("repository.name is required unless driver is VolumeSnapshotter").field_path(".repository"))]
#[x_kube(validation = Rule::new("!has(self.timeOut) || self.timeOut > duration('0s')")
    .message("timeOut must be longer than nothing")
    .field_path(".timeOut"))]
pub struct BackupConfigurationSpec {
    /// Task that carries out the backup of a volume claim or an application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// What is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<BackupTarget>,
    /// When: five cron fields, `@daily` and its kin, or `@every 1h30m`; a zone may precede it as
    /// `CRON_TZ=Europe/Vienna`. Without it the backup runs only when a session is created by hand.
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

/// Whether and when a failed session is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryConfig {
    /// How often a failed session is repeated.
    #[serde(default = "one_retry")]
    #[schemars(range(min = 0))]
    pub max_retry: i32,
    /// How long to wait before each repetition; no wait when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<GoDuration>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_retry: one_retry(),
            delay: None,
        }
    }
}

fn one_retry() -> i32 {
    1
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "serde wants the type of the field"
)]
pub(super) fn restic() -> Option<Snapshotter> {
    Some(Snapshotter::Restic)
}

pub(super) fn is_unset(reference: &RepositoryRef) -> bool {
    *reference == RepositoryRef::default()
}

string_enum! {
    /// Whether backups can run.
    BackupInvokerPhase {
        /// The object breaks a rule.
        Invalid,
        /// Backups run.
        Ready,
        /// Something that is needed is missing.
        NotReady,
    }
}

/// Whether backups can run, and what was observed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupConfigurationStatus {
    /// The generation of the object this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Whether backups can run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupInvokerPhase>,
}
