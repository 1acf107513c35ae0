//! Sessions that must not start because of their Repository.

use super::*;

#[test]
fn what_a_usage_policy_no_longer_allows_is_skipped_with_the_reason() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    seen.is_allowed = false;
    // It may have been applied together with the label.
    let young = decide(&new, &seen, 1);
    assert!(young.preparation.is_none());
    let skipped = decide(&new, &seen, 30);
    assert_eq!(phase_of(&skipped), Phase::Skipped);
    let said = end(&new, &skipped);
    assert!(
        said.contains("does not allow the namespace shop; change spec.usagePolicy"),
        "{said}"
    );
}

#[test]
fn a_sidecar_that_would_back_up_its_repository_does_not_start() {
    let new = session("home-1", 0, &json!({}));
    let mut seen = seen(Some(configuration(&json!({}))));
    let repository = json!({
        "metadata": { "name": "repo", "namespace": "shop" },
        "spec": { "backend": { "local": { "mountPath": "/data/safe", "emptyDir": {} } } },
    });
    seen.repository = Some(Arc::new(serde_json::from_value(repository).unwrap()));
    let failed = decide(&new, &seen, 1);
    assert_eq!(phase_of(&failed), Phase::Failed);
    let said = end(&new, &failed);
    assert!(said.contains("/data holds the Repository repo"), "{said}");
}
