//! Changes objects on their way into the cluster: our containers into workloads, and rules of a RestoreSession from
//! the old place to the new.

use futures::FutureExt;
use kube_client::core::admission::AdmissionResponse;
use serde_json::Value;

use crate::failure::chain;
use crate::inject::{self, Wanted};
use crate::webhook::{Answering, Request};
use crate::workload::{self, WorkloadKey, backup_claims, restore_claims};

/// The answer to a request. What cannot be done here is left to the controllers.
pub(super) fn answer(request: &Request, answering: &Answering) -> AdmissionResponse {
    let mut response = AdmissionResponse::from(request);
    let Some(object) = &request.object else {
        return response;
    };
    let before = match serde_json::to_value(object) {
        Ok(before) => before,
        Err(error) => {
            tracing::warn!(%error, "an object could not be read");
            return response;
        }
    };
    let after = if request.kind.kind == "RestoreSession" {
        Ok(moved_rules(&before))
    } else {
        injected(request, &before, answering)
    };
    match after {
        Ok(after) => patched(response, &before, &after),
        Err(warning) => {
            response.warnings = Some(vec![warning]);
            response
        }
    }
}

fn patched(response: AdmissionResponse, before: &Value, after: &Value) -> AdmissionResponse {
    if before == after {
        return response;
    }
    let patch = json_patch::diff(before, after);
    match response.clone().with_patch(patch) {
        Ok(patched) => patched,
        Err(error) => {
            tracing::warn!(error = chain(&error), "a patch could not be written");
            response
        }
    }
}

/// The workload with what its invokers want in it. Nothing is taken out here: a copy may be behind, and the
/// controller asks before it removes.
fn injected(request: &Request, before: &Value, answering: &Answering) -> Result<Value, String> {
    let stores = &answering.stores;
    let unchanged = || Ok(before.clone());
    let is_ready = stores.ready().now_or_never().is_some();
    let text = |pointer: &str| before.pointer(pointer).and_then(Value::as_str);
    let is_deleted = text("/metadata/deletionTimestamp").is_some();
    let (Some(namespace), false, true) = (request.namespace.as_ref(), is_deleted, is_ready) else {
        return unchanged();
    };
    let key = WorkloadKey {
        kind: request.kind.kind.clone(),
        namespace: namespace.clone(),
        name: request.name.clone(),
    };
    if key.name.is_empty() || workload::is_owned(before) {
        return unchanged();
    }
    let image = &answering.context.options.image;
    let mut whole = before.clone();
    // On creation the namespace may stand in the request only.
    whole["metadata"]["namespace"] = Value::from(namespace.as_str());
    let sidecar = match backup_claims(stores, &key).first() {
        None => Ok(Wanted::AsItIs),
        Some(claim) => workload::wanted_sidecar(&whole, claim, stores, image),
    };
    let init = match workload::wanted_restore(&whole, &restore_claims(stores, &key), stores, image)
    {
        // Taken out by the controller alone, which asks first.
        Ok(Wanted::Absent) => Ok(Wanted::AsItIs),
        wanted => wanted,
    };
    let result = match (sidecar, init) {
        (Ok(sidecar), Ok(init)) => inject::inject(before, &sidecar, &init, image),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    result.map_err(|error| format!("Stash did not add its container: {}", chain(&error)))
}

/// `spec.rules` was the place of `spec.target.rules`.
fn moved_rules(before: &Value) -> Value {
    let mut after = before.clone();
    let Some(Value::Object(spec)) = after.pointer_mut("/spec") else {
        return after;
    };
    let rules = match spec.get("rules") {
        Some(Value::Array(rules)) if !rules.is_empty() => rules.clone(),
        _ => return after,
    };
    let Some(Value::Object(target)) = spec.get_mut("target") else {
        return after;
    };
    let present = target
        .entry("rules")
        .or_insert_with(|| Value::Array(Vec::new()));
    let Some(present) = present.as_array_mut() else {
        return before.clone();
    };
    // A manifest that is applied again brings the old place back; its rules are there already.
    if !present.ends_with(&rules) {
        present.extend(rules);
    }
    spec.shift_remove("rules");
    after
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_move_to_the_target_once() {
        let old = json!({ "spec": {
            "rules": [{ "paths": ["/a"] }],
            "target": { "alias": "x" },
            "driver": "Restic",
        } });
        let new = moved_rules(&old);
        assert_eq!(
            new,
            json!({ "spec": {
                "target": { "alias": "x", "rules": [{ "paths": ["/a"] }] },
                "driver": "Restic",
            } })
        );
        let mut again = new.clone();
        again["spec"]["rules"] = json!([{ "paths": ["/a"] }]);
        assert_eq!(moved_rules(&again), new);
        let without_target = json!({ "spec": { "rules": [{ "paths": ["/a"] }] } });
        assert_eq!(moved_rules(&without_target), without_target);
    }
}
