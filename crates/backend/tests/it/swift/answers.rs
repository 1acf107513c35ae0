//! Answers that the real Swift does not give on demand, from a server of the test's own.

use backend::{Backend, ErrorKind, FileKind, Handle, SwiftBackend};
use bytes::Bytes;
use http::{Method, Request, Response};
use parking_lot::Mutex;
use serde_json::json;
use testkit::stub::{StubServer, json as answer, reply};

use super::server::{Place, name_of};

fn pack(number: u64) -> Handle {
    Handle::new(FileKind::Pack, name_of(number))
}

/// A cluster whose objects are at most `limit` bytes, which answers everything else so.
fn answering(
    limit: usize,
    answers: impl Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
) -> (StubServer, SwiftBackend) {
    let abilities = json!({"swift": {"max_file_size": limit}, "slo": {"max_manifest_segments": 9}});
    let stub = StubServer::start(move |request| {
        let answer = if request.uri().path() == "/info" {
            answer(200, &abilities)
        } else {
            answers(&request)
        };
        async move { answer }
    });
    let place = Place::new(vec![
        ("OS_STORAGE_URL", format!("{}/v1/a", stub.url())),
        ("OS_AUTH_TOKEN", "token".to_owned()),
    ]);
    let backend = place.backend();
    (stub, backend)
}

fn empty(status: u16) -> Response<Bytes> {
    reply(status, "text/plain", "")
}

fn query(request: &Request<Bytes>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    pairs.find_map(|(known, value)| (known == name).then(|| value.into_owned()))
}

#[tokio::test]
async fn a_cluster_of_short_pages_is_listed_to_the_end_without_asking_for_a_size() {
    let mut names: Vec<String> = (0..7).map(name_of).collect();
    names.sort();
    let (_stub, backend) = answering(1 << 30, move |request| {
        if query(request, "limit").is_some() {
            return empty(412);
        }
        let marker = query(request, "marker").unwrap();
        let keys = names
            .iter()
            .map(|name| format!("r/data/{}/{name}", &name[..2]));
        let page: Vec<_> = keys
            .filter(|key| *key > marker)
            .take(2)
            .map(|key| json!({"name": key, "bytes": 5}))
            .collect();
        answer(200, &page.into())
    });
    assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 7);
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_is_an_error_and_not_its_end() {
    let (_stub, backend) = answering(1 << 30, |_| {
        let name = name_of(1);
        let key = format!("r/data/{}/{name}", &name[..2]);
        answer(200, &json!([{"name": key, "bytes": 5}]))
    });
    let error = backend.list(FileKind::Pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary, "{error:?}");
}

#[tokio::test]
async fn only_a_write_takes_a_failed_condition_for_a_taken_name() {
    let (_stub, backend) = answering(1 << 30, |_| empty(412));
    let errors = [
        backend.list(FileKind::Pack).await.unwrap_err(),
        backend.read(&pack(1)).await.unwrap_err(),
        backend.stat(&pack(1)).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    }
    let error = backend.write(&pack(1), "x".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error:?}");
}

const SIZE: usize = 1 << 20;

/// Which segments a failed write of three removes again, when the manifest is answered so, the third segment so, and
/// the stored object has these segments of it.
async fn removed_after(manifest: u16, segment: u16, used: Option<&'static [usize]>) -> usize {
    let stored: Mutex<Vec<String>> = Mutex::default();
    let (stub, backend) = answering(SIZE, move |request| {
        let path = request.uri().path();
        let is_segment = path.contains("_segments/");
        match *request.method() {
            Method::PUT if is_segment && path.ends_with("00000002") => empty(segment),
            Method::PUT if is_segment => {
                stored
                    .lock()
                    .push(path.trim_start_matches("/v1/a").to_owned());
                empty(201)
            }
            Method::PUT => empty(manifest),
            Method::HEAD if path.ends_with(&name_of(1)) => empty(404),
            Method::GET => match used {
                None => empty(404),
                Some(used) => {
                    let stored = stored.lock();
                    let parts: Vec<_> = used
                        .iter()
                        .map(|number| json!({"name": stored[*number], "hash": "x", "bytes": SIZE}))
                        .collect();
                    let mut reply = answer(200, &parts.into());
                    let is_large = http::HeaderValue::from_static("True");
                    reply
                        .headers_mut()
                        .insert("x-static-large-object", is_large);
                    reply
                }
            },
            _ => empty(204),
        }
    });
    let data = Bytes::from(vec![7; 2 * SIZE + 5]);
    backend.write(&pack(1), data).await.unwrap_err();
    let requests = stub.requests();
    requests
        .iter()
        .filter(|request| request.method() == Method::DELETE)
        .count()
}

#[tokio::test]
async fn the_segments_of_a_large_object_that_failed_go_unless_an_object_uses_them() {
    assert_eq!(removed_after(201, 403, None).await, 3);
    assert_eq!(removed_after(201, 503, None).await, 3);
    assert_eq!(removed_after(403, 201, None).await, 3);
    assert_eq!(removed_after(412, 201, Some(&[])).await, 3);
    assert_eq!(removed_after(412, 201, Some(&[0])).await, 2);
    // Whether the manifest was stored is unknown.
    assert_eq!(removed_after(503, 201, None).await, 0);
}

#[tokio::test]
async fn a_large_object_counts_as_removed_only_when_the_answer_says_so() {
    for (status, deleted, missing, expected) in [
        ("200 OK", 3, 0, None),
        ("404 Not Found", 0, 1, None),
        ("200 OK", 0, 0, Some(ErrorKind::Temporary)),
        ("502 Bad Gateway", 1, 0, Some(ErrorKind::Temporary)),
        ("403 Forbidden", 0, 0, Some(ErrorKind::PermissionDenied)),
    ] {
        let (_stub, backend) = answering(SIZE, move |request| match *request.method() {
            Method::GET => answer(200, &json!([{"name": "r/segment", "bytes": 5}])),
            Method::HEAD => {
                let mut reply = empty(200);
                let is_large = http::HeaderValue::from_static("True");
                reply
                    .headers_mut()
                    .insert("x-static-large-object", is_large);
                reply
            }
            _ => {
                let outcome = json!({"Number Deleted": deleted, "Number Not Found": missing,
                    "Response Status": status, "Response Body": "", "Errors": []});
                answer(200, &outcome)
            }
        });
        let kind = backend.remove(&pack(1)).await.err().map(|error| error.kind);
        assert_eq!(kind, expected, "{status}");
    }
}
