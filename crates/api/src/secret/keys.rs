//! The keys of a backend's Secret, and what a Secret lacks or has too many of.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;

use crate::problem::Problem;
use crate::suggest::{listed, nearest};

/// The key of the repository password, needed by every backend.
pub const RESTIC_PASSWORD: &str = "RESTIC_PASSWORD";

/// The key of certificates, as PEM, that servers are verified with besides the system's.
pub const CA_CERT_DATA: &str = "CA_CERT_DATA";

/// The key of a certificate and its private key, as PEM, for servers that ask who calls.
pub const TLS_CLIENT_CERT_DATA: &str = "TLS_CLIENT_CERT_DATA";

/// One key a backend reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretKey {
    /// Name of the key.
    pub name: &'static str,
    /// When it must be there.
    pub need: Need,
    /// The environment variable by which restic knows it, where it is one.
    pub variable: Option<&'static str>,
    /// Whether it says who we are, so that no other identity may be used.
    pub is_credential: bool,
}

/// When a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Always.
    Required,
    /// Whenever one of these is: alone they are of no use.
    With(&'static [&'static str]),
    /// Never.
    Optional,
}

/// Part of who we are.
const fn credential(name: &'static str, need: Need) -> SecretKey {
    SecretKey {
        name,
        need,
        variable: Some(name),
        is_credential: true,
    }
}

/// Anything else that the service should know.
const fn setting(name: &'static str) -> SecretKey {
    SecretKey {
        name,
        need: Need::Optional,
        variable: Some(name),
        is_credential: false,
    }
}

/// What stands in the repository string instead of a variable.
const fn in_url(name: &'static str, need: Need) -> SecretKey {
    SecretKey {
        name,
        need,
        variable: None,
        is_credential: true,
    }
}

