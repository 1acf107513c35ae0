//! What is to become of our containers in a workload, decided from what was read.

use std::sync::Arc;

use api::conditions::{Condition, condition_type as types, find_condition};
use api::v1alpha1::Repository;
use api::v1beta1::{BackupConfiguration, BackupInvokerPhase, RepositoryRef, RestoreSession};
use kube_client::ResourceExt;
use kube_client::core::PartialObjectMeta;
use serde_json::{Value, json};
use session::phase::is_final_restore;
use session::restore::is_owed;

use crate::ImageOptions;
use crate::failure::chain;
use crate::inject::{self, InjectError, Invoker, Wanted};
use crate::pod_parts::Place;
use crate::stores::Stores;
use crate::workload::{WorkloadKey, observe};

/// What became of one of our containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartOutcome {
    /// It is in the workload for this invoker.
    Present(Invoker),
    /// It cannot be, for this invoker and this reason.
    Failed(Invoker, String),
    /// Nothing was done, because the invoker is not ready.
    Waiting,
    /// It is not there, and nobody wants it.
    Absent,
}

/// What became of both containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it was decided from: the same again needs no look.
    pub seen: String,
    /// The sidecar.
    pub sidecar: PartOutcome,
    /// The init container.
    pub init: PartOutcome,
    /// Why Pods that run do not get what the template has, and what to do about it.
    pub by_hand: Option<&'static str>,
}

/// What to do with a workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The workload as it should be; `None` when it is.
    pub write: Option<Value>,
    /// Containers that go, and for whom they were.
    pub removed: Vec<(Place, Option<Invoker>)>,
    /// Containers that come or change, and for whom they are.
    pub injected: Vec<(Place, Invoker)>,
    /// What to remember.
    pub outcome: Outcome,
}

/// What to remember of a workload that another one makes: nothing, unless somebody claims it by mistake.
pub fn owned(
    workload: &WorkloadKey,
    owner: &str,
    backup: &[Arc<BackupConfiguration>],
    restore: &[Arc<RestoreSession>],
) -> Option<Outcome> {
    let failed = |invoker: Option<Invoker>| match invoker {
        None => PartOutcome::Absent,
        Some(invoker) => PartOutcome::Failed(
            invoker,
            format!(
                "the {} {} is made by the {owner}; name that one in spec.target.ref",
                workload.kind, workload.name
            ),
        ),
    };
    let is_claimed = !backup.is_empty() || !restore.is_empty();
    is_claimed.then(|| Outcome {
        seen: String::new(),
        sidecar: failed(backup.first().map(|claim| Invoker::of(claim.as_ref()))),
        init: failed(restore.first().map(|claim| Invoker::of(claim.as_ref()))),
        by_hand: None,
    })
}

/// What to remember of a workload without a look at its template: nothing goes in before the invoker is ready, and
/// nothing of ours is there.
pub fn waiting<K>(
    seen: &str,
    meta: &PartialObjectMeta<K>,
    backup: &[Arc<BackupConfiguration>],
    restore: &[Arc<RestoreSession>],
) -> Option<Outcome> {
    let has_to_wait = backup.first().is_some_and(|claim| !is_ready(claim));
    let is_all = restore.is_empty() && !observe::is_marked(meta);
    (has_to_wait && is_all).then(|| Outcome {
        seen: seen.to_owned(),
        sidecar: PartOutcome::Waiting,
        init: PartOutcome::Absent,
        by_hand: None,
    })
}

