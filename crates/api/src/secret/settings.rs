//! Repository and Secret together: everything that is needed to open the backend.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};

use crate::problem::Problem;
use crate::secret::keys::{CA_CERT_DATA, RESTIC_PASSWORD, check_secret, entries, keys_of};
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

/// The two keys of S3.
#[derive(Debug, Clone)]
pub struct S3Keys {
    /// `AWS_ACCESS_KEY_ID`
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret_access_key: SecretString,
}

/// The two keys of Azure.
#[derive(Debug, Clone)]
pub struct AzureKeys {
    /// `AZURE_ACCOUNT_NAME`
    pub account_name: String,
    /// `AZURE_ACCOUNT_KEY`
    pub account_key: SecretString,
}

/// The two keys of Backblaze B2.
#[derive(Debug, Clone)]
pub struct B2Keys {
    /// `B2_ACCOUNT_ID`
    pub account_id: String,
    /// `B2_ACCOUNT_KEY`
    pub account_key: SecretString,
}

/// User and password of a REST server.
#[derive(Debug, Clone)]
pub struct RestKeys {
    /// `REST_SERVER_USERNAME`
    pub username: String,
    /// `REST_SERVER_PASSWORD`
    pub password: Option<SecretString>,
}

/// Where the repository lies, with the keys of that place. Keys that are absent are left to the machine's or
/// Pod's own identity.
#[derive(Debug, Clone)]
pub enum Location {
    /// A folder.
    Local {
        /// Absolute path of the repository.
        path: PathBuf,
    },
    /// A bucket of S3.
    S3 {
        /// Host name or URL of the service.
        endpoint: String,
        /// Name of the bucket.
        bucket: String,
        /// Folder in the bucket, as written.
        prefix: String,
        /// Region of the bucket.
        region: Option<String>,
        /// Whether the server's certificate is not verified.
        is_insecure: bool,
        /// Keys from the Secret.
        keys: Option<S3Keys>,
    },
    /// A bucket of Google Cloud Storage.
    Gcs {
        /// Name of the bucket.
        bucket: String,
        /// Folder in the bucket, as written.
        prefix: String,
        /// Most connections at once.
        max_connections: Option<u64>,
        /// Project of the bucket.
        project_id: Option<String>,
        /// Key of a service account, as JSON.
        service_account_json: Option<SecretString>,
    },
    /// A container of Azure.
    Azure {
        /// Name of the container.
        container: String,
        /// Folder in the container, as written.
        prefix: String,
        /// Most connections at once.
        max_connections: Option<u64>,
        /// Keys from the Secret.
        keys: Option<AzureKeys>,
    },
    /// A container of Swift.
    Swift {
        /// Name of the container.
        container: String,
        /// Folder in the container, as written.
        prefix: String,
        /// The `ST_` and `OS_` keys of the Secret by name.
        keys: BTreeMap<String, SecretString>,
    },
    /// A bucket of Backblaze B2.
    B2 {
        /// Name of the bucket.
        bucket: String,
        /// Folder in the bucket, as written.
        prefix: String,
        /// Most connections at once.
        max_connections: Option<u64>,
        /// Keys from the Secret.
        keys: B2Keys,
    },
    /// A REST server.
    Rest {
        /// URL of the repository; may hold a password that was written into the Repository.
        url: SecretString,
        /// User and password from the Secret.
        keys: Option<RestKeys>,
    },
}

