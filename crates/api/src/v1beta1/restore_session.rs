//! The RestoreSession resource: one restore and its result.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::Condition;
use crate::duration::GoDuration;
use crate::text::string_enum;
use crate::transition::restore_stays;
use crate::v1beta1::backup_configuration::{is_unset, restic};
use crate::v1beta1::{
    EmptyDirSettings, HostProgress, RepositoryRef, RestoreHooks, RestoreTarget, RuntimeSettings,
    Snapshotter, TaskRef, VolumeClaimTemplate,
};

/// What is restored, where from and where to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "stash.appscode.com",
    version = "v1beta1",
    kind = "RestoreSession",
    plural = "restoresessions",
    shortname = "restore",
    category = "stash",
    category = "appscode",
    category = "all",
    namespaced,
    status = "RestoreSessionStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A RestoreSession is one restore and its result.",
    printcolumn = r#"{"name":"Repository","type":"string","jsonPath":".spec.repository.name"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Duration","type":"string","jsonPath":".status.sessionDuration"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.driver) && self.driver == 'VolumeSnapshotter') || \
     (has(self.repository) && has(self.repository.name) && size(self.repository.name) > 0)"
).message("repository.name is required unless driver is VolumeSnapshotter").field_path(".repository"))]
#[x_kube(validation = Rule::new("!has(self.timeOut) || self.timeOut > duration('0s')")
    .message("timeOut must be longer than nothing")
    .field_path(".timeOut"))]
#[x_kube(validation = Rule::new(restore_stays())
    .message("a RestoreSession cannot be changed; create another RestoreSession"))]
pub struct RestoreSessionSpec {
    /// How data gets out of snapshots.
    #[serde(default = "restic")]
    pub driver: Option<Snapshotter>,
    /// Where the snapshots are.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub repository: RepositoryRef,
    /// The old place of `target.rules`, still read. Use `target.rules`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(
        "self.filter(r, !has(r.targetHosts) || size(r.targetHosts) == 0).size() <= 1"
    ).message("at most one rule may be without targetHosts"))]
    pub rules: Vec<crate::v1beta1::Rule>,
    /// How long the restore may take before it counts as failed.
    #[serde(rename = "timeOut", skip_serializing_if = "Option::is_none")]
    pub time_out: Option<GoDuration>,
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
    /// What is done before and after the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<RestoreHooks>,
}

impl RestoreSessionSpec {
    /// The rules in force: those of the target, and after them those in the old place.
    pub fn effective_rules(&self) -> Vec<crate::v1beta1::Rule> {
        let of_target = self.target.iter().flat_map(|target| &target.rules);
        of_target.chain(&self.rules).cloned().collect()
    }
}

string_enum! {
    /// How far a restore is.
    RestorePhase {
        /// Nothing has started.
        Pending,
        /// The restore runs.
        Running,
        /// Everything was restored.
        Succeeded,
        /// Something failed.
        Failed,
        /// It is not known what became of the restore.
        Unknown,
        /// The object breaks a rule.
        Invalid,
    }
}

string_enum! {
    /// How the restore of one host went.
    HostRestorePhase {
        /// Everything was restored.
        Succeeded,
        /// Something was not restored.
        Failed,
        /// The restore runs.
        Running,
        /// It is not known what became of it.
        Unknown,
    }
}

/// How a restore went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSessionStatus {
    /// How far the restore is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,
    /// Number of hosts that will report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_hosts: Option<i32>,
    /// The hosts that will report, as far as their names were known when the restore began (not published by AppsCode).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// How long the restore took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_duration: Option<String>,
    /// When the restore counts as failed if it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_deadline: Option<Time>,
    /// What each host reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<HostRestoreStats>,
    /// How far the hosts are that work at the moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<HostProgress>,
    /// What was observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// How the restore of one host went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostRestoreStats {
    /// The host the data was restored to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<HostRestorePhase>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Why it failed; of a host that succeeded, what is missing all the same: such as owners that could not be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
