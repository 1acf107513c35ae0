//! How far a host is while it works: an addition to the published status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far one host is, and which Pod works for it. Gone once the host has reported its result.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostProgress {
    /// The host, as snapshots name it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Name of the Pod that works for the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// Uid of that Pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// What is being done, such as `Waiting for a lock` or `Backing up`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// The path that is being worked on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Done of the current path, in percent, where the total is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Bytes done of the current path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_done: Option<i64>,
    /// Bytes of the current path, as far as it was scanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<i64>,
    /// Files done of the current path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_done: Option<i64>,
    /// Files of the current path, as far as it was scanned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_total: Option<i64>,
    /// Speed since the start of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<i64>,
    /// Estimated seconds until the path is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
    /// When the Pod began to work for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the Pod last said so. A working Pod says so at least every 30 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Time>,
}
