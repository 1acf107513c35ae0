//! Answers that are not the store's, or not whole: nothing is believed done, absent or complete because of them.

use backend::{Backend, BackendError, ErrorKind, FileKind, S3Backend};
use bytes::Bytes;
use http::{Method, Request, Response};
use testkit::stub::{StubServer, reply};

use super::objects::{error_body, name, pack, stubbed};
use super::{backend_with, plain, variables};

/// What each operation says.
async fn outcomes(backend: &S3Backend) -> Vec<(&'static str, Option<BackendError>)> {
    let mut outcomes = vec![
        ("create", backend.create().await.err()),
        ("stat", backend.stat(&pack(1)).await.err()),
        ("list", backend.list(FileKind::Lock).await.err()),
        ("read", backend.read(&pack(1)).await.err()),
        ("range", backend.read_range(&pack(1), 0, 2).await.err()),
        ("write", backend.write(&pack(1), "abc".into()).await.err()),
        ("remove", backend.remove(&pack(1)).await.err()),
    ];
    let removed = backend.remove_many(&[pack(1), pack(2)]).await;
    outcomes.extend(removed.into_iter().map(|(_, error)| ("batch", Some(error))));
    outcomes
}

#[tokio::test]
async fn nothing_is_absent_because_a_stranger_says_not_found() {
    for (status, body) in [
        (404, "no healthy upstream"),
        (404, ""),
        (404, "<html>404</html>"),
        (404, "<Error><Code>SomethingElse</Code></Error>"),
        (410, ""),
    ] {
        let stub = StubServer::start(move |_| async move { reply(status, "text/plain", body) });
        let outcomes = outcomes(&stubbed(&stub)).await;
        assert_eq!(outcomes.len(), 9, "{status} {body}");
        for (what, error) in outcomes {
            let kind = error.map(|error| error.kind);
            assert_eq!(kind, Some(ErrorKind::Temporary), "{what}: {status} {body}");
        }
    }
}

#[tokio::test]
async fn an_object_is_absent_where_the_store_says_so() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        match *request.method() {
            Method::HEAD => reply(404, "text/plain", ""),
            _ => error_body(404, "NoSuchKey", "none"),
        }
    });
    let backend = stubbed(&stub);
    for error in [
        backend.stat(&pack(1)).await.unwrap_err(),
        backend.read(&pack(1)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    }
    backend.remove(&pack(1)).await.unwrap();
}

#[tokio::test]
async fn an_object_comes_with_its_tag() {
    for body in ["ok", "{\"status\": \"ok\"}", "<p>"] {
        let stub = StubServer::start(move |_| async move { reply(200, "text/plain", body) });
        let backend = stubbed(&stub);
        for error in [
            backend.stat(&pack(1)).await.unwrap_err(),
            backend.read(&pack(1)).await.unwrap_err(),
            backend.read_range(&pack(1), 0, 1).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::Temporary, "{body}: {error:?}");
        }
    }
}

fn content(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><Size>3</Size></Contents>")
}

async fn listed(prefix: &str, version: &str, page: String) -> Result<usize, BackendError> {
    let stub = StubServer::start(move |_| {
        let body = format!("<ListBucketResult>{page}</ListBucketResult>");
        async move { reply(200, "application/xml", body) }
    });
    let keys = variables(&[
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let place = format!("{}/bucket/{prefix}", stub.url());
    let settings = [("list-objects-v1", version)];
    let backend = backend_with(&place, &keys, &plain(), &settings);
    Ok(backend.list(FileKind::Lock).await?.len())
}

#[tokio::test]
async fn a_listing_says_whether_it_is_whole_and_is_that_of_its_prefix() {
    let end = "<IsTruncated>false</IsTruncated>";
    let ours = content(&format!("p/locks/{}", name(1)));
    for version in ["false", "true"] {
        let whole = listed("p", version, format!("{end}{ours}")).await;
        assert_eq!(whole.unwrap(), 1);
        let foreign = format!("{end}{ours}{}", content("p/locks/notes"));
        assert_eq!(listed("p", version, foreign).await.unwrap(), 1);
        let elsewhere = content(&format!("other/locks/{}", name(2)));
        for page in [
            String::new(),
            ours.clone(),
            format!("{end}{ours}{elsewhere}"),
            format!("{end}{elsewhere}"),
            format!("{end}{ours}<NextContinuationToken>next</NextContinuationToken>"),
        ] {
            let error = listed("p", version, page.clone()).await.unwrap_err();
            let is_known = matches!(error.kind, ErrorKind::Temporary | ErrorKind::Permanent);
            assert!(is_known, "{page}: {error:?}");
        }
    }
}

#[tokio::test]
async fn keys_keep_the_spaces_at_their_ends() {
    let end = "<IsTruncated>false</IsTruncated>";
    let ours = content(&format!(" p /locks/{}", name(1)));
    let page = format!("{end}{ours}");
    assert_eq!(listed("%20p%20", "false", page).await.unwrap(), 1);
}

#[tokio::test]
async fn a_batch_whose_refusals_name_no_object_of_it_is_removed_one_by_one() {
    for key in [
        "<Key>something/else</Key>",
        "<Key/>",
        "",
        "<Key>p/data/00</Key>",
    ] {
        let stub = StubServer::start(move |request: Request<Bytes>| async move {
            if request.method() == Method::POST {
                let refused = "<Code>InternalError</Code><Message>words</Message>";
                let body = format!("<DeleteResult><Error>{key}{refused}</Error></DeleteResult>");
                return reply(200, "application/xml", body);
            }
            if request.uri().path().ends_with(&name(2)) {
                return error_body(403, "AccessDenied", "protected");
            }
            reply(204, "text/plain", "")
        });
        let failures = stubbed(&stub).remove_many(&[pack(1), pack(2)]).await;
        assert_eq!(failures.len(), 1, "{key}: {failures:?}");
        assert_eq!(failures[0].0, pack(2));
        assert_eq!(failures[0].1.kind, ErrorKind::PermissionDenied);
        assert_eq!(stub.requests().len(), 3);
    }
}

#[tokio::test]
async fn a_store_that_can_write_nothing_is_still_asked_for_conditions() {
    let stub = StubServer::start(|request: Request<Bytes>| async move {
        if request.uri().path().ends_with(&name(1)) {
            return error_body(501, "NotImplemented", "no such storage class");
        }
        Response::builder()
            .header("etag", "\"x\"")
            .body(Bytes::new())
            .unwrap()
    });
    let backend = stubbed(&stub);
    let error = backend.write(&pack(1), "abc".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    backend.write(&pack(2), "abc".into()).await.unwrap();
    let asked: Vec<bool> = stub
        .requests()
        .iter()
        .map(|request| request.headers().contains_key("if-none-match"))
        .collect();
    assert_eq!(asked, [true, false, true]);
}
