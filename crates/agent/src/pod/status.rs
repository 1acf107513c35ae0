//! Writing an agent's own part of a status, which it shares with the operator and with other agents.
//!
//! Every write reads the object, changes this agent's part, and is refused when somebody else wrote in between; then
//! it is done again. What others have said is never taken back.

use std::fmt::Debug;
use std::time::Duration;

use api::conditions::{Condition, condition_type as types};
use api::v1alpha1::RepositoryStatus;
use api::v1beta1::{BackupSessionStatus, HostProgress, RestoreSessionStatus};
use kube_client::Api;
use kube_client::api::PostParams;
use kube_core::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::FIELD_MANAGER;
use super::client::{ApiError, call};

/// Conditions of a BackupSession that agents set.
const SESSION_CONDITIONS: [&str; 3] = [
    types::BACKEND_REPOSITORY_INITIALIZED,
    types::RETENTION_POLICY_APPLIED,
    types::REPOSITORY_INTEGRITY_VERIFIED,
];
/// Conditions of its targets that agents set.
const TARGET_CONDITIONS: [&str; 2] = [
    types::PRE_BACKUP_HOOK_EXECUTION_SUCCEEDED,
    types::POST_BACKUP_HOOK_EXECUTION_SUCCEEDED,
];
/// Conditions of a RestoreSession that agents set.
const RESTORE_CONDITIONS: [&str; 2] = [
    types::PRE_RESTORE_HOOK_EXECUTION_SUCCEEDED,
    types::POST_RESTORE_HOOK_EXECUTION_SUCCEEDED,
];
/// How often a write is done again at once because somebody else wrote in between.
const CONFLICTS: u32 = 20;

/// Which object is meant: one of the same name that was created anew is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectId {
    pub name: String,
    pub uid: String,
}

/// Who works, as a status knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    /// Which target of the session.
    pub index: usize,
    /// The host.
    pub host: String,
    /// Uid of the Pod.
    pub pod_uid: String,
}

/// Changes the status of an object; `change` says whether there is something to write.
pub(super) async fn update<K>(
    objects: &Api<K>,
    id: &ObjectId,
    change: impl Fn(&mut K) -> bool,
) -> Result<(), ApiError>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let mut conflicts = 0;
    loop {
        let mut object = call(objects.get(&id.name)).await?;
        if object.meta().uid.as_deref() != Some(id.uid.as_str()) {
            return Err(ApiError::replaced(&id.name));
        }
        if !change(&mut object) {
            return Ok(());
        }
        match call(objects.replace_status(&id.name, &parameters, &object)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() && conflicts < CONFLICTS => {
                conflicts += 1;
                tokio::time::sleep(Duration::from_millis(u64::from(conflicts) * 20)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Puts this worker's part of `ours` into `present`: its host's result, what it found out, and how far it is.
pub(super) fn merge_backup(
    present: &mut BackupSessionStatus,
    ours: &BackupSessionStatus,
    worker: &Worker,
    progress: Option<&HostProgress>,
) {
    merge_conditions(
        &mut present.conditions,
        &ours.conditions,
        &SESSION_CONDITIONS,
    );
    let Some(target) = present.targets.get_mut(worker.index) else {
        return;
    };
    if let Some(ours) = ours.targets.get(worker.index) {
        merge_conditions(&mut target.conditions, &ours.conditions, &TARGET_CONDITIONS);
        let is_reported = target
            .stats
            .iter()
            .any(|stats| stats.hostname == worker.host);
        let stats = ours
            .stats
            .iter()
            .find(|stats| stats.hostname == worker.host);
        if let (false, Some(stats)) = (is_reported, stats) {
            target.stats.push(stats.clone());
        }
    }
    merge_progress(&mut target.progress, worker, progress);
    target.phase = Some(session::phase::target(target));
}

/// The same for a restore, where a later attempt replaces the result of an earlier one, unless that was good.
pub(super) fn merge_restore(
    present: &mut RestoreSessionStatus,
    ours: &RestoreSessionStatus,
    worker: &Worker,
    progress: Option<&HostProgress>,
) {
    for condition in &ours.conditions {
        if RESTORE_CONDITIONS.contains(&condition.type_.as_str()) {
            put_condition(&mut present.conditions, condition);
        }
    }
    if let Some(stats) = ours
        .stats
        .iter()
        .find(|stats| stats.hostname == worker.host)
    {
        let earlier = present
            .stats
            .iter_mut()
            .find(|stats| stats.hostname == worker.host);
        match earlier {
            Some(earlier) if earlier.phase != Some(api::v1beta1::HostRestorePhase::Succeeded) => {
                *earlier = stats.clone();
            }
            Some(_) => {}
            None => present.stats.push(stats.clone()),
        }
    }
    merge_progress(&mut present.progress, worker, progress);
}

/// What a session found out about a repository. References and generation are not its to change.
pub(super) fn merge_repository(present: &mut RepositoryStatus, ours: &RepositoryStatus) {
    let earlier = |a: Option<_>, b: Option<_>| match (a, b) {
        (Some(a), Some(b)) => Some(std::cmp::min(a, b)),
        (a, b) => a.or(b),
    };
    let present_first = present.first_backup_time.take();
    present.first_backup_time = earlier(present_first, ours.first_backup_time.clone());
    let is_newer = ours.last_backup_time >= present.last_backup_time;
    if is_newer {
        present.last_backup_time.clone_from(&ours.last_backup_time);
        present.integrity = ours.integrity.or(present.integrity);
        present.snapshot_count = ours.snapshot_count.or(present.snapshot_count);
        present.snapshots_removed_on_last_cleanup = ours
            .snapshots_removed_on_last_cleanup
            .or(present.snapshots_removed_on_last_cleanup);
        if ours.total_size.is_some() {
            present.total_size.clone_from(&ours.total_size);
        }
    }
}

/// Of what several hosts say about one thing, the failure stays, and otherwise what was said first.
fn merge_conditions(present: &mut Vec<Condition>, ours: &[Condition], types: &[&str]) {
    for condition in ours {
        if !types.contains(&condition.type_.as_str()) {
            continue;
        }
        let slot = present
            .iter()
            .find(|present| present.type_ == condition.type_);
        let is_worse = slot.is_some_and(|present| condition.is_false() && !present.is_false());
        if slot.is_none() || is_worse {
            put_condition(present, condition);
        }
    }
}

fn put_condition(present: &mut Vec<Condition>, condition: &Condition) {
    match present
        .iter_mut()
        .find(|present| present.type_ == condition.type_)
    {
        Some(slot) => *slot = condition.clone(),
        None => present.push(condition.clone()),
    }
}

/// An entry of another Pod is replaced by ours, and never removed.
fn merge_progress(
    present: &mut Vec<HostProgress>,
    worker: &Worker,
    progress: Option<&HostProgress>,
) {
    present.retain(|entry| {
        entry.hostname != worker.host || progress.is_none() && entry.pod_uid != worker.pod_uid
    });
    present.extend(progress.cloned());
}

#[cfg(test)]
mod tests;
