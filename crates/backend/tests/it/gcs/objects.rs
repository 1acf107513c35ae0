//! Buckets and objects: what is sent, and what the service's answers mean. Where the emulator gives no such answer,
//! a server of the test's own does.

use backend::{Backend, BackendError, ErrorKind, FileKind, GcsBackend, GcsOptions, Handle};
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use testkit::servers::offered;
use testkit::stub::{StubServer, json, reply};

use super::{backend, direct, fresh_bucket, object, options, shown};

fn refusal(status: u16, reason: &str, message: &str) -> Response<Bytes> {
    let error = json!({"code": status, "message": message,
        "errors": [{"domain": "global", "reason": reason, "message": message}]});
    json(status, &json!({"error": error}))
}

/// A server that answers every request so, and a backend on it.
fn answering(
    answer: impl Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
) -> (StubServer, GcsBackend) {
    let stub = StubServer::start(move |request| {
        let answer = answer(&request);
        async move { answer }
    });
    let backend = GcsBackend::new(options_of(&stub), &direct()).unwrap();
    (stub, backend)
}

fn options_of(stub: &StubServer) -> GcsOptions {
    let url = stub.url();
    let pairs = [
        ("STORAGE_EMULATOR_HOST", url.as_str()),
        ("GOOGLE_PROJECT_ID", "a project"),
    ];
    options("bucket:/pre fix/ü", &pairs)
}

fn lines(stub: &StubServer) -> Vec<String> {
    stub.requests()
        .iter()
        .map(|request| format!("{} {}", request.method(), request.uri()))
        .collect()
}

/// One failure of each operation.
async fn failures(backend: &GcsBackend) -> Vec<(&'static str, BackendError)> {
    let (handle, data) = object(FileKind::Pack, "a pack");
    vec![
        ("stat", backend.stat(&handle).await.unwrap_err()),
        ("list", backend.list(FileKind::Pack).await.unwrap_err()),
        ("read", backend.read(&handle).await.unwrap_err()),
        (
            "range",
            backend.read_range(&handle, 1, 2).await.unwrap_err(),
        ),
        (
            "nothing",
            backend.read_range(&handle, 0, 0).await.unwrap_err(),
        ),
        ("write", backend.write(&handle, data).await.unwrap_err()),
        ("remove", backend.remove(&handle).await.unwrap_err()),
    ]
}

#[tokio::test]
async fn a_missing_bucket_is_never_an_absent_object_and_is_made_in_the_project() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let text = format!("{}:/x", fresh_bucket());
    let emulator = ("STORAGE_EMULATOR_HOST", server.http());
    let without = backend(&text, &[emulator]);
    for (what, error) in failures(&without).await {
        assert_eq!(error.kind, ErrorKind::PlaceNotFound, "{what}: {error:?}");
    }
    let error = without.create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PlaceNotFound);
    assert!(shown(&error).contains("GOOGLE_PROJECT_ID"), "{error:?}");
    let with = backend(&text, &[emulator, ("GOOGLE_PROJECT_ID", "project")]);
    with.create().await.unwrap();
    without.create().await.unwrap();
    let absent = without.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(absent.kind, ErrorKind::NotFound, "{absent:?}");
}

#[tokio::test]
async fn a_bucket_is_made_where_the_options_say() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        match *request.method() {
            Method::GET => refusal(404, "notFound", "The specified bucket does not exist."),
            _ => json(200, &json!({"kind": "storage#bucket"})),
        }
    });
    let mut options = options_of(&stub);
    options.region = Some("europe-west1".to_owned());
    let backend = GcsBackend::new(options, &direct()).unwrap();
    backend.create().await.unwrap();
    let made = stub.requests().pop().unwrap();
    assert_eq!(
        made.uri(),
        "/storage/v1/b?project=a%20project&fields=kind,name"
    );
    let body: Value = serde_json::from_slice(made.body()).unwrap();
    assert_eq!(body, json!({"name": "bucket", "location": "europe-west1"}));
}

#[tokio::test]
async fn who_may_use_objects_only_needs_no_right_on_the_bucket() {
    let (stub, backend) = answering(|_| refusal(403, "forbidden", "storage.buckets.get"));
    backend.create().await.unwrap();
    assert_eq!(lines(&stub), ["GET /storage/v1/b/bucket?fields=kind,name"]);
}