/// What keeps Kubernetes from replacing the Pods of a workload when its template changes, with what helps.
fn by_hand(live: &Value) -> Option<&'static str> {
    let is_on_delete = live.pointer("/spec/updateStrategy/type") == Some(&json!("OnDelete"));
    let partition = live.pointer("/spec/updateStrategy/rollingUpdate/partition");
    match live["kind"].as_str()? {
        "ReplicaSet" | "ReplicationController" => Some("delete them one by one"),
        _ if is_on_delete => Some("its updateStrategy is OnDelete: delete them one by one"),
        _ if partition.and_then(Value::as_i64) > Some(0) => Some(
            "the partition of its updateStrategy holds some of them back: lower it, or delete them one by one after that",
        ),
        _ if live.pointer("/spec/paused") == Some(&json!(true)) => {
            Some("its rollout is paused: resume it by `kubectl rollout resume`")
        }
        _ => None,
    }
}

/// Decides.
pub fn plan(
    live: &Value,
    stores: &Stores,
    backup: &[Arc<BackupConfiguration>],
    restore: &[Arc<RestoreSession>],
    image: &ImageOptions,
) -> Plan {
    let sidecar = match backup.first() {
        None => Ok(Wanted::Absent),
        Some(claim) => wanted_sidecar(live, claim, stores, image),
    };
    let init = wanted_restore(live, restore, stores, image);
    let backup = backup.first().map(|claim| Invoker::of(claim.as_ref()));
    let restore = restore.first().map(|claim| Invoker::of(claim.as_ref()));
    let (sidecar, sidecar_error) = split(sidecar);
    let (init, init_error) = split(init);
    let (result, both_error) = match inject::inject(live, &sidecar, &init, image) {
        Ok(result) => (result, None),
        Err(error) => (live.clone(), Some(chain(&error))),
    };
    let outcome = Outcome {
        seen: String::new(),
        sidecar: outcome(&sidecar, backup, sidecar_error.or(both_error.clone())),
        init: outcome(&init, restore, init_error.or(both_error)),
        by_hand: by_hand(live),
    };
    let mut removed = Vec::new();
    let mut injected = Vec::new();
    for (place, after) in [
        (Place::Beside, &outcome.sidecar),
        (Place::Before, &outcome.init),
    ] {
        let had = inject::has(live, place);
        match after {
            PartOutcome::Absent if had => removed.push((place, inject::carried(live, place))),
            PartOutcome::Present(invoker) if differs(live, &result, place) => {
                injected.push((place, invoker.clone()));
            }
            _ => {}
        }
    }
    Plan {
        write: (result != *live).then_some(result),
        removed,
        injected,
        outcome,
    }
}

/// A container that cannot go in leaves what is there as it is: a backup of yesterday's settings is better than none.
fn split(wanted: Result<Wanted, InjectError>) -> (Wanted, Option<String>) {
    match wanted {
        Ok(wanted) => (wanted, None),
        Err(error) => (Wanted::AsItIs, Some(chain(&error))),
    }
}

impl PartOutcome {
    /// The API server refused what was to be written.
    #[must_use]
    pub fn refused(self, reason: &str) -> Self {
        match self {
            Self::Present(invoker) => Self::Failed(invoker, reason.to_owned()),
            other => other,
        }
    }
}

fn outcome(wanted: &Wanted, invoker: Option<Invoker>, error: Option<String>) -> PartOutcome {
    match (wanted, invoker, error) {
        (_, Some(invoker), Some(error)) => PartOutcome::Failed(invoker, error),
        (Wanted::Present(_), Some(invoker), None) => PartOutcome::Present(invoker),
        (Wanted::AsItIs, _, _) => PartOutcome::Waiting,
        _ => PartOutcome::Absent,
    }
}

/// Whether our container there came or changed; what else changed in the template does not count.
fn differs(before: &Value, after: &Value, place: Place) -> bool {
    inject::has(before, place) != inject::has(after, place)
        || inject::digest(before, place) != inject::digest(after, place)
        || inject::carried(before, place) != inject::carried(after, place)
}

