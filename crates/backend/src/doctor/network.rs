//! From the name of a server to an answer: resolution, connection, certificate, clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;
use x509_cert::der::Decode;

use crate::doctor::remedy::remedy;
use crate::doctor::{Findings, step};
use crate::http::{HttpClient, tls_configuration};
use crate::{ErrorKind, HttpOptions, Operation};

/// Certificates that expire sooner are worth a warning.
const SOON_DAYS: i64 = 14;
/// S3 refuses requests that are 15 minutes off; other stores are stricter with tokens.
const TOLERATED_SKEW_SECONDS: i64 = 60;
const REFUSED_SKEW_SECONDS: i64 = 900;

/// Whether it is worth going on.
pub(super) async fn examine(
    endpoint: &str,
    http: &HttpOptions,
    findings: &mut Findings<'_>,
) -> bool {
    let Ok(url) = Url::parse(endpoint) else {
        findings.add(step("name").failed(
            format!("{endpoint} is not a URL"),
            "Write the endpoint as https://host or https://host:port.",
        ));
        return false;
    };
    let through_proxy = http.use_proxies && has_proxy(&url);
    if through_proxy {
        findings.add(
            step("name")
                .skipped("the server is reached through the proxy that the environment names"),
        );
    } else {
        let Some(stream) = connect(&url, http, findings).await else {
            return false;
        };
        if url.scheme() == "https" && !handshake(&url, stream, http, findings).await {
            return false;
        }
    }
    clock(&url, http, findings).await
}

/// Whether a proxy of the environment is in the way. Exceptions by `NO_PROXY` count as the client counts them, so
/// here it is enough that none is named at all.
fn has_proxy(url: &Url) -> bool {
    let names: [&str; 4] = if url.scheme() == "https" {
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    };
    let is_named = names
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let is_excepted = ["NO_PROXY", "no_proxy"].iter().any(|name| {
        let hosts = std::env::var(name).unwrap_or_default();
        hosts
            .split(',')
            .map(str::trim)
            .any(|host| host == "*" || url.host_str() == Some(host))
    });
    is_named && !is_excepted
}

async fn connect(url: &Url, http: &HttpOptions, findings: &mut Findings<'_>) -> Option<TcpStream> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    let naming = step("name");
    let addresses = match addresses(host, port, http).await {
        Ok(addresses) => addresses,
        Err(error) => {
            findings.add(naming.failed(
                format!("the host {host} has no address: {error}"),
                "Check the host name and the name servers of this machine or Pod.",
            ));
            return None;
        }
    };
    let shown: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    findings.add(naming.fine(format!("{host} is {}", shown.join(", "))));

    let connecting = step("connection");
    let mut troubles = Vec::new();
    for address in addresses {
        match timeout(http.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let took = millis(connecting.start.elapsed());
                findings
                    .add(connecting.fine(format!("{address} accepts connections after {took}")));
                return Some(stream);
            }
            Ok(Err(error)) => troubles.push(format!("{address}: {error}")),
            Err(_) => troubles.push(format!(
                "{address}: no answer within {} s",
                http.connect_timeout.as_secs()
            )),
        }
    }
    findings.add(connecting.failed(
        troubles.join("; "),
        "Check that the server is up, the port is right, and no firewall or NetworkPolicy is in the way.",
    ));
    None
}

async fn addresses(
    host: &str,
    port: u16,
    http: &HttpOptions,
) -> Result<Vec<SocketAddr>, std::io::Error> {
    let pinned: Vec<SocketAddr> = http
        .pins
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(host))
        .map(|(_, address)| {
            SocketAddr::new(
                address.ip(),
                if address.port() == 0 {
                    port
                } else {
                    address.port()
                },
            )
        })
        .collect();
    if !pinned.is_empty() {
        return Ok(pinned);
    }
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    found.dedup();
    Ok(found)
}

async fn handshake(
    url: &Url,
    stream: TcpStream,
    http: &HttpOptions,
    findings: &mut Findings<'_>,
) -> bool {
    let shaking = step("certificate");
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let (Ok(configuration), Ok(name)) = (tls_configuration(http), ServerName::try_from(host))
    else {
        findings.add(shaking.failed(
            "the certificates given are unusable",
            "Give certificates as PEM text.",
        ));
        return false;
    };
    let connector = TlsConnector::from(Arc::new(configuration));
    let connected = timeout(http.connect_timeout, connector.connect(name, stream)).await;
    let tls = match connected {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            findings.add(shaking.failed(
                crate::http::tls_words(&error),
                remedy(ErrorKind::Untrusted, Operation::Stat),
            ));
            return false;
        }
        Err(_) => {
            findings.add(shaking.failed(
                "the server accepts the connection and does not speak TLS",
                "Check the port and whether the server wants http instead of https.",
            ));
            return false;
        }
    };
    let (_, session) = tls.get_ref();
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    };
    let expiry = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .and_then(|leaf| expiry(leaf));
    let Some(expiry) = expiry else {
        findings.add(shaking.fine(version));
        return true;
    };
    let days = (expiry.as_second() - Timestamp::now().as_second()) / 86_400;
    let date = expiry.strftime("%Y-%m-%d");
    findings.add(if http.insecure_tls {
        shaking.warning(
            format!("{version}, but the certificate is not verified"),
            "Give the authority as CA_CERT_DATA or with `--cacert` instead of switching verification off.",
        )
    } else if days < SOON_DAYS {
        shaking.warning(
            format!("{version}, the certificate expires in {days} days, on {date}"),
            "Have the server's certificate renewed.",
        )
    } else {
        shaking.fine(format!("{version}, the certificate is valid until {date}"))
    });
    true
}

fn expiry(certificate: &[u8]) -> Option<Timestamp> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate().validity().not_after;
    Timestamp::try_from(end.to_system_time()).ok()
}

/// Asks for anything at all: every HTTP server tells its time.
async fn clock(url: &Url, http: &HttpOptions, findings: &mut Findings<'_>) -> bool {
    let asking = step("clock");
    let Ok(client) = HttpClient::new(http) else {
        return false;
    };
    let Ok(request) = http::Request::get(url.as_str()).body(Bytes::new()) else {
        return false;
    };
    let reply = match client.send(Operation::Stat, request).await {
        Ok(reply) => reply,
        Err(failure) => {
            let failure = failure.into_error(
                Operation::Stat,
                "the server",
                url.origin().ascii_serialization(),
            );
            findings.add(asking.refused(&failure));
            return false;
        }
    };
    let date = reply
        .header("date")
        .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
        .map(|date| date.timestamp());
    let Some(date) = date else {
        findings.add(asking.skipped("the server does not tell its time"));
        return true;
    };
    let ahead = Timestamp::now().as_second() - date.as_second();
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    let message = format!("this machine is {} s {direction} the server", ahead.abs());
    let remedy = remedy(ErrorKind::ClockSkew, Operation::Stat);
    findings.add(match ahead.abs() {
        0..=TOLERATED_SKEW_SECONDS => asking.fine("the clocks agree"),
        skew if skew < REFUSED_SKEW_SECONDS => asking.warning(message, remedy),
        _ => asking.failed(message, remedy),
    });
    true
}

pub(super) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
