//! Shared access signatures: of the account and of one container, as far as they go.

use backend::{AzureBackend, Backend, ErrorKind, FileKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use testkit::servers::{Server, offered};

use super::{backend, container, fresh, object, reasons, refused, shown, works};
use crate::results::form_works;

const VERSION: &str = "2020-08-04";

fn signed(server: &Server, text: &str) -> String {
    let key = STANDARD.decode(server.value("key")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    encoded(&STANDARD.encode(hmac::sign(&key, text.as_bytes())))
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn end(minutes: i64) -> String {
    let end = Timestamp::now() + SignedDuration::from_mins(minutes);
    end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// For all blobs of the account: permissions, and minutes from now until its end.
pub fn account_sas(server: &Server, permissions: &str, minutes: i64) -> String {
    let (account, end) = (server.value("account"), end(minutes));
    let text = format!("{account}\n{permissions}\nb\nsco\n\n{end}\n\nhttps,http\n{VERSION}\n");
    let (signature, end) = (signed(server, &text), encoded(&end));
    format!("?sv={VERSION}&ss=b&srt=sco&sp={permissions}&se={end}&spr=https%2Chttp&sig={signature}")
}

/// For all blobs of one container.
fn container_sas(server: &Server, container: &str, permissions: &str, minutes: i64) -> String {
    let (account, end) = (server.value("account"), end(minutes));
    let place = format!("/blob/{account}/{container}");
    // Permissions, start, end, place, identifier, addresses, protocol, version, resource, snapshot, five headers.
    let text = format!("{permissions}\n\n{end}\n{place}\n\n\nhttps,http\n{VERSION}\nc\n\n\n\n\n\n");
    let (signature, end) = (signed(server, &text), encoded(&end));
    format!("sv={VERSION}&sr=c&sp={permissions}&se={end}&spr=https%2Chttp&sig={signature}")
}

fn with(server: &Server, container: &str, sas: &str) -> AzureBackend {
    let more = [("AZURE_ACCOUNT_SAS", sas)];
    backend(server, container, server.https(), &more)
}

fn signature(sas: &str) -> String {
    sas.split_once("sig=").unwrap().1.to_owned()
}

/// The signature as it is sent, and as it is meant.
fn spellings(sas: &str) -> [String; 2] {
    let sent = signature(sas);
    let pair = format!("s={sent}");
    let meant = url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .unwrap()
        .1;
    let meant = meant.into_owned();
    [sent, meant]
}

#[tokio::test]
async fn a_signature_of_the_account_makes_the_container_and_serves() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let sas = account_sas(&server, "rwdlac", 10);
    for sas in [&sas[..], &sas[1..]] {
        let backend = with(&server, &fresh(), sas);
        backend.create().await.unwrap();
        backend.create().await.unwrap();
        works(&backend).await;
    }
    form_works("azure", &server, "SAS of the account");
}

#[tokio::test]
async fn a_signature_of_the_container_serves_it_and_makes_none() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let there = container(&server, server.https()).await;
    let sas = container_sas(&server, &there, "racwdl", 10);
    let backend = with(&server, &there, &sas);
    backend.create().await.unwrap();
    works(&backend).await;
    form_works("azure", &server, "SAS of the container");

    let missing = fresh();
    let sas = container_sas(&server, &missing, "racwdl", 10);
    let backend = with(&server, &missing, &sas);
    let error = backend.create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");

    // One for another container.
    let other = with(&server, &container(&server, server.https()).await, &sas);
    let spellings = spellings(&sas);
    refused(
        &other,
        ErrorKind::Unauthenticated,
        &[&spellings[0], &spellings[1]],
    )
    .await;
}

#[tokio::test]
async fn a_signature_without_the_right_to_list_still_stores() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let container = container(&server, server.https()).await;
    let sas = container_sas(&server, &container, "racw", 10);
    let backend = with(&server, &container, &sas);
    backend.create().await.unwrap();
    let (handle, data) = object(FileKind::Pack, "stored");
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(backend.read(&handle).await.unwrap(), data);
    let other = object(FileKind::Pack, "another").0;
    let mut errors = vec![
        backend.list(FileKind::Pack).await.unwrap_err(),
        backend.remove(&handle).await.unwrap_err(),
    ];
    let failures = backend.remove_many(&[handle.clone(), other]).await;
    assert_eq!(failures.len(), 2, "{failures:?}");
    errors.extend(failures.into_iter().map(|(_, error)| error));
    for error in errors {
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
        assert!(
            reasons(&error).contains("permissions"),
            "{}",
            reasons(&error)
        );
    }
    assert_eq!(backend.read(&handle).await.unwrap(), data);
}

#[tokio::test]
async fn a_signature_that_may_only_read_is_told_so() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let container = container(&server, server.https()).await;
    for sas in [
        account_sas(&server, "rl", 10),
        container_sas(&server, &container, "rl", 10),
    ] {
        let backend = with(&server, &container, &sas);
        let (handle, data) = object(FileKind::Pack, "refused");
        assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
        for error in [
            backend.write(&handle, data).await.unwrap_err(),
            backend.remove(&handle).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
            for secret in spellings(&sas) {
                assert!(!shown(&backend, &error).contains(&secret));
            }
        }
    }
}

#[tokio::test]
async fn an_expired_or_changed_signature_is_refused_without_being_shown() {
    let Some(server) = offered("azurite") else {
        return;
    };
    let container = container(&server, server.https()).await;
    let good = account_sas(&server, "rwdlac", 10);
    let good_here = container_sas(&server, &container, "racwdl", 10);
    for sas in [
        account_sas(&server, "rwdlac", -10),
        good.replace("sp=rwdlac", "sp=rwdlacu"),
        container_sas(&server, &container, "racwdl", -10),
        good_here.replace("sr=c", "sr=b"),
        good_here.replace("sp=racwdl", "sp=racwdlt"),
    ] {
        let backend = with(&server, &container, &sas);
        let [sent, meant] = spellings(&sas);
        refused(&backend, ErrorKind::Unauthenticated, &[&sent, &meant]).await;
    }
}
