//! Reaching the API server, and what can be said of its answers.

use std::time::Duration;

use kube_client::config::{Config, InClusterError, KubeConfigOptions, KubeconfigError};
use kube_client::{Client, Error};
use tokio_util::sync::CancellationToken;

/// How long a request may take. Watches have their own limit.
const PATIENCE: Duration = Duration::from_secs(30);
/// A watch is ended by the server after less than this; a connection that is silent for longer is dead.
const SILENCE: Duration = Duration::from_mins(5);
/// How long a request may be forbidden: rights that were just given take a moment to be known everywhere.
const FORBIDDEN: Duration = Duration::from_mins(2);
/// The first and the longest wait before a request is made again; each is twice the one before.
const DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file that `KUBECONFIG` names is unusable.
    #[error("cannot use the file that KUBECONFIG names")]
    Kubeconfig(#[source] KubeconfigError),
    /// This is no Pod, or one without a token.
    #[error("this is not a Pod with a ServiceAccount token, and KUBECONFIG is not set")]
    InCluster(#[source] InClusterError),
    /// The settings give no client.
    #[error("cannot prepare the connection to the API server")]
    Client(#[source] Box<Error>),
}

/// A client for the API server of `KUBECONFIG`, or else of the cluster that this Pod is in.
pub(super) async fn connect() -> Result<Client, ConnectError> {
    let has_file = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let mut config = if has_file {
        Config::from_kubeconfig(&KubeConfigOptions::default())
            .await
            .map_err(ConnectError::Kubeconfig)?
    } else {
        Config::incluster().map_err(ConnectError::InCluster)?
    };
    config.read_timeout = Some(SILENCE);
    // Whatever is refused is tried again by our own delays; those of the client may be minutes.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

/// Why a request to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It answered with a refusal.
    #[error("the API server answers {code}: {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// What it says.
        message: String,
    },
    /// It cannot be reached, or its answer is not understood.
    #[error("the API server cannot be asked")]
    Failed(#[source] Box<Error>),
    /// It does not answer.
    #[error("the API server did not answer within {} seconds", PATIENCE.as_secs())]
    Silent,
    /// The caller does not want to wait any longer.
    #[error("stopped before the API server has answered")]
    Stopped,
}

impl ApiError {
    /// The object does not exist.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Somebody else has written the object meanwhile.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// The request is not allowed.
    pub const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }

    /// Whether the same request will be refused again however long one waits.
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 400 | 404 | 405 | 406 | 410 | 413 | 415 | 422,
                ..
            } | Self::Stopped
        )
    }

    /// That an object of this name is not the one that was meant.
    pub(super) fn replaced(name: &str) -> Self {
        Self::Refused {
            code: 404,
            message: format!("{name} was deleted and created anew"),
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) => Self::Refused {
                code: status.code,
                message: status.message,
            },
            error => Self::Failed(Box::new(error)),
        }
    }
}

/// One request, which may not take forever.
pub(super) async fn call<T>(
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ApiError::Silent),
    }
}

/// Repeats a request with growing delays until it is answered for good, or until the caller stops waiting.
pub(super) async fn until_answered<T>(
    cancel: &CancellationToken,
    what: &str,
    request: impl AsyncFn() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut delays = Delays::new();
    let began = tokio::time::Instant::now();
    loop {
        let answer = tokio::select! {
            answer = request() => answer,
            () = cancel.cancelled() => return Err(ApiError::Stopped),
        };
        match answer {
            Err(error) if error.is_forbidden() && began.elapsed() > FORBIDDEN => {
                return Err(error);
            }
            Err(error) if !error.is_final() => {
                tracing::warn!(error = crate::backup::chain(&error), what, "trying again");
            }
            answer => return answer,
        }
        tokio::select! {
            () = delays.wait() => {}
            () = cancel.cancelled() => return Err(ApiError::Stopped),
        }
    }
}

/// Waits that grow.
#[derive(Debug)]
pub(super) struct Delays {
    next: Duration,
    longest: Duration,
}

impl Delays {
    /// Waits for requests: from 1 s to 30 s.
    pub const fn new() -> Self {
        Self::between(DELAYS.0, DELAYS.1)
    }

    /// Waits from the first to the longest.
    pub const fn between(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// Waits once, a little longer or shorter than others that began at the same moment.
    pub async fn wait(&mut self) {
        let delay = self.take();
        // Any number that differs between processes spreads them.
        let part = f64::from(jiff::Timestamp::now().subsec_nanosecond() % 1000) / 1000.0;
        tokio::time::sleep(delay.mul_f64(0.9 + part * 0.2)).await;
    }

    fn take(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_limit() {
        let mut delays = Delays::new();
        let seconds: Vec<u64> = (0..7).map(|_| delays.take().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_repeated_until_it_is_answered_for_good() {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let cancel = CancellationToken::new();
        let refused = |code| ApiError::Refused {
            code,
            message: String::new(),
        };
        let answer: Result<(), _> = until_answered(&cancel, "a test", async || {
            match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Err(ApiError::Silent),
                1 => Err(refused(403)),
                2 => Err(refused(500)),
                _ => Err(refused(404)),
            }
        })
        .await;
        assert!(answer.unwrap_err().is_absent());
        assert_eq!(tries.load(std::sync::atomic::Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_forbidden_is_an_answer_in_the_end() {
        let began = tokio::time::Instant::now();
        let answer: Result<(), _> =
            until_answered(&CancellationToken::new(), "a test", async || {
                Err(ApiError::Refused {
                    code: 403,
                    message: String::new(),
                })
            })
            .await;
        assert!(answer.unwrap_err().is_forbidden());
        assert!((FORBIDDEN..FORBIDDEN * 2).contains(&began.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_to_stop_waits_no_longer() {
        let cancel = CancellationToken::new();
        let waiting = until_answered::<()>(&cancel, "a test", async || Err(ApiError::Silent));
        let stop = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            cancel.cancel();
        };
        let (answer, ()) = tokio::join!(waiting, stop);
        assert!(matches!(answer, Err(ApiError::Stopped)));
    }
}
