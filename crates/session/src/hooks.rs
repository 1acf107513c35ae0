//! Which hooks run and what their templates see (reference 3.10, decision 11).

use api::v1beta1::{BackupPostHookPolicy, RestorePostHookPolicy, TargetRef};
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
