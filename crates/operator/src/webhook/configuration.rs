//! What the API server is told about the webhooks.

use api::k8s_openapi::ByteString;
use api::k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
    ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use api::k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use session::labels;

use crate::context::WebhookOptions;

/// Where objects are changed.
pub const MUTATE_PATH: &str = "/mutate";
/// Where objects are judged.
pub const VALIDATE_PATH: &str = "/validate";
/// Name of both configurations.
pub const NAME: &str = "stash.appscode.com";
/// The label with the name of each namespace, which Kubernetes sets.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// ReplicaSets that a Deployment makes are none of our business, and there are many.
const NOT_OF_A_DEPLOYMENT: &str = "!has(object.metadata.ownerReferences) || \
     !object.metadata.ownerReferences.exists(o, o.kind == 'Deployment' && has(o.controller) && o.controller)";

/// The configuration of what changes objects.
pub fn mutating(
    options: &WebhookOptions,
    namespace: &str,
    authority: &str,
) -> MutatingWebhookConfiguration {
    let webhook = |name: &str, rules, conditions| MutatingWebhook {
        name: format!("{name}.{NAME}"),
        admission_review_versions: vec!["v1".to_owned()],
        client_config: client(options, namespace, authority, MUTATE_PATH),
        failure_policy: Some("Ignore".to_owned()),
        match_conditions: conditions,
        namespace_selector: Some(selector(options, namespace)),
        rules: Some(rules),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(options.timeout_seconds.into()),
        ..MutatingWebhook::default()
    };
    let workloads = vec![
        rule(
            "apps",
            "v1",
            &["deployments", "statefulsets", "daemonsets", "replicasets"],
        ),
        rule("", "v1", &["replicationcontrollers"]),
    ];
    let conditions = vec![MatchCondition {
        name: "not-of-a-deployment".to_owned(),
        expression: NOT_OF_A_DEPLOYMENT.to_owned(),
    }];
    MutatingWebhookConfiguration {
        metadata: metadata(),
        webhooks: Some(vec![
            webhook("workloads", workloads, Some(conditions)),
            webhook(
                "restoresessions",
                vec![rule(NAME, "v1beta1", &["restoresessions"])],
                None,
            ),
        ]),
    }
}

/// The configuration of what judges objects.
pub fn validating(
    options: &WebhookOptions,
    namespace: &str,
    authority: &str,
) -> ValidatingWebhookConfiguration {
    ValidatingWebhookConfiguration {
        metadata: metadata(),
        webhooks: Some(vec![ValidatingWebhook {
            name: format!("invokers.{NAME}"),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client(options, namespace, authority, VALIDATE_PATH),
            failure_policy: Some("Ignore".to_owned()),
            rules: Some(vec![rule(
                NAME,
                "v1beta1",
                &["backupconfigurations", "restoresessions"],
            )]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(options.timeout_seconds.into()),
            ..ValidatingWebhook::default()
        }]),
    }
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(NAME.to_owned()),
        labels: Some([(labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

fn rule(group: &str, version: &str, resources: &[&str]) -> RuleWithOperations {
    let list = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    RuleWithOperations {
        api_groups: list(&[group]),
        api_versions: list(&[version]),
        operations: list(&["CREATE", "UPDATE"]),
        resources: list(resources),
        scope: Some("Namespaced".to_owned()),
    }
}

fn client(
    options: &WebhookOptions,
    namespace: &str,
    authority: &str,
    path: &str,
) -> WebhookClientConfig {
    let url = options
        .url
        .as_ref()
        .map(|url| format!("{}{path}", url.trim_end_matches('/')));
    WebhookClientConfig {
        ca_bundle: Some(ByteString(authority.as_bytes().to_vec())),
        service: url.is_none().then(|| ServiceReference {
            name: options.service.clone(),
            namespace: namespace.to_owned(),
            path: Some(path.to_owned()),
            port: Some(443),
        }),
        url,
    }
}

/// Some namespaces do without us, such as the cluster's own, and so does the one with the operator's own Deployment.
fn selector(options: &WebhookOptions, namespace: &str) -> LabelSelector {
    let mut without = options.excluded_namespaces.clone();
    if options.url.is_none() && !without.iter().any(|it| it == namespace) {
        without.push(namespace.to_owned());
    }
    // An empty list of names would be refused; an empty selector selects all.
    let requirement = (!without.is_empty()).then(|| LabelSelectorRequirement {
        key: NAMESPACE_LABEL.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(without),
    });
    LabelSelector {
        match_expressions: requirement.map(|it| vec![it]),
        match_labels: None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn options(excluded: &[&str]) -> WebhookOptions {
        WebhookOptions {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)),
            service: "stash-webhook".to_owned(),
            url: None,
            timeout_seconds: 7,
            excluded_namespaces: excluded.iter().map(|&name| name.to_owned()).collect(),
            owner: None,
        }
    }

    fn excluded(options: &WebhookOptions) -> Option<Vec<String>> {
        let selector = selector(options, "stash");
        selector.match_expressions?.pop()?.values
    }

    #[test]
    fn the_operators_own_deployment_never_waits_for_its_webhooks() {
        let both = excluded(&options(&["kube-system"])).unwrap();
        assert_eq!(both, ["kube-system", "stash"]);
        assert_eq!(excluded(&options(&[])).unwrap(), ["stash"]);
        assert_eq!(excluded(&options(&["stash"])).unwrap(), ["stash"]);
    }

    #[test]
    fn an_operator_outside_of_the_cluster_may_exclude_nothing() {
        let mut options = options(&[]);
        options.url = Some("https://127.0.0.1:8443".to_owned());
        assert_eq!(excluded(&options), None);
    }

    #[test]
    fn every_webhook_waits_as_long_as_was_said() {
        let options = options(&[]);
        let mutating = mutating(&options, "stash", "ca").webhooks.unwrap();
        let validating = validating(&options, "stash", "ca").webhooks.unwrap();
        let mut times = mutating
            .iter()
            .map(|it| it.timeout_seconds)
            .collect::<Vec<_>>();
        times.extend(validating.iter().map(|it| it.timeout_seconds));
        assert_eq!(times, [Some(7); 3]);
    }
}
