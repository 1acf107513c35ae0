//! Hooks: what is done before and after a backup or a restore.

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, HTTPHeader, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::string_enum;

/// Actions of a hook. All that are set run, in the order exec, httpGet, httpPost, tcpSocket.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.exec) || has(self.httpGet) || has(self.httpPost) || has(self.tcpSocket)"
).message("a hook needs at least one of exec, httpGet, httpPost and tcpSocket"))]
pub struct Handler {
    /// Run a command. Its items may be templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Send a GET request; the statuses 200 to 399 are success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HTTPGetAction>,
    /// Send a POST request; the statuses 200 to 399 are success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_post: Option<HttpPostAction>,
    /// Open a TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TCPSocketAction>,
    /// Container in which the command runs and whose named ports are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
}

/// A POST request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpPostAction {
    /// Path on the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Port number, or the name of a port of the container.
    pub port: IntOrString,
    /// Host name; the Pod's own address when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `HTTP` or `HTTPS`; `HTTP` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_headers: Vec<HTTPHeader>,
    /// Body of the request; may be a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Form to send instead of a body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub form: Vec<FormEntry>,
}

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormEntry {
    /// Name of the field.
    pub key: String,
    /// Its values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What is done around a backup.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupHooks {
    /// Before the backup. When it fails, nothing is backed up and the session fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_backup: Option<Handler>,
    /// After the backup. When it fails, the session fails; the snapshot stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_backup: Option<PostBackupHook>,
}

/// A hook after a backup, and when it runs. The rule of [`Handler`] comes along with its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostBackupHook {
    /// The actions.
    #[serde(flatten)]
    pub handler: Handler,
    /// After which outcomes the hook runs.
    #[serde(default = "always_after_backup")]
    pub execution_policy: BackupPostHookPolicy,
}

fn always_after_backup() -> BackupPostHookPolicy {
    BackupPostHookPolicy::Always
}

string_enum! {
    /// After which outcomes of a backup a hook runs.
    BackupPostHookPolicy {
        /// After every outcome.
        Always,
        /// After a failed backup.
        OnFailure,
        /// After a successful backup.
        OnSuccess,
        /// After a failed backup that will not be retried.
        OnFinalRetryFailure,
    }
}

/// What is done around a restore.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreHooks {
    /// Before the restore. When it fails, nothing is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_restore: Option<Handler>,
    /// After the restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_restore: Option<PostRestoreHook>,
}

/// A hook after a restore, and when it runs. The rule of [`Handler`] comes along with its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostRestoreHook {
    /// The actions.
    #[serde(flatten)]
    pub handler: Handler,
    /// After which outcomes the hook runs.
    #[serde(default = "always_after_restore")]
    pub execution_policy: RestorePostHookPolicy,
}

fn always_after_restore() -> RestorePostHookPolicy {
    RestorePostHookPolicy::Always
}

string_enum! {
    /// After which outcomes of a restore a hook runs.
    RestorePostHookPolicy {
        /// After every outcome.
        Always,
        /// After a failed restore.
        OnFailure,
        /// After a successful restore.
        OnSuccess,
    }
}
