//! Which invoker may have its container in a workload: the newest that is not invalid.

use std::fmt;
use std::sync::Arc;

use api::conditions::{Condition, condition_type as types, find_condition};
use api::v1beta1::{
    BackupConfiguration, BackupInvokerPhase, RestorePhase, RestoreSession, Snapshotter, TargetRef,
    TaskRef,
};
use kube_client::{Resource, ResourceExt};
use session::model::{self, Model};

use crate::backup_configuration::problems;
use crate::stores::Stores;

/// The kinds of workloads, and the API version of each.
const KINDS: &[(&str, &str)] = &[
    ("Deployment", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("ReplicationController", "v1"),
];

/// One workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadKey {
    /// Such as `Deployment`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl WorkloadKey {
    /// Names an object.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    /// Whether a reference in an object of a namespace means this one.
    pub fn is(&self, reference: &TargetRef, own: &str) -> bool {
        self.kind == reference.kind && self.name == reference.name && self.namespace == own
    }

    /// The API version of its kind.
    pub fn api_version(&self) -> &'static str {
        let known = KINDS.iter().find(|(kind, _)| *kind == self.kind);
        known.map_or("", |(_, version)| version)
    }
}

impl fmt::Display for WorkloadKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The workload that a BackupConfiguration wants a sidecar in; `None` for other ways of backup.
pub fn target_of_backup(configuration: &BackupConfiguration) -> Option<WorkloadKey> {
    let spec = &configuration.spec;
    let reference = spec.target.as_ref()?.reference.as_ref()?;
    let is_files = spec.driver != Some(Snapshotter::VolumeSnapshotter);
    let target = target(reference, spec.task.as_ref(), configuration.namespace()?);
    target.filter(|_| is_files)
}

/// The workload that a RestoreSession wants an init container in; `None` for other ways of restore.
pub fn target_of_restore(restore: &RestoreSession) -> Option<WorkloadKey> {
    let spec = &restore.spec;
    let of_spec = spec.target.as_ref()?;
    let is_files = spec.driver != Some(Snapshotter::VolumeSnapshotter);
    let target = target(
        of_spec.reference.as_ref()?,
        spec.task.as_ref(),
        restore.namespace()?,
    );
    target.filter(|_| is_files && of_spec.volume_claim_templates.is_empty())
}

fn target(reference: &TargetRef, task: Option<&TaskRef>, namespace: String) -> Option<WorkloadKey> {
    let task = task.map_or("", |task| task.name.as_str());
    let model = model::target_model(reference, task, model::PVC_BACKUP_TASK, &namespace);
    (model == Ok(Model::Sidecar)).then(|| WorkloadKey {
        kind: reference.kind.clone(),
        namespace,
        name: reference.name.clone(),
    })
}

/// A BackupConfiguration that claims a workload.
pub type BackupClaim = Arc<BackupConfiguration>;

/// The BackupConfigurations that claim a workload, the one that has it first.
pub fn backup_claims(stores: &Stores, workload: &WorkloadKey) -> Vec<BackupClaim> {
    let is_claim = |it: &BackupConfiguration| {
        // Asked of every configuration for every workload: what is cheap comes first.
        let reference = it.spec.target.as_ref().and_then(|it| it.reference.as_ref());
        let own = it.metadata.namespace.as_deref().unwrap_or_default();
        reference.is_some_and(|it| workload.is(it, own))
            && !has_lost(it)
            && it.metadata.deletion_timestamp.is_none()
            && target_of_backup(it).as_ref() == Some(workload)
    };
    newest_first(stores.configurations.state_filter(is_claim))
}

/// Whether an invalid configuration gives its workload up. One that only a usage policy forbids keeps the sidecar that
/// is there, so that a session that runs ends well, and a label of a namespace starts no Pods again.
fn has_lost(configuration: &BackupConfiguration) -> bool {
    let status = configuration.status.clone().unwrap_or_default();
    let is_injected = find_condition(&status.conditions, types::STASH_SIDECAR_INJECTED)
        .is_some_and(Condition::is_true);
    status.phase == Some(BackupInvokerPhase::Invalid)
        && !(is_injected && problems(configuration).is_empty())
}

/// The RestoreSessions that claim a workload, the one that has it first.
pub fn restore_claims(stores: &Stores, workload: &WorkloadKey) -> Vec<Arc<RestoreSession>> {
    let is_claim = |it: &RestoreSession| {
        let phase = it.status.as_ref().and_then(|status| status.phase);
        phase != Some(RestorePhase::Invalid)
            && it.metadata.deletion_timestamp.is_none()
            && target_of_restore(it).as_ref() == Some(workload)
    };
    let mut claims = newest_first(stores.restores.state_filter(is_claim));
    claims.sort_by_cached_key(|it| {
        session::restore::precedence(&it.status.clone().unwrap_or_default())
    });
    claims
}

/// The newest by creation; of two of the same second the one whose name comes last.
fn newest_first<K: Resource>(mut objects: Vec<Arc<K>>) -> Vec<Arc<K>> {
    objects.sort_by_cached_key(|object| {
        let created = object.creation_timestamp().map(|time| time.0);
        std::cmp::Reverse((created, object.name_any()))
    });
    objects
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn an_invalid_configuration_keeps_its_sidecar_only_when_nothing_is_wrong_with_itself() {
        let has_lost = |phase: &str, injected: &str, kind: &str| {
            let condition = json!({ "type": "StashSidecarInjected", "status": injected });
            let object = json!({
                "metadata": { "name": "home", "namespace": "shop" },
                "spec": {
                    "repository": { "name": "repo", "namespace": "safe" },
                    "target": {
                        "ref": { "apiVersion": "apps/v1", "kind": kind, "name": "web" },
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                        "paths": ["/data"],
                    },
                    "retentionPolicy": { "name": "keep", "keepLast": 5, "prune": true },
                },
                "status": { "phase": phase, "conditions": [condition] },
            });
            super::has_lost(&serde_json::from_value(object).unwrap())
        };
        assert!(!has_lost("Ready", "True", "Deployment"));
        assert!(!has_lost("NotReady", "False", "Deployment"));
        assert!(!has_lost("Invalid", "True", "Deployment"));
        assert!(has_lost("Invalid", "False", "Deployment"));
        assert!(has_lost("Invalid", "True", "Gateway"));
    }
}
