//! Tokens that end, are refused, or cannot be renewed.

use backend::{Backend, ErrorKind, FileKind, Operation};
use futures::future::join_all;
use serde_json::json;
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, json as answer};

use super::{
    AUDIENCE, application, backend, container, giving, giving_for, good, http, object, refused,
    token, variables, works,
};

fn expired(server: &Server) -> String {
    token(server, AUDIENCE, -30)
}

#[tokio::test]
async fn a_token_that_the_service_refuses_is_renewed_once() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let container = container(&server, server.https()).await;
    for refused in [
        expired(&server),
        token(&server, "https://elsewhere.example", 60),
    ] {
        let stub = giving(vec![refused, good(&server)]);
        let url = stub.url();
        let backend = backend(&server, &container, server.https(), &application(&url));
        works(&backend).await;
        assert_eq!(stub.requests().len(), 2);
    }
}

#[tokio::test]
async fn tokens_that_are_refused_again_and_again_end_the_call() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let container = container(&server, server.https()).await;
    let (one, two) = (expired(&server), expired(&server));
    let stub = giving(vec![one.clone(), two.clone()]);
    let url = stub.url();
    let backend = backend(&server, &container, server.https(), &application(&url));
    let (handle, data) = object(FileKind::Key, "a key");
    let error = backend.write(&handle, data).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert_eq!(stub.requests().len(), 2);
    refused(&backend, ErrorKind::Unauthenticated, &[&one, &two]).await;
}

#[tokio::test]
async fn many_tasks_wait_for_one_token() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let container = container(&server, server.https()).await;
    let stub = giving(vec![expired(&server), good(&server)]);
    let url = stub.url();
    let options = backend::AzureOptions::parse(
        &format!("{container}:/"),
        &variables(&server, server.https(), &application(&url)),
    )
    .unwrap();
    let http = http(&server);
    let backend = backend::AzureBackend::new(options, &http).unwrap();
    let writes = (0..20).map(|number| {
        let (handle, data) = object(FileKind::Index, &format!("number {number}"));
        let backend = &backend;
        async move { backend.write(&handle, data).await }
    });
    for result in join_all(writes).await {
        result.unwrap();
    }
    assert_eq!(
        stub.requests().len(),
        2,
        "one for all, and one in its place"
    );
    let counts = http.meter.counts();
    assert_eq!(counts[&Operation::Authenticate].requests, 2);
}

#[tokio::test]
async fn many_tasks_share_one_refusal() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let stub = StubServer::start(|_| async {
        tokio::task::yield_now().await;
        answer(401, &json!({"error": "invalid_client"}))
    });
    let url = stub.url();
    let backend = backend(&server, "container", server.https(), &application(&url));
    let handle = object(FileKind::Key, "a key").0;
    let reads = (0..20).map(|_| backend.read(&handle));
    for result in join_all(reads).await {
        let error = result.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert!(format!("{error:?}").contains("invalid_client"), "{error:?}");
    }
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let Some(server) = offered("azurite-oauth") else {
        return;
    };
    let container = container(&server, server.https()).await;
    let (handle, data) = object(FileKind::Key, "a key");
    // Of no life at all, and so each request asks for its own.
    let stub = giving_for(vec![good(&server)], json!(0));
    let url = stub.url();
    let backend = backend(&server, &container, server.https(), &application(&url));
    backend.write(&handle, data).await.unwrap();
    backend.read(&handle).await.unwrap();
    assert_eq!(stub.requests().len(), 2);
}
