//! Applications, workload identities and managed identities: tokens from the one source that is configured.

use std::fs;
use std::path::Path;

use backend::{AzureBackend, Backend, ErrorKind, FileKind};
use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use serde_json::json;
use testkit::Scratch;
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, json as answer};

use crate::results::form_works;

use super::{
    CLIENT_SECRET, application, backend, container, giving, good, object, reasons, refused, works,
};

const ASSERTION: &str = "the-federated-token";

fn token_file(scratch: &Scratch) -> String {
    let file = scratch.join("token");
    fs::write(&file, format!("{ASSERTION}\n")).unwrap();
    file.display().to_string()
}

/// A workload identity, as the webhook of Azure's puts it into a Pod.
fn federated<'a>(file: &'a str, url: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("AZURE_CLIENT_ID", "the-client"),
        ("AZURE_TENANT_ID", "the-tenant"),
        ("AZURE_FEDERATED_TOKEN_FILE", file),
        ("AZURE_AUTHORITY_HOST", url),
    ]
}

fn form(request: &Request<Bytes>) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.body())
        .into_owned()
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = expected.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn header<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Stores with a token of this stub, for which it is asked once. Gives the question.
async fn asked_once(
    (server, form): (&Server, &str),
    stub: &StubServer,
    more: &[(&str, &str)],
) -> Request<Bytes> {
    let backend = backend(
        server,
        &container(server, server.https()).await,
        server.https(),
        more,
    );
    assert!(
        stub.requests().is_empty(),
        "nothing is asked for before it is needed"
    );
    works(&backend).await;
    form_works("azure", server, form);
    let mut asked = stub.requests();
    assert_eq!(asked.len(), 1, "one token serves for all requests");
    asked.remove(0)
}

#[tokio::test]
async fn an_application_with_a_secret_stores() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let stub = giving(vec![good(&server)]);
    let url = format!("{}/", stub.url());
    let asked = asked_once((&server, "client secret*"), &stub, &application(&url)).await;
    assert_eq!(asked.method(), "POST");
    assert_eq!(asked.uri().path(), "/the-tenant/oauth2/v2.0/token");
    assert_eq!(
        form(&asked),
        pairs(&[
            ("grant_type", "client_credentials"),
            ("client_id", "the-client"),
            ("scope", "https://storage.azure.com/.default"),
            ("client_secret", CLIENT_SECRET),
        ])
    );
}

#[tokio::test]
async fn a_workload_identity_stores() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let scratch = Scratch::new();
    let file = token_file(&scratch);
    let stub = giving(vec![good(&server)]);
    let url = stub.url();
    let asked = asked_once(
        (&server, "workload identity*"),
        &stub,
        &federated(&file, &url),
    )
    .await;
    assert_eq!(asked.uri().path(), "/the-tenant/oauth2/v2.0/token");
    assert_eq!(
        form(&asked),
        pairs(&[
            ("grant_type", "client_credentials"),
            ("client_id", "the-client"),
            ("scope", "https://storage.azure.com/.default"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            ),
            ("client_assertion", ASSERTION),
        ])
    );
}

#[tokio::test]
async fn a_managed_identity_of_the_machine_stores() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    for client_id in ["", "the-client"] {
        let stub = giving(vec![good(&server)]);
        let url = stub.url();
        let more = [
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", url.as_str()),
            ("AZURE_CLIENT_ID", client_id),
        ];
        let asked = asked_once((&server, "managed identity*"), &stub, &more).await;
        assert_eq!(asked.method(), "GET");
        assert_eq!(header(&asked, "metadata"), Some("true"));
        let mut expected = "/metadata/identity/oauth2/token?api-version=2018-02-01\
                            &resource=https%3A%2F%2Fstorage.azure.com%2F"
            .to_owned();
        if !client_id.is_empty() {
            expected.push_str("&client_id=the-client");
        }
        assert_eq!(asked.uri().to_string(), expected);
    }
}

