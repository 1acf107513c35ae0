//! What is special about objects in S3.

use backend::{Backend, ErrorKind, FileKind, Handle, S3Backend};
use bytes::Bytes;
use http::{Request, Response};
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, reply};

use super::{backend, backend_with, fresh, keys_of, plain, trusting, variables};

pub fn name(number: usize) -> String {
    format!("{number:064x}")
}

pub fn pack(number: usize) -> Handle {
    Handle::new(FileKind::Pack, name(number))
}

pub fn stubbed(stub: &StubServer) -> S3Backend {
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-key"),
    ]);
    backend(&format!("{}/bucket/p", stub.url()), &keys, &plain())
}

pub fn error_body(status: u16, code: &str, message: &str) -> Response<Bytes> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message>\
         <AWSAccessKeyId>AKIA-IN-BODY</AWSAccessKeyId><StringToSign>TO-SIGN</StringToSign></Error>"
    );
    reply(status, "application/xml", body)
}

async fn kind_after(status: u16, code: &'static str, message: &'static str) -> ErrorKind {
    let stub = StubServer::start(move |_| async move { error_body(status, code, message) });
    let backend = stubbed(&stub);
    let error = backend.list(FileKind::Pack).await.unwrap_err();
    let shown = format!("{error:?} {error} {}", error.source.as_ref().unwrap());
    for hidden in ["AKIA-IN-BODY", "TO-SIGN", "secret-of-the-key"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    assert!(shown.contains(code), "{shown}");
    error.kind
}

#[tokio::test]
async fn every_refusal_has_its_kind_and_shows_no_key() {
    for (status, code, kind) in [
        (403, "InvalidAccessKeyId", ErrorKind::Unauthenticated),
        (403, "SignatureDoesNotMatch", ErrorKind::Unauthenticated),
        (400, "ExpiredToken", ErrorKind::Unauthenticated),
        (400, "InvalidToken", ErrorKind::Unauthenticated),
        (403, "RequestTimeTooSkewed", ErrorKind::ClockSkew),
        (403, "AccessDenied", ErrorKind::PermissionDenied),
        (404, "NoSuchBucket", ErrorKind::PlaceNotFound),
        (503, "SlowDown", ErrorKind::Temporary),
        (500, "InternalError", ErrorKind::Temporary),
        (400, "RequestTimeout", ErrorKind::Temporary),
        (200, "InternalError", ErrorKind::Temporary),
        (200, "AccessDenied", ErrorKind::PermissionDenied),
        (507, "XMinioStorageFull", ErrorKind::NoSpace),
        (403, "QuotaExceeded", ErrorKind::NoSpace),
        (400, "SomethingElse", ErrorKind::Permanent),
    ] {
        assert_eq!(
            kind_after(status, code, "words").await,
            kind,
            "{status} {code}"
        );
    }
}

#[tokio::test]
async fn a_store_without_conditions_on_writes_is_asked_for_them_once() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        if request.headers().contains_key("if-none-match") {
            return error_body(501, "NotImplemented", "A header implies functionality");
        }
        Response::builder()
            .header("etag", "\"x\"")
            .body(Bytes::new())
            .unwrap()
    });
    let backend = stubbed(&stub);
    backend.write(&pack(1), "abc".into()).await.unwrap();
    backend.write(&pack(2), "abc".into()).await.unwrap();
    let asked: Vec<bool> = stub
        .requests()
        .iter()
        .map(|request| request.headers().contains_key("if-none-match"))
        .collect();
    assert_eq!(asked, [true, false, false]);
}

#[tokio::test]
async fn conflicts_of_conditions_are_tried_again_and_taken_names_are_not() {
    for (status, code, kind) in [
        (412, "PreconditionFailed", ErrorKind::AlreadyExists),
        (409, "ConditionalRequestConflict", ErrorKind::Temporary),
        (409, "OperationAborted", ErrorKind::Temporary),
    ] {
        let stub = StubServer::start(move |_| async move { error_body(status, code, "words") });
        let error = stubbed(&stub)
            .write(&pack(1), "x".into())
            .await
            .unwrap_err();
        assert_eq!(error.kind, kind, "{code}");
    }
    // Nothing that a store would answer.
    let stub = StubServer::start(|_| async { reply(200, "text/plain", "ok") });
    let error = stubbed(&stub)
        .write(&pack(1), "x".into())
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary, "{error:?}");
}

