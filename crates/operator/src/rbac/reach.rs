//! Which Pods the hooks of agents reach, and the rights that takes.

use api::k8s_openapi::api::rbac::v1::PolicyRule;
use api::v1beta1::Handler;

use crate::rbac::{Mission, named_rule, rule};
use crate::target::Workload;

/// A command is started by a GET that becomes a WebSocket; newer API servers ask for `create` as well.
const EXEC: &[&str] = &["get", "create"];

/// Pods that hooks reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whether a Pod is looked for. A sidecar is in the Pod that is meant.
    looks: bool,
    commands: Commands,
}

/// Where commands run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Commands {
    /// Nowhere but in the agent's own container.
    #[default]
    Nowhere,
    /// In Pods whose names are known beforehand.
    In(Vec<String>),
    /// In Pods that get their names when they are made. To name those that are there now would leave out the one that
    /// takes the place of a Pod that goes while a session runs, and with it the hook that thaws what was frozen.
    Anywhere,
}

impl Reach {
    /// What these hooks reach of the workload whose data is worked on; without one they stay where the agent is.
    pub fn of(mission: Mission, workload: Option<&Workload>, hooks: &[Option<&Handler>]) -> Self {
        let Some(workload) = workload.filter(|_| hooks.iter().any(Option::is_some)) else {
            return Self::default();
        };
        let has_command = hooks.iter().flatten().any(|hook| hook.exec.is_some());
        Self {
            looks: mission != Mission::Sidecar,
            commands: if !has_command {
                Commands::Nowhere
            } else if workload.kind == "StatefulSet" {
                let ordinals = workload.ordinals();
                Commands::In(ordinals.map(|ordinal| workload.pod(ordinal)).collect())
            } else {
                Commands::Anywhere
            },
        }
    }

    /// Every agent reads Pods by their names, whichever they are: the Pod that holds a lock in its way is gone or not.
    pub(super) fn rules(&self) -> Vec<PolicyRule> {
        let read: &[&str] = if self.looks {
            &["get", "list"]
        } else {
            &["get"]
        };
        let exec = match &self.commands {
            Commands::Nowhere => None,
            Commands::In(pods) => named_rule("", "pods/exec", pods, EXEC),
            Commands::Anywhere => Some(rule("", &["pods/exec"], EXEC)),
        };
        [rule("", &["pods"], read)]
            .into_iter()
            .chain(exec)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workload(kind: &str) -> Workload {
        Workload::read(&json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "web" },
            "spec": { "replicas": 2, "ordinals": { "start": 3 }, "template": { "spec": { "containers": [] } } },
        }))
        .unwrap()
    }

    fn lines(mission: Mission, kind: Option<&str>, hook: Value) -> Vec<String> {
        let hook: Option<Handler> = serde_json::from_value(hook).unwrap();
        let workload = kind.map(workload);
        let reach = Reach::of(mission, workload.as_ref(), &[None, hook.as_ref()]);
        let line = |rule: PolicyRule| {
            let names = rule.resource_names.unwrap_or_default();
            let resource = rule.resources.unwrap().concat();
            format!("{resource} {names:?}: {}", rule.verbs.join(","))
        };
        reach.rules().into_iter().map(line).collect()
    }

    #[test]
    fn only_a_job_with_a_hook_looks_for_pods() {
        let request = || json!({ "httpGet": { "port": 80 } });
        let (get, list) = (["pods []: get"], ["pods []: get,list"]);
        assert_eq!(lines(Mission::Job, Some("Deployment"), json!(null)), get);
        assert_eq!(lines(Mission::Job, None, request()), get);
        assert_eq!(lines(Mission::Sidecar, Some("Deployment"), request()), get);
        assert_eq!(lines(Mission::Job, Some("Deployment"), request()), list);
        assert_eq!(lines(Mission::Restore, Some("DaemonSet"), request()), list);
    }

    #[test]
    fn commands_run_in_named_pods_where_the_names_are_known() {
        let command = || json!({ "exec": { "command": ["true"] } });
        assert_eq!(lines(Mission::Job, None, command()), ["pods []: get"]);
        assert_eq!(
            lines(Mission::Sidecar, Some("StatefulSet"), command()),
            [
                "pods []: get",
                r#"pods/exec ["web-3", "web-4"]: get,create"#
            ]
        );
        assert_eq!(
            lines(Mission::Restore, Some("Deployment"), command()),
            ["pods []: get,list", "pods/exec []: get,create"]
        );
    }
}