const S3: &[SecretKey] = &[
    credential(
        "AWS_ACCESS_KEY_ID",
        Need::With(&["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]),
    ),
    credential(
        "AWS_SECRET_ACCESS_KEY",
        Need::With(&["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"]),
    ),
    credential("AWS_SESSION_TOKEN", Need::Optional),
    setting("RESTIC_AWS_ASSUME_ROLE_ARN"),
    setting("RESTIC_AWS_ASSUME_ROLE_SESSION_NAME"),
    setting("RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID"),
    setting("RESTIC_AWS_ASSUME_ROLE_POLICY"),
    setting("RESTIC_AWS_ASSUME_ROLE_REGION"),
    setting("RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT"),
];
const GCS: &[SecretKey] = &[
    setting("GOOGLE_PROJECT_ID"),
    credential("GOOGLE_SERVICE_ACCOUNT_JSON_KEY", Need::Optional),
    credential("GOOGLE_ACCESS_TOKEN", Need::Optional),
];
const AZURE: &[SecretKey] = &[
    SecretKey {
        name: "AZURE_ACCOUNT_NAME",
        need: Need::With(&[
            "AZURE_ACCOUNT_KEY",
            "AZURE_ACCOUNT_SAS",
            "AZURE_CLIENT_SECRET",
        ]),
        variable: Some("AZURE_ACCOUNT_NAME"),
        is_credential: false,
    },
    credential("AZURE_ACCOUNT_KEY", Need::Optional),
    credential("AZURE_ACCOUNT_SAS", Need::Optional),
    // With a federated token of the Pod these two name the identity; with the secret they are a set of their own.
    SecretKey {
        name: "AZURE_CLIENT_ID",
        need: Need::With(&["AZURE_CLIENT_SECRET"]),
        variable: Some("AZURE_CLIENT_ID"),
        is_credential: false,
    },
    SecretKey {
        name: "AZURE_TENANT_ID",
        need: Need::With(&["AZURE_CLIENT_SECRET"]),
        variable: Some("AZURE_TENANT_ID"),
        is_credential: false,
    },
    credential("AZURE_CLIENT_SECRET", Need::Optional),
    // Where an application of another cloud gets its tokens, and where an account of another cloud is.
    setting("AZURE_AUTHORITY_HOST"),
    setting("AZURE_ENDPOINT_SUFFIX"),
    setting("AZURE_ENDPOINT"),
];
const SWIFT: &[SecretKey] = &[
    credential("ST_AUTH", Need::Optional),
    credential("ST_USER", Need::Optional),
    credential("ST_KEY", Need::Optional),
    credential("OS_AUTH_URL", Need::Optional),
    credential("OS_REGION_NAME", Need::Optional),
    credential("OS_USERNAME", Need::Optional),
    credential("OS_USER_ID", Need::Optional),
    credential("OS_PASSWORD", Need::Optional),
    credential("OS_TENANT_ID", Need::Optional),
    credential("OS_TENANT_NAME", Need::Optional),
    credential("OS_USER_DOMAIN_NAME", Need::Optional),
    credential("OS_USER_DOMAIN_ID", Need::Optional),
    credential("OS_PROJECT_NAME", Need::Optional),
    credential("OS_PROJECT_ID", Need::Optional),
    credential("OS_PROJECT_DOMAIN_NAME", Need::Optional),
    credential("OS_PROJECT_DOMAIN_ID", Need::Optional),
    credential("OS_TRUST_ID", Need::Optional),
    credential("OS_APPLICATION_CREDENTIAL_ID", Need::Optional),
    credential("OS_APPLICATION_CREDENTIAL_NAME", Need::Optional),
    credential("OS_APPLICATION_CREDENTIAL_SECRET", Need::Optional),
    credential("OS_STORAGE_URL", Need::Optional),
    credential("OS_AUTH_TOKEN", Need::Optional),
    setting("OS_IDENTITY_API_VERSION"),
    setting("ST_AUTH_VERSION"),
    setting("OS_INTERFACE"),
    setting("OS_ENDPOINT_TYPE"),
    setting("SWIFT_DEFAULT_CONTAINER_POLICY"),
];
const B2: &[SecretKey] = &[
    credential("B2_ACCOUNT_ID", Need::Required),
    credential("B2_ACCOUNT_KEY", Need::Required),
];
const REST: &[SecretKey] = &[
    in_url(
        "REST_SERVER_USERNAME",
        Need::With(&["REST_SERVER_PASSWORD"]),
    ),
    in_url("REST_SERVER_PASSWORD", Need::Optional),
];

/// Each complete set of keys that Swift accepts.
const SWIFT_SETS: &[&[&str]] = &[
    &["ST_AUTH", "ST_USER", "ST_KEY"],
    &["OS_STORAGE_URL", "OS_AUTH_TOKEN"],
    &[
        "OS_AUTH_URL",
        "OS_APPLICATION_CREDENTIAL_ID",
        "OS_APPLICATION_CREDENTIAL_SECRET",
    ],
    &[
        "OS_AUTH_URL",
        "OS_USERNAME",
        "OS_APPLICATION_CREDENTIAL_NAME",
        "OS_APPLICATION_CREDENTIAL_SECRET",
    ],
    &[
        "OS_AUTH_URL",
        "OS_USER_ID",
        "OS_APPLICATION_CREDENTIAL_NAME",
        "OS_APPLICATION_CREDENTIAL_SECRET",
    ],
    &["OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD"],
    &["OS_AUTH_URL", "OS_USER_ID", "OS_PASSWORD"],
];

/// The keys of which a provider can use only one: each is another way to say who we are.
fn rivals(provider: &str) -> &'static [&'static str] {
    match provider {
        "azure" => &[
            "AZURE_ACCOUNT_KEY",
            "AZURE_ACCOUNT_SAS",
            "AZURE_CLIENT_SECRET",
        ],
        "gcs" => &["GOOGLE_SERVICE_ACCOUNT_JSON_KEY", "GOOGLE_ACCESS_TOKEN"],
        _ => &[],
    }
}

/// The keys a provider (`local`, `s3`, …) reads besides [`RESTIC_PASSWORD`], [`CA_CERT_DATA`] and
/// [`TLS_CLIENT_CERT_DATA`].
///
/// They are the variables of its service, without those that cannot stand in a Secret: files and addresses of the
/// Pod's or machine's own identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AZURE_FEDERATED_TOKEN_FILE`, `AWS_PROFILE`,
/// `GOOGLE_APPLICATION_CREDENTIALS`, metadata servers), which only the environment of that Pod or machine knows; what
/// the Repository says itself (the region); second spellings of a key; and the addresses of stand-ins for Google and
/// Backblaze, which have one address.
pub fn keys_of(provider: &str) -> &'static [SecretKey] {
    match provider {
        "s3" => S3,
        "gcs" => GCS,
        "azure" => AZURE,
        "swift" => SWIFT,
        "b2" => B2,
        "rest" => REST,
        _ => &[],
    }
}

/// What a Secret lacks for a provider (errors) and what it has that nobody reads (warnings).
///
/// The paths are those of the Secret. No value ever appears.
pub fn check_secret(provider: &str, secret: &Secret) -> Vec<Problem> {
    let entries = entries(secret);
    let mut problems = Vec::new();
    check_password(&entries, &mut problems);
    let has = |name: &str| entries.get(name).is_some_and(|value| !value.is_empty());
    for SecretKey { name, need, .. } in keys_of(provider) {
        match need {
            Need::Required if !has(name) => {
                problems.push(missing(name, provider, &format!("add `{name}`")));
            }
            Need::With(others) if !has(name) => {
                let given = others.iter().find(|other| has(other));
                problems.extend(given.map(|other| {
                    missing(
                        name,
                        provider,
                        &format!("add `{name}`: it belongs to `{other}`"),
                    )
                }));
            }
            _ => {}
        }
    }
    if provider == "swift"
        && !SWIFT_SETS
            .iter()
            .any(|set| set.iter().all(|name| has(name)))
    {
        let sets: Vec<String> = SWIFT_SETS
            .iter()
            .map(|set| listed(set.iter().copied()))
            .collect();
        problems.push(
            Problem::new("data", "no complete set of keys for the backend swift")
                .with_fix(format!("add one of these sets: {}", sets.join("; "))),
        );
    }
    check_empty(provider, &entries, &mut problems);
    check_single_form(provider, &entries, &mut problems);
    check_texts(provider, &entries, &mut problems);
    check_superfluous(provider, &entries, &mut problems);
    problems
}

