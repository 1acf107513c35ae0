//! Whether an object of the API server says what we would write.

use serde_json::Value;

/// Whether everything in `wanted` is in `present`. Fields that only `present` has are defaults that the API server
/// filled in. Quantities are compared by being there: the API server spells them anew, and the digest beside them
/// knows whether they changed.
pub(super) fn covers(present: Option<&Value>, wanted: &Value) -> bool {
    match (present, wanted) {
        (None, wanted) => is_empty(wanted),
        (Some(Value::Object(present)), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| match name.as_str() {
                "resources" | "sizeLimit" | "divisor" => present.contains_key(name),
                _ => covers(present.get(name), value),
            })
        }
        (Some(Value::Array(present)), Value::Array(wanted)) => {
            present.len() == wanted.len()
                && present
                    .iter()
                    .zip(wanted)
                    .all(|(present, wanted)| covers(Some(present), wanted))
        }
        (Some(present), wanted) => present == wanted,
    }
}

/// What the API server leaves out when it stores an object.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_no_difference_and_changes_are() {
        let wanted = json!({
            "name": "stash",
            "env": [{ "name": "A", "value": "" }],
            "resources": { "limits": { "cpu": "0.5" } },
        });
        let mut present = json!({
            "name": "stash",
            "env": [{ "name": "A" }],
            "resources": { "limits": { "cpu": "500m" } },
            "terminationMessagePath": "/dev/termination-log",
        });
        assert!(covers(Some(&present), &wanted));
        present["env"][0]["value"] = json!("changed");
        assert!(!covers(Some(&present), &wanted));
        assert!(!covers(None, &wanted));
    }
}
