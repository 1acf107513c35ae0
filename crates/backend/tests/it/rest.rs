//! The REST service against rest-server in all its modes.

use backend::{
    Backend, ErrorKind, FileKind, Handle, HttpOptions, RestBackend, RestOptions, Variables,
};
use bytes::Bytes;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, json, reply};

use crate::results::form_works;

fn backend(url: &str, http: &HttpOptions) -> RestBackend {
    RestBackend::new(RestOptions::parse(url, &Variables::new()).unwrap(), http).unwrap()
}

fn trusting(server: &Server) -> HttpOptions {
    HttpOptions {
        ca_certificates: Some(server.ca_pem()),
        ..HttpOptions::default()
    }
}

fn fresh() -> String {
    format!("r{:016x}", rand::random::<u64>())
}

/// The URL of a repository of this user.
fn url_of(server: &Server, user: &str, password: &str, path: &str) -> String {
    let host = server.https().strip_prefix("https://").unwrap();
    format!("https://{user}:{password}@{host}/{path}/")
}

fn object(kind: FileKind, text: &str) -> (Handle, Bytes) {
    let name = hex::encode(Sha256::digest(text));
    (Handle::new(kind, name), Bytes::from(text.to_owned()))
}

/// Everything that a repository does.
async fn works(backend: &RestBackend) {
    backend.create().await.unwrap();
    let config = backend.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(config.kind, ErrorKind::NotFound, "{config:?}");
    backend
        .write(&Handle::config(), "config".into())
        .await
        .unwrap();
    for kind in [
        FileKind::Key,
        FileKind::Lock,
        FileKind::Snapshot,
        FileKind::Index,
        FileKind::Pack,
    ] {
        let (handle, data) = object(kind, "the content of an object");
        backend.write(&handle, data.clone()).await.unwrap();
        let again = backend.write(&handle, data.clone()).await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::AlreadyExists, "{again:?}");
        assert_eq!(backend.read(&handle).await.unwrap(), data);
        assert_eq!(backend.read_range(&handle, 4, 7).await.unwrap(), "content");
        let long = backend.read_range(&handle, 4, 700).await.unwrap_err();
        assert_eq!(long.kind, ErrorKind::TooShort, "{long:?}");
        let past = backend.read_range(&handle, 400, 7).await.unwrap_err();
        assert_eq!(past.kind, ErrorKind::TooShort, "{past:?}");
        let listed = backend.list(kind).await.unwrap();
        assert_eq!(listed, [backend.stat(&handle).await.unwrap()]);
        assert_eq!(listed[0].size_bytes, data.len() as u64);
    }
}