/// An empty key is a mistake, such as a template without its value, and must not pass for none: without any, the
/// identity of the machine or Pod is used.
fn check_empty(provider: &str, entries: &BTreeMap<&str, &[u8]>, problems: &mut Vec<Problem>) {
    for SecretKey { name, .. } in keys_of(provider).iter().filter(|key| key.is_credential) {
        let path = format!("data.{name}");
        let is_told = problems.iter().any(|problem| problem.path == path);
        if !is_told && entries.get(name).is_some_and(|value| value.is_empty()) {
            problems.push(
                Problem::new(path, "the key is there, and it is empty")
                    .with_fix(format!("set `{name}`, or remove it if it is not meant")),
            );
        }
    }
}

/// Two ways to say who we are at once would leave open which is meant.
fn check_single_form(provider: &str, entries: &BTreeMap<&str, &[u8]>, problems: &mut Vec<Problem>) {
    let given: Vec<&str> = rivals(provider)
        .iter()
        .copied()
        .filter(|name| entries.get(name).is_some_and(|value| !value.is_empty()))
        .collect();
    if let [first, second, ..] = given.as_slice() {
        problems.push(
            Problem::new(
                format!("data.{second}"),
                format!("`{first}` is there as well, and only one can be used"),
            )
            .with_fix("keep the one that is meant"),
        );
    }
}

fn check_password(entries: &BTreeMap<&str, &[u8]>, problems: &mut Vec<Problem>) {
    let path = format!("data.{RESTIC_PASSWORD}");
    match entries.get(RESTIC_PASSWORD) {
        None => problems.push(
            Problem::new(path, "the repository password is missing")
                .with_fix(format!("add `{RESTIC_PASSWORD}` to `stringData` and keep a copy: without it nothing can be restored")),
        ),
        Some([]) => {
            problems.push(Problem::new(path, "the repository password is empty").with_fix("choose a long random text"));
        }
        Some(value) if value.ends_with(b"\n") => problems.push(
            Problem::new(path, "the repository password ends with a line break, which counts as part of it")
                .with_fix("encode it with `printf %s PASSWORD | base64` unless the repository was made so")
                .as_warning(),
        ),
        Some(_) => {}
    }
}

/// Every value that is used is text.
fn check_texts(provider: &str, entries: &BTreeMap<&str, &[u8]>, problems: &mut Vec<Problem>) {
    for (name, value) in entries {
        if is_read(provider, name) && (std::str::from_utf8(value).is_err() || value.contains(&0)) {
            problems.push(
                Problem::new(format!("data.{name}"), "the value is not text")
                    .with_fix("encode UTF-8 text as base64, or write it into `stringData`"),
            );
        }
    }
}

fn check_superfluous(provider: &str, entries: &BTreeMap<&str, &[u8]>, problems: &mut Vec<Problem>) {
    for name in entries.keys().filter(|name| !is_read(provider, name)) {
        let known = keys_of(provider).iter().map(|key| key.name).chain([
            RESTIC_PASSWORD,
            CA_CERT_DATA,
            TLS_CLIENT_CERT_DATA,
        ]);
        let fix = match nearest(name, known.filter(|known| !entries.contains_key(known))) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "remove it if nothing else needs it".to_owned(),
        };
        problems.push(
            Problem::new(
                format!("data.{name}"),
                format!("the backend {provider} does not read this key"),
            )
            .with_fix(fix)
            .as_warning(),
        );
    }
}

fn is_read(provider: &str, name: &str) -> bool {
    name == RESTIC_PASSWORD
        || name == CA_CERT_DATA
        || name == TLS_CLIENT_CERT_DATA
        || keys_of(provider).iter().any(|key| key.name == name)
}

fn missing(name: &str, provider: &str, fix: &str) -> Problem {
    Problem::new(
        format!("data.{name}"),
        format!("the backend {provider} needs this key"),
    )
    .with_fix(fix)
}

/// What the cluster would store: `data` with `stringData` over it.
pub(super) fn entries(secret: &Secret) -> BTreeMap<&str, &[u8]> {
    let data = secret
        .data
        .iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.0.as_slice()));
    let texts = secret
        .string_data
        .iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    data.chain(texts).collect()
}
