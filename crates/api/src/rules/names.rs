//! Names and namespaces as Kubernetes allows them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::problem::Problem;

pub(super) fn check_metadata(metadata: &ObjectMeta) -> Vec<Problem> {
    let mut problems = Vec::new();
    match metadata.name.as_deref() {
        None | Some("") => {
            problems.push(Problem::new("metadata.name", "the field is required").with_fix("give the object a name"));
        }
        Some(name) if !is_subdomain(name) => problems.push(
            Problem::new("metadata.name", "not a name Kubernetes allows")
                .with_value(name)
                .with_fix("use at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends"),
        ),
        Some(_) => {}
    }
    if let Some(namespace) = metadata.namespace.as_deref()
        && !is_label(namespace)
    {
        problems.push(
            Problem::new("metadata.namespace", "not a name of a namespace")
                .with_value(namespace)
                .with_fix("use at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends"),
        );
    }
    problems
}

/// Whether a text is a DNS-1123 subdomain.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

/// Whether a text is a DNS-1123 label.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

fn is_part(text: &str) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
        && bytes
            .iter()
            .all(|byte| is_alphanumeric(byte) || *byte == b'-')
}