#[tokio::test]
async fn a_bucket_that_may_not_be_made_or_is_made_meanwhile() {
    let missing = || refusal(404, "notFound", "The specified bucket does not exist.");
    let (_stub, denied) = answering(move |request| match *request.method() {
        Method::GET => missing(),
        _ => refusal(403, "forbidden", "storage.buckets.create denied"),
    });
    let error = denied.create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert!(shown(&error).contains("storage.buckets.create"));

    let is_made = std::sync::atomic::AtomicBool::new(false);
    let (_stub, raced) = answering(move |request| match *request.method() {
        Method::GET if is_made.load(std::sync::atomic::Ordering::Relaxed) => {
            json(200, &json!({"kind": "storage#bucket", "name": "bucket"}))
        }
        Method::GET => missing(),
        _ => {
            is_made.store(true, std::sync::atomic::Ordering::Relaxed);
            refusal(409, "conflict", "you already own it")
        }
    });
    raced.create().await.unwrap();
}

#[tokio::test]
async fn a_404_without_words_is_an_absent_object_only_where_there_is_a_bucket() {
    for (bucket, kind) in [
        (
            refusal(404, "notFound", "Not Found"),
            ErrorKind::PlaceNotFound,
        ),
        (refusal(403, "forbidden", "no"), ErrorKind::NotFound),
        (
            refusal(403, "rateLimitExceeded", "no"),
            ErrorKind::Temporary,
        ),
        (refusal(503, "backendError", "no"), ErrorKind::Temporary),
        (refusal(401, "authError", "no"), ErrorKind::Unauthenticated),
        (
            json(200, &json!({"kind": "storage#bucket"})),
            ErrorKind::NotFound,
        ),
        (json(200, &json!({})), ErrorKind::Temporary),
    ] {
        let (_stub, backend) = answering(move |request| match request.uri().path() {
            "/storage/v1/b/bucket" => bucket.clone(),
            _ => reply(404, "text/plain", "Not Found"),
        });
        let (handle, _) = object(FileKind::Key, "a key");
        assert_eq!(backend.stat(&handle).await.unwrap_err().kind, kind);
        assert_eq!(backend.read(&handle).await.unwrap_err().kind, kind);
        let removed = backend.remove(&handle).await;
        let expected = (kind != ErrorKind::NotFound).then_some(kind);
        assert_eq!(removed.err().map(|error| error.kind), expected);
    }
    let (stub, backend) = answering(|_| reply(404, "text/html", "No such object: bucket/x"));
    let error = backend.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    assert_eq!(lines(&stub).len(), 1, "the answer was plain enough");
}

#[tokio::test]
async fn nothing_is_absent_or_removed_because_a_stranger_says_so() {
    for (status, body) in [
        (404, "no healthy upstream"),
        (404, ""),
        (404, "<html>404</html>"),
        (404, "{\"status\": \"not found\"}"),
        (410, ""),
        (200, "ok"),
        (200, ""),
        (202, ""),
    ] {
        let (_stub, backend) = answering(move |_| reply(status, "text/plain", body));
        for (what, error) in failures(&backend).await {
            let kind = error.kind;
            assert_eq!(kind, ErrorKind::Temporary, "{what}: {status} {body}");
        }
        let error = backend.create().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Temporary, "{status} {body}");
    }
    // Nor because it will not tell.
    let (_stub, backend) = answering(|request| match request.uri().path() {
        "/storage/v1/b/bucket" => reply(403, "text/plain", "go away"),
        _ => reply(404, "text/plain", "Not Found"),
    });
    let error = backend.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
}

#[tokio::test]
async fn a_listing_of_another_prefix_is_no_listing() {
    let name = "ab".repeat(32);
    for (prefix, is_ours) in [("pre fix/ü/", true), ("", false), ("other/", false)] {
        let key = format!("{prefix}snapshots/{name}");
        let (_stub, backend) = answering(move |_| {
            let items = json!([{"name": key, "size": "3"}]);
            json(200, &json!({"kind": "storage#objects", "items": items}))
        });
        let listed = backend.list(FileKind::Snapshot).await;
        let listed = listed.map(|infos| infos.len()).map_err(|error| error.kind);
        let expected = if is_ours {
            Ok(1)
        } else {
            Err(ErrorKind::Temporary)
        };
        assert_eq!(listed, expected, "{prefix}");
    }
}

