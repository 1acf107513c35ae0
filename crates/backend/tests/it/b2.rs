//! The B2 service against Backblaze's own simulator behind our front.

mod interop;
mod refusals;
mod server;
mod versions;

use backend::{Backend, ErrorKind, FileKind, Handle, Operation};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;

use server::{Place, name_of, place_or_skip};

use crate::results::form_works;

#[tokio::test]
async fn every_method_does_what_the_trait_says() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    backend.create().await.unwrap();
    for kind in FileKind::ALL {
        assert!(backend.list(kind).await.unwrap().is_empty(), "{kind}");
    }
    let pack = Handle::new(FileKind::Pack, name_of(1));
    let error = backend.stat(&pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    let error = backend.read(&pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error:?}");
    backend.remove(&pack).await.unwrap();

    let data = Bytes::from_static(b"0123456789");
    backend.write(&pack, data.clone()).await.unwrap();
    backend
        .write(&Handle::config(), data.clone())
        .await
        .unwrap();
    for handle in [&pack, &Handle::config()] {
        assert_eq!(backend.read(handle).await.unwrap(), data);
        assert_eq!(backend.stat(handle).await.unwrap().size_bytes, 10);
        let listed = backend.list(handle.kind()).await.unwrap();
        assert_eq!(listed, [backend.stat(handle).await.unwrap()]);
        for other in [data.clone(), Bytes::from_static(b"other")] {
            let error = backend.write(handle, other).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error:?}");
        }
        assert_eq!(backend.read(handle).await.unwrap(), data);
    }
    for (offset, length, expected) in [
        (0, 10, "0123456789"),
        (3, 4, "3456"),
        (9, 1, "9"),
        (10, 0, ""),
    ] {
        let part = backend.read_range(&pack, offset, length).await.unwrap();
        assert_eq!(part, expected);
    }
    for (offset, length) in [(9, 2), (10, 1), (11, 0), (500, 1)] {
        let error = backend.read_range(&pack, offset, length).await.unwrap_err();
        assert_eq!(
            error.kind,
            ErrorKind::TooShort,
            "{offset} {length} {error:?}"
        );
    }
    backend
        .write(&Handle::new(FileKind::Lock, name_of(2)), Bytes::new())
        .await
        .unwrap();
    let all: Vec<Handle> = [
        pack,
        Handle::config(),
        Handle::new(FileKind::Lock, name_of(2)),
    ]
    .into();
    let failed = backend.remove_many(&all).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(place.versions("").await, Vec::<String>::new());
    form_works("b2", &place.server, "application key");
}

#[tokio::test]
async fn keys_are_those_of_restic_and_foreign_files_are_not_listed() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.at("/a b//ü/");
    backend.create().await.unwrap();
    let name = name_of(7);
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Key] {
        let handle = Handle::new(kind, name.clone());
        backend
            .write(&handle, Bytes::from_static(b"x"))
            .await
            .unwrap();
    }
    let folder = &name[..2];
    for foreign in [
        format!("a b/ü/data/{name}"),
        format!("a b/ü/data/zz/{name}"),
        format!("a b/ü/index/{name}-tmp"),
        "a b/ü/index/README".to_owned(),
        "a b/ü/configuration".to_owned(),
    ] {
        place.upload(&foreign, b"foreign").await;
    }
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Key] {
        let listed = backend.list(kind).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].name, name);
    }
    assert!(backend.list(FileKind::Config).await.unwrap().is_empty());
    let names = place.versions("a b/ü/data/").await;
    assert!(
        names.contains(&format!("a b/ü/data/{folder}/{name} upload")),
        "{names:?}"
    );
}

#[tokio::test]
async fn listings_of_many_pages_are_whole_and_removing_many_takes_few_calls() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let count = 1_050;
    let handles: Vec<Handle> = (0..count)
        .map(|number| Handle::new(FileKind::Index, name_of(number)))
        .collect();
    place
        .upload_many(handles.iter().map(|handle| format!("r/{}", handle.path())))
        .await;
    let listed = backend.list(FileKind::Index).await.unwrap();
    assert_eq!(listed.len(), handles.len());
    assert!(listed.iter().all(|info| info.size_bytes == 4));

    let before = place.count(Operation::Remove);
    let failed = backend.remove_many(&handles[..200]).await;
    assert!(failed.is_empty(), "{failed:?}");
    let calls = place.count(Operation::Remove) - before;
    assert!(
        (200..=204).contains(&calls),
        "{calls} calls for 200 objects"
    );
    assert_eq!(place.versions("").await.len(), handles.len() - 200);
    // One name alone fills more than a page.
    let name = format!("r/{}", handles[300].path());
    place.upload_many(std::iter::repeat_n(name, 1_000)).await;
    let failed = backend.remove_many(&handles[250..]).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(place.versions("").await.len(), 50);
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_for_all_that_use_it() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let handle = Handle::new(FileKind::Pack, name_of(1));
    let data = Bytes::from_static(b"content");
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(place.count(Operation::Authenticate), 1);
    place.admin("expire", json!({"keyId": place.key_id})).await;
    futures::stream::iter(0..16)
        .for_each_concurrent(None, |_| async {
            assert_eq!(backend.read(&handle).await.unwrap(), data);
        })
        .await;
    assert_eq!(place.count(Operation::Authenticate), 2);
    // Each method meets an expired token first.
    let fresh = Handle::new(FileKind::Pack, name_of(2));
    for step in 0..5 {
        place.admin("expire", json!({"keyId": place.key_id})).await;
        match step {
            0 => backend.write(&fresh, data.clone()).await.unwrap(),
            1 => assert_eq!(backend.stat(&fresh).await.unwrap().size_bytes, 7),
            2 => assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 2),
            3 => assert_eq!(backend.read_range(&fresh, 3, 4).await.unwrap(), "tent"),
            _ => backend.remove(&fresh).await.unwrap(),
        }
        assert_eq!(place.count(Operation::Authenticate), 3 + step);
    }
}

#[tokio::test]
async fn tls_is_verified_with_the_given_authority() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    place.backend().create().await.unwrap();
    let trusting = place.over_tls(Some(place.server.ca_pem()), false);
    assert!(trusting.list(FileKind::Pack).await.unwrap().is_empty());
    let unsure = place.over_tls(None, false);
    let error = unsure.list(FileKind::Pack).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Untrusted, "{error:?}");
    let careless = place.over_tls(None, true);
    assert!(careless.list(FileKind::Pack).await.unwrap().is_empty());
    let endpoint = trusting.endpoint();
    assert_eq!(endpoint.as_deref(), Some(place.server.https()));
}

fn assert_kind(error: &backend::BackendError, kind: ErrorKind, words: &str) {
    assert_eq!(error.kind, kind, "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains(words), "{words:?} is not in {text}");
}

/// Writes a fresh object and says how it went.
async fn write(place: &Place, backend: &impl Backend) -> Result<Handle, backend::BackendError> {
    let handle = Handle::new(FileKind::Pack, name_of(place.next_number()));
    backend
        .write(&handle, Bytes::from_static(b"content"))
        .await
        .map(|()| handle)
}
