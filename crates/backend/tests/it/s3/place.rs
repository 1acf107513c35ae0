//! Buckets and regions.

use std::net::SocketAddr;

use backend::{Backend, ErrorKind, FileKind, Handle, HttpOptions};
use bytes::Bytes;
use http::{Request, Response};
use testkit::servers::offered;
use testkit::stub::{StubServer, reply};

use super::{backend, backend_with, fresh, keys_of, plain, trusting, variables};

fn config() -> Handle {
    Handle::config()
}

#[tokio::test]
async fn a_bucket_is_made_when_it_is_missing_and_found_when_it_is_there() {
    for name in ["minio", "rgw", "moto", "garage"] {
        let Some(server) = offered(name) else {
            continue;
        };
        for address in [server.has_http(), server.has_https()]
            .into_iter()
            .flatten()
        {
            let place = format!("{address}/{}/a/b", fresh());
            let backend = backend(&place, &keys_of(&server), &trusting(&server));
            for error in [
                backend.stat(&config()).await.unwrap_err(),
                backend.read(&config()).await.unwrap_err(),
                backend.list(FileKind::Pack).await.unwrap_err(),
                backend.list(FileKind::Config).await.unwrap_err(),
                backend.write(&config(), "x".into()).await.unwrap_err(),
            ] {
                assert_eq!(error.kind, ErrorKind::PlaceNotFound, "{name}: {error:?}");
            }
            backend.create().await.unwrap();
            backend.create().await.unwrap();
            let error = backend.stat(&config()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::NotFound, "{name}: {error:?}");
            backend.write(&config(), "abc".into()).await.unwrap();
            assert_eq!(backend.stat(&config()).await.unwrap().size_bytes, 3);
        }
    }
}

#[tokio::test]
async fn a_bucket_outside_the_first_region_is_made_there() {
    let Some(server) = offered("moto") else {
        return;
    };
    let place = format!("{}/{}", server.http(), fresh());
    let settings = [("region", "eu-central-1")];
    let backend = backend_with(&place, &keys_of(&server), &plain(), &settings);
    backend.create().await.unwrap();
    backend.create().await.unwrap();
    backend.write(&config(), "x".into()).await.unwrap();
    // A name that is taken, seen with the eyes of a store that does not say by whom.
    let again = backend_with(&place, &keys_of(&server), &plain(), &settings);
    again.create().await.unwrap();
}

#[tokio::test]
async fn a_wrong_region_is_corrected_by_the_answer() {
    let Some(server) = offered("minio") else {
        return;
    };
    let place = format!("{}/{}", server.http(), fresh());
    for region in ["eu-north-1", "us-east-1"] {
        let backend = backend_with(&place, &keys_of(&server), &plain(), &[("region", region)]);
        backend.create().await.unwrap();
        // A HEAD request is the first of the next one, and its refusal has no body.
        let other = backend_with(&place, &keys_of(&server), &plain(), &[("region", region)]);
        let error = other
            .stat(&Handle::new(FileKind::Key, "x"))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    }
}

#[tokio::test]
async fn a_region_that_is_not_given_is_learnt_once() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        let signed_for = request.headers()["authorization"]
            .to_str()
            .unwrap()
            .to_owned();
        if signed_for.contains("/garage/s3/") {
            return reply(
                200,
                "application/xml",
                "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
            );
        }
        reply(
            400,
            "application/xml",
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; \
             expecting 'garage'</Message></Error>",
        )
    });
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let backend = backend(&format!("{}/bucket", stub.url()), &keys, &plain());
    assert!(backend.list(FileKind::Key).await.unwrap().is_empty());
    assert!(backend.list(FileKind::Key).await.unwrap().is_empty());
    assert_eq!(stub.requests().len(), 3, "one refusal, two listings");
}

#[tokio::test]
async fn a_region_that_stays_wrong_ends_after_one_correction() {
    let stub = StubServer::start(|_| async {
        reply(
            400,
            "application/xml",
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong region</Message>\
             <Region>mars-1</Region></Error>",
        )
    });
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let backend = backend(&format!("{}/bucket", stub.url()), &keys, &plain());
    let error = backend.list(FileKind::Key).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert_eq!(stub.requests().len(), 2);
}

/// Amazon sends requests for a bucket of another region there; the host follows.
#[tokio::test]
async fn a_redirection_of_amazon_leads_to_the_host_of_the_region() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        let host = request.headers()["host"].to_str().unwrap();
        if host.starts_with("bucket.s3.eu-west-1.amazonaws.com") {
            return reply(
                200,
                "application/xml",
                "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
            );
        }
        Response::builder()
            .status(301)
            .header("x-amz-bucket-region", "eu-west-1")
            .body(Bytes::new())
            .unwrap()
    });
    let pins = [
        "bucket.s3.amazonaws.com",
        "bucket.s3.eu-west-1.amazonaws.com",
    ]
    .map(|host| {
        (
            host.to_owned(),
            SocketAddr::new(stub.address().ip(), stub.address().port()),
        )
    });
    let http = HttpOptions {
        pins: pins.to_vec(),
        ..plain()
    };
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let backend = backend("http://s3.amazonaws.com/bucket/x", &keys, &http);
    assert!(backend.list(FileKind::Index).await.unwrap().is_empty());
    assert_eq!(
        backend.endpoint().as_deref(),
        Some("http://bucket.s3.eu-west-1.amazonaws.com")
    );
    assert_eq!(stub.requests().len(), 2);
}

#[tokio::test]
async fn a_redirection_elsewhere_is_reported_without_its_query() {
    let stub = StubServer::start(|_| async {
        Response::builder()
            .status(307)
            .header(
                "location",
                "https://other.example/bucket?X-Amz-Signature=abcdef",
            )
            .body(Bytes::new())
            .unwrap()
    });
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let backend = backend(&format!("{}/bucket", stub.url()), &keys, &plain());
    let error = backend.list(FileKind::Key).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    let shown = format!("{error:?} {}", error.source.as_ref().unwrap());
    assert!(shown.contains("https://other.example"), "{shown}");
    assert!(!shown.contains("abcdef"), "{shown}");
}

#[tokio::test]
async fn keys_that_may_not_make_a_bucket_are_told_so() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        if request.method() == "PUT" {
            let body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
            return reply(403, "application/xml", body);
        }
        reply(
            404,
            "application/xml",
            "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>",
        )
    });
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let backend = backend(&format!("{}/bucket", stub.url()), &keys, &plain());
    let error = backend.create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
    let words = error.source.as_ref().unwrap().to_string();
    assert!(words.contains("does not exist"), "{words}");
}