#[tokio::test]
async fn refusals_of_any_operation_mean_the_same() {
    let retention = "Object 'x' is subject to bucket's retention policy and cannot be deleted";
    for (status, reason, message, kind) in [
        (
            401,
            "authError",
            "Invalid Credentials",
            ErrorKind::Unauthenticated,
        ),
        (
            403,
            "forbidden",
            "does not have access",
            ErrorKind::PermissionDenied,
        ),
        (
            403,
            "retentionPolicyNotMet",
            retention,
            ErrorKind::PermissionDenied,
        ),
        (
            403,
            "objectUnderActiveHold",
            "is under active hold",
            ErrorKind::PermissionDenied,
        ),
        (
            403,
            "userRateLimitExceeded",
            "slow down",
            ErrorKind::Temporary,
        ),
        (429, "rateLimitExceeded", "slow down", ErrorKind::Temporary),
        (503, "backendError", "later", ErrorKind::Temporary),
    ] {
        let (_stub, backend) = answering(move |_| refusal(status, reason, message));
        for (what, error) in failures(&backend).await {
            assert_eq!(error.kind, kind, "{what}: {error:?}");
            assert!(shown(&error).contains(message), "{what}: {error:?}");
        }
    }
    let (_stub, backend) = answering(|_| refusal(412, "conditionNotMet", "pre-condition"));
    let (handle, data) = object(FileKind::Lock, "a lock");
    let error = backend.write(&handle, data).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_success_that_is_not_the_services_is_a_failure_of_every_operation() {
    let error = refusal(503, "backendError", "later").into_body();
    for body in [Bytes::from("{}"), error, Bytes::from("something else")] {
        let (_stub, backend) = answering(move |_| reply(200, "application/json", body.clone()));
        for (what, error) in failures(&backend).await {
            assert_eq!(error.kind, ErrorKind::Temporary, "{what}: {error:?}");
        }
    }
}

/// The metadata and the content of an upload in one request.
fn parts(request: &Request<Bytes>) -> (Value, Bytes) {
    let kind = request.headers()["content-type"].to_str().unwrap();
    let boundary = kind.strip_prefix("multipart/related; boundary=").unwrap();
    let body = request.body();
    let find = |what: &str, from: usize| {
        let found = body[from..]
            .windows(what.len())
            .position(|at| at == what.as_bytes());
        from + found.unwrap()
    };
    let metadata = find("\r\n\r\n", 0) + 4;
    let next = find(&format!("\r\n--{boundary}\r\n"), metadata);
    let content = find("\r\n\r\n", next + 4) + 4;
    let end = find(&format!("\r\n--{boundary}--\r\n"), content);
    let metadata = serde_json::from_slice(&body[metadata..next]).unwrap();
    (metadata, body.slice(content..end))
}

fn stored(request: &Request<Bytes>, md5: Option<&str>) -> Response<Bytes> {
    let (metadata, content) = parts(request);
    json(
        200,
        &json!({"kind": "storage#object", "name": metadata["name"], "size": content.len().to_string(),
            "md5Hash": md5.map_or(metadata["md5Hash"].clone(), Into::into), "generation": "1234"}),
    )
}

#[tokio::test]
async fn an_upload_says_its_checksum_never_replaces_and_names_a_class_for_packs_of_data_only() {
    let stub = StubServer::start(|request: Request<Bytes>| async move { stored(&request, None) });
    let mut options = options_of(&stub);
    options.storage_class = Some("NEARLINE".to_owned());
    let backend = GcsBackend::new(options, &direct()).unwrap();
    let of = |kind| object(kind, "--content\r\n").0;
    for (handle, class) in [
        (of(FileKind::Pack), json!("NEARLINE")),
        (of(FileKind::Pack).with_metadata(), Value::Null),
        (of(FileKind::Index), Value::Null),
    ] {
        let (_, data) = object(FileKind::Index, "--content\r\n");
        backend.write(&handle, data.clone()).await.unwrap();
        let request = stub.requests().pop().unwrap();
        let query = request.uri().query().unwrap();
        assert!(query.contains("uploadType=multipart&ifGenerationMatch=0"));
        let (metadata, content) = parts(&request);
        assert_eq!(content, data);
        assert_eq!(metadata["md5Hash"], "Hq5tQGXLyq+MTEMr7ktesA==");
        assert_eq!(metadata["storageClass"], class);
        let name = format!("pre fix/ü/{}", handle.path());
        assert_eq!(metadata["name"], name);
    }
}

#[tokio::test]
async fn an_upload_that_arrived_damaged_is_removed_and_fails() {
    let (stub, backend) = answering(|request| match *request.method() {
        Method::POST => stored(request, Some("AAAAAAAAAAAAAAAAAAAAAA==")),
        _ => reply(204, "text/plain", ""),
    });
    let (handle, data) = object(FileKind::Pack, "a pack");
    let error = backend.write(&handle, data).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary);
    let name = format!("pre%20fix%2F%C3%BC%2F{}", handle.path().replace('/', "%2F"));
    assert_eq!(
        lines(&stub)[1],
        format!("DELETE /storage/v1/b/bucket/o/{name}?generation=1234")
    );
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_is_no_listing() {
    let (stub, backend) = answering(|_| {
        json(
            200,
            &json!({"kind": "storage#objects", "nextPageToken": "a+b"}),
        )
    });
    let error = backend.list(FileKind::Snapshot).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary);
    let lines = lines(&stub);
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("prefix=pre%20fix%2F%C3%BC%2Fsnapshots%2F&maxResults=1000"));
    assert!(lines[1].ends_with("&pageToken=a%2Bb"), "{}", lines[1]);
}
