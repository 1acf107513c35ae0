//! The Azure service against Azurite: each way to say who we are, and what it refuses.

use backend::{
    AzureBackend, AzureOptions, Backend, BackendError, ErrorKind, FileKind, Handle, HttpOptions,
    Variables,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, json as answer};

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

fn backend(server: &Server, container: &str, address: &str, more: &[(&str, &str)]) -> AzureBackend {
    let options = AzureOptions::parse(
        &format!("{container}:/a/b"),
        &variables(server, address, more),
    )
    .unwrap();
    let http = HttpOptions {
        ca_certificates: Some(server.ca_pem()),
        ..HttpOptions::default()
    };
    AzureBackend::new(options, &http).unwrap()
}

fn with_key(server: &Server, container: &str, address: &str) -> AzureBackend {
    backend(
        server,
        container,
        address,
        &[("AZURE_ACCOUNT_KEY", server.value("key"))],
    )
}

fn object(kind: FileKind, text: &str) -> (Handle, Bytes) {
    (
        Handle::new(kind, hex::encode(Sha256::digest(text))),
        Bytes::from(text.to_owned()),
    )
}

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
    backend.remove(&handle).await.unwrap();
    backend.remove(&handle).await.unwrap();
    assert_eq!(
        backend.stat(&handle).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
}

async fn refused(backend: &AzureBackend, kind: ErrorKind, secrets: &[&str]) -> BackendError {
    let (handle, data) = object(FileKind::Pack, "refused");
    let error = backend.write(&handle, data).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error:?}");
    let shown = format!("{error} {error:?} {backend:?} {}", backend.location());
    for secret in secrets {
        assert!(!shown.contains(secret), "{shown}");
    }
    error
}

#[tokio::test]
async fn a_key_of_the_account_makes_the_container_and_serves() {
    let Some(server) = offered("azurite") else {
        return;
    };
    for address in [server.http(), server.https()] {
        let backend = with_key(&server, &fresh(), address);
        let error = backend.stat(&Handle::config()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PlaceNotFound, "{error:?}");
        let error = backend.list(FileKind::Lock).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::PlaceNotFound, "{error:?}");
        backend.create().await.unwrap();
        backend.create().await.unwrap();
        assert_eq!(
            backend.stat(&Handle::config()).await.unwrap_err().kind,
            ErrorKind::NotFound
        );
        works(&backend).await;
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_without_being_shown() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let key = STANDARD.encode("not the key of this account");
    let backend = backend(
        &server,
        &fresh(),
        server.http(),
        &[("AZURE_ACCOUNT_KEY", &key)],
    );
    refused(&backend, ErrorKind::Unauthenticated, &[&key]).await;
    assert_eq!(
        backend.create().await.unwrap_err().kind,
        ErrorKind::Unauthenticated
    );
}

#[tokio::test]
async fn a_listing_of_many_objects_comes_in_pages() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let backend = with_key(&server, &fresh(), server.http());
    backend.create().await.unwrap();
    let objects: Vec<_> = (0..40)
        .map(|number| object(FileKind::Index, &format!("number {number}")))
        .collect();
    for (handle, data) in &objects {
        backend.write(handle, data.clone()).await.unwrap();
    }
    let listed = backend.list(FileKind::Index).await.unwrap();
    assert_eq!(listed.len(), objects.len());
    let handles: Vec<Handle> = objects.into_iter().map(|(handle, _)| handle).collect();
    assert!(backend.remove_many(&handles).await.is_empty());
    assert!(backend.list(FileKind::Index).await.unwrap().is_empty());
}

/// A shared access signature of the account for blobs: permissions and minutes from now until its end.
fn sas(server: &Server, permissions: &str, minutes: i64) -> String {
    let end = Timestamp::now() + SignedDuration::from_mins(minutes);
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let text = format!(
        "{}\n{permissions}\nb\nsco\n\n{end}\n\nhttps,http\n2020-08-04\n",
        server.value("account")
    );
    // A line break ends the text, which is that of an account SAS before encryption scopes.
    let key = hmac::Key::new(
        hmac::HMAC_SHA256,
        &STANDARD.decode(server.value("key")).unwrap(),
    );
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    let encoded: String = url::form_urlencoded::byte_serialize(signature.as_bytes()).collect();
    let end: String = url::form_urlencoded::byte_serialize(end.as_bytes()).collect();
    format!("?sv=2020-08-04&ss=b&srt=sco&sp={permissions}&se={end}&spr=https%2Chttp&sig={encoded}")
}

#[tokio::test]
async fn a_shared_access_signature_serves_as_far_as_it_goes() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let container = fresh();
    with_key(&server, &container, server.https())
        .create()
        .await
        .unwrap();
    let good = sas(&server, "rwdlac", 10);
    let backend_with = |sas: &str| {
        backend(
            &server,
            &container,
            server.https(),
            &[("AZURE_ACCOUNT_SAS", sas)],
        )
    };
    let backend = backend_with(&good);
    backend.create().await.unwrap();
    works(&backend).await;

    let signature = |sas: &str| sas.split_once("sig=").unwrap().1.to_owned();
    let read_only = sas(&server, "rl", 10);
    refused(
        &backend_with(&read_only),
        ErrorKind::PermissionDenied,
        &[&signature(&read_only)],
    )
    .await;
    let expired = sas(&server, "rwdlac", -10);
    refused(
        &backend_with(&expired),
        ErrorKind::Unauthenticated,
        &[&signature(&expired)],
    )
    .await;
    let tampered = good.replace("sp=rwdlac", "sp=rwdlacu");
    refused(
        &backend_with(&tampered),
        ErrorKind::Unauthenticated,
        &[&signature(&tampered)],
    )
    .await;
}