#[tokio::test]
async fn objects_in_an_archive_are_told_from_broken_ones() {
    let Some(server) = offered("moto") else {
        return;
    };
    let place = format!("{}/{}", server.http(), fresh());
    let settings = [("storage-class", "GLACIER")];
    let backend = backend_with(&place, &keys_of(&server), &plain(), &settings);
    backend.create().await.unwrap();
    let index = Handle::new(FileKind::Index, name(7));
    backend.write(&pack(1), "data".into()).await.unwrap();
    backend.write(&index, "index".into()).await.unwrap();
    let error = backend.read(&pack(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    let words = error.source.as_ref().unwrap().to_string();
    assert!(words.contains("restore it"), "{words}");
    assert_eq!(backend.stat(&pack(1)).await.unwrap().size_bytes, 4);
    // Only packs of file contents have the class.
    let trees = pack(2).with_metadata();
    backend.write(&trees, "trees".into()).await.unwrap();
    assert_eq!(backend.read(&trees).await.unwrap(), "trees");
    assert_eq!(backend.read(&index).await.unwrap(), "index");
}

#[tokio::test]
async fn a_storage_class_that_the_store_does_not_know_is_an_error_of_packs_only() {
    let Some(server) = offered("minio") else {
        return;
    };
    let place = format!("{}/{}", server.http(), fresh());
    for (class, is_known) in [("REDUCED_REDUNDANCY", true), ("NO_SUCH_CLASS", false)] {
        let settings = [("storage-class", class)];
        let backend = backend_with(&place, &keys_of(&server), &plain(), &settings);
        backend.create().await.unwrap();
        let key = Handle::new(FileKind::Key, name(usize::from(is_known)));
        backend.write(&key, "x".into()).await.unwrap();
        let written = backend.write(&pack(3), "x".into()).await;
        assert_eq!(written.is_ok(), is_known, "{written:?}");
        if let Err(error) = written {
            assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
        }
    }
}

async fn fill(backend: &S3Backend, count: usize) {
    use futures::{StreamExt, TryStreamExt};
    futures::stream::iter(0..count)
        .map(|number| async move { backend.write(&pack(number), "x".into()).await })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .unwrap();
}

async fn lists_pages_and_removes_in_batches(server: &Server, version: &str) {
    let place = format!("{}/{}/pages", server.http(), fresh());
    let settings = [("list-objects-v1", version)];
    let backend = backend_with(&place, &keys_of(server), &plain(), &settings);
    backend.create().await.unwrap();
    let neighbour = format!("{place}-neighbour");
    let neighbour = super::backend(&neighbour, &keys_of(server), &plain());
    neighbour.write(&pack(0), "other".into()).await.unwrap();
    fill(&backend, 1100).await;
    let mut listed: Vec<String> = backend
        .list(FileKind::Pack)
        .await
        .unwrap()
        .into_iter()
        .map(|info| info.name)
        .collect();
    listed.sort();
    assert_eq!(listed, (0..1100).map(name).collect::<Vec<_>>());
    // One that is not there is no failure.
    let handles: Vec<Handle> = (0..1101).map(pack).collect();
    assert!(backend.remove_many(&handles).await.is_empty());
    assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
    assert_eq!(neighbour.read(&pack(0)).await.unwrap(), "other");
}

#[tokio::test]
async fn listings_have_all_pages_and_batches_remove_all() {
    for (server, version) in [
        ("minio", "false"),
        ("minio", "true"),
        ("rgw", "false"),
        ("garage", "false"),
        ("moto", "true"),
    ] {
        let Some(server) = offered(server) else {
            continue;
        };
        lists_pages_and_removes_in_batches(&server, version).await;
    }
}

#[tokio::test]
async fn a_prefix_of_any_letters_is_signed_and_listed() {
    for server in ["minio", "rgw", "moto-iam", "garage"] {
        let Some(server) = offered(server) else {
            continue;
        };
        let prefix = "a%20b+c/ä (x)'!*~=&;,@:$";
        let place = format!(
            "{}/{}/{}",
            server.http(),
            fresh(),
            prefix.replace("ä", "%C3%A4")
        );
        let backend = backend(&place, &keys_of(&server), &plain());
        backend.create().await.unwrap();
        backend.write(&pack(5), "five".into()).await.unwrap();
        assert_eq!(
            backend.list(FileKind::Pack).await.unwrap().len(),
            1,
            "{}",
            server.name()
        );
        assert_eq!(backend.read(&pack(5)).await.unwrap(), "five");
        let both = [pack(5), pack(6)];
        assert!(backend.remove_many(&both).await.is_empty());
        assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_a_batch_could_not_remove_is_told_by_object() {
    let refused = format!("p/data/00/{}", name(2));
    let stub = StubServer::start(move |request: Request<Bytes>| {
        let refused = refused.clone();
        async move {
            assert!(request.headers().contains_key("content-md5"));
            let body = format!(
                "<DeleteResult><Error><Key>{refused}</Key><Code>AccessDenied</Code>\
                 <Message>protected</Message></Error></DeleteResult>"
            );
            reply(200, "application/xml", body)
        }
    });
    let failures = stubbed(&stub).remove_many(&[pack(1), pack(2)]).await;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].0, pack(2));
    assert_eq!(failures[0].1.kind, ErrorKind::PermissionDenied);
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_store_without_batches_is_asked_for_one_once() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        if request.method() == "POST" {
            return error_body(501, "NotImplemented", "no batches");
        }
        reply(204, "text/plain", "")
    });
    let backend = stubbed(&stub);
    for _ in 0..2 {
        assert!(backend.remove_many(&[pack(1), pack(2)]).await.is_empty());
    }
    let posts = stub
        .requests()
        .iter()
        .filter(|request| request.method() == "POST")
        .count();
    assert_eq!((posts, stub.requests().len()), (1, 5));
}

