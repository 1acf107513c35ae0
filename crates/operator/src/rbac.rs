//! Who may do what: the one list of permissions of agents and of the operator itself.
//!
//! Agents get Roles that name the objects of their invoker, made here and written when a session starts. What the
//! operator grants it must have itself; its own roles below are what `deploy/` is generated from.

mod agent;
mod early;
mod operator;
mod reach;
mod sweep;
mod within;

use api::k8s_openapi::api::rbac::v1::PolicyRule;

pub use agent::{Access, AccessObjects, Account, Mission, access};
pub use early::controller as early_rights;
pub use operator::{operator_cluster_role, operator_role};
pub use reach::Reach;
pub use sweep::controller as sweeper;
pub use within::controller as workload_sweeper;

/// The API group of our kinds.
const GROUP: &str = "stash.appscode.com";
/// Label value that finds the roles in namespaces of Repositories for agents of others.
pub const FOREIGN: &str = "stash-foreign-access";

/// Label value that finds the roles of init containers, which go with the workload.
pub const WITHIN: &str = "stash-workload-access";

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// A rule for certain objects only. Without names there is no rule: an empty list would mean all of them.
fn named_rule(group: &str, resource: &str, names: &[String], verbs: &[&str]) -> Option<PolicyRule> {
    (!names.is_empty()).then(|| PolicyRule {
        resource_names: Some(names.to_vec()),
        ..rule(group, &[resource], verbs)
    })
}

#[cfg(test)]
mod tests;
