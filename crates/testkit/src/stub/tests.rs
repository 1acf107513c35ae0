use backend::{Backend, ErrorKind, Handle, HttpOptions, RestBackend, RestOptions, Variables};

use super::{StubServer, json, reply};
use crate::certificates::Authority;

fn client(server: &StubServer, ca_certificates: Option<String>) -> RestBackend {
    let options = RestOptions::parse(&format!("{}/r/", server.url()), &Variables::new()).unwrap();
    let http = HttpOptions {
        ca_certificates,
        use_proxies: false,
        ..HttpOptions::default()
    };
    RestBackend::new(options, &http).unwrap()
}

#[tokio::test]
async fn it_answers_as_the_closure_says_and_remembers_the_requests() {
    let server = StubServer::start(async |request| match request.uri().path() {
        "/r/config" => reply(200, "application/octet-stream", "the config"),
        _ => json(404, &serde_json::json!({"error": "none"})),
    });
    let backend = client(&server, None);
    assert_eq!(backend.read(&Handle::config()).await.unwrap(), "the config");
    let key = Handle::new(backend::FileKind::Key, "ab");
    let error = backend.write(&key, "content".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let requests = server.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| (request.method().as_str(), request.uri().path()))
        .collect();
    assert_eq!(seen, [("GET", "/r/config"), ("POST", "/r/keys/ab")]);
    assert_eq!(requests[1].body(), "content");
}

#[tokio::test]
async fn it_speaks_tls_and_no_longer_answers_when_dropped() {
    let authority = Authority::new();
    let tls = authority.loopback().server_config();
    let server = StubServer::start_tls(tls, async |_| reply(200, "text/plain", "yes"));
    let trusting = client(&server, Some(authority.pem()));
    assert_eq!(trusting.read(&Handle::config()).await.unwrap(), "yes");
    let doubting = client(&server, None);
    let error = doubting.read(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Untrusted, "{error:?}");
    drop(server);
    let error = trusting.read(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary);
}

#[test]
fn it_answers_while_the_test_blocks() {
    use std::io::{Read, Write};
    let server = StubServer::start(async |_| reply(200, "text/plain", "here"));
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: stub\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nhere"), "{text}");
}