#[tokio::test]
async fn a_managed_identity_of_a_service_stores() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let token = good(&server);
    // This interface tells only when a token ends.
    let stub = StubServer::start(move |_| {
        let end = (Timestamp::now().as_second() + 3600).to_string();
        let body = json!({"access_token": token, "expires_on": end, "resource": "r"});
        async move { answer(200, &body) }
    });
    let endpoint = format!("{}/msi/token", stub.url());
    let more = [
        ("IDENTITY_ENDPOINT", endpoint.as_str()),
        ("IDENTITY_HEADER", "the-header-secret"),
    ];
    let asked = asked_once((&server, "managed identity of App Service*"), &stub, &more).await;
    assert_eq!(
        header(&asked, "x-identity-header"),
        Some("the-header-secret")
    );
    assert_eq!(header(&asked, "metadata"), None);
    assert_eq!(
        asked.uri().to_string(),
        "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com%2F"
    );
}

/// A place that refuses, repeating what it was sent.
fn refusing(status: u16) -> StubServer {
    StubServer::start(move |request: Request<Bytes>| async move {
        let sent = String::from_utf8_lossy(request.body()).into_owned();
        let secret = header(&request, "x-identity-header").unwrap_or_default();
        let words = format!("AADSTS70021: Not these: {sent} {secret}\r\nTrace ID: 17");
        answer(
            status,
            &json!({"error": "invalid_client", "error_description": words}),
        )
    })
}

#[tokio::test]
async fn a_refused_identity_is_told_and_nobody_else_is_asked() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let scratch = Scratch::new();
    let file = token_file(&scratch);
    let container = container(&server, server.https()).await;
    for status in [400, 401] {
        let (first, machine) = (refusing(status), giving(vec![good(&server)]));
        let (url, machine_url) = (first.url(), machine.url());
        for own in [&application(&url)[..], &federated(&file, &url)] {
            let mut more = own.to_vec();
            more.push(("AZURE_POD_IDENTITY_AUTHORITY_HOST", &machine_url));
            let backend = backend(&server, &container, server.https(), &more);
            let error = refused(
                &backend,
                ErrorKind::Unauthenticated,
                &[CLIENT_SECRET, ASSERTION],
            )
            .await;
            let words = reasons(&error);
            assert!(
                words.contains("no token for the application the-client"),
                "{words}"
            );
            assert!(
                words.contains("(invalid_client): AADSTS70021: Not these"),
                "{words}"
            );
            assert!(!words.contains("Trace ID"), "{words}");
        }
        assert!(machine.requests().is_empty());
        let endpoint = format!("{url}/msi");
        let more = [
            ("IDENTITY_ENDPOINT", endpoint.as_str()),
            ("IDENTITY_HEADER", "the-header-secret"),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &machine_url),
        ];
        let backend = backend(&server, &container, server.https(), &more);
        refused(&backend, ErrorKind::Unauthenticated, &["the-header-secret"]).await;
        assert!(machine.requests().is_empty());
    }
}

#[tokio::test]
async fn a_workload_identity_without_its_token_is_told_and_nobody_else_is_asked() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let scratch = Scratch::new();
    let (empty, missing) = (scratch.join("empty"), scratch.join("missing"));
    fs::write(&empty, "\n").unwrap();
    let stub = giving(vec![good(&server)]);
    let url = stub.url();
    let word = |file: &Path| {
        if file == empty {
            "is empty"
        } else {
            "cannot be read"
        }
    };
    for file in [&empty, &missing] {
        let path = file.display().to_string();
        let mut more = federated(&path, &url).to_vec();
        more.push(("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url));
        let backend = backend(&server, "container", server.https(), &more);
        let error = refused(&backend, ErrorKind::Unauthenticated, &[]).await;
        let words = reasons(&error);
        assert!(
            words.contains(&path) && words.contains(word(file)),
            "{words}"
        );
    }
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn a_busy_source_may_be_asked_again_and_then_serves() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let container = container(&server, server.https()).await;
    let token = good(&server);
    let given = std::sync::atomic::AtomicUsize::new(0);
    let stub = StubServer::start(move |_| {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let body = json!({"access_token": token, "expires_in": 3600});
        async move {
            match number {
                0 => answer(503, &json!({"error": "temporarily_unavailable"})),
                1 => answer(429, &json!({})),
                _ => answer(200, &body),
            }
        }
    });
    let url = stub.url();
    let backend: AzureBackend = backend(&server, &container, server.https(), &application(&url));
    let (handle, data) = object(FileKind::Key, "a key");
    for _ in 0..2 {
        let error = backend.write(&handle, data.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Temporary, "{error:?}");
    }
    backend.write(&handle, data).await.unwrap();
    assert_eq!(stub.requests().len(), 3);
}
