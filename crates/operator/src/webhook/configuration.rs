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
/// How long the API server waits for us before it goes on without.
const TIMEOUT_SECONDS: i32 = 5;
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
        timeout_seconds: Some(TIMEOUT_SECONDS),
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
            timeout_seconds: Some(TIMEOUT_SECONDS),
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

/// The cluster's own namespaces do without us, and so does the one with the operator's own Deployment.
fn selector(options: &WebhookOptions, namespace: &str) -> LabelSelector {
    let mut without = vec!["kube-system".to_owned(), "kube-node-lease".to_owned()];
    if options.url.is_none() {
        without.push(namespace.to_owned());
    }
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: NAMESPACE_LABEL.to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(without),
        }]),
        match_labels: None,
    }
}
