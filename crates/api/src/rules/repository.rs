//! The rules of a Repository.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::problem::Problem;
use crate::v1alpha1::{Backend, FromNamespaces, LocalBackend, Repository};

/// Every problem of one Repository that its schema does not find.
pub fn check_repository(repository: &Repository) -> Vec<Problem> {
    let backend = &repository.spec.backend;
    let mut problems: Vec<Problem> = check_providers(backend).into_iter().collect();
    if backend
        .storage_secret_name
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        problems.push(
            Problem::new("spec.backend.storageSecretName", "the field is required")
                .with_fix("name the Secret with `RESTIC_PASSWORD` and the keys of the backend"),
        );
    }
    problems.extend(backend.local.iter().flat_map(check_local));
    problems.extend(check_required(backend));
    if let Some(provider) = backend
        .providers()
        .iter()
        .find(|name| matches!(**name, "local" | "b2"))
        && repository.spec.wipe_out
    {
        problems.push(
            Problem::new(
                "spec.wipeOut",
                format!("wipeOut is not available for the backend {provider}"),
            )
            .with_value(true)
            .with_fix(
                "remove it, and delete the stored data by hand when it is not needed any more",
            ),
        );
    }
    problems.extend(check_usage_policy(repository));
    problems
}

fn check_providers(backend: &Backend) -> Option<Problem> {
    match backend.providers().as_slice() {
        [_] => None,
        [] => Some(
            Problem::new("spec.backend", "no backend is set")
                .with_fix("add one of `local`, `s3`, `gcs`, `azure`, `swift`, `b2`, `rest`"),
        ),
        several => Some(
            Problem::new(
                "spec.backend",
                format!("{} backends are set", several.len()),
            )
            .with_value(several.join(", "))
            .with_fix("keep one, and make a Repository of its own for each other"),
        ),
    }
}

fn check_local(local: &LocalBackend) -> Vec<Problem> {
    let mut problems = Vec::new();
    let path = "spec.backend.local.mountPath";
    let segments: Vec<&str> = local
        .mount_path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    if !local.mount_path.is_empty() && !local.mount_path.starts_with('/') {
        problems.push(
            Problem::new(path, "the path must be absolute")
                .with_value(&local.mount_path)
                .with_fix("begin it with `/`"),
        );
    } else if segments.first() == Some(&"stash") {
        problems.push(
            Problem::new(path, "the path must not be `/stash` or lie under it: the program lies there in the image")
                .with_value(&local.mount_path)
                .with_fix("use another folder, such as `/stash-backup`"),
        );
    } else if segments.contains(&"..") {
        problems.push(
            Problem::new(path, "the path must not contain `..`").with_value(&local.mount_path),
        );
    }
    if let Some(sub_path) = &local.sub_path
        && (sub_path.starts_with('/') || sub_path.split('/').any(|segment| segment == ".."))
    {
        problems.push(
            Problem::new(
                "spec.backend.local.subPath",
                "the path must be relative and without `..`",
            )
            .with_value(sub_path),
        );
    }
    match local.source.kinds().as_slice() {
        [_] => {}
        [] => problems.push(
            Problem::new("spec.backend.local", "the local backend names no volume")
                .with_fix("add one, such as `hostPath`, `persistentVolumeClaim` or `nfs`"),
        ),
        several => problems.push(
            Problem::new(
                "spec.backend.local",
                "the local backend names more than one volume",
            )
            .with_value(several.join(", "))
            .with_fix("keep one"),
        ),
    }
    problems
}

/// What a provider cannot do without.
fn check_required(backend: &Backend) -> Vec<Problem> {
    let s3 = backend.s3.iter().flat_map(|s3| {
        [
            ("spec.backend.s3.endpoint", s3.endpoint.as_str()),
            ("spec.backend.s3.bucket", s3.bucket.as_str()),
        ]
    });
    let gcs = backend
        .gcs
        .iter()
        .map(|gcs| ("spec.backend.gcs.bucket", gcs.bucket.as_str()));
    let azure = backend
        .azure
        .iter()
        .map(|azure| ("spec.backend.azure.container", azure.container.as_str()));
    let swift = backend
        .swift
        .iter()
        .map(|swift| ("spec.backend.swift.container", swift.container.as_str()));
    let b2 = backend
        .b2
        .iter()
        .map(|b2| ("spec.backend.b2.bucket", b2.bucket.as_str()));
    let local = backend
        .local
        .iter()
        .map(|local| ("spec.backend.local.mountPath", local.mount_path.as_str()));
    let rest = backend.rest.iter().map(|rest| {
        (
            "spec.backend.rest.url",
            rest.url.as_deref().unwrap_or_default(),
        )
    });
    let required = local
        .chain(s3)
        .chain(gcs)
        .chain(azure)
        .chain(swift)
        .chain(b2)
        .chain(rest);
    let mut problems: Vec<Problem> = required
        .filter(|(_, value)| value.is_empty())
        .map(|(path, _)| Problem::new(path, "the field is required").with_fix("give it a value"))
        .collect();
    let urls = [
        (
            "spec.backend.s3.endpoint",
            backend
                .s3
                .as_ref()
                .map(|s3| s3.endpoint.as_str())
                .filter(|text| text.contains("://")),
        ),
        (
            "spec.backend.rest.url",
            backend.rest.as_ref().and_then(|rest| rest.url.as_deref()),
        ),
    ];
    for (path, url) in urls {
        if let Some(url) = url.filter(|url| !url.is_empty() && !is_web_url(url)) {
            problems.push(
                Problem::new(path, "not a URL of a web server")
                    .with_value(url)
                    .with_fix("write it as `https://host:port/path`"),
            );
        }
    }
    problems
}

fn is_web_url(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && !url.contains(char::is_whitespace)
}

fn check_usage_policy(repository: &Repository) -> Option<Problem> {
    let allowed = repository
        .spec
        .usage_policy
        .as_ref()?
        .allowed_namespaces
        .as_ref()?;
    (allowed.from == FromNamespaces::Selector && allowed.selector.is_none()).then(|| {
        Problem::new(
            "spec.usagePolicy.allowedNamespaces.selector",
            "the field is required when `from` is `Selector`",
        )
        .with_fix("add the labels of the namespaces, or set `from` to `All` or `Same`")
    })
}

/// Whether a namespace with these labels may use a Repository. Labels are asked for only when they decide.
pub fn is_use_allowed<'a>(
    repository: &Repository,
    namespace: &str,
    labels: impl FnOnce() -> Option<&'a std::collections::BTreeMap<String, String>>,
) -> bool {
    if repository
        .metadata
        .namespace
        .as_deref()
        .unwrap_or(crate::manifest::DEFAULT_NAMESPACE)
        == namespace
    {
        return true;
    }
    let Some(policy) = &repository.spec.usage_policy else {
        return false;
    };
    match &policy.allowed_namespaces {
        None => false,
        Some(allowed) => match allowed.from {
            FromNamespaces::All => true,
            FromNamespaces::Same => false,
            FromNamespaces::Selector => match (&allowed.selector, labels()) {
                (Some(selector), Some(labels)) => matches_labels(selector, labels),
                _ => false,
            },
        },
    }
}

/// Whether labels match a selector; an operator that is not known matches nothing.
fn matches_labels(
    selector: &LabelSelector,
    labels: &std::collections::BTreeMap<String, String>,
) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .all(|expression| {
            let value = labels.get(&expression.key);
            let listed = || {
                value
                    .is_some_and(|value| expression.values.iter().flatten().any(|one| one == value))
            };
            match expression.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        });
    equal && expressions
}