/// What a BackupConfiguration that has a workload wants in it.
pub fn wanted_sidecar(
    live: &Value,
    configuration: &BackupConfiguration,
    stores: &Stores,
    image: &ImageOptions,
) -> Result<Wanted, InjectError> {
    let namespace = configuration.namespace().unwrap_or_default();
    match find(stores, &configuration.spec.repository, &namespace) {
        Some(repository) if is_ready(configuration) => {
            inject::sidecar(live, configuration, &repository, image)
                .map(|part| Wanted::Present(Box::new(part)))
        }
        _ => Ok(Wanted::AsItIs),
    }
}

fn is_ready(configuration: &BackupConfiguration) -> bool {
    configuration.status.as_ref().is_some_and(|status| {
        status.phase == Some(BackupInvokerPhase::Ready)
            && status.observed_generation == configuration.metadata.generation
    })
}

/// What is to become of an init container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is to be there, as its RestoreSession has it.
    Comes,
    /// What is there stays as it is.
    Stays,
    /// It is to be gone.
    Goes,
}

/// What the RestoreSessions of a workload want in it; the first of them has it.
pub fn wanted_restore(
    live: &Value,
    claims: &[Arc<RestoreSession>],
    stores: &Stores,
    image: &ImageOptions,
) -> Result<Wanted, InjectError> {
    match (fate(live, claims), claims.first()) {
        (Fate::Goes, _) | (_, None) => Ok(Wanted::Absent),
        (Fate::Stays, _) => Ok(Wanted::AsItIs),
        (Fate::Comes, Some(restore)) => {
            let namespace = restore.namespace().unwrap_or_default();
            match find(stores, &restore.spec.repository, &namespace) {
                Some(repository) => inject::init_container(live, restore, &repository, image)
                    .map(|part| Wanted::Present(Box::new(part))),
                None => Ok(Wanted::AsItIs),
            }
        }
    }
}

/// A restore that is over brings nothing new: its init container stays until the RestoreSession goes, and lets Pods
/// pass. One of another RestoreSession, which has gone, goes even though this one stays. After a failure a workload
/// that is made anew gets the container again: it starts with its data or not at all (decision 10).
fn fate(live: &Value, claims: &[Arc<RestoreSession>]) -> Fate {
    let Some(restore) = claims.first() else {
        return Fate::Goes;
    };
    let status = restore.status.clone().unwrap_or_default();
    let has = |type_| find_condition(&status.conditions, type_).is_some_and(Condition::is_true);
    let is_ready = has(types::VALIDATION_PASSED)
        && has(types::REPOSITORY_FOUND)
        && has(types::BACKEND_SECRET_FOUND)
        && !has(types::WAITING);
    let is_over = status.phase.is_some_and(is_final_restore);
    let is_owed = is_owed(&status);
    if is_over && !is_owed {
        return if has_of_nobody(live, claims) {
            Fate::Goes
        } else {
            Fate::Stays
        };
    }
    // One of another RestoreSession is left until this one's status says that it has given way.
    let is_there = is_owed && inject::has(live, Place::Before);
    if is_ready && !is_there {
        Fate::Comes
    } else {
        Fate::Stays
    }
}

/// Whether the RestoreSession of the init container has gone.
fn has_of_nobody(live: &Value, claims: &[Arc<RestoreSession>]) -> bool {
    let carried = inject::carried(live, Place::Before);
    carried.is_some_and(|it| !claims.iter().any(|claim| it == Invoker::of(claim.as_ref())))
}

fn find(stores: &Stores, reference: &RepositoryRef, namespace: &str) -> Option<Arc<Repository>> {
    let namespace = reference
        .namespace
        .as_deref()
        .filter(|it| !it.is_empty())
        .unwrap_or(namespace);
    stores.repository(namespace, &reference.name)
}

#[cfg(test)]
mod tests {
    use api::conditions::reason;
    use session::labels;

    use super::*;

