//! The token in use: got by one caller for all, renewed before its end, and again when it is refused.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ErrorKind;
use crate::http::{HttpClient, HttpFailure};
use crate::service::swift::login::login;
use crate::service::swift::options::SwiftOptions;

/// A token is renewed so long before it expires, or a quarter of its life if that is shorter.
const AHEAD: Duration = Duration::from_mins(5);

/// A token and the account's address, without a slash at the end.
#[derive(Clone)]
pub(super) struct Access {
    pub token: SecretString,
    pub storage_url: String,
}

/// Who is logged in, and how the last attempt went.
#[derive(Default)]
pub(super) struct Session {
    state: Mutex<State>,
    /// Attempts that have ended, looked at without waiting for the one that is under way.
    ended: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct State {
    access: Option<Access>,
    renew_at: Option<Instant>,
    refusal: Option<(ErrorKind, Option<Duration>, String)>,
}

impl Session {
    /// A token that is not `refused`. One caller logs in; those that wait meanwhile share what comes of it, also a
    /// failure: many attempts with a wrong password would lock the user out.
    pub async fn access(
        &self,
        http: &HttpClient,
        options: &SwiftOptions,
        refused: Option<&SecretString>,
    ) -> Result<Access, HttpFailure> {
        use std::sync::atomic::Ordering::SeqCst;

        let seen = self.ended.load(SeqCst);
        let mut state = self.state.lock().await;
        if let Some(access) = state.current(refused) {
            return Ok(access.clone());
        }
        if self.ended.load(SeqCst) != seen
            && let Some((kind, retry_after, reason)) = &state.refusal
        {
            return Err(HttpFailure {
                retry_after: *retry_after,
                ..HttpFailure::new(*kind, reason.clone())
            });
        }
        let result = login(http, options).await;
        self.ended.fetch_add(1, SeqCst);
        match result {
            Ok(login) => {
                let access = Access {
                    token: login.token,
                    storage_url: login.storage_url,
                };
                *state = State {
                    access: Some(access.clone()),
                    renew_at: login
                        .life
                        .map(|life| Instant::now() + life - AHEAD.min(life / 4)),
                    refusal: None,
                };
                Ok(access)
            }
            Err(failure) => {
                let reason = failure.source.to_string();
                state.refusal = Some((failure.kind, failure.retry_after, reason));
                Err(failure)
            }
        }
    }
}

impl State {
    fn current(&self, refused: Option<&SecretString>) -> Option<&Access> {
        let is_due = self
            .renew_at
            .is_some_and(|renew_at| renew_at <= Instant::now());
        let is_refused = |access: &Access| {
            refused.is_some_and(|refused| refused.expose_secret() == access.token.expose_secret())
        };
        self.access
            .as_ref()
            .filter(|access| !is_due && !is_refused(access))
    }
}
