//! Who may use a Repository of another namespace (reference 1.2).

use std::collections::BTreeMap;

use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement,
};
use api::v1alpha1::{FromNamespaces, UsagePolicy};

/// Whether objects of `user` may name a Repository that lies in `owner`. A selector that is malformed allows nobody.
pub fn allows(
    policy: Option<&UsagePolicy>,
    owner: &str,
    user: &str,
    user_labels: &BTreeMap<String, String>,
) -> bool {
    if owner == user {
        return true;
    }
    let Some(allowed) = policy.and_then(|policy| policy.allowed_namespaces.as_ref()) else {
        return false;
    };
    match allowed.from {
        FromNamespaces::All => true,
        FromNamespaces::Same => false,
        FromNamespaces::Selector => allowed
            .selector
            .as_ref()
            .is_some_and(|selector| matches(selector, user_labels)),
    }
}

/// Kubernetes' rule for label selectors: every requirement holds; an empty selector matches everything.
fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector.match_labels.iter().flatten();
    let mut requirements = selector.match_expressions.iter().flatten();
    wanted
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && requirements.all(|requirement| holds(requirement, labels))
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1alpha1::AllowedNamespaces;

    fn policy(from: FromNamespaces, selector: Option<LabelSelector>) -> UsagePolicy {
        UsagePolicy {
            allowed_namespaces: Some(AllowedNamespaces { from, selector }),
        }
    }

    fn requirement(operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "team".to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|&value| value.to_owned()).collect()),
            }]),
            ..LabelSelector::default()
        }
    }

    #[test]
    fn only_the_own_namespace_may_use_a_repository_unless_its_policy_says_more() {
        let none = BTreeMap::new();
        let all = policy(FromNamespaces::All, None);
        let same = policy(FromNamespaces::Same, None);
        assert!(allows(None, "a", "a", &none) && allows(Some(&same), "a", "a", &none));
        assert!(!allows(None, "a", "b", &none) && !allows(Some(&same), "a", "b", &none));
        assert!(!allows(Some(&UsagePolicy::default()), "a", "b", &none));
        assert!(allows(Some(&all), "a", "b", &none));
    }

    #[test]
    fn a_selector_looks_at_the_labels_of_the_namespace() {
        let labels = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
        let none = BTreeMap::new();
        let check = |selector, labels| {
            allows(
                Some(&policy(FromNamespaces::Selector, Some(selector))),
                "a",
                "b",
                labels,
            )
        };
        assert!(check(requirement("In", &["red", "blue"]), &labels));
        assert!(!check(requirement("In", &["blue"]), &labels));
        assert!(!check(requirement("NotIn", &["red"]), &labels));
        assert!(check(requirement("NotIn", &["red"]), &none));
        assert!(check(requirement("Exists", &[]), &labels));
        assert!(check(requirement("DoesNotExist", &[]), &none));
        assert!(!check(requirement("Like", &["red"]), &labels));
        assert!(check(LabelSelector::default(), &none));
        assert!(!allows(
            Some(&policy(FromNamespaces::Selector, None)),
            "a",
            "b",
            &labels
        ));
    }
}