    #[test]
    fn what_keeps_pods_from_being_replaced_is_told_with_its_remedy() {
        let told = |kind: &str, spec: Value| by_hand(&json!({ "kind": kind, "spec": spec }));
        let on_delete = json!({ "updateStrategy": { "type": "OnDelete" } });
        for kind in ["StatefulSet", "DaemonSet"] {
            assert!(told(kind, on_delete.clone()).is_some_and(|it| it.contains("OnDelete")));
            assert_eq!(told(kind, json!({})), None);
        }
        let partition =
            |number: i64| json!({ "updateStrategy": { "rollingUpdate": { "partition": number } } });
        assert!(told("StatefulSet", partition(1)).is_some_and(|it| it.contains("partition")));
        assert_eq!(told("StatefulSet", partition(0)), None);
        assert!(
            told("Deployment", json!({ "paused": true })).is_some_and(|it| it.contains("resume"))
        );
        assert!(told("ReplicaSet", json!({})).is_some());
    }

    #[test]
    fn a_workload_that_is_made_anew_gets_the_container_of_a_failed_restore_again() {
        let restore = |name: &str, phase: &str, injected: &str| -> Arc<RestoreSession> {
            let condition = |type_: &str, status: &str, reason: &str| json!({ "type": type_, "status": status, "reason": reason });
            let object = json!({
                "metadata": { "name": name, "namespace": "shop" },
                "spec": { "repository": { "name": "repo" } },
                "status": {
                    "phase": phase, "totalHosts": 1,
                    "stats": [{ "hostname": "host-0", "phase": phase }],
                    "conditions": [
                        condition("ValidationPassed", "True", ""),
                        condition("RepositoryFound", "True", ""),
                        condition("BackendSecretFound", "True", ""),
                        condition("StashInitContainerInjected", "False", injected),
                    ],
                },
            });
            Arc::new(serde_json::from_value(object).unwrap())
        };
        let with = |name: &str| {
            let invoker = json!({ "kind": "RestoreSession", "namespace": "shop", "name": name });
            let annotations = json!({ labels::RESTORE_INVOKER: invoker.to_string() });
            let container = json!({ "name": Place::Before.container_name(), "args": ["agent"] });
            json!({
                "metadata": { "annotations": annotations },
                "spec": { "template": { "spec": { "initContainers": [container] } } },
            })
        };
        let bare = json!({ "spec": { "template": { "spec": {} } } });
        let failed = [restore("back", "Failed", "")];
        assert_eq!(fate(&bare, &failed), Fate::Comes);
        assert_eq!(fate(&with("back"), &failed), Fate::Stays);
        // It has to give way first, and says so.
        assert_eq!(fate(&with("other"), &failed), Fate::Stays);
        let superseded = [restore("back", "Failed", reason::RESTORE_SUPERSEDED)];
        assert_eq!(fate(&with("other"), &superseded), Fate::Goes);
        assert_eq!(fate(&bare, &superseded), Fate::Stays);
        let done = [restore("back", "Succeeded", "")];
        assert_eq!(fate(&bare, &done), Fate::Stays);
        let runs = [restore("back", "Running", "")];
        assert_eq!(fate(&bare, &runs), Fate::Comes);
        assert_eq!(fate(&with("back"), &[]), Fate::Goes);
    }

    #[test]
    fn an_init_container_has_nobody_when_its_restore_session_is_gone() {
        let claim = |name: &str| -> Arc<RestoreSession> {
            let object = json!({
                "metadata": { "name": name, "namespace": "shop" },
                "spec": { "repository": { "name": "repo" } },
            });
            Arc::new(serde_json::from_value(object).unwrap())
        };
        let invoker = json!({ "kind": "RestoreSession", "namespace": "shop", "name": "new" });
        let annotations = json!({ labels::RESTORE_INVOKER: invoker.to_string() });
        let live = json!({ "metadata": { "annotations": annotations } });
        assert!(has_of_nobody(&live, &[claim("old")]));
        assert!(!has_of_nobody(&live, &[claim("old"), claim("new")]));
        assert!(!has_of_nobody(&json!({}), &[claim("old")]));
    }
}
