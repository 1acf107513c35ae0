//! Which hooks run and what their templates see (reference 3.10, decision 11).

use api::v1beta1::{
    BackupPostHookPolicy, HostRestorePhase, HostRestoreStats, RestoreHooks, RestorePostHookPolicy,
    RestoreSessionStatus, TargetRef,
};
use serde_json::{Value, json};

/// Whether the post-backup hook runs. `has_failed` is the final result of all hosts of the target.
pub const fn runs_after_backup(
    policy: BackupPostHookPolicy,
    has_failed: bool,
    retries_left: i32,
) -> bool {
    match policy {
        BackupPostHookPolicy::Always => true,
        BackupPostHookPolicy::OnSuccess => !has_failed,
        BackupPostHookPolicy::OnFailure => has_failed,
        BackupPostHookPolicy::OnFinalRetryFailure => has_failed && retries_left <= 0,
    }
}

/// Whether the post-restore hook runs.
pub const fn runs_after_restore(policy: RestorePostHookPolicy, has_failed: bool) -> bool {
    match policy {
        RestorePostHookPolicy::Always => true,
        RestorePostHookPolicy::OnSuccess => !has_failed,
        RestorePostHookPolicy::OnFailure => has_failed,
    }
}

/// Whether the Jobs of a restore take turns: the last of them runs a hook for all, and has to know what became of the
/// others.
pub fn restores_take_turns(hooks: Option<&RestoreHooks>, total_hosts: i32) -> bool {
    total_hosts > 1 && hooks.is_some_and(|hooks| hooks.post_restore.is_some())
}

/// What becomes of the post-restore hook when a host has reported: `None` when it is not due yet, else whether the
/// restore has failed. What `is_tried_again` until it succeeds is over when all hosts have their data.
pub fn restore_result(status: &RestoreSessionStatus, is_tried_again: bool) -> Option<bool> {
    let total = i64::from(status.total_hosts.unwrap_or(1));
    let reported = i64::try_from(status.stats.len()).unwrap_or(i64::MAX);
    let is_good = |host: &HostRestoreStats| host.phase == Some(HostRestorePhase::Succeeded);
    let has_failed = !status.stats.iter().all(is_good);
    (reported >= total && !(has_failed && is_tried_again)).then_some(has_failed)
}

/// What the templates of a hook see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookData {
    /// Name of the session.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Kind of the invoker.
    pub invoker_kind: String,
    /// Name of the invoker.
    pub invoker_name: String,
    /// The target, where it has a reference.
    pub target: Option<TargetRef>,
    /// `Running` before, `Succeeded` or `Failed` after.
    pub phase: String,
    /// Duration so far.
    pub duration: String,
    /// Why it failed.
    pub error: String,
    /// Retries left.
    pub retry_left: i32,
}

impl HookData {
    /// The data in the shape of the published template fields.
    pub fn to_value(&self) -> Value {
        let target = self.target.clone().unwrap_or_default();
        json!({
            "Name": self.name,
            "Namespace": self.namespace,
            "Invoker": {"APIGroup": "stash.appscode.com", "Kind": self.invoker_kind, "Name": self.invoker_name},
            "Target": {
                "APIVersion": target.api_version,
                "Kind": target.kind,
                "Name": target.name,
                "Namespace": target.namespace.unwrap_or_default(),
            },
            "Status": {"Phase": self.phase, "Duration": self.duration, "Error": self.error},
            "RetryLeft": self.retry_left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_looks_at_the_final_result() {
        use BackupPostHookPolicy::{Always, OnFailure, OnFinalRetryFailure, OnSuccess};
        for (policy, has_failed, retries_left, runs) in [
            (Always, false, 0, true),
            (Always, true, 3, true),
            (OnSuccess, false, 0, true),
            (OnSuccess, true, 0, false),
            (OnFailure, true, 2, true),
            (OnFailure, false, 2, false),
            (OnFinalRetryFailure, true, 1, false),
            (OnFinalRetryFailure, true, 0, true),
            (OnFinalRetryFailure, false, 0, false),
        ] {
            assert_eq!(
                runs_after_backup(policy, has_failed, retries_left),
                runs,
                "{policy:?} {has_failed}"
            );
        }
        assert!(!runs_after_restore(RestorePostHookPolicy::OnSuccess, true));
        assert!(runs_after_restore(RestorePostHookPolicy::OnFailure, true));
    }

    #[test]
    fn a_restore_has_its_result_when_all_hosts_have_theirs() {
        let status = |phases: &[HostRestorePhase]| RestoreSessionStatus {
            total_hosts: Some(2),
            stats: phases
                .iter()
                .map(|phase| HostRestoreStats {
                    phase: Some(*phase),
                    ..HostRestoreStats::default()
                })
                .collect(),
            ..RestoreSessionStatus::default()
        };
        let (good, bad) = (HostRestorePhase::Succeeded, HostRestorePhase::Failed);
        assert_eq!(restore_result(&status(&[good]), false), None);
        assert_eq!(restore_result(&status(&[good, good]), false), Some(false));
        assert_eq!(restore_result(&status(&[bad, good]), false), Some(true));
        assert_eq!(restore_result(&status(&[bad, good]), true), None);
        assert_eq!(restore_result(&status(&[good, good]), true), Some(false));
    }

    #[test]
    fn only_several_jobs_with_a_hook_at_the_end_take_turns() {
        let hook = json!({"postRestore": {"exec": {"command": ["true"]}}});
        let hooks: RestoreHooks = serde_json::from_value(hook).unwrap();
        assert!(restores_take_turns(Some(&hooks), 2));
        assert!(!restores_take_turns(Some(&hooks), 1));
        assert!(!restores_take_turns(Some(&RestoreHooks::default()), 2));
        assert!(!restores_take_turns(None, 2));
    }

    #[test]
    fn templates_see_the_published_fields() {
        let data = HookData {
            name: "home-1".into(),
            phase: "Failed".into(),
            retry_left: 1,
            ..Default::default()
        };
        let text = "{{ .Name }} {{ .Status.Phase }} {{ .RetryLeft }} [{{ .Target.Kind }}]";
        assert_eq!(
            crate::template::render(text, &data.to_value()).unwrap(),
            "home-1 Failed 1 []"
        );
    }
}