async fn removes_everything(backend: &RestBackend) {
    for kind in [
        FileKind::Key,
        FileKind::Lock,
        FileKind::Snapshot,
        FileKind::Index,
        FileKind::Pack,
    ] {
        let handle = object(kind, "the content of an object").0;
        backend.remove(&handle).await.unwrap();
        backend.remove(&handle).await.unwrap();
        assert_eq!(
            backend.stat(&handle).await.unwrap_err().kind,
            ErrorKind::NotFound
        );
        assert!(backend.list(kind).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_open_server_serves_with_and_without_tls() {
    let Some(server) = offered("rest-server") else {
        return;
    };
    for address in [server.http(), server.https()] {
        let backend = backend(&format!("{address}/{}", fresh()), &trusting(&server));
        works(&backend).await;
        removes_everything(&backend).await;
    }
    form_works("rest", &server, "none");
}

#[tokio::test]
async fn a_server_on_a_unix_socket_serves() {
    let Some(server) = offered("rest-server-unix") else {
        return;
    };
    let url = format!("http+unix://{}:/{}/", server.value("socket"), fresh());
    let backend = backend(&url, &HttpOptions::default());
    works(&backend).await;
    removes_everything(&backend).await;
}

#[tokio::test]
async fn users_reach_their_own_repositories_only_and_no_password_is_shown() {
    let Some(server) = offered("rest-server-auth") else {
        return;
    };
    let (user, password) = (server.value("username"), server.value("password"));
    let http = trusting(&server);
    let own = backend(
        &url_of(&server, user, password, &format!("{user}/{}", fresh())),
        &http,
    );
    works(&own).await;
    removes_everything(&own).await;
    form_works("rest", &server, "user and password");

    let other = url_of(
        &server,
        user,
        password,
        &format!("{}/x", server.value("other_username")),
    );
    let wrong = url_of(&server, user, "not-the-password", &format!("{user}/x"));
    let nobody = format!("{}/{user}/x/", server.https());
    for (url, word) in [
        (other, password),
        (wrong, "not-the-password"),
        (nobody, "Basic"),
    ] {
        let backend = backend(&url, &http);
        let error = backend.stat(&Handle::config()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
        let shown = format!("{error:?} {error} {backend:?} {}", backend.location());
        assert!(!shown.contains(word), "{shown}");
    }
}

#[tokio::test]
async fn the_variables_of_restic_name_user_and_password() {
    let Some(server) = offered("rest-server-auth") else {
        return;
    };
    let text = |name: &str| SecretString::from(server.value(name));
    let variables = Variables::new().or([
        ("RESTIC_REST_USERNAME".to_owned(), text("username")),
        ("RESTIC_REST_PASSWORD".to_owned(), text("password")),
    ]);
    let url = format!(
        "{}/{}/{}",
        server.https(),
        server.value("username"),
        fresh()
    );
    let options = RestOptions::parse(&url, &variables).unwrap();
    works(&RestBackend::new(options, &trusting(&server)).unwrap()).await;
}

#[tokio::test]
async fn an_append_only_server_refuses_removal_of_all_but_locks() {
    let Some(server) = offered("rest-server-append-only") else {
        return;
    };
    let url = url_of(
        &server,
        server.value("username"),
        server.value("password"),
        &fresh(),
    );
    let backend = backend(&url, &trusting(&server));
    works(&backend).await;
    let pack = object(FileKind::Pack, "the content of an object").0;
    let error = backend.remove(&pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
    backend
        .remove(&object(FileKind::Lock, "the content of an object").0)
        .await
        .unwrap();
    assert!(backend.list(FileKind::Lock).await.unwrap().is_empty());
    assert!(backend.stat(&pack).await.is_ok());
}

#[tokio::test]
async fn certificates_that_are_not_known_are_refused_unless_any_is_accepted() {
    let Some(server) = offered("rest-server") else {
        return;
    };
    let url = format!("{}/{}", server.https(), fresh());
    let error = backend(&url, &HttpOptions::default())
        .stat(&Handle::config())
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Untrusted, "{error:?}");
    let any = HttpOptions {
        insecure_tls: true,
        ..HttpOptions::default()
    };
    let error = backend(&url, &any)
        .stat(&Handle::config())
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    let port = server.https().rsplit_once(':').unwrap().1;
    let plain = backend(
        &format!("http://localhost:{port}/x"),
        &HttpOptions::default(),
    );
    let error = plain.stat(&Handle::config()).await.unwrap_err();
    assert!(!error.is_not_found() && !error.is_temporary(), "{error:?}");
}

#[tokio::test]
async fn a_missing_repository_is_not_an_empty_one() {
    let Some(server) = offered("rest-server") else {
        return;
    };
    let backend = backend(
        &format!("{}/{}", server.http(), fresh()),
        &HttpOptions::default(),
    );
    assert!(
        backend
            .list(FileKind::Snapshot)
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test]
async fn the_listing_of_a_server_of_version_1_is_completed_by_sizes() {
    let name = "ab".repeat(32);
    let listed = name.clone();
    let stub = StubServer::start(move |request: http::Request<Bytes>| {
        let name = listed.clone();
        async move {
            match (request.method().as_str(), request.uri().path()) {
                ("GET", "/r/index/") => json(200, &serde_json::json!([name, "cd".repeat(32)])),
                ("HEAD", path) if path.ends_with(&name) => {
                    reply(200, "application/octet-stream", "12345")
                }
                _ => reply(404, "text/plain", ""),
            }
        }
    });
    let backend = backend(&format!("{}/r/", stub.url()), &HttpOptions::default());
    let listed = backend.list(FileKind::Index).await.unwrap();
    assert_eq!(listed.len(), 1, "what is gone since is left out");
    assert_eq!(
        (listed[0].name.as_str(), listed[0].size_bytes),
        (name.as_str(), 5)
    );
}

#[tokio::test]
async fn a_page_that_is_no_listing_is_refused() {
    let stub = StubServer::start(|_| async { reply(200, "text/html", "<html>Log in</html>") });
    let backend = backend(&stub.url(), &HttpOptions::default());
    let error = backend.list(FileKind::Snapshot).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
}

#[tokio::test]
async fn only_a_missing_folder_of_locks_is_an_empty_one() {
    for (server, is_empty) in [("nginx", true), ("rclone/v1.70", false)] {
        let stub = StubServer::start(move |_| async move {
            let mut answer = reply(404, "text/plain", "Not Found");
            let name = http::HeaderValue::from_static(server);
            answer.headers_mut().insert("server", name);
            answer
        });
        let backend = backend(&format!("{}/r/", stub.url()), &HttpOptions::default());
        let locks = backend.list(FileKind::Lock).await;
        assert_eq!(locks.is_ok_and(|found| found.is_empty()), is_empty);
        let error = backend.list(FileKind::Snapshot).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    }
}
