//! Objects and containers with the key of the account.

use std::net::{Ipv4Addr, SocketAddr};

use backend::{
    AzureBackend, AzureOptions, Backend, BackendError, ErrorKind, FileKind, Handle, HttpOptions,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use secrecy::SecretString;
use testkit::proxy::{Answer, Effect, Fault, FaultProxy};
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, reply};

use super::signatures::account_sas;
use super::{at, backend, container, fresh, http, key, object, reasons, refused, with_key, works};

#[tokio::test]
async fn a_key_of_the_account_makes_the_container_and_serves() {
    let Some(server) = offered("azurite") else {
        return;
    };
    for address in [server.http(), server.https()] {
        let backend = with_key(&server, &fresh(), address);
        backend.create().await.unwrap();
        backend.create().await.unwrap();
        works(&backend).await;
    }
    crate::results::form_works("azure", &server, "account key");
}

#[tokio::test]
async fn the_account_has_a_host_name_of_its_own_below_a_suffix() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let account = server.value("account");
    let port = server.https().rsplit(':').next().unwrap();
    let variables = backend::Variables::new().or([
        ("AZURE_ACCOUNT_NAME", account.to_owned()),
        ("AZURE_ACCOUNT_KEY", server.value("key").to_owned()),
        ("AZURE_ENDPOINT_SUFFIX", format!("localhost:{port}")),
    ]
    .map(|(name, value)| (name.to_owned(), SecretString::from(value))));
    let options = AzureOptions::parse(&format!("{}:/", fresh()), &variables).unwrap();
    let host = format!("{account}.blob.localhost");
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let http = HttpOptions {
        pins: vec![(host.clone(), here)],
        ..http(&server)
    };
    let backend = AzureBackend::new(options, &http).unwrap();
    assert_eq!(backend.endpoint(), Some(format!("https://{host}:{port}")));
    backend.create().await.unwrap();
    works(&backend).await;
}

#[tokio::test]
async fn a_missing_container_is_never_a_missing_object() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let backend = with_key(&server, &fresh(), server.http());
    let (handle, data) = object(FileKind::Snapshot, "nowhere");
    let mut errors = vec![
        backend.stat(&handle).await.unwrap_err(),
        backend.stat(&Handle::config()).await.unwrap_err(),
        backend.list(FileKind::Lock).await.unwrap_err(),
        backend.read(&handle).await.unwrap_err(),
        backend.read_range(&handle, 0, 1).await.unwrap_err(),
        backend.write(&handle, data).await.unwrap_err(),
        backend.remove(&handle).await.unwrap_err(),
    ];
    let both = [handle, object(FileKind::Snapshot, "nowhere else").0];
    let failures = backend.remove_many(&both).await;
    assert_eq!(failures.len(), 2);
    errors.extend(failures.into_iter().map(|(_, error)| error));
    for error in errors {
        assert_eq!(error.kind, ErrorKind::PlaceNotFound, "{error:?}");
    }
}

#[tokio::test]
async fn a_wordless_404_is_explained_by_the_container() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let proxy = FaultProxy::start(server.http());
    let _wordless = proxy.inject(Fault::new(Effect::Answer(Answer::new(404))).method("HEAD"));
    let there = container(&server, server.http()).await;
    for (container, kind) in [
        (there, ErrorKind::NotFound),
        (fresh(), ErrorKind::PlaceNotFound),
    ] {
        let backend = with_key(&server, &container, &proxy.url());
        let error = backend.stat(&Handle::config()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_without_being_shown() {
    let key = STANDARD.encode("not the key of this account");
    // The second one answers 400 where the first answers 403.
    for name in ["azurite", "azurite-oauth"] {
        let Some(server) = offered(name) else {
            continue;
        };
        let container = container(&server, server.https()).await;
        let more = [("AZURE_ACCOUNT_KEY", key.as_str())];
        let backend = backend(&server, &container, server.https(), &more);
        refused(&backend, ErrorKind::Unauthenticated, &[&key]).await;
    }
}

#[tokio::test]
async fn prefixes_of_every_kind_are_kept() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let container = container(&server, server.https()).await;
    for prefix in [
        "",
        "/",
        "a b/ü+%41",
        "x?y#z&a=b",
        " begins with a space",
        "../up",
    ] {
        let place = format!("{container}:{prefix}");
        let backend = at(&server, &place, server.https(), &key(&server));
        works(&backend).await;
        let (handle, data) = object(FileKind::Lock, prefix);
        backend.write(&handle, data).await.unwrap();
        let listed = backend.list(FileKind::Lock).await.unwrap();
        assert_eq!(listed.len(), 1, "`{prefix}`");
        backend.remove(&handle).await.unwrap();
    }
}

async fn write_many(backend: &AzureBackend, count: usize) -> Vec<Handle> {
    let mut handles = Vec::new();
    for number in 0..count {
        let (handle, data) = object(FileKind::Index, &format!("number {number}"));
        backend.write(&handle, data).await.unwrap();
        handles.push(handle);
    }
    handles
}

#[tokio::test]
async fn many_objects_are_removed_with_few_requests() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let proxy = FaultProxy::start(server.http());
    let backend = with_key(
        &server,
        &container(&server, server.http()).await,
        &proxy.url(),
    );
    let mut handles = write_many(&backend, 270).await;
    handles.insert(100, object(FileKind::Index, "that is not there").0);
    let failures = backend.remove_many(&handles).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert!(backend.list(FileKind::Index).await.unwrap().is_empty());
    assert_eq!(proxy.count("POST", "*comp=batch*"), 2);
    assert_eq!(proxy.count("DELETE", "*"), 0);
}