/// A token as Azurite wants it: only its claims are looked at.
fn token(server: &Server, audience: &str, minutes: i64) -> String {
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": server.value("issuer"), "aud": audience, "tid": server.value("tenant"), "oid": fresh(),
        "iat": now - 3600, "nbf": now - 3600, "exp": now + minutes * 60,
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        part(&json!({"alg": "none", "typ": "JWT"})),
        part(&claims),
        URL_SAFE_NO_PAD.encode("signed")
    )
}

fn text_of(request: &http::Request<Bytes>) -> String {
    format!(
        "{}\n{}",
        request.uri(),
        String::from_utf8_lossy(request.body())
    )
}

/// A place that gives each of these tokens in turn, the last one again and again.
fn giving(tokens: Vec<String>) -> StubServer {
    let given = std::sync::atomic::AtomicUsize::new(0);
    StubServer::start(move |_| {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let token = tokens[number.min(tokens.len() - 1)].clone();
        async move {
            answer(
                200,
                &json!({"access_token": token, "expires_in": "3600", "token_type": "Bearer"}),
            )
        }
    })
}

#[tokio::test]
async fn applications_and_machines_get_tokens_and_keep_them() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let container = fresh();
    with_key(&server, &container, server.https())
        .create()
        .await
        .unwrap();
    let scratch = testkit::Scratch::new();
    let file = scratch.join("token");
    std::fs::write(&file, "the-federated-token\n").unwrap();
    let file = file.display().to_string();
    let application = [
        ("AZURE_CLIENT_ID", "the-client"),
        ("AZURE_TENANT_ID", "the-tenant"),
    ];
    for (form, expected) in [
        (
            ("AZURE_CLIENT_SECRET", "the-client-secret"),
            "client_secret=the-client-secret",
        ),
        (
            ("AZURE_FEDERATED_TOKEN_FILE", file.as_str()),
            "client_assertion=the-federated-token",
        ),
        (
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", ""),
            "client_id=the-client",
        ),
    ] {
        let stub = giving(vec![token(&server, "https://storage.azure.com", 60)]);
        let url = stub.url();
        let form = if form.1.is_empty() {
            (form.0, url.as_str())
        } else {
            form
        };
        let more = [
            application[0],
            application[1],
            form,
            ("AZURE_AUTHORITY_HOST", url.as_str()),
        ];
        let backend = backend(&server, &container, server.https(), &more);
        works(&backend).await;
        let asked = stub.requests();
        assert_eq!(asked.len(), 1, "one token serves for all requests");
        assert!(
            text_of(&asked[0]).contains(expected),
            "{}",
            text_of(&asked[0])
        );
        assert!(
            text_of(&asked[0]).contains("storage.azure.com"),
            "{}",
            text_of(&asked[0])
        );
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let container = fresh();
    with_key(&server, &container, server.https())
        .create()
        .await
        .unwrap();
    let good = token(&server, "https://storage.azure.com", 60);
    let expired = token(&server, "https://storage.azure.com", -30);
    let make = |stub: &StubServer| {
        let url = stub.url();
        let more = [
            ("AZURE_CLIENT_ID", "i"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_SECRET", "the-client-secret"),
            ("AZURE_AUTHORITY_HOST", url.as_str()),
        ];
        backend(&server, &container, server.https(), &more)
    };
    let bad = giving(vec![expired.clone()]);
    let backend = make(&bad);
    let (handle, data) = object(FileKind::Pack, "refused");
    let error = backend.write(&handle, data).await.unwrap_err();
    assert!(
        matches!(
            error.kind,
            ErrorKind::Unauthenticated | ErrorKind::PermissionDenied
        ),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains(&expired));
    assert!(bad.requests().len() <= 2);
    let healing = giving(vec![good]);
    works(&make(&healing)).await;
}

#[tokio::test]
async fn an_identity_that_is_refused_is_told_and_nobody_else_is_tried() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let stub = StubServer::start(|_| async {
        answer(
            401,
            &json!({"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret the-client-secret"}),
        )
    });
    let url = stub.url();
    let more = [
        ("AZURE_CLIENT_ID", "i"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_SECRET", "the-client-secret"),
        ("AZURE_AUTHORITY_HOST", url.as_str()),
    ];
    let backend = backend(&server, &fresh(), server.https(), &more);
    let error = refused(&backend, ErrorKind::Unauthenticated, &["the-client-secret"]).await;
    assert!(
        format!("{:?}", error.source).contains("invalid_client"),
        "{error:?}"
    );
    assert!(
        stub.requests()
            .iter()
            .all(|request| request.uri().path().ends_with("/oauth2/v2.0/token"))
    );
}