#[tokio::test]
async fn a_batch_that_is_refused_in_a_success_is_a_failure_of_each_object() {
    for body in [
        "<Error><Code>InternalError</Code><Message>try again</Message></Error>",
        "<Something/>",
        "",
    ] {
        let stub = StubServer::start(move |_| async move { reply(200, "application/xml", body) });
        let failures = stubbed(&stub).remove_many(&[pack(1), pack(2)]).await;
        assert_eq!(failures.len(), 2, "{body}");
    }
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_is_no_listing() {
    let stub = StubServer::start(|_| async {
        let body = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
        reply(200, "application/xml", body)
    });
    let error = stubbed(&stub).list(FileKind::Pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
}

#[tokio::test]
async fn objects_are_retained_where_the_bucket_can_lock_them() {
    for name in ["minio", "rgw"] {
        let Some(server) = offered(name) else {
            continue;
        };
        let place = format!("{}/{}", server.https(), fresh());
        let settings = [("retention-mode", "governance"), ("retention-days", "1")];
        let http = trusting(&server);
        let locking = backend_with(&place, &keys_of(&server), &http, &settings);
        locking.create().await.unwrap();
        assert!(locking.can_lock_objects().await.unwrap(), "{name}");
        locking.write(&pack(1), "kept".into()).await.unwrap();
        assert_eq!(locking.read(&pack(1)).await.unwrap(), "kept");
        let lock = Handle::new(FileKind::Lock, super::objects::name(1));
        locking.write(&lock, "lock".into()).await.unwrap();
        locking.remove(&lock).await.unwrap();

        let unlocked = format!("{}/{}", server.https(), fresh());
        backend(&unlocked, &keys_of(&server), &http)
            .create()
            .await
            .unwrap();
        let backend = backend_with(&unlocked, &keys_of(&server), &http, &settings);
        assert!(!backend.can_lock_objects().await.unwrap(), "{name}");
        let error = backend.write(&pack(1), "x".into()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permanent, "{name}: {error:?}");
    }
}

#[tokio::test]
async fn encryption_by_the_store_goes_along_with_every_request() {
    let Some(server) = offered("minio") else {
        return;
    };
    let place = format!("{}/{}", server.https(), fresh());
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let settings = [("customer-key", key)];
    let http = trusting(&server);
    let backend = backend_with(&place, &keys_of(&server), &http, &settings);
    backend.create().await.unwrap();
    backend.write(&pack(1), "secret data".into()).await.unwrap();
    assert_eq!(backend.stat(&pack(1)).await.unwrap().size_bytes, 11);
    assert_eq!(backend.read(&pack(1)).await.unwrap(), "secret data");
    assert_eq!(backend.read_range(&pack(1), 7, 4).await.unwrap(), "data");
    // Without the key there is nothing to read.
    let without = super::backend(&place, &keys_of(&server), &http);
    assert!(without.read(&pack(1)).await.is_err());
    assert!(!format!("{backend:?}").contains(key));
}

#[tokio::test]
async fn the_store_verifies_what_is_written() {
    let Some(server) = offered("moto") else {
        return;
    };
    let place = format!("{}/{}", server.http(), fresh());
    let settings = [
        ("server-side-encryption", "aws:kms"),
        ("kms-key-id", "key-1"),
    ];
    let backend = backend_with(&place, &keys_of(&server), &plain(), &settings);
    backend.create().await.unwrap();
    backend.write(&pack(1), "x".into()).await.unwrap();
    assert_eq!(backend.read(&pack(1)).await.unwrap(), "x");
}
