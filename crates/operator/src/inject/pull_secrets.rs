//! The Secrets that nodes pull our image with. Those that the workload has anyway are not ours to remove, so an
//! annotation of the workload remembers which ones were added.

use serde_json::{Value, json};
use session::labels::ADDED_PULL_SECRETS;

use crate::inject::template::{annotate, list, retain};

/// Makes the wanted Secrets be there, and of those that were added before no others.
pub(super) fn set(workload: &mut Value, wanted: &[String]) {
    let added = added(workload);
    if wanted.is_empty() && added.is_empty() {
        return;
    }
    let Some(Value::Object(spec)) = workload.pointer_mut("/spec/template/spec") else {
        return;
    };
    retain(spec, "imagePullSecrets", |name| {
        !added.iter().any(|it| it == name) || wanted.iter().any(|it| it == name)
    });
    let mut kept = Vec::new();
    for name in wanted {
        let present = list(spec, "imagePullSecrets");
        let is_present = present.iter().any(|entry| entry["name"] == name.as_str());
        if !is_present {
            present.push(json!({ "name": name }));
        }
        if !is_present || added.contains(name) {
            kept.push(name.as_str());
        }
    }
    let text = kept.join(",");
    annotate(
        workload,
        "",
        ADDED_PULL_SECRETS,
        Some(text.as_str()).filter(|text| !text.is_empty()),
    );
}

fn added(workload: &Value) -> Vec<String> {
    workload
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(ADDED_PULL_SECRETS)?.as_str())
        .into_iter()
        .flat_map(|text| text.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}
