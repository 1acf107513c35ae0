//! Who we are: one source of credentials, asked when they are needed and again before they expire.
//!
//! The source is chosen once from what is configured ([`Source::choose`]); when it fails, that is the error, and no
//! other source is tried.

mod container;
mod instance;
mod profile;
mod source;
mod sts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::http::{HttpClient, HttpFailure};
use crate::{ErrorKind, HttpOptions, SetupError};

pub(super) use source::Source;
pub(super) use sts::{AssumeRole, StsPlace};

/// Credentials are renewed so long before they expire, or a quarter of their life if that is shorter.
const AHEAD: Duration = Duration::from_mins(5);
/// When a renewal fails for the moment, the next one is tried after this time while the old keys still work.
const PAUSE: Duration = Duration::from_secs(20);

/// What requests are signed with.
#[derive(Clone)]
pub(super) struct Keys {
    pub id: String,
    pub secret: SecretString,
    pub token: Option<SecretString>,
    pub expires: Option<Timestamp>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// A source that gives no credentials.
#[derive(Debug, thiserror::Error)]
#[error("{which} cannot be used")]
struct SourceFailure {
    which: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The clients that sources are asked with.
#[derive(Debug)]
struct Clients {
    /// For services on the network.
    services: HttpClient,
    /// For services of the machine itself, which no proxy can reach.
    machine: HttpClient,
}

/// The credentials in use.
#[derive(Debug)]
pub(super) struct Credentials {
    source: Source,
    role: Option<AssumeRole>,
    clients: Clients,
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug)]
struct Cached {
    keys: Arc<Keys>,
    /// Never, where they do not expire.
    renew_at: Option<Timestamp>,
}

impl Credentials {
    pub fn new(
        source: Source,
        role: Option<AssumeRole>,
        (services, options): (&HttpClient, &HttpOptions),
    ) -> Result<Self, SetupError> {
        let machine = HttpClient::new(&HttpOptions {
            use_proxies: false,
            client_certificate: None,
            ..options.clone()
        })?;
        let this = Self {
            source,
            role,
            clients: Clients {
                services: services.clone(),
                machine,
            },
            cached: Mutex::new(None),
        };
        if let Source::Static(keys) = &this.source {
            this.hide(keys);
        }
        Ok(this)
    }

    /// Valid keys. Only one caller renews them; the others wait for it.
    pub async fn current(&self) -> Result<Arc<Keys>, HttpFailure> {
        let mut cached = self.cached.lock().await;
        let now = Timestamp::now();
        if let Some(cached) = cached.as_ref()
            && cached.renew_at.is_none_or(|renew_at| now < renew_at)
        {
            return Ok(cached.keys.clone());
        }
        match self.load().await {
            Ok(keys) => {
                self.hide(&keys);
                let renew_at = keys.expires.map(|expires| renew_at(now, expires));
                let keys = Arc::new(keys);
                *cached = Some(Cached {
                    keys: keys.clone(),
                    renew_at,
                });
                Ok(keys)
            }
            Err(failure) => {
                let still_valid = cached.as_mut().filter(|cached| {
                    let margin = now + PAUSE;
                    failure.kind == ErrorKind::Temporary
                        && cached.keys.expires.is_none_or(|expires| expires > margin)
                });
                let Some(cached) = still_valid else {
                    return Err(failure);
                };
                tracing::warn!(source = %self.source, reason = %failure.source, "cannot renew credentials yet");
                cached.renew_at = Some(now + PAUSE);
                Ok(cached.keys.clone())
            }
        }
    }

    /// The store says that these keys have expired. Whether asking again can give others.
    pub async fn discard(&self, keys: &Arc<Keys>) -> bool {
        let mut cached = self.cached.lock().await;
        if cached
            .as_ref()
            .is_some_and(|cached| Arc::ptr_eq(&cached.keys, keys))
        {
            *cached = None;
        }
        self.role.is_some() || !matches!(self.source, Source::Static(_))
    }

    async fn load(&self) -> Result<Keys, HttpFailure> {
        let keys = self.source.load(&self.clients).await?;
        let Some(role) = &self.role else {
            return Ok(keys);
        };
        self.hide(&keys);
        role.take_on(&self.clients.services, &keys)
            .await
            .map_err(|failure| failed(role, failure))
    }

    fn hide(&self, keys: &Keys) {
        for client in [&self.clients.services, &self.clients.machine] {
            client.hide(&SecretString::from(keys.id.as_str()));
            client.hide(&keys.secret);
            if let Some(token) = &keys.token {
                client.hide(token);
            }
        }
    }
}

fn failed(which: &impl fmt::Display, failure: HttpFailure) -> HttpFailure {
    HttpFailure {
        source: Box::new(SourceFailure {
            which: which.to_string(),
            source: failure.source,
        }),
        ..failure
    }
}

fn renew_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    expires - AHEAD.min(life / 4)
}

/// Keys from the parts that every service names differently.
fn keys(
    id: String,
    secret: String,
    token: Option<String>,
    expires: Option<&str>,
) -> Result<Keys, HttpFailure> {
    let expires = match expires {
        None => None,
        Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
            HttpFailure::new(
                ErrorKind::Unauthenticated,
                "the answer tells no usable time of expiry",
            )
        })?),
    };
    if id.is_empty() || secret.is_empty() {
        return Err(HttpFailure::new(
            ErrorKind::Unauthenticated,
            "the answer holds no keys",
        ));
    }
    Ok(Keys {
        id,
        secret: SecretString::from(secret),
        token: token
            .filter(|token| !token.is_empty())
            .map(SecretString::from),
        expires,
    })
}

/// The text of a small file, without white space around it.
async fn read_secret_file(path: &str, what: &str) -> Result<SecretString, HttpFailure> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| {
        HttpFailure::new(
            ErrorKind::Unauthenticated,
            format!("cannot read {what} {path}: {error}"),
        )
    })?;
    let text = SecretString::from(text.trim());
    if text.expose_secret().is_empty() {
        return Err(HttpFailure::new(
            ErrorKind::Unauthenticated,
            format!("{what} {path} is empty"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
