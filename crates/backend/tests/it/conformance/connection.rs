//! Servers that are not there, and servers that are not who they should be.

use std::net::{Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use backend::{BackendError, ErrorKind, FileKind, Handle, HttpOptions};
use testkit::certificates::{Authority, Certificate, Validity};

use super::subject::{Object, Place, SOON};
use super::{Subject, Verdict};

const NO_NETWORK: Verdict = Verdict::Skipped("it is not reached over TCP");

/// What a single question to this address ends in.
async fn ask(subject: &Subject, place: &Place) -> Result<(), BackendError> {
    match (subject.make)(place).stat(&Handle::config()).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

pub async fn an_unknown_host_ends_within_seconds(subject: Arc<Subject>) -> Verdict {
    if subject.network.is_none() {
        return NO_NETWORK;
    }
    // Too long for a name, which the resolver says without asking anyone outside.
    let host = format!("{}.example", "x".repeat(64));
    let place = Place {
        origin: format!("http://{host}:80"),
        ..subject.place()
    };
    let start = Instant::now();
    let error = ask(&subject, &place).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    Verdict::Passed
}

pub async fn a_refused_connection_ends_within_seconds(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let weather = subject.behind_proxy(network).await;
    weather.proxy.refuse();
    let start = Instant::now();
    let error = weather.backend.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Temporary, "{error:?}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    weather.proxy.accept();
    let error = weather.backend.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    Verdict::Passed
}

pub async fn certificates_are_verified(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    let place = subject.place();
    (subject.make)(&place).create().await.unwrap();
    let authority = Authority::new();
    let showing = async |certificate: Certificate, http: HttpOptions| {
        let proxy = subject.in_front(network).tls(&certificate).start();
        let place = Place {
            origin: proxy.url(),
            http: HttpOptions {
                use_proxies: false,
                ..http
            },
            ..place.clone()
        };
        ask(&subject, &place).await
    };
    let trusting = || HttpOptions {
        ca_certificates: Some(authority.pem()),
        ..HttpOptions::default()
    };
    let insecure = || HttpOptions {
        insecure_tls: true,
        ..HttpOptions::default()
    };
    let good = authority.loopback();
    let other = authority.server(&["other.example"]);
    let expired = authority.server_valid(&["127.0.0.1"], Validity::Expired);
    showing(good.clone(), trusting()).await.unwrap();
    showing(good.clone(), insecure()).await.unwrap();
    showing(other.clone(), insecure()).await.unwrap();
    for (what, result) in [
        (
            "an unknown authority",
            showing(good, HttpOptions::default()).await,
        ),
        ("another name", showing(other, trusting()).await),
        ("an expired one", showing(expired, trusting()).await),
    ] {
        let error = result.expect_err(what);
        assert_eq!(error.kind, ErrorKind::Untrusted, "{what}: {error:?}");
    }
    Verdict::Passed
}

pub async fn servers_are_reached_over_ipv6(subject: Arc<Subject>) -> Verdict {
    let Some(network) = &subject.network else {
        return NO_NETWORK;
    };
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return Verdict::Skipped("this machine has no IPv6");
    }
    let authority = Authority::new();
    let before = || subject.in_front(network).on(Ipv6Addr::LOCALHOST.into());
    for (seed, proxy) in [before(), before().tls(&authority.loopback())]
        .into_iter()
        .enumerate()
    {
        let proxy = proxy.start();
        assert!(proxy.url().contains("://[::1]:"), "{}", proxy.url());
        let place = subject.place();
        let backend = subject
            .ready(&Place {
                origin: proxy.url(),
                http: HttpOptions {
                    ca_certificates: Some(authority.pem()),
                    ..place.http.clone()
                },
                ..place
            })
            .await;
        let object = Object::new(FileKind::Pack, 90 + seed as u64, 3000);
        let Object { handle, data } = object;
        backend.write(&handle, data.clone()).await.unwrap();
        assert!(backend.read(&handle).await.unwrap() == data);
        assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 1);
        backend.remove(&handle).await.unwrap();
    }
    Verdict::Passed
}
