//! The HTTP client of all services: one attempt of one request, with every way it can go wrong told apart.
//!
//! Owns connections, TLS, proxies, limits of time and bandwidth, counting, and the blanking of credentials in
//! messages. Paths, headers, signatures and the meaning of a status are the services' business; trying again is
//! that of [`crate::retry`].

mod exchange;
mod failure;
mod resolve;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};

use crate::bandwidth::Bandwidth;
use crate::meter::Meter;
use crate::variables::SetupError;
use crate::{ErrorKind, Operation};

pub(crate) use failure::{HttpFailure, Refusal, kind_of_status, tls_words};
pub(crate) use tls::configuration as tls_configuration;

/// How servers are reached. Shared by all services of a run.
#[derive(Clone)]
pub struct HttpOptions {
    /// Certificates as PEM that servers are verified with besides the system's.
    pub ca_certificates: Option<String>,
    /// Shown to servers that ask for one.
    pub client_certificate: Option<ClientCertificate>,
    /// Accept any certificate. Only for tests of a user's own network.
    pub insecure_tls: bool,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest time in which less than a kibibyte moves in either direction.
    pub stall_timeout: Duration,
    /// Limits of bytes per second.
    pub bandwidth: Bandwidth,
    /// Counts requests and bytes.
    pub meter: Arc<Meter>,
    /// Addresses for host names, asked before the system's resolver. A port of 0 keeps that of the URL.
    pub pins: Vec<(String, SocketAddr)>,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment are obeyed.
    pub use_proxies: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca_certificates: None,
            client_certificate: None,
            insecure_tls: false,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_mins(1),
            bandwidth: Bandwidth::default(),
            meter: Arc::default(),
            pins: Vec::new(),
            use_proxies: true,
        }
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpOptions")
            .field("insecure_tls", &self.insecure_tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .finish_non_exhaustive()
    }
}

/// A certificate of ours, for servers that ask who calls.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate and those that signed it, as PEM.
    pub chain_pem: String,
    /// Its private key, as PEM.
    pub key_pem: SecretString,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientCertificate")
            .finish_non_exhaustive()
    }
}

/// The client. Clones share connections.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: reqwest::Client,
    stall_timeout: Duration,
    bandwidth: Bandwidth,
    meter: Arc<Meter>,
    hidden: Arc<RwLock<Vec<SecretString>>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl HttpClient {
    /// A client for servers reached by TCP. Nothing is connected yet.
    pub fn new(options: &HttpOptions) -> Result<Self, SetupError> {
        Self::build(options, Self::builder(options)?)
    }

    /// A client for a server that listens on a Unix socket.
    pub fn over_unix_socket(options: &HttpOptions, socket: &Path) -> Result<Self, SetupError> {
        Self::build(
            options,
            Self::builder(options)?.unix_socket(socket).no_proxy(),
        )
    }

    fn builder(options: &HttpOptions) -> Result<reqwest::ClientBuilder, SetupError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("stash/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls::configuration(options)?)
            .dns_resolver(Arc::new(resolve::Resolver::new(&options.pins)))
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(50))
            .tcp_nodelay(true)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false);
        Ok(if options.use_proxies {
            builder
        } else {
            builder.no_proxy()
        })
    }

    fn build(options: &HttpOptions, builder: reqwest::ClientBuilder) -> Result<Self, SetupError> {
        let client = builder
            .build()
            .map_err(|error| SetupError::new(format!("cannot set up HTTP: {error}")))?;
        Ok(Self {
            client,
            stall_timeout: options.stall_timeout,
            bandwidth: options.bandwidth.clone(),
            meter: options.meter.clone(),
            hidden: Arc::default(),
        })
    }

    /// From now on this text is blanked in every message that is made from an answer.
    pub fn hide(&self, secret: &SecretString) {
        let mut hidden = self.hidden.write();
        let is_new = || {
            hidden
                .iter()
                .all(|known| known.expose_secret() != secret.expose_secret())
        };
        if secret.expose_secret().len() >= 4 && is_new() {
            hidden.push(secret.clone());
        }
    }

    /// Text from a server as it may be shown: one line, not endless, without control characters or anything hidden.
    pub fn presentable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.hidden.read().iter() {
            text = text.replace(secret.expose_secret(), "***");
        }
        let clean = text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter });
        let words: String = clean.take(400).collect();
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Sends one request and reads the whole answer, whatever its status. One attempt; redirects are not followed.
    pub async fn send(
        &self,
        operation: Operation,
        request: http::Request<Bytes>,
    ) -> Result<Reply, HttpFailure> {
        let sent = request.body().len();
        let result = exchange::run(self, request).await.and_then(no_web_page);
        let (is_failure, received) = match &result {
            Ok(reply) => (
                reply.status.is_client_error() || reply.status.is_server_error(),
                reply.body.len(),
            ),
            Err(_) => (true, 0),
        };
        self.meter.add(operation, is_failure, sent, received);
        result
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl Reply {
    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the server asks to wait, where it says so in seconds.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.header("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds.min(600)))
    }
}

/// A success that is a web page comes from a login page of the network, or from a web server at a wrong address.
///
/// The type alone does not tell: rest-server guesses it from the first bytes of an object, and three may be enough.
fn no_web_page(reply: Reply) -> Result<Reply, HttpFailure> {
    let is_html = reply
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/html"));
    let is_page = |start: &str| {
        let body = reply.body.trim_ascii_start();
        body.get(..start.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes()))
    };
    // The answer to a HEAD request has no body, but tells the length of the page. moto calls its empty answers HTML.
    let is_unseen = reply.body.is_empty()
        && reply.status != StatusCode::NO_CONTENT
        && reply.header("content-length") != Some("0");
    if reply.status.is_success()
        && is_html
        && (is_unseen || is_page("<!doctype") || is_page("<html"))
    {
        return Err(HttpFailure::new(
            ErrorKind::Permanent,
            "a web page came instead of an answer; is the address right, and is nobody in between?",
        ));
    }
    Ok(reply)
}

