//! The life of tokens: got once for all, renewed before they end and when they are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backend::{Backend, ErrorKind, FileKind, Handle, Operation};
use bytes::Bytes;
use futures::StreamExt;
use http::Response;
use md5::{Digest, Md5};
use testkit::servers::{Server, offered};
use testkit::stub::{StubServer, reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{Account, Place, name_of, version_1};

/// Swift keeps its tokens in memcached, under the hash of their names.
async fn forget(server: &Server, token: &str) {
    let address = format!("127.0.0.1:{}", server.value("memcached"));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let key = hex::encode(Md5::digest(format!("AUTH_/token/{token}")));
    stream
        .write_all(format!("delete {key}\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"DELETED\r\n");
}

#[tokio::test]
async fn a_token_that_the_server_forgot_is_renewed_once_for_all_that_use_it() {
    let Some(server) = offered("swift") else {
        return;
    };
    let settings = version_1(&server, "brief_");
    let place = Place::new(settings.clone());
    let backend = place.backend();
    backend.create().await.unwrap();
    let handle = Handle::new(FileKind::Pack, name_of(1));
    let data = Bytes::from_static(b"content");
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(place.count(Operation::Authenticate), 1);
    // The same user has the same token until it ends.
    forget(&server, &Account::enter(&settings).await.token).await;
    futures::stream::iter(0..16)
        .for_each_concurrent(None, |_| async {
            assert_eq!(backend.read(&handle).await.unwrap(), data);
        })
        .await;
    assert_eq!(place.count(Operation::Authenticate), 2);
    let fresh = Handle::new(FileKind::Pack, name_of(2));
    for step in 0..5 {
        forget(&server, &Account::enter(&settings).await.token).await;
        match step {
            0 => backend.write(&fresh, data.clone()).await.unwrap(),
            1 => assert_eq!(backend.stat(&fresh).await.unwrap().size_bytes, 7),
            2 => assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 2),
            3 => assert_eq!(backend.read_range(&fresh, 3, 4).await.unwrap(), "tent"),
            _ => assert!(
                backend
                    .remove_many(&[fresh.clone(), handle.clone()])
                    .await
                    .is_empty()
            ),
        }
        assert_eq!(place.count(Operation::Authenticate), 3 + step);
    }
}

/// A token service that counts, and an account where every listing is empty.
fn stub(answer: impl Fn(u64) -> Response<Bytes> + Send + Sync + 'static) -> StubServer {
    let count = AtomicU64::new(0);
    let answer = Arc::new(answer);
    StubServer::start(move |request: http::Request<Bytes>| {
        let is_login = request.uri().path() == "/auth/v1.0";
        let number = if is_login {
            count.fetch_add(1, Ordering::SeqCst)
        } else {
            0
        };
        let answer = answer.clone();
        async move {
            if is_login {
                let mut reply = answer(number);
                let host = request.headers()["host"].to_str().unwrap();
                let storage = format!("http://{host}/v1/AUTH_x");
                reply
                    .headers_mut()
                    .insert("x-storage-url", storage.parse().unwrap());
                return reply;
            }
            let token = request.headers()["x-auth-token"].to_str().unwrap();
            match token {
                "refused-token" => reply(401, "text/plain", "refused-token is no token"),
                _ => reply(200, "application/json", "[]"),
            }
        }
    })
}

fn granted(token: &str, life: &str) -> Response<Bytes> {
    Response::builder()
        .status(200)
        .header("x-auth-token", token)
        .header("x-auth-token-expires", life)
        .body(Bytes::new())
        .unwrap()
}

fn place(server: &StubServer) -> Place {
    Place::new(vec![
        ("ST_AUTH", format!("{}/auth/v1.0", server.url())),
        ("ST_USER", "me".to_owned()),
        ("ST_KEY", "key-of-mine".to_owned()),
    ])
}

/// All of them wait for the same token before the first request is answered: they take turns on one thread.
async fn list_at_once(place: &Place) -> Vec<Option<backend::BackendError>> {
    let backend = place.backend();
    futures::stream::iter(0..10)
        .map(|_| async { backend.list(FileKind::Pack).await.err() })
        .buffer_unordered(10)
        .collect()
        .await
}

#[tokio::test]
async fn a_token_that_ends_is_renewed_before_it_is_refused() {
    let server = stub(|number| granted(&format!("token-{number}"), "0"));
    let place = place(&server);
    let backend = place.backend();
    for number in 1..4 {
        backend.list(FileKind::Pack).await.unwrap();
        assert_eq!(place.count(Operation::Authenticate), number);
    }
    let server = stub(|number| granted(&format!("token-{number}"), "3600"));
    let place = self::place(&server);
    let backend = place.backend();
    for _ in 0..3 {
        backend.list(FileKind::Pack).await.unwrap();
    }
    assert_eq!(place.count(Operation::Authenticate), 1);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_by_all_that_wait() {
    let server = stub(|_| reply(401, "text/plain", "key-of-mine is wrong"));
    let place = place(&server);
    for error in list_at_once(&place).await {
        let error = error.unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
        place.assert_hidden(&error);
    }
    assert_eq!(place.count(Operation::Authenticate), 1);
    let server = stub(|_| reply(498, "text/plain", "slow down"));
    let place = self::place(&server);
    let error = place.backend().list(FileKind::Pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary, "{error:?}");
}

#[tokio::test]
async fn a_token_that_stays_refused_is_given_up_and_never_shown() {
    let server = stub(|_| granted("refused-token", "3600"));
    let place = place(&server);
    let error = place.backend().list(FileKind::Pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error:?}");
    assert!(!format!("{error:?}").contains("refused-token"), "{error:?}");
    assert_eq!(place.count(Operation::Authenticate), 2);
    assert_eq!(place.count(Operation::List), 2);
}
