//! Tokens: fetched from the one source that is configured, kept, and renewed before they expire.

mod fetch;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure, HttpOptions};
use crate::service::azure::credential::Credential;
use crate::variables::SetupError;

use fetch::Grant;

/// A token is renewed so long before it expires, or a quarter of its life if that is shorter.
const AHEAD: Duration = Duration::from_mins(5);
/// Between attempts to renew a token that is still good.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hands out tokens to those credentials that need them.
pub(super) struct Tokens {
    http: HttpClient,
    /// For the identity of the machine, which no proxy can reach.
    machine: HttpClient,
    state: Mutex<State>,
    /// How many times a token was asked for so far.
    rounds: AtomicU64,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Why the last attempt failed.
    failure: Option<Known>,
    /// The source has given a token, and so there is one.
    has_served: bool,
}

struct Token {
    text: SecretString,
    renew_at: Instant,
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
        credential: &Credential,
        http: &HttpClient,
        options: &HttpOptions,
    ) -> Result<Self, SetupError> {
        let machine = HttpClient::new(&HttpOptions {
            use_proxies: false,
            client_certificate: None,
            ..options.clone()
        })?;
        for secret in credential.secrets() {
            machine.hide(&secret);
        }
        Ok(Self {
            http: http.clone(),
            machine,
            state: Mutex::default(),
            rounds: AtomicU64::new(0),
        })
    }

    /// The token to send; nothing for a credential without tokens.
    pub async fn get(&self, credential: &Credential) -> Result<Option<SecretString>, HttpFailure> {
        match credential {
            Credential::Key(_) | Credential::Sas(_) => Ok(None),
            _ => self.current(credential, None).await.map(Some),
        }
    }

    /// A token in place of one that the service refused; the source may give the same again.
    pub async fn renewed(
        &self,
        credential: &Credential,
        refused: &SecretString,
    ) -> Result<SecretString, HttpFailure> {
        self.current(credential, Some(refused)).await
    }

    /// One task asks for a token, the others wait for what comes of it.
    async fn current(
        &self,
        credential: &Credential,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, HttpFailure> {
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
            && token.renew_at > now
        {
            return Ok(token.text.clone());
        }
        if good.is_none()
            && self.rounds.load(Ordering::Acquire) != round
            && let Some(failure) = &state.failure
        {
            return Err(failure.again());
        }
        let good = good.map(|token| token.text.clone());
        let result = fetch::fetch(&self.http, &self.machine, credential, state.has_served).await;
        self.rounds.fetch_add(1, Ordering::Release);
        match (result, good) {
            (Ok(grant), _) => {
                self.http.hide(&grant.token);
                state.failure = None;
                state.has_served = true;
                state.token = Some(Token::new(&grant));
                Ok(grant.token)
            }
            (Err(failure), Some(text)) => {
                tracing::warn!(reason = %failure.source, "the token could not be renewed yet");
                if let Some(token) = &mut state.token {
                    token.renew_at = Instant::now() + PATIENCE;
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
}

impl Token {
    fn new(grant: &Grant) -> Self {
        let now = Instant::now();
        Self {
            text: grant.token.clone(),
            renew_at: now + grant.life - AHEAD.min(grant.life / 4),
            end: now + grant.life,
        }
    }
}

impl Known {
    fn of(failure: &HttpFailure) -> Self {
        let mut reason = failure.source.to_string();
        let mut next = failure.source.source();
        while let Some(source) = next {
            reason = format!("{reason}: {source}");
            next = source.source();
        }
        Self {
            kind: failure.kind,
            retry_after: failure.retry_after,
            reason,
        }
    }

    fn again(&self) -> HttpFailure {
        HttpFailure {
            retry_after: self.retry_after,
            ..HttpFailure::new(self.kind, self.reason.clone())
        }
    }
}