/// Everything that is needed to open the backend of a Repository.
#[derive(Clone)]
pub struct BackendSettings {
    location: Location,
    password: SecretString,
    ca_certificates: Option<String>,
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
        let location =
            location(backend, provider, &keys, place).map_err(|problem| SettingsError {
                problems: vec![problem],
            })?;
        let password = SecretString::from(keys.text(RESTIC_PASSWORD).unwrap_or_default());
        Ok(Self {
            location,
            password,
            ca_certificates: keys.text(CA_CERT_DATA),
        })
    }

    /// Where the repository lies, with the keys of that place.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The repository password.
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    /// Certificates as PEM that servers are verified with besides the system's.
    pub fn ca_certificates(&self) -> Option<&str> {
        self.ca_certificates.as_deref()
    }

    /// The folder of a local backend.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.location {
            Location::Local { path } => Some(path),
            _ => None,
        }
    }

    /// The provider as manifests spell it: `local`, `s3`, `gcs`, `azure`, `swift`, `b2` or `rest`.
    pub fn provider(&self) -> &'static str {
        match self.location {
            Location::Local { .. } => "local",
            Location::S3 { .. } => "s3",
            Location::Gcs { .. } => "gcs",
            Location::Azure { .. } => "azure",
            Location::Swift { .. } => "swift",
            Location::B2 { .. } => "b2",
            Location::Rest { .. } => "rest",
        }
    }

    /// The location exactly as restic wants it in `RESTIC_REPOSITORY`; for a REST server with its password.
    pub fn repository_url(&self) -> SecretString {
        let text = match &self.location {
            Location::Rest {
                url,
                keys: Some(keys),
            } => {
                let password = keys.password.as_ref().map(ExposeSecret::expose_secret);
                format!(
                    "rest:{}",
                    url::with_user(url.expose_secret(), &keys.username, password)
                )
            }
            Location::Rest { url, keys: None } => format!("rest:{}", url.expose_secret()),
            _ => self.display_url(),
        };
        SecretString::from(text)
    }

    /// The location for people: as [`Self::repository_url`], without user and password.
    pub fn display_url(&self) -> String {
        match &self.location {
            Location::Local { path } => path.display().to_string(),
            Location::S3 {
                endpoint,
                bucket,
                prefix,
                ..
            } => {
                format!(
                    "s3:{}/{}",
                    endpoint.trim_end_matches('/'),
                    url::join(&[bucket, prefix])
                )
            }
            Location::Gcs { bucket, prefix, .. } => format!("gs:{bucket}:/{prefix}"),
            Location::Azure {
                container, prefix, ..
            } => format!("azure:{container}:/{prefix}"),
            Location::Swift {
                container, prefix, ..
            } => format!("swift:{container}:/{prefix}"),
            Location::B2 { bucket, prefix, .. } => format!("b2:{bucket}:/{prefix}"),
            Location::Rest { url, .. } => {
                format!("rest:{}", url::without_user(url.expose_secret()))
            }
        }
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

fn location(
    backend: &Backend,
    provider: &str,
    keys: &Keys<'_>,
    place: Place,
) -> Result<Location, Problem> {
    let unset = || Problem::new("spec.backend", "exactly one backend must be set");
    Ok(match provider {
        "local" => {
            let local = backend.local.as_ref().ok_or_else(unset)?;
            let path = match place {
                Place::Machine => local_path_on_this_machine(local)?,
                Place::Pod => PathBuf::from(&local.mount_path),
            };
            Location::Local { path }
        }
        "s3" => {
            let s3 = backend.s3.as_ref().ok_or_else(unset)?;
            let keys = keys
                .text("AWS_ACCESS_KEY_ID")
                .zip(keys.secret("AWS_SECRET_ACCESS_KEY"));
            Location::S3 {
                endpoint: s3.endpoint.clone(),
                bucket: s3.bucket.clone(),
                prefix: s3.prefix.clone().unwrap_or_default(),
                region: s3.region.clone(),
                is_insecure: s3.insecure_tls.unwrap_or(false),
                keys: keys.map(|(access_key_id, secret_access_key)| S3Keys {
                    access_key_id,
                    secret_access_key,
                }),
            }
        }
        "gcs" => {
            let gcs = backend.gcs.as_ref().ok_or_else(unset)?;
            Location::Gcs {
                bucket: gcs.bucket.clone(),
                prefix: gcs.prefix.clone().unwrap_or_default(),
                max_connections: connections(gcs.max_connections),
                project_id: keys.text("GOOGLE_PROJECT_ID"),
                service_account_json: keys.secret("GOOGLE_SERVICE_ACCOUNT_JSON_KEY"),
            }
        }
        "azure" => {
            let azure = backend.azure.as_ref().ok_or_else(unset)?;
            let keys = keys
                .text("AZURE_ACCOUNT_NAME")
                .zip(keys.secret("AZURE_ACCOUNT_KEY"));
            Location::Azure {
                container: azure.container.clone(),
                prefix: azure.prefix.clone().unwrap_or_default(),
                max_connections: connections(azure.max_connections),
                keys: keys.map(|(account_name, account_key)| AzureKeys {
                    account_name,
                    account_key,
                }),
            }
        }
        "swift" => {
            let swift = backend.swift.as_ref().ok_or_else(unset)?;
            let names = keys_of("swift").iter().map(|key| key.name);
            Location::Swift {
                container: swift.container.clone(),
                prefix: swift.prefix.clone().unwrap_or_default(),
                keys: names
                    .filter_map(|name| Some((name.to_owned(), keys.secret(name)?)))
                    .collect(),
            }
        }
        "b2" => {
            let b2 = backend.b2.as_ref().ok_or_else(unset)?;
            let keys = B2Keys {
                account_id: keys.text("B2_ACCOUNT_ID").unwrap_or_default(),
                account_key: keys.secret("B2_ACCOUNT_KEY").unwrap_or_default(),
            };
            Location::B2 {
                bucket: b2.bucket.clone(),
                prefix: b2.prefix.clone().unwrap_or_default(),
                max_connections: connections(b2.max_connections),
                keys,
            }
        }
        _ => {
            let rest = backend.rest.as_ref().ok_or_else(unset)?;
            let username = keys.text("REST_SERVER_USERNAME");
            Location::Rest {
                url: SecretString::from(rest.url.clone().unwrap_or_default()),
                keys: username.map(|username| RestKeys {
                    username,
                    password: keys.secret("REST_SERVER_PASSWORD"),
                }),
            }
        }
    })
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