/// The body of an answer to a request for `length` bytes (more than 0) from `offset`.
///
/// A store that ignores the range sends the whole object, of which the part is taken. An object that really ends
/// before is [`ErrorKind::TooShort`]; a part of another length than asked is a broken transfer.
pub(crate) fn exact_range(reply: Reply, offset: u64, length: u64) -> Result<Bytes, HttpFailure> {
    let received = reply.body.len() as u64;
    if reply.status != StatusCode::PARTIAL_CONTENT {
        let end = offset.saturating_add(length);
        let too_short =
            || HttpFailure::new(ErrorKind::TooShort, format!("it has {received} bytes"));
        let (start, end) = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(end).ok())
            .filter(|(_, end)| *end <= reply.body.len())
            .ok_or_else(too_short)?;
        return Ok(reply.body.slice(start..end));
    }
    // `bytes 0-99/1234`: the number after the slash is the size of the object.
    let range = reply.header("content-range");
    let start = range.and_then(|text| text.trim().strip_prefix("bytes")?.split_once('-'));
    let start = start.and_then(|(start, _)| start.trim().parse::<u64>().ok());
    if let Some(start) = start
        && start != offset
    {
        return Err(HttpFailure::new(
            ErrorKind::Temporary,
            format!("bytes from {start} came where those from {offset} were asked for"),
        ));
    }
    if received == length {
        return Ok(reply.body);
    }
    let total = range.and_then(|text| text.rsplit_once('/')?.1.parse::<u64>().ok());
    let ends_before =
        received < length && total.is_some_and(|total| offset.saturating_add(received) == total);
    Err(if ends_before {
        HttpFailure::new(
            ErrorKind::TooShort,
            format!("it has {} bytes", total.unwrap_or(received)),
        )
    } else {
        HttpFailure::new(
            ErrorKind::Temporary,
            format!("{received} bytes came where {length} were asked for"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_from_another_place_is_not_the_part_that_was_asked_for() {
        let part = |status, range: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(range) = range {
                headers.insert("content-range", range.parse().unwrap());
            }
            let reply = Reply {
                status,
                headers,
                body: Bytes::from_static(b"0123"),
            };
            exact_range(reply, 10, 4).map_err(|failure| failure.kind)
        };
        let partial = StatusCode::PARTIAL_CONTENT;
        let whole = Ok(Bytes::from_static(b"0123"));
        assert_eq!(part(partial, Some("bytes 10-13/99")), whole);
        assert_eq!(part(partial, Some("bytes 10-13/*")), whole);
        assert_eq!(part(partial, None), whole);
        for range in ["bytes 0-3/99", "bytes 9-12/99", "bytes 0-3/*"] {
            assert_eq!(part(partial, Some(range)), Err(ErrorKind::Temporary));
        }
    }
}
