//! Host names to addresses, with a failure that says whether the name does not exist or nobody could be asked.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the address of the host {host}")]
pub(super) struct ResolveFailure {
    host: String,
    /// Whether the resolver itself did not answer, so that a later attempt may succeed.
    pub is_temporary: bool,
    #[source]
    source: io::Error,
}

/// The system's resolver, with fixed addresses before it.
pub(super) struct Resolver {
    pins: Vec<(String, SocketAddr)>,
    known: Arc<Known>,
}

impl Resolver {
    pub fn new(pins: &[(String, SocketAddr)]) -> Self {
        Self {
            pins: pins.to_vec(),
            known: Arc::default(),
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
        let known = Arc::clone(&self.known);
        Box::pin(async move {
            if !pinned.is_empty() {
                return Ok(Box::new(pinned.into_iter()) as Addrs);
            }
            let result = tokio::net::lookup_host((name.as_str(), 0)).await;
            match known.judge(name.as_str(), result.map(Iterator::collect)) {
                Ok(found) => Ok(Box::new(found.into_iter()) as Addrs),
                Err(failure) => Err(Box::new(failure) as Box<dyn Error + Send + Sync>),
            }
        })
    }
}

/// The hosts that had an address once: they exist, whatever a resolver that is in trouble says later.
#[derive(Default)]
struct Known(Mutex<HashSet<String>>);

impl Known {
    fn judge(
        &self,
        host: &str,
        result: io::Result<Vec<SocketAddr>>,
    ) -> Result<Vec<SocketAddr>, ResolveFailure> {
        let mut known = self.0.lock();
        match result {
            Ok(found) => {
                if !found.is_empty() && !known.contains(host) {
                    known.insert(host.to_owned());
                }
                Ok(found)
            }
            Err(source) => Err(ResolveFailure {
                host: host.to_owned(),
                is_temporary: known.contains(host) || is_passing(&source),
                source,
            }),
        }
    }
}

/// Whether the resolver could not do its work, rather than having found nothing.
fn is_passing(error: &io::Error) -> bool {
    // The standard library hands on the text of a code, not its number: those of `EAI_AGAIN` in glibc and musl. For
    // `EAI_SYSTEM` it hands on the error of the system.
    let text = error.to_string();
    error.raw_os_error().is_some()
        || text.contains("emporary failure")
        || text.ends_with("Try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown() -> io::Error {
        io::Error::other("failed to lookup address information: Name or service not known")
    }

    #[test]
    fn a_host_that_had_an_address_is_looked_up_again_and_an_unknown_one_is_not() {
        let known = Known::default();
        let failure = known.judge("host", Err(unknown())).unwrap_err();
        assert!(!failure.is_temporary);
        let found = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        assert_eq!(known.judge("host", Ok(found.clone())).unwrap(), found);
        let failure = known.judge("host", Err(unknown())).unwrap_err();
        assert!(failure.is_temporary);
        let failure = known.judge("other", Err(unknown())).unwrap_err();
        assert!(!failure.is_temporary);
    }

    #[test]
    fn a_resolver_in_trouble_is_no_word_about_the_host() {
        for (error, is_temporary) in [
            (unknown(), false),
            (
                io::Error::other("failed to lookup address information: Name does not resolve"),
                false,
            ),
            (
                io::Error::other(
                    "failed to lookup address information: Temporary failure in name resolution",
                ),
                true,
            ),
            (
                io::Error::other("failed to lookup address information: Try again"),
                true,
            ),
            // EAI_SYSTEM, with too many open files.
            (io::Error::from_raw_os_error(24), true),
        ] {
            assert_eq!(is_passing(&error), is_temporary, "{error}");
        }
    }
}
