//! The decorators around a service, in their order.

use std::sync::Arc;

use crate::service::{AzureBackend, B2Backend, GcsBackend, RestBackend, S3Backend, SwiftBackend};
use crate::storage::Location;
use crate::{
    Backend, ConnectionLimit, HttpOptions, LocalBackend, Metered, ReadOnly, ReadOnlyExcept, Retry,
    RetryOptions, SetupError,
};

/// How a place is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// How servers are reached; its meter and bandwidth hold for folders too.
    pub http: HttpOptions,
    /// How long what failed is tried again.
    pub retry: RetryOptions,
    /// Refuses changes, but for what is named; changes are allowed when absent.
    pub read_only: Option<ReadOnlyExcept>,
}

/// A backend that can be relied on: read-only if asked for, trying again, within its connections, counted.
///
/// Waiting for another attempt holds no connection, and every attempt is counted.
pub fn open(location: Location, options: &OpenOptions) -> Result<Arc<dyn Backend>, SetupError> {
    let http = &options.http;
    let service: Arc<dyn Backend> = match location {
        Location::Local { path, connections } => {
            let folder = Arc::new(LocalBackend::new(path));
            let connections = connections.unwrap_or_else(|| folder.connections());
            let metered = Metered::new(folder, Arc::clone(&http.meter), http.bandwidth.clone());
            return Ok(around(Arc::new(metered), connections, options));
        }
        Location::S3(s3) => Arc::new(S3Backend::new(*s3, http)?),
        Location::Gcs(gcs) => Arc::new(GcsBackend::new(*gcs, http)?),
        Location::Azure(azure) => Arc::new(AzureBackend::new(*azure, http)?),
        Location::Swift(swift) => Arc::new(SwiftBackend::new(*swift, http)?),
        Location::B2(b2) => Arc::new(B2Backend::new(*b2, http)?),
        Location::Rest(rest) => Arc::new(RestBackend::new(*rest, http)?),
    };
    let connections = service.connections();
    Ok(around(service, connections, options))
}

fn around(
    service: Arc<dyn Backend>,
    connections: usize,
    options: &OpenOptions,
) -> Arc<dyn Backend> {
    let limited = Arc::new(ConnectionLimit::new(service, connections));
    let retried = Arc::new(Retry::new(limited, options.retry.clone()));
    match options.read_only {
        Some(except) => Arc::new(ReadOnly::new(retried, except)),
        None => retried,
    }
}
