//! Requests and connections of hooks.

use std::borrow::Cow;
use std::io::Read;
use std::net::Ipv6Addr;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::{HTTPGetAction, HTTPHeader};
use api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use api::v1beta1::HttpPostAction;

use super::{HookError, OUTPUT_BYTES};

/// A request that is ready to be sent.
pub(super) struct Request {
    url: String,
    headers: Vec<(String, String)>,
    /// Body and its type; `None` is a GET.
    body: Option<(String, &'static str)>,
}

impl Request {
    /// Of `httpGet`.
    pub(super) fn get(action: &HTTPGetAction, default_host: &str, port: u16) -> Self {
        let url = url(
            action.scheme.as_deref(),
            host_or(action.host.as_deref(), default_host),
            port,
            action.path.as_deref(),
        );
        Self {
            url,
            headers: headers(action.http_headers.as_deref().unwrap_or_default()),
            body: None,
        }
    }

    /// Of `httpPost`.
    pub(super) fn post(
        action: &HttpPostAction,
        default_host: &str,
        port: u16,
        body: Option<String>,
    ) -> Self {
        let url = url(
            action.scheme.as_deref(),
            host_or(action.host.as_deref(), default_host),
            port,
            action.path.as_deref(),
        );
        let body = match body {
            Some(body) => (body, "application/json"),
            None => (form(action), "application/x-www-form-urlencoded"),
        };
        Self {
            url,
            headers: headers(&action.http_headers),
            body: Some(body),
        }
    }
}

fn headers(headers: &[HTTPHeader]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| (header.name.clone(), header.value.clone()))
        .collect()
}

fn form(action: &HttpPostAction) -> String {
    let pairs = action.form.iter().flat_map(|entry| {
        entry
            .values
            .iter()
            .map(|value| format!("{}={}", encoded(&entry.key), encoded(value)))
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    bytes.collect()
}

/// The number of a port.
pub(super) fn port(port: &IntOrString) -> Result<u16, HookError> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| HookError::NamedPort {
            port: number.to_string(),
        }),
        IntOrString::String(name) => name
            .parse()
            .map_err(|_| HookError::NamedPort { port: name.clone() }),
    }
}

fn host_or<'a>(host: Option<&'a str>, default_host: &'a str) -> &'a str {
    host.filter(|host| !host.is_empty()).unwrap_or(default_host)
}

fn url(scheme: Option<&str>, host: &str, port: u16, path: Option<&str>) -> String {
    let scheme = scheme.unwrap_or("HTTP").to_lowercase();
    let path = path.unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{scheme}://{}:{port}{slash}{path}", bracketed(host))
}

/// A host as it stands in a URL: an address of IPv6 in brackets (RFC 3986, section 3.2.2).
fn bracketed(host: &str) -> Cow<'_, str> {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => Cow::Owned(format!("[{address}]")),
        Err(_) => Cow::Borrowed(host),
    }
}

/// Sends a request and wants an answer from 200 to 399.
pub(super) async fn request(request: Request, deadline: Duration) -> Result<(), HookError> {
    let url = request.url.clone();
    let task = tokio::task::spawn_blocking(move || send(request, deadline));
    task.await.unwrap_or_else(|error| {
        Err(HookError::Request {
            url,
            source: Box::new(error),
        })
    })
}

fn send(request: Request, deadline: Duration) -> Result<(), HookError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(deadline))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into();
    let failed = |error: ureq::Error| match error {
        ureq::Error::Timeout(_) => HookError::Deadline {
            what: format!("request to {}", request.url),
            deadline,
        },
        error => HookError::Request {
            url: request.url.clone(),
            source: Box::new(error),
        },
    };
    let mut response = match &request.body {
        None => {
            let mut call = agent.get(&request.url);
            for (name, value) in &request.headers {
                call = call.header(name, value);
            }
            call.call().map_err(failed)?
        }
        Some((body, kind)) => {
            let mut call = agent.post(&request.url);
            if !request
                .headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            {
                call = call.header("Content-Type", *kind);
            }
            for (name, value) in &request.headers {
                call = call.header(name, value);
            }
            call.send(body).map_err(failed)?
        }
    };
    let status = response.status().as_u16();
    if (200..400).contains(&status) {
        return Ok(());
    }
    let mut output = Vec::new();
    let limit = u64::try_from(OUTPUT_BYTES).unwrap_or(u64::MAX);
    // The status is what counts; an answer that breaks off is shown as far as it came.
    let _ = response
        .body_mut()
        .as_reader()
        .take(limit)
        .read_to_end(&mut output);
    Err(HookError::Status {
        url: request.url,
        status,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

/// Opens a connection and closes it.
pub(super) async fn connect(host: &str, port: u16, deadline: Duration) -> Result<(), HookError> {
    let url = format!("tcp://{}:{port}", bracketed(host));
    match tokio::time::timeout(deadline, tokio::net::TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(HookError::Request {
            url,
            source: Box::new(error),
        }),
        Err(_) => Err(HookError::Deadline {
            what: format!("connection to {url}"),
            deadline,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        let of = |host| url(None, host, 80, Some("healthz"));
        assert_eq!(of("fd00::1"), "http://[fd00::1]:80/healthz");
        assert_eq!(of("[fd00::1]"), "http://[fd00::1]:80/healthz");
        assert_eq!(of("10.0.0.1"), "http://10.0.0.1:80/healthz");
        assert_eq!(of("db.shop.svc"), "http://db.shop.svc:80/healthz");
    }
}