#[tokio::test]
async fn objects_are_removed_singly_where_batches_are_refused() {
    let Some(server) = offered("azurite") else {
        return;
    };
    for status in [400, 403, 405, 501] {
        let proxy = FaultProxy::start(server.http());
        let refusal = Effect::Answer(Answer::new(status));
        let _refused = proxy.inject(Fault::new(refusal).method("POST"));
        let backend = with_key(
            &server,
            &container(&server, server.http()).await,
            &proxy.url(),
        );
        let handles = write_many(&backend, 6).await;
        for some in handles.chunks(3) {
            let failures = backend.remove_many(some).await;
            assert!(failures.is_empty(), "{status}: {failures:?}");
        }
        assert!(backend.list(FileKind::Index).await.unwrap().is_empty());
        assert_eq!(proxy.count("POST", "*"), 1, "it is not asked for again");
        assert_eq!(proxy.count("DELETE", "*"), 6);
    }
}

#[tokio::test]
async fn a_batch_in_bad_weather_fails_for_each_of_its_objects() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let proxy = FaultProxy::start(server.http());
    let backend = with_key(
        &server,
        &container(&server, server.http()).await,
        &proxy.url(),
    );
    let handles = write_many(&backend, 4).await;
    for effect in [
        Effect::Answer(Answer::too_many_requests(7)),
        Effect::Answer(Answer::new(503)),
        Effect::Answer(Answer::new(202)),
        Effect::CutBody(30),
    ] {
        let is_asked_to_wait = effect == Effect::Answer(Answer::too_many_requests(7));
        let _storm = proxy.inject(Fault::new(effect.clone()).method("POST"));
        let failures = backend.remove_many(&handles).await;
        assert_eq!(failures.len(), 4, "{effect:?}");
        for (_, error) in failures {
            assert_eq!(error.kind, ErrorKind::Temporary, "{effect:?}: {error:?}");
            assert_eq!(error.retry_after.is_some(), is_asked_to_wait);
        }
        proxy.heal();
    }
    let failures = backend.remove_many(&handles).await;
    assert!(failures.is_empty(), "{failures:?}");
}

/// A request past the backend, with a signature for anything.
async fn raw(server: &Server, path: &str, query: &str, headers: &[(&str, &str)]) {
    let sas = account_sas(server, "rwdlac", 10);
    let (address, account) = (server.http(), server.value("account"));
    let url = format!("{address}/{account}/{path}?{query}&{}", &sas[1..]);
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(plain_tls())
        .no_proxy()
        .build()
        .unwrap();
    let mut request = client
        .put(url)
        .header("x-ms-version", "2021-12-02")
        .header("content-length", "0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    assert!(
        status.is_success(),
        "{status}: {}",
        answer.text().await.unwrap()
    );
}

fn plain_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test]
async fn what_somebody_holds_is_not_removed_and_everything_else_is() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let for_ever = [
        ("x-ms-lease-action", "acquire"),
        ("x-ms-lease-duration", "-1"),
    ];
    for (query, headers, word) in [
        ("comp=lease", &for_ever[..], "lease"),
        ("comp=snapshot", &[], "snapshots"),
    ] {
        let container = container(&server, server.http()).await;
        let backend = with_key(&server, &container, server.http());
        let handles = write_many(&backend, 3).await;
        let path = format!("{container}/a/b/{}", handles[1].path());
        raw(&server, &path, query, headers).await;
        let failures = backend.remove_many(&handles).await;
        assert_eq!(failures.len(), 1, "{failures:?}");
        let alone = backend.remove(&handles[1]).await.unwrap_err();
        assert_eq!(failures[0].0, handles[1]);
        for error in [&failures[0].1, &alone] {
            assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
            assert!(reasons(error).contains(word), "{}", reasons(error));
        }
        assert_eq!(backend.list(FileKind::Index).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn only_packs_of_data_go_to_the_archive() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let place = format!("{}:/r", fresh());
    let variables = super::variables(&server, server.https(), &key(&server));
    let mut options = AzureOptions::parse(&place, &variables).unwrap();
    options.access_tier = Some("archive".to_owned());
    let backend = AzureBackend::new(options, &http(&server)).unwrap();
    backend.create().await.unwrap();
    let (data, content) = object(FileKind::Pack, "data");
    let (trees, _) = object(FileKind::Pack, "trees");
    let trees = trees.with_metadata();
    let (index, _) = object(FileKind::Index, "index");
    for handle in [&data, &trees, &index, &Handle::config()] {
        backend.write(handle, content.clone()).await.unwrap();
    }
    for handle in [&trees, &index, &Handle::config()] {
        assert_eq!(backend.read(handle).await.unwrap(), content, "{handle}");
    }
    for error in [
        backend.read(&data).await.unwrap_err(),
        backend.read_range(&data, 0, 2).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
        let words = reasons(&error);
        assert!(
            words.contains("BlobArchived") && words.contains("tier to Hot"),
            "{words}"
        );
    }
    assert_eq!(backend.stat(&data).await.unwrap().size_bytes, 4);
    assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 2);
    let again = backend.write(&data, content).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::AlreadyExists, "{again:?}");
    backend.remove(&data).await.unwrap();
}

