//! Tokens: fetched from the one source that is configured, kept, and renewed before they expire.

mod assertion;
mod credentials;
mod exchange;
mod forms;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure, HttpOptions};
use crate::service::gcs::options::Source;
use crate::variables::SetupError;

use exchange::Grant;

pub(super) use credentials::Credentials;

/// Where machines and Pods of Google's ask who they are.
pub(super) const METADATA_HOST: &str = "metadata.google.internal";

/// So long before its end a token is renewed, but never within the first three quarters of its life.
const RENEWED_BEFORE: Duration = Duration::from_secs(225);
/// Between attempts to renew a token that is still good.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hands out tokens.
pub(super) struct Tokens {
    source: Source,
    clients: Clients,
    state: Mutex<State>,
    /// How many times a token was asked for so far.
    rounds: AtomicU64,
}

/// With and without the proxies of the environment: a metadata server is always asked directly.
pub(super) struct Clients {
    http: HttpClient,
    direct: HttpClient,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Why the last attempt failed.
    failure: Option<Known>,
}

struct Token {
    text: SecretString,
    renew: Instant,
    end: Instant,
}

/// A failure that those who waited for the same attempt share.
struct Known {
    kind: ErrorKind,
    retry_after: Option<Duration>,
    reason: String,
}

impl Tokens {
    /// Nothing is asked for yet. `http` learns which texts to hide.
    pub fn new(
        source: Source,
        http: HttpClient,
        options: &HttpOptions,
    ) -> Result<Self, SetupError> {
        let direct = HttpClient::new(&HttpOptions {
            use_proxies: false,
            ..options.clone()
        })?;
        let tokens = Self {
            source,
            clients: Clients { http, direct },
            state: Mutex::default(),
            rounds: AtomicU64::new(0),
        };
        match &tokens.source {
            Source::Text(credentials) => tokens.hide_all(credentials),
            Source::Token(token) => tokens.hide(token),
            _ => {}
        }
        Ok(tokens)
    }

    /// The token to send; nothing where nobody has to authenticate.
    pub async fn get(&self) -> Result<Option<SecretString>, HttpFailure> {
        match &self.source {
            Source::Anonymous => Ok(None),
            Source::Token(token) => Ok(Some(token.clone())),
            _ => self.current(None).await.map(Some),
        }
    }

    /// Another token in place of one that the service refused; nothing where there can be none.
    pub async fn renewed(
        &self,
        refused: &SecretString,
    ) -> Result<Option<SecretString>, HttpFailure> {
        match &self.source {
            Source::Anonymous | Source::Token(_) => Ok(None),
            _ => self.current(Some(refused)).await.map(Some),
        }
    }

    async fn current(&self, refused: Option<&SecretString>) -> Result<SecretString, HttpFailure> {
        let round = self.rounds.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let is_refused = |text: &SecretString| {
            refused.is_some_and(|refused| refused.expose_secret() == text.expose_secret())
        };
        let good = state
            .token
            .as_ref()
            .filter(|token| token.end > now && !is_refused(&token.text));
        if let Some(token) = good
            && token.renew > now
        {
            return Ok(token.text.clone());
        }
        // Somebody asked while this task waited; a storm of tasks must not ask one after the other.
        if good.is_none()
            && self.rounds.load(Ordering::Acquire) != round
            && let Some(failure) = &state.failure
        {
            return Err(failure.again());
        }
        let fallback = good.map(|token| token.text.clone());
        let result = self.fetch().await;
        self.rounds.fetch_add(1, Ordering::Release);
        match (result, fallback) {
            (Ok(grant), _) => {
                self.hide(&grant.token);
                let token = Token::new(&grant);
                state.token = Some(token);
                state.failure = None;
                Ok(grant.token)
            }
            (Err(failure), Some(text)) => {
                tracing::warn!(reason = %failure.source, "the token could not be renewed yet");
                if let Some(token) = &mut state.token {
                    token.renew = Instant::now() + PATIENCE;
                }
                Ok(text)
            }
            (Err(failure), None) => {
                state.token = None;
                state.failure = Some(Known::of(&failure));
                Err(failure)
            }
        }
    }

    async fn fetch(&self) -> Result<Grant, HttpFailure> {
        match &self.source {
            Source::Text(credentials) => self.exchange(credentials).await,
            Source::File(path) => self.of_file(path).await,
            Source::Metadata(host) => forms::of_metadata(&self.clients.direct, host).await,
            Source::Ambient(file) => self.of_machine(file.as_deref()).await,
            Source::Anonymous | Source::Token(_) => Err(HttpFailure::new(
                ErrorKind::Permanent,
                "no token can be asked for",
            )),
        }
    }

    async fn of_file(&self, path: &Path) -> Result<Grant, HttpFailure> {
        let text = read_file(path).await?;
        let credentials = Credentials::parse(&text).map_err(|reason| {
            HttpFailure::new(
                ErrorKind::Permanent,
                format!("the credentials file {} {reason}", path.display()),
            )
        })?;
        self.hide_all(&credentials);
        self.exchange(&credentials).await
    }

    async fn of_machine(&self, file: Option<&Path>) -> Result<Grant, HttpFailure> {
        if let Some(file) = file
            && tokio::fs::try_exists(file).await.unwrap_or(true)
        {
            return self.of_file(file).await;
        }
        let result = forms::of_metadata(&self.clients.direct, METADATA_HOST).await;
        result.map_err(|failure| HttpFailure {
            source: format!("no credentials are configured, and {}", failure.source).into(),
            ..failure
        })
    }

    async fn exchange(&self, credentials: &Credentials) -> Result<Grant, HttpFailure> {
        match credentials {
            Credentials::ServiceAccount(account) => {
                forms::of_service_account(&self.clients.http, account).await
            }
            Credentials::AuthorizedUser(user) => forms::of_user(&self.clients.http, user).await,
            Credentials::ExternalAccount(account) => {
                forms::of_external(&self.clients, account).await
            }
        }
    }

    fn hide_all(&self, credentials: &Credentials) {
        for secret in credentials.secrets() {
            self.hide(secret);
        }
    }

    fn hide(&self, secret: &SecretString) {
        self.clients.http.hide(secret);
        self.clients.direct.hide(secret);
    }
}

impl Token {
    fn new(grant: &Grant) -> Self {
        let now = Instant::now();
        // A lifetime beyond all reason must not overflow the clock.
        let lifetime = grant.lifetime.min(Duration::from_hours(24));
        let end = now + lifetime;
        Self {
            text: grant.token.clone(),
            renew: end - RENEWED_BEFORE.min(lifetime / 4),
            end,
        }
    }
}

impl Known {
    fn of(failure: &HttpFailure) -> Self {
        Self {
            kind: failure.kind,
            retry_after: failure.retry_after,
            reason: failure.source.to_string(),
        }
    }

    fn again(&self) -> HttpFailure {
        HttpFailure {
            retry_after: self.retry_after,
            ..HttpFailure::new(self.kind, self.reason.clone())
        }
    }
}

/// A file with credentials.
async fn read_file(path: &Path) -> Result<SecretString, HttpFailure> {
    let text = tokio::fs::read_to_string(path).await;
    text.map(SecretString::from).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => ErrorKind::Temporary,
            _ => ErrorKind::Permanent,
        };
        HttpFailure::new(
            kind,
            format!("cannot read the credentials in {}: {error}", path.display()),
        )
    })
}
