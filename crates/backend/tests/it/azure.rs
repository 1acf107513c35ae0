//! The Azure service against Azurite: each way to say who we are, and what it refuses.
//!
//! What every backend does alike is in the conformance suite.

mod identity;
mod interop;
mod objects;
mod renewal;
mod signatures;

use std::sync::atomic::{AtomicUsize, Ordering};

use backend::{
    AzureBackend, AzureOptions, Backend, BackendError, ErrorKind, FileKind, Handle, HttpOptions,
    Variables,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::servers::Server;
use testkit::stub::{StubServer, json as answer};

const AUDIENCE: &str = "https://storage.azure.com";

/// A name of a container that no other test uses.
fn fresh() -> String {
    format!("c{:016x}", rand::random::<u64>())
}

fn variables(server: &Server, address: &str, more: &[(&str, &str)]) -> Variables {
    let account = server.value("account");
    let endpoint = format!("{address}/{account}");
    let base = [
        ("AZURE_ACCOUNT_NAME", account),
        ("AZURE_ENDPOINT", endpoint.as_str()),
    ];
    let all = base.iter().chain(more);
    Variables::new().or(all.map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))))
}

fn http(server: &Server) -> HttpOptions {
    HttpOptions {
        ca_certificates: Some(server.ca_pem()),
        use_proxies: false,
        ..HttpOptions::default()
    }
}

/// A repository in this place of the account at this address.
fn at(server: &Server, place: &str, address: &str, more: &[(&str, &str)]) -> AzureBackend {
    let options = AzureOptions::parse(place, &variables(server, address, more)).unwrap();
    AzureBackend::new(options, &http(server)).unwrap()
}

fn backend(server: &Server, container: &str, address: &str, more: &[(&str, &str)]) -> AzureBackend {
    at(server, &format!("{container}:/a/b"), address, more)
}

fn key(server: &Server) -> [(&str, &str); 1] {
    [("AZURE_ACCOUNT_KEY", server.value("key"))]
}

fn with_key(server: &Server, container: &str, address: &str) -> AzureBackend {
    backend(server, container, address, &key(server))
}

/// A container that is there. The addresses of a server may not share what they store.
async fn container(server: &Server, address: &str) -> String {
    let container = fresh();
    let backend = with_key(server, &container, address);
    backend.create().await.unwrap();
    container
}

fn object(kind: FileKind, text: &str) -> (Handle, Bytes) {
    (
        Handle::new(kind, hex::encode(Sha256::digest(text))),
        Bytes::from(text.to_owned()),
    )
}

/// An object's life.
async fn works(backend: &AzureBackend) {
    let (handle, data) = object(FileKind::Pack, "the content of an object");
    backend.write(&handle, data.clone()).await.unwrap();
    let again = backend.write(&handle, data.clone()).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::AlreadyExists, "{again:?}");
    assert_eq!(backend.read(&handle).await.unwrap(), data);
    assert_eq!(backend.read_range(&handle, 4, 7).await.unwrap(), "content");
    for offset in [4, 400] {
        let error = backend.read_range(&handle, offset, 700).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooShort, "{error:?}");
    }
    let listed = backend.list(FileKind::Pack).await.unwrap();
    assert_eq!(listed, [backend.stat(&handle).await.unwrap()]);
    assert!(backend.list(FileKind::Index).await.unwrap().is_empty());
    let (other, data) = object(FileKind::Pack, "another object");
    backend.write(&other, data).await.unwrap();
    let failures = backend.remove_many(&[handle.clone(), other.clone()]).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
    backend.remove(&handle).await.unwrap();
    assert_eq!(
        backend.stat(&handle).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
}

/// Everything that is shown of an error and of who made it.
fn shown(backend: &AzureBackend, error: &BackendError) -> String {
    format!(
        "{error} {error:?} {error:#?} {backend:?} {} {}",
        backend.location(),
        reasons(error)
    )
}

/// The reasons in one line, as they are told at the edge.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut words = String::new();
    let mut next = error.source();
    while let Some(source) = next {
        words = format!("{words}: {source}");
        next = source.source();
    }
    words
}

/// Every operation is refused with this kind, and none shows a secret. Gives the error of the write.
async fn refused(backend: &AzureBackend, kind: ErrorKind, secrets: &[&str]) -> BackendError {
    let (handle, data) = object(FileKind::Pack, "refused");
    let errors = [
        backend.stat(&handle).await.unwrap_err(),
        backend.list(FileKind::Key).await.unwrap_err(),
        backend.read(&handle).await.unwrap_err(),
        backend.read_range(&handle, 0, 3).await.unwrap_err(),
        backend.remove(&handle).await.unwrap_err(),
        backend.create().await.unwrap_err(),
        backend.write(&handle, data).await.unwrap_err(),
    ];
    for error in &errors {
        assert_eq!(error.kind, kind, "{error:?}");
        for secret in secrets {
            let shown = shown(backend, error);
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    let [.., last] = errors;
    last
}

/// A token as Azurite wants it: only its claims are looked at.
fn token(server: &Server, audience: &str, minutes: i64) -> String {
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": server.value("issuer"), "aud": audience, "tid": server.value("tenant"), "oid": fresh(),
        "iat": now - 3600, "nbf": now - 3600, "exp": now + minutes * 60,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        part(&json!({"alg": "none", "typ": "JWT"})),
        part(&claims),
        URL_SAFE_NO_PAD.encode("signed")
    )
}

fn good(server: &Server) -> String {
    token(server, AUDIENCE, 60)
}

/// A place that gives each of these tokens in turn, the last one again and again.
fn giving(tokens: Vec<String>) -> StubServer {
    giving_for(tokens, json!("3600"))
}

/// The same, with this life.
fn giving_for(tokens: Vec<String>, life: Value) -> StubServer {
    let given = AtomicUsize::new(0);
    StubServer::start(move |_| {
        let number = given.fetch_add(1, Ordering::Relaxed);
        let token = tokens[number.min(tokens.len() - 1)].clone();
        let body = json!({"access_token": token, "expires_in": life, "token_type": "Bearer"});
        async move { answer(200, &body) }
    })
}

const CLIENT_SECRET: &str = "the-client-secret";

/// An application with a secret, whose tokens come from this address.
fn application(url: &str) -> [(&str, &str); 4] {
    [
        ("AZURE_CLIENT_ID", "the-client"),
        ("AZURE_TENANT_ID", "the-tenant"),
        ("AZURE_CLIENT_SECRET", CLIENT_SECRET),
        ("AZURE_AUTHORITY_HOST", url),
    ]
}