fn stubbed(stub: &StubServer) -> AzureBackend {
    let url = stub.url();
    let variables = backend::Variables::new().or([
        ("AZURE_ACCOUNT_NAME", "account"),
        ("AZURE_ACCOUNT_KEY", "a2V5"),
        ("AZURE_ENDPOINT", url.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), SecretString::from(value))));
    let options = AzureOptions::parse("c:/", &variables).unwrap();
    let http = HttpOptions {
        use_proxies: false,
        ..HttpOptions::default()
    };
    AzureBackend::new(options, &http).unwrap()
}

#[tokio::test]
async fn a_listing_that_does_not_get_on_is_given_up() {
    let page =
        "<EnumerationResults><Blobs></Blobs><NextMarker>again</NextMarker></EnumerationResults>";
    let stub = StubServer::start(move |_| async move { reply(200, "application/xml", page) });
    let backend = stubbed(&stub);
    let error = backend.list(FileKind::Key).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary, "{error:?}");
    assert_eq!(stub.requests().len(), 2);
}

/// What each operation says of servers that are not the service.
async fn outcomes(backend: &AzureBackend) -> Vec<(&'static str, Option<BackendError>)> {
    let (handle, data) = object(FileKind::Pack, "a pack");
    let (other, _) = object(FileKind::Pack, "another pack");
    let mut outcomes = vec![
        ("create", backend.create().await.err()),
        ("stat", backend.stat(&handle).await.err()),
        ("list", backend.list(FileKind::Lock).await.err()),
        ("read", backend.read(&handle).await.err()),
        ("range", backend.read_range(&handle, 0, 2).await.err()),
        ("write", backend.write(&handle, data).await.err()),
        ("remove", backend.remove(&handle).await.err()),
    ];
    let removed = backend.remove_many(&[handle, other]).await;
    outcomes.extend(removed.into_iter().map(|(_, error)| ("batch", Some(error))));
    outcomes
}

#[tokio::test]
async fn nothing_is_done_where_somebody_else_says_yes_or_not_found() {
    for (status, kind, body) in [
        (200, "text/plain", "ok"),
        (200, "application/json", "{}"),
        (201, "text/plain", ""),
        (202, "text/plain", "accepted"),
        (204, "text/plain", ""),
        (404, "text/plain", "no healthy upstream"),
        (410, "text/plain", ""),
    ] {
        let stub = StubServer::start(move |request: Request<Bytes>| async move {
            if request.method() == Method::DELETE && status == 202 {
                return reply(204, kind, body);
            }
            reply(status, kind, body)
        });
        let outcomes = outcomes(&stubbed(&stub)).await;
        assert_eq!(outcomes.len(), 9, "{status}");
        for (what, error) in outcomes {
            let kind = error.map(|error| error.kind);
            assert_eq!(kind, Some(ErrorKind::Temporary), "{status} {what}");
        }
    }
}

#[tokio::test]
async fn an_object_is_absent_in_a_wordless_404_only_where_its_container_is_listed() {
    for (status, body, kind) in [
        (
            200,
            "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>",
            ErrorKind::NotFound,
        ),
        (200, "{}", ErrorKind::Temporary),
        (503, "", ErrorKind::Temporary),
        (403, "", ErrorKind::Temporary),
        (
            404,
            "<Error><Code>ContainerNotFound</Code></Error>",
            ErrorKind::PlaceNotFound,
        ),
    ] {
        let stub = StubServer::start(move |request: Request<Bytes>| async move {
            if request.method() == Method::HEAD {
                return reply(404, "text/plain", "");
            }
            reply(status, "application/xml", body)
        });
        let error = stubbed(&stub).stat(&Handle::config()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status} {body}: {error:?}");
    }
}

#[tokio::test]
async fn an_account_that_does_not_exist_has_no_host() {
    let variables = backend::Variables::new().or([
        ("AZURE_ACCOUNT_NAME", "nobody"),
        ("AZURE_ACCOUNT_KEY", "a2V5"),
        ("AZURE_ENDPOINT_SUFFIX", "core.invalid"),
    ]
    .map(|(name, value)| (name.to_owned(), SecretString::from(value))));
    let options = AzureOptions::parse("c:/", &variables).unwrap();
    let http = HttpOptions {
        use_proxies: false,
        ..HttpOptions::default()
    };
    let backend = AzureBackend::new(options, &http).unwrap();
    let error = backend
        .write(&Handle::config(), Bytes::new())
        .await
        .unwrap_err();
    assert!(
        reasons(&error).contains("nobody.blob.core.invalid"),
        "{error:?}"
    );
}
