//! The operator's own rights.

use std::collections::BTreeMap;

use api::k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use session::labels;

use crate::leader::LEASE;
use crate::rbac::{GROUP, named_rule, rule};

const READ: &[&str] = &["get", "list", "watch"];
const KEEP: &[&str] = &[
    "get", "list", "watch", "create", "update", "patch", "delete",
];
const WRITE: &[&str] = &["get", "update", "patch"];

/// What the operator may do in all namespaces. It contains everything that it grants to agents, because nobody can
/// grant what they do not have; it has neither `escalate` nor `bind`.
pub fn operator_cluster_role(name: &str) -> ClusterRole {
    ClusterRole {
        metadata: metadata(name, None),
        rules: Some(cluster_rules()),
        aggregation_rule: None,
    }
}

/// What the operator may do in its own namespace besides: `secrets` are those of its webhooks.
pub fn operator_role(name: &str, namespace: &str, secrets: &[&str]) -> Role {
    let lease = [LEASE.to_owned()];
    let secrets: Vec<String> = secrets.iter().map(|&name| name.to_owned()).collect();
    let mut rules = vec![rule("coordination.k8s.io", &["leases"], &["create"])];
    rules.extend(named_rule("coordination.k8s.io", "leases", &lease, WRITE));
    if !secrets.is_empty() {
        rules.push(rule("", &["secrets"], &["create"]));
    }
    rules.extend(named_rule("", "secrets", &secrets, WRITE));
    Role {
        metadata: metadata(name, Some(namespace)),
        rules: Some(rules),
    }
}

fn metadata(name: &str, namespace: Option<&str>) -> ObjectMeta {
    let manager = (labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(BTreeMap::from([manager])),
        ..ObjectMeta::default()
    }
}

fn cluster_rules() -> Vec<PolicyRule> {
    let mut rules = stash_rules();
    rules.extend(workload_rules());
    rules.extend(granted_rules());
    rules
}

/// Our own kinds.
fn stash_rules() -> Vec<PolicyRule> {
    vec![
        rule(
            GROUP,
            &[
                "repositories",
                "backupconfigurations",
                "restoresessions",
                "backupbatches",
                "restorebatches",
            ],
            &["get", "list", "watch", "update", "patch"],
        ),
        rule(GROUP, &["backupsessions"], KEEP),
        rule(
            GROUP,
            &[
                "repositories/status",
                "backupconfigurations/status",
                "backupsessions/status",
                "restoresessions/status",
                "backupbatches/status",
                "restorebatches/status",
            ],
            WRITE,
        ),
        // To be named as an owner that waits for what it owns.
        rule(
            GROUP,
            &[
                "repositories/finalizers",
                "backupconfigurations/finalizers",
                "backupsessions/finalizers",
                "restoresessions/finalizers",
            ],
            &["update"],
        ),
        rule(GROUP, &["backupblueprints"], READ),
        rule(GROUP, &["functions", "tasks"], KEEP),
    ]
}

/// Workloads into which containers go, and what is made beside them.
fn workload_rules() -> Vec<PolicyRule> {
    let change = &["get", "list", "watch", "update", "patch"];
    vec![
        rule(
            "apps",
            &["deployments", "statefulsets", "daemonsets", "replicasets"],
            change,
        ),
        rule("", &["replicationcontrollers"], change),
        rule("batch", &["jobs"], KEEP),
        rule(
            "",
            &["persistentvolumeclaims"],
            &["get", "list", "watch", "create", "delete"],
        ),
        rule("", &["serviceaccounts"], KEEP),
        rule(
            "rbac.authorization.k8s.io",
            &["roles", "rolebindings"],
            KEEP,
        ),
        rule("", &["events"], &["get", "list", "create", "patch"]),
        rule(
            "admissionregistration.k8s.io",
            &[
                "mutatingwebhookconfigurations",
                "validatingwebhookconfigurations",
            ],
            &["get", "list", "watch", "create", "update", "patch"],
        ),
        // Its own, to own the configurations of its webhooks.
        rule("rbac.authorization.k8s.io", &["clusterroles"], &["get"]),
    ]
}

/// What agents are granted and the operator needs only partly itself. Of Secrets it asks whether they exist, and
/// reads no data.
fn granted_rules() -> Vec<PolicyRule> {
    vec![
        rule("", &["secrets"], &["get"]),
        rule("", &["namespaces"], READ),
        rule("", &["pods"], READ),
        rule("", &["pods/exec"], &["get", "create"]),
        rule(
            "coordination.k8s.io",
            &["leases"],
            &["get", "create", "update", "patch"],
        ),
    ]
}
