//! From the options and the environment to a storage: who we are, how it is reached, what is told meanwhile, and
//! what it cost.

mod news;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backend::storage::{Location, OpenOptions};
use backend::{
    Backend, Bandwidth, CacheOptions, ClientCertificate, HttpOptions, Meter, RetryOptions,
    Variables,
};
use clap::Args;
use secrecy::SecretString;

use crate::Context;
use crate::failure::Failure;
use crate::printer::{Printer, Verbosity};

/// How the storage of a repository is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage options")]
pub struct StorageArguments {
    /// Set an option of the storage, as `s3.storage-class=STANDARD_IA` (repeatable; `-o` before the verb)
    #[arg(long = "option", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub option: Vec<(String, String)>,

    /// File with certificates (PEM) that servers are verified with besides the system's
    #[arg(
        long,
        global = true,
        env = "RESTIC_CACERT",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub cacert: Option<PathBuf>,

    /// File with a certificate and its private key (PEM), shown to servers that ask for one
    #[arg(
        long,
        global = true,
        env = "RESTIC_TLS_CLIENT_CERT",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub tls_client_cert: Option<PathBuf>,

    /// Accept any certificate of a server: whoever is in between can pretend to be it
    #[arg(long, global = true)]
    pub insecure_tls: bool,

    /// Send at most so many KiB per second
    #[arg(long, global = true, value_name = "RATE")]
    pub limit_upload: Option<u64>,

    /// Receive at most so many KiB per second
    #[arg(long, global = true, value_name = "RATE")]
    pub limit_download: Option<u64>,

    /// Give up a request in which nothing moves for this long, and try it again [default: 1m]
    #[arg(long, global = true, value_name = "DURATION", value_parser = crate::values::duration)]
    pub stuck_request_timeout: Option<Duration>,

    /// Keep trying for this long when the storage fails; 0s gives up at once [default: 15m]
    #[arg(long, global = true, value_name = "DURATION", value_parser = crate::values::duration)]
    pub retry_storage: Option<Duration>,

    /// Do not keep a cache on this machine; folders have none unless `--cache-dir` is given
    #[arg(long, global = true)]
    pub no_cache: bool,

    /// Folder of the cache, which restic can share [default: restic's]
    #[arg(
        long,
        global = true,
        env = "RESTIC_CACHE_DIR",
        hide_env_values = true,
        value_name = "FOLDER"
    )]
    pub cache_dir: Option<PathBuf>,

    /// Remove caches that were not used for 30 days
    #[arg(long, global = true)]
    pub cleanup_cache: bool,
}

/// What all storages of a run share.
#[derive(Debug)]
pub struct Shared {
    meter: Arc<Meter>,
    bandwidth: Bandwidth,
}

impl Shared {
    /// Nothing is counted yet.
    pub fn new(arguments: &StorageArguments) -> Self {
        let bytes = |kibibytes: Option<u64>| kibibytes.map(|count| count.saturating_mul(1024));
        Self {
            meter: Arc::default(),
            bandwidth: Bandwidth::new(
                bytes(arguments.limit_upload),
                bytes(arguments.limit_download),
            ),
        }
    }

    /// Shows on stderr what the storage cost, to those who asked for more.
    pub fn show(&self, printer: &Printer) {
        if printer.verbosity() < Verbosity::Verbose || self.meter.total().requests == 0 {
            return;
        }
        news::show_usage(printer, &self.meter.counts());
    }
}

/// A storage, how it is reached, and its folder where it is one.
#[derive(Debug)]
pub struct Opened {
    pub backend: Arc<dyn Backend>,
    pub http: HttpOptions,
    pub folder: Option<PathBuf>,
}

/// The storage at a repository string.
pub fn open(context: &Context, repository: &str) -> Result<Arc<dyn Backend>, Failure> {
    let defaults = RetryOptions::default();
    let retry = RetryOptions {
        limit: context
            .global
            .storage
            .retry_storage
            .unwrap_or(defaults.limit),
        notify: Some(news::teller(Arc::clone(&context.printer))),
        ..defaults
    };
    Ok(open_with(context, repository, retry)?.backend)
}

