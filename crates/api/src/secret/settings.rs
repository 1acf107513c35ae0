//! Repository and Secret together: everything that is needed to open the backend.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use crate::problem::Problem;
use crate::secret::keys::{
    CA_CERT_DATA, RESTIC_PASSWORD, TLS_CLIENT_CERT_DATA, check_secret, entries, keys_of,
};
use crate::secret::url;
use crate::v1alpha1::{Backend, LocalBackend, Repository};

/// Where the settings are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On one machine: a local backend is the host path itself.
    Machine,
    /// In a Pod: a local backend is mounted at `mountPath`.
    Pod,
}

/// Everything that is needed to open the backend of a Repository, in restic's words: a repository string, and its
/// environment variables.
#[derive(Clone)]
pub struct BackendSettings {
    provider: &'static str,
    secret: String,
    repository: SecretString,
    display: String,
    local_path: Option<PathBuf>,
    variables: Vec<(&'static str, SecretString)>,
    connections: Option<u64>,
    is_insecure: bool,
    password: SecretString,
    ca_certificates: Option<String>,
    client_certificate: Option<SecretString>,
}

/// Why Repository and Secret give no settings; every reason at once.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
pub struct SettingsError {
    /// The reasons, with paths of the Repository (`spec.…`) or the Secret (`data.…`).
    pub problems: Vec<Problem>,
}

impl BackendSettings {
    /// Puts Repository and Secret together.
    pub fn new(
        repository: &Repository,
        secret: &Secret,
        place: Place,
    ) -> Result<Self, SettingsError> {
        let backend = &repository.spec.backend;
        let providers = backend.providers();
        let &[provider] = providers.as_slice() else {
            let problem = Problem::new("spec.backend", "exactly one backend must be set");
            return Err(SettingsError {
                problems: vec![problem],
            });
        };
        let mut problems = check_secret(provider, secret);
        problems.retain(Problem::is_error);
        if !problems.is_empty() {
            return Err(SettingsError { problems });
        }
        let keys = Keys::of(secret);
        let location = Location::new(backend, &keys, place).map_err(|problem| SettingsError {
            problems: vec![problem],
        })?;
        let mut variables: Vec<_> = keys_of(provider)
            .iter()
            .filter_map(|key| Some((key.variable?, keys.secret(key.name)?)))
            .collect();
        variables.extend(location.region.map(|region| ("AWS_DEFAULT_REGION", region)));
        Ok(Self {
            provider,
            secret: name(secret),
            repository: SecretString::from(location.repository),
            display: location.display,
            local_path: location.local_path,
            variables,
            connections: location.connections,
            is_insecure: location.is_insecure,
            password: SecretString::from(keys.text(RESTIC_PASSWORD).unwrap_or_default()),
            ca_certificates: keys.text(CA_CERT_DATA),
            client_certificate: keys.secret(TLS_CLIENT_CERT_DATA),
        })
    }

    /// The provider as manifests spell it: `local`, `s3`, `gcs`, `azure`, `swift`, `b2` or `rest`.
    pub fn provider(&self) -> &'static str {
        self.provider
    }

    /// The Secret, with its namespace if that is known, for messages.
    pub fn secret_name(&self) -> &str {
        &self.secret
    }

    /// The location exactly as restic wants it in `RESTIC_REPOSITORY`; for a REST server with its password.
    pub fn repository_url(&self) -> &SecretString {
        &self.repository
    }

    /// The location for people: as [`Self::repository_url`], without user and password.
    pub fn display_url(&self) -> String {
        self.display.clone()
    }

    /// The folder of a local backend.
    pub fn local_path(&self) -> Option<&Path> {
        self.local_path.as_deref()
    }

    /// The keys of the Secret as restic's environment variables, and the region of the Repository.
    pub fn variables(&self) -> &[(&'static str, SecretString)] {
        &self.variables
    }

    /// Whether the Secret says who we are at the store. Where it does not, the identity of the machine or Pod is
    /// meant; where it does, that identity must not be used even if the keys are refused.
    pub fn has_credentials(&self) -> bool {
        let mut keys = keys_of(self.provider)
            .iter()
            .filter(|key| key.is_credential);
        let names = self.variables.iter().map(|(name, _)| *name);
        let given: Vec<&str> = names.collect();
        keys.any(|key| {
            key.variable
                .is_some_and(|variable| given.contains(&variable))
        })
    }

    /// Most connections at once, where the Repository limits them.
    pub fn connections(&self) -> Option<u64> {
        self.connections
    }

    /// Whether the server's certificate is not verified.
    pub fn is_insecure(&self) -> bool {
        self.is_insecure
    }

    /// The repository password.
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    /// Certificates as PEM that servers are verified with besides the system's.
    pub fn ca_certificates(&self) -> Option<&str> {
        self.ca_certificates.as_deref()
    }

    /// Certificate and private key as PEM, shown to servers that ask for one.
    pub fn client_certificate(&self) -> Option<&SecretString> {
        self.client_certificate.as_ref()
    }
}

fn name(secret: &Secret) -> String {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    match secret.metadata.namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

impl fmt::Debug for BackendSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BackendSettings")
            .field("url", &self.display_url())
            .finish_non_exhaustive()
    }
}

