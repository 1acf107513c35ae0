//! A backend on a server, and fresh places on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backend::{Backend, FileKind, Handle, HttpOptions};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use testkit::Random;
use testkit::proxy::{Answer, FaultProxy, FaultProxyBuilder};

/// What a backend is expected to do on a server.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// A second write of a name is `AlreadyExists`.
    pub is_exclusive: bool,
    /// A bucket, container or account can be missing.
    pub has_places: bool,
    /// The server names its own address in answers, at which clients go on.
    pub is_self_naming: bool,
    /// Method and path (`*` for any text) of the requests that carry an object's content.
    pub upload: (&'static str, &'static str),
}

/// How much of the suite a subject goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every check.
    Whole,
    /// Another way to reach a server that goes through every check, or another mode of it: what may differ there.
    Variant,
    /// A server that lets nobody remove anything but locks: what gets by without.
    AppendOnly,
}

/// A key that no server knows; Azure wants base64.
pub const WRONG_KEY: &str = "dGhlIHdyb25nIGtleSBvZiB0aGUgY29uZm9ybWFuY2Ugc3VpdGU=";

/// How the server is reached.
#[derive(Debug, Clone)]
pub struct Network {
    /// Scheme, host and port.
    pub origin: String,
    /// The authority of its certificate, as PEM; of no use without TLS.
    pub authority: String,
}

/// Where a repository is to be.
#[derive(Debug, Clone)]
pub struct Place {
    /// Scheme, host and port to connect to; empty for folders.
    pub origin: String,
    /// A name that no other test uses: letters, digits and dashes.
    pub prefix: String,
    /// Whether the bucket or container is to be one that does not exist.
    #[allow(dead_code, reason = "read by services that have buckets")]
    pub is_missing: bool,
    /// Whether the key is to be [`WRONG_KEY`].
    pub has_wrong_key: bool,
    /// How servers are reached.
    pub http: HttpOptions,
}

impl Place {
    /// The key to use here.
    pub fn key<'a>(&self, right: &'a str) -> &'a str {
        if self.has_wrong_key { WRONG_KEY } else { right }
    }
}

/// Makes a backend for a place.
pub type Make = Box<dyn Fn(&Place) -> Arc<dyn Backend> + Send + Sync>;

/// A backend on a server.
pub struct Subject {
    /// The service: `local`, `rest`, `s3` and so on.
    pub backend: &'static str,
    /// The name of the server among those of the tests.
    pub server: String,
    /// Product and version.
    pub title: String,
    /// What to expect.
    pub traits: Traits,
    /// The server refuses keys that it does not know.
    pub knows_keys: bool,
    /// How much is tried.
    pub extent: Extent,
    /// What the service answers to a request that its clock finds too old, where it says so at all.
    pub skew: Option<Answer>,
    /// Nothing for folders.
    pub network: Option<Network>,
    /// What must never be shown.
    pub secrets: Vec<String>,
    /// The folder with all places, where files can be looked at and put past the server.
    pub folder: Option<PathBuf>,
    /// Makes a backend; nothing is connected yet.
    pub make: Make,
}

impl Subject {
    /// A place that nobody else uses.
    pub fn place(&self) -> Place {
        let network = self.network.as_ref();
        Place {
            origin: network.map_or_else(String::new, |network| network.origin.clone()),
            prefix: format!("conformance-{:016x}", unique()),
            is_missing: false,
            has_wrong_key: false,
            http: HttpOptions {
                ca_certificates: network
                    .filter(|network| network.origin.starts_with("https:"))
                    .map(|network| network.authority.clone()),
                use_proxies: false,
                ..HttpOptions::default()
            },
        }
    }

    /// A repository's place, ready to be used.
    pub async fn fresh(&self) -> Arc<dyn Backend> {
        self.ready(&self.place()).await
    }

    /// This place, ready to be used.
    pub async fn ready(&self, place: &Place) -> Arc<dyn Backend> {
        let backend = (self.make)(place);
        backend.create().await.unwrap();
        backend
    }

    /// A proxy that is yet to be started.
    pub fn in_front(&self, network: &Network) -> FaultProxyBuilder {
        let mut before = FaultProxy::before(&network.origin);
        if network.origin.starts_with("https:") {
            before = before.trust(&network.authority);
        }
        if self.traits.is_self_naming {
            before = before.rewriting();
        }
        before
    }

    /// A repository's place behind a proxy, ready to be used: through the proxy and past it.
    pub async fn behind_proxy(&self, network: &Network) -> Weather {
        let proxy = self.in_front(network).start();
        let place = self.place();
        let direct = self.ready(&place).await;
        let http = HttpOptions {
            stall_timeout: STALL_TIMEOUT,
            ..place.http.clone()
        };
        let stormy = Place {
            origin: proxy.url(),
            http,
            ..place
        };
        Weather {
            backend: (self.make)(&stormy),
            direct,
            proxy,
        }
    }
}

/// How long a standstill lasts in bad weather: more than a server takes on a busy machine.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Within that time ends what nobody tries again or waits for, on the slowest server of the busiest machine.
pub const SOON: Duration = Duration::from_mins(1);

/// One repository's place by two ways.
pub struct Weather {
    /// Through the proxy.
    pub backend: Arc<dyn Backend>,
    /// Past it.
    pub direct: Arc<dyn Backend>,
    pub proxy: FaultProxy,
}

/// Differs at every call.
fn unique() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// An object whose name is the hash of its content, as a server may demand.
#[derive(Debug, Clone)]
pub struct Object {
    pub handle: Handle,
    pub data: Bytes,
}

impl Object {
    /// An object of this size; the seed tells apart those of one size.
    pub fn new(kind: FileKind, seed: u64, size: usize) -> Self {
        let mut random = Random::new(seed);
        let mut data = Vec::with_capacity(size + 8);
        while data.len() < size {
            data.extend_from_slice(&random.next_u64().to_le_bytes());
        }
        data.truncate(size);
        let handle = match kind {
            FileKind::Config => Handle::config(),
            kind => Handle::new(kind, hex::encode(Sha256::digest(&data))),
        };
        Self {
            handle,
            data: data.into(),
        }
    }
}