/// The same with a patience of its own.
pub fn open_with(
    context: &Context,
    repository: &str,
    retry: RetryOptions,
) -> Result<Opened, Failure> {
    let arguments = &context.global.storage;
    let location = locate(repository, arguments)?;
    let folder = location.folder().map(PathBuf::from);
    let http = http(arguments, &context.storage)?;
    let options = OpenOptions {
        http: http.clone(),
        retry,
        read_only: None,
    };
    let backend = backend::storage::open(location, &options)?;
    Ok(Opened {
        backend,
        http,
        folder,
    })
}

/// Where the cache of a repository is to be; nowhere for folders, unless a place was named.
pub fn cache(context: &Context, repository: &str) -> Result<Option<CacheOptions>, Failure> {
    let arguments = &context.global.storage;
    if arguments.no_cache {
        return Ok(None);
    }
    let is_folder = locate(repository, arguments)?.folder().is_some();
    let folder = match &arguments.cache_dir {
        Some(folder) => Some(folder.clone()),
        None if is_folder => None,
        None => backend::default_cache_folder(&environment()),
    };
    let printer = Arc::clone(&context.printer);
    Ok(folder.map(|folder| CacheOptions {
        folder,
        warn: Some(Arc::new(move |text| printer.warning(text))),
    }))
}

/// Removes old caches, if that was asked for.
pub async fn clean_up_caches(context: &Context) -> Result<(), Failure> {
    let arguments = &context.global.storage;
    let folder = arguments
        .cache_dir
        .clone()
        .or_else(|| backend::default_cache_folder(&environment()));
    let (true, Some(folder)) = (arguments.cleanup_cache && !arguments.no_cache, folder) else {
        return Ok(());
    };
    let cleanup = backend::remove_old_caches(&folder).await.map_err(|error| {
        Failure::new(format!(
            "Cannot clean up the caches in {}: {error}",
            folder.display()
        ))
    })?;
    if cleanup.removed > 0 {
        context.printer.note(&format!(
            "Removed {} old caches from {}",
            cleanup.removed,
            folder.display()
        ));
    }
    Ok(())
}

fn locate(repository: &str, arguments: &StorageArguments) -> Result<Location, Failure> {
    Ok(Location::parse(
        repository,
        &environment(),
        &arguments.option,
    )?)
}

fn http(arguments: &StorageArguments, shared: &Shared) -> Result<HttpOptions, Failure> {
    let defaults = HttpOptions::default();
    let client_certificate = match &arguments.tls_client_cert {
        Some(file) => {
            let text = read(file, "client certificate")?;
            Some(ClientCertificate {
                key_pem: SecretString::from(text.clone()),
                chain_pem: text,
            })
        }
        None => None,
    };
    let ca_certificates = match &arguments.cacert {
        Some(file) => Some(read(file, "certificates")?),
        None => None,
    };
    Ok(HttpOptions {
        ca_certificates,
        client_certificate,
        insecure_tls: arguments.insecure_tls,
        stall_timeout: arguments
            .stuck_request_timeout
            .unwrap_or(defaults.stall_timeout),
        bandwidth: shared.bandwidth.clone(),
        meter: Arc::clone(&shared.meter),
        ..defaults
    })
}

fn read(file: &Path, what: &str) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::new(format!(
            "Cannot read the {what} from {}: {error}",
            file.display()
        ))
    })
}

/// The variables of this process that are text.
fn environment() -> Variables {
    Variables::new().or(std::env::vars_os().filter_map(|(name, value)| {
        let value = value.into_string().ok()?;
        Some((name.into_string().ok()?, SecretString::from(value)))
    }))
}

/// Splits `KEY=VALUE`; keys are compared in lower case.
pub fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_lowercase(), value.to_owned()))
        }
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}
