//! What is backed up, what is restored, and by which rules.

use k8s_openapi::api::core::v1::VolumeMount;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::text::string_enum;
use crate::v1beta1::{TargetRef, VolumeClaimTemplate};

string_enum! {
    /// How data gets from the target into snapshots.
    Snapshotter {
        /// Files are read and stored in the repository.
        Restic,
        /// The storage system of the cluster takes a snapshot of the volume.
        VolumeSnapshotter,
    }
}

/// What is backed up: a workload, a volume claim, an application, or directories of this machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.ref) || (has(self.paths) && size(self.paths) > 0)")
    .message("a target needs ref or paths"))]
pub struct BackupTarget {
    /// Host name of the snapshots instead of `host-0`; separates targets that share a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub alias: Option<String>,
    /// The object to back up. Without it the paths are directories of the machine Stash runs on.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<TargetRef>,
    /// Absolute paths of directories or files; one snapshot each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 1024)))]
    #[x_kube(validation = Rule::new(
        "self.all(p, p.startsWith('/') && !p.endsWith('/..') && !p.contains('/../'))"
    ).message("paths must be absolute and without `..`"))]
    pub paths: Vec<String>,
    /// Volumes of the target's Pods to mount where the backup runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Number of replicas whose volumes are backed up by the driver `VolumeSnapshotter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Class of the volume snapshots of the driver `VolumeSnapshotter`.
    #[serde(rename = "snapshotClassName", skip_serializing_if = "Option::is_none")]
    pub volume_snapshot_class_name: Option<String>,
    /// Patterns of files to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Further options of the backup, spelled as on restic's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

/// Where data is restored to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreTarget {
    /// Host name the rules are matched with instead of `host-0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub alias: Option<String>,
    /// The object to restore. Without it data is restored on the machine Stash runs on.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<TargetRef>,
    /// Volumes of the target's Pods to mount where the restore runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Number of replicas to make volume claims for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Volume claims to make and to restore into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_claim_templates: Vec<VolumeClaimTemplate>,
    /// What is restored on which host. Without a rule for a host, the latest snapshots of that host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(
        "self.filter(r, !has(r.targetHosts) || size(r.targetHosts) == 0).size() <= 1"
    ).message("at most one rule may be without targetHosts"))]
    pub rules: Vec<crate::v1beta1::Rule>,
    /// Further options of the restore, spelled as on restic's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
}

/// What is restored on some hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!(has(self.snapshots) && size(self.snapshots) > 0 && has(self.paths) && size(self.paths) > 0)"
).message("a rule may have snapshots or paths, not both"))]
pub struct Rule {
    /// Hosts the rule is for; every host without a rule of its own when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 253)))]
    pub target_hosts: Vec<String>,
    /// Host whose snapshots are restored; the target host itself when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_host: Option<String>,
    /// Ids of snapshots to restore, or `latest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub snapshots: Vec<String>,
    /// Paths to restore, each from its latest snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    pub paths: Vec<String>,
    /// Patterns of files to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Patterns of files to restore; all others are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
}
