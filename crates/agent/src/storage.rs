//! From the settings of a Repository and its Secret to a storage.
//!
//! Who we are is said by the Secret. Only where it says nothing is the identity of this machine or Pod used, which
//! its environment names.

use std::path::PathBuf;
use std::sync::Arc;

use api::secret::BackendSettings;
use backend::storage::{Location, OpenOptions, open};
use backend::{
    Backend, CacheOptions, ClientCertificate, HttpOptions, Meter, RetryOptions, SetupError,
    Variables,
};
use secrecy::{ExposeSecret, SecretString};

/// Where services with a fixed address are instead: no matter of who we are.
const PLACES: &[&str] = &[
    "STORAGE_EMULATOR_HOST",
    "AZURE_ENDPOINT",
    "AZURE_ENDPOINT_SUFFIX",
    "B2_ENDPOINT",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
];
/// How the identity of a machine or Pod is named.
const IDENTITIES: &[&str] = &[
    "AWS_",
    "RESTIC_AWS_",
    "GOOGLE_",
    "GCE_",
    "AZURE_",
    "IDENTITY_",
];

/// Settings that give no storage.
#[derive(Debug, thiserror::Error)]
#[error("the backend {provider} cannot be used{}", .source.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct StorageError {
    /// Which.
    pub provider: &'static str,
    /// Why.
    #[source]
    pub source: SetupError,
}

/// A storage, and what belongs to it.
#[derive(Debug)]
pub struct Storage {
    /// The storage itself, trying again what may succeed later.
    pub backend: Arc<dyn Backend>,
    /// Counts what it costs.
    pub meter: Arc<Meter>,
    /// How servers are reached.
    pub http: HttpOptions,
    /// The folder, where it is one.
    pub folder: Option<PathBuf>,
    /// Where its cache is; nowhere for folders.
    pub cache: Option<CacheOptions>,
}

impl Storage {
    /// Prepares the storage of a Repository; nothing is connected yet.
    pub fn new(settings: &BackendSettings, retry: RetryOptions) -> Result<Self, StorageError> {
        let failed = |source| StorageError {
            provider: settings.provider(),
            source,
        };
        let environment = environment();
        let ambient = environment.iter().filter(|(name, _)| {
            PLACES.contains(&name.as_str())
                || !settings.has_credentials()
                    && IDENTITIES.iter().any(|start| name.starts_with(start))
        });
        let keys = settings
            .variables()
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let variables = Variables::new().or(keys).or(ambient.cloned());
        let repository = settings.repository_url().expose_secret();
        let repository = match settings.local_path() {
            Some(path) => format!("local:{}", path.display()),
            None => repository.to_owned(),
        };
        let mut location = Location::parse(&repository, &variables, &[]).map_err(failed)?;
        if let Some(limit) = settings
            .connections()
            .and_then(|limit| usize::try_from(limit).ok())
        {
            location.limit_connections(limit);
        }
        let http = http(settings);
        let folder = location.folder().map(PathBuf::from);
        let cache = if folder.is_some() {
            None
        } else {
            backend::default_cache_folder(&Variables::new().or(environment))
        };
        let options = OpenOptions {
            http: http.clone(),
            retry,
            read_only: None,
        };
        Ok(Self {
            backend: open(location, &options).map_err(failed)?,
            meter: Arc::clone(&http.meter),
            http,
            folder,
            cache: cache.map(|folder| CacheOptions { folder, warn: None }),
        })
    }

    /// What the storage cost so far, in words; nothing when it was not used.
    pub fn cost(&self) -> Option<String> {
        let total = self.meter.total();
        (total.requests > 0).then(|| {
            format!(
                "{} requests to the storage, {} of them failed; {} KiB sent, {} KiB received",
                total.requests,
                total.failures,
                total.sent_bytes / 1024,
                total.received_bytes / 1024
            )
        })
    }
}

fn http(settings: &BackendSettings) -> HttpOptions {
    let client_certificate = settings.client_certificate().map(|pem| ClientCertificate {
        chain_pem: pem.expose_secret().to_owned(),
        key_pem: pem.clone(),
    });
    HttpOptions {
        ca_certificates: settings.ca_certificates().map(str::to_owned),
        client_certificate,
        insecure_tls: settings.is_insecure(),
        ..HttpOptions::default()
    }
}

fn environment() -> Vec<(String, SecretString)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                SecretString::from(value.into_string().ok()?),
            ))
        })
        .collect()
}
