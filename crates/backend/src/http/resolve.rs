//! Host names to addresses, with a failure that says whether the name does not exist or nobody could be asked.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the address of the host {host}")]
pub(super) struct ResolveFailure {
    host: String,
    /// Whether the resolver itself did not answer, so that a later attempt may succeed.
    pub is_temporary: bool,
    #[source]
    source: std::io::Error,
}

/// The system's resolver, with fixed addresses before it.
pub(super) struct Resolver {
    pins: Arc<Vec<(String, SocketAddr)>>,
}

impl Resolver {
    pub fn new(pins: &[(String, SocketAddr)]) -> Self {
        Self {
            pins: Arc::new(pins.to_vec()),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let pinned: Vec<SocketAddr> = self
            .pins
            .iter()
            .filter(|(host, _)| host.eq_ignore_ascii_case(name.as_str()))
            .map(|(_, address)| *address)
            .collect();
        Box::pin(async move {
            if !pinned.is_empty() {
                return Ok(Box::new(pinned.into_iter()) as Addrs);
            }
            match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs),
                Err(source) => {
                    // The standard library hands on the text of `EAI_AGAIN`, not its number.
                    let is_temporary = source.to_string().contains("emporary failure");
                    let host = name.as_str().to_owned();
                    let failure = ResolveFailure {
                        host,
                        is_temporary,
                        source,
                    };
                    Err(Box::new(failure) as Box<dyn Error + Send + Sync>)
                }
            }
        })
    }
}