/// The values of a Secret whose texts were checked.
struct Keys<'a>(BTreeMap<&'a str, &'a [u8]>);

impl<'a> Keys<'a> {
    fn of(secret: &'a Secret) -> Self {
        Self(entries(secret))
    }

    /// A value that is there, not empty and text.
    fn text(&self, name: &str) -> Option<String> {
        let value = self.0.get(name).filter(|value| !value.is_empty())?;
        std::str::from_utf8(value).ok().map(str::to_owned)
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }
}

/// What a Repository says about its place.
#[derive(Default)]
struct Location {
    repository: String,
    display: String,
    local_path: Option<PathBuf>,
    region: Option<SecretString>,
    connections: Option<u64>,
    is_insecure: bool,
}

impl Location {
    fn new(backend: &Backend, keys: &Keys<'_>, place: Place) -> Result<Self, Problem> {
        if let Some(local) = &backend.local {
            let path = match place {
                Place::Machine => local_path_on_this_machine(local)?,
                Place::Pod => PathBuf::from(&local.mount_path),
            };
            let shown = path.display().to_string();
            return Ok(Self {
                local_path: Some(path),
                ..Self::at(shown)
            });
        }
        if let Some(s3) = &backend.s3 {
            let path = url::join(&[&s3.bucket, s3.prefix.as_deref().unwrap_or_default()]);
            let endpoint = s3.endpoint.trim_end_matches('/');
            return Ok(Self {
                region: s3.region.clone().map(SecretString::from),
                is_insecure: s3.insecure_tls.unwrap_or(false),
                ..Self::at(format!("s3:{endpoint}/{path}"))
            });
        }
        if let Some(rest) = &backend.rest {
            return Ok(Self::rest(rest.url.as_deref().unwrap_or_default(), keys));
        }
        // The prefix as written: what its slashes mean is a matter of each service.
        let in_bucket = |scheme: &str, bucket: &str, prefix: Option<&str>| {
            Self::at(format!("{scheme}:{bucket}:/{}", prefix.unwrap_or_default()))
        };
        let (location, limit) = if let Some(gcs) = &backend.gcs {
            (
                in_bucket("gs", &gcs.bucket, gcs.prefix.as_deref()),
                gcs.max_connections,
            )
        } else if let Some(azure) = &backend.azure {
            (
                in_bucket("azure", &azure.container, azure.prefix.as_deref()),
                azure.max_connections,
            )
        } else if let Some(swift) = &backend.swift {
            (
                in_bucket("swift", &swift.container, swift.prefix.as_deref()),
                None,
            )
        } else if let Some(b2) = &backend.b2 {
            (
                in_bucket("b2", &b2.bucket, b2.prefix.as_deref()),
                b2.max_connections,
            )
        } else {
            return Err(Problem::new(
                "spec.backend",
                "exactly one backend must be set",
            ));
        };
        Ok(Self {
            connections: connections(limit),
            ..location
        })
    }

    /// A place without credentials in its name.
    fn at(repository: String) -> Self {
        Self {
            display: repository.clone(),
            repository,
            ..Self::default()
        }
    }

    fn rest(url: &str, keys: &Keys<'_>) -> Self {
        let display = format!("rest:{}", url::without_user(url));
        let repository = match keys.text("REST_SERVER_USERNAME") {
            Some(username) => {
                let password = keys.text("REST_SERVER_PASSWORD");
                format!(
                    "rest:{}",
                    url::with_user(url, &username, password.as_deref())
                )
            }
            None => format!("rest:{url}"),
        };
        Self {
            repository,
            display,
            ..Self::default()
        }
    }
}

/// A limit of connections; 0 and absence leave it to the program.
fn connections(limit: Option<i64>) -> Option<u64> {
    limit
        .and_then(|limit| u64::try_from(limit).ok())
        .filter(|limit| *limit > 0)
}

/// The folder of a local backend on the machine Stash runs on: the host path with the sub-path.
///
/// Every other volume source exists only in a cluster and is refused with that reason.
pub fn local_path_on_this_machine(local: &LocalBackend) -> Result<PathBuf, Problem> {
    let Some(host_path) = &local.source.host_path else {
        let kinds = local.source.kinds();
        let (path, message) = match kinds.first() {
            Some(kind) => (
                format!("spec.backend.local.{kind}"),
                format!(
                    "a volume of the kind {kind} exists only in a cluster, and this runs on one machine"
                ),
            ),
            None => (
                "spec.backend.local".to_owned(),
                "the local backend names no volume".to_owned(),
            ),
        };
        return Err(
            Problem::new(path, message).with_fix("use `hostPath` with the folder on this machine")
        );
    };
    if !Path::new(&host_path.path).is_absolute() {
        return Err(Problem::new(
            "spec.backend.local.hostPath.path",
            "the path must be absolute",
        )
        .with_value(&host_path.path)
        .with_fix("begin it with `/`"));
    }
    let sub_path = Path::new(local.sub_path.as_deref().unwrap_or_default());
    if sub_path
        .components()
        .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Err(Problem::new(
            "spec.backend.local.subPath",
            "the path must be relative and without `..`",
        )
        .with_value(sub_path.display()));
    }
    Ok(Path::new(&host_path.path)
        .join(sub_path)
        .components()
        .collect())
}
