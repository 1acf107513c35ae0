//! Names, listings, conditions, quotas and removal on the real server.

use backend::{Backend, ErrorKind, FileKind, Handle, Operation};
use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use testkit::servers::{Server, offered};

use super::server::{Account, Place, name_of, version_1};

fn place_or_skip() -> Option<(Server, Place)> {
    let server = offered("swift")?;
    let place = Place::new(version_1(&server, "user"));
    Some((server, place))
}

fn pack(number: u64) -> Handle {
    Handle::new(FileKind::Pack, name_of(number))
}

#[tokio::test]
async fn a_container_that_is_missing_is_told_from_an_object_that_is() {
    let Some((_, place)) = place_or_skip() else {
        return;
    };
    let backend = place.backend();
    let errors = [
        backend.stat(&pack(1)).await.unwrap_err(),
        backend.read(&pack(1)).await.unwrap_err(),
        backend.list(FileKind::Pack).await.unwrap_err(),
        backend.write(&pack(1), "abc".into()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::PlaceNotFound, "{error:?}");
    }
    backend.create().await.unwrap();
    backend.create().await.unwrap();
    assert!(backend.stat(&pack(1)).await.unwrap_err().is_not_found());
    assert!(backend.read(&pack(1)).await.unwrap_err().is_not_found());
    backend.remove(&pack(1)).await.unwrap();
}

#[tokio::test]
async fn a_new_container_has_the_storage_policy_that_is_asked_for() {
    let Some((server, place)) = place_or_skip() else {
        return;
    };
    let policy = server.value("policy");
    let chosen = place.with("SWIFT_DEFAULT_CONTAINER_POLICY", policy);
    chosen.backend().create().await.unwrap();
    let account = Account::enter(&place.settings).await;
    let reply = account.ask(Method::HEAD, &place.container, &[], b"").await;
    assert_eq!(reply.headers()["x-storage-policy"], policy);
    let unknown =
        Place::new(version_1(&server, "user")).with("SWIFT_DEFAULT_CONTAINER_POLICY", "lead");
    let error = unknown.backend().create().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent, "{error:?}");
    assert!(
        format!("{error:?}").contains("X-Storage-Policy"),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_object_is_never_replaced_and_foreign_names_are_not_listed() {
    let Some((_, place)) = place_or_skip() else {
        return;
    };
    let backend = place.at("/a b/ü");
    backend.create().await.unwrap();
    backend.write(&pack(1), "first".into()).await.unwrap();
    let error = backend.write(&pack(1), "second".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error:?}");
    assert_eq!(backend.read(&pack(1)).await.unwrap(), "first");
    let account = Account::enter(&place.settings).await;
    let name = name_of(1);
    for foreign in [
        format!("a%20b/%C3%BC/data/{}/{name}", &name[..2]),
        format!("/a%20b/%C3%BC/data/zz/{name}"),
        "/a%20b/%C3%BC/data/README".to_owned(),
        "/a%20b/%C3%BC/configuration".to_owned(),
    ] {
        let path = format!("{}/{foreign}", place.container);
        let reply = account.ask(Method::PUT, &path, &[], b"foreign").await;
        assert_eq!(reply.status(), 201, "{foreign}");
    }
    let listed = backend.list(FileKind::Pack).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (listed[0].name.as_str(), listed[0].size_bytes),
        (name.as_str(), 5)
    );
    assert!(backend.list(FileKind::Config).await.unwrap().is_empty());
    let names = account.names(&place.container).await;
    let expected = format!("/a b/ü/data/{}/{name}", &name[..2]);
    assert!(names.contains(&expected), "{names:?}");
}

#[tokio::test]
async fn many_objects_are_removed_by_few_requests() {
    let Some((_, place)) = place_or_skip() else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let handles: Vec<Handle> = (0..120)
        .map(|number| Handle::new(FileKind::Index, name_of(number)))
        .collect();
    futures::stream::iter(&handles[..100])
        .for_each_concurrent(5, |handle| async {
            backend.write(handle, "abcd".into()).await.unwrap();
        })
        .await;
    assert_eq!(backend.list(FileKind::Index).await.unwrap().len(), 100);
    // Some are there and some are not.
    let failed = backend.remove_many(&handles).await;
    assert!(failed.is_empty(), "{failed:?}");
    let calls = place.count(Operation::Remove);
    assert!(calls <= 3, "{calls} requests");
    let account = Account::enter(&place.settings).await;
    assert_eq!(account.names(&place.container).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_many_removals_each_that_is_forbidden_is_told() {
    let Some((server, place)) = place_or_skip() else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let handles: Vec<Handle> = (0..3).map(pack).collect();
    for handle in &handles {
        backend.write(handle, "abcd".into()).await.unwrap();
    }
    let account = Account::enter(&place.settings).await;
    let reader = [("x-container-read", "test:guest,.rlistings")];
    account
        .ask(Method::POST, &place.container, &reader, b"")
        .await;
    let guest = Place {
        container: place.container.clone(),
        ..Place::new(version_1(&server, "guest_"))
    };
    assert_eq!(guest.backend().read(&handles[0]).await.unwrap(), "abcd");
    let failed = guest.backend().remove_many(&handles).await;
    assert_eq!(failed.len(), 3, "{failed:?}");
    for (handle, error) in failed {
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error:?}");
        assert_eq!(error.object, handle.to_string());
    }
    assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_full_container_has_no_space_left() {
    let Some((_, place)) = place_or_skip() else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let account = Account::enter(&place.settings).await;
    let quota = [("x-container-meta-quota-bytes", "100")];
    account
        .ask(Method::POST, &place.container, &quota, b"")
        .await;
    let large = Bytes::from(vec![1; 1000]);
    let error = backend.write(&pack(1), large).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace, "{error:?}");
    assert!(format!("{error:?}").contains("quota"), "{error:?}");
}
