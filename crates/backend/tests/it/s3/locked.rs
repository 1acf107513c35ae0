//! Buckets with object lock and a retention of their own: what removal does there, and what stays.

use backend::{Backend, FileKind, Handle};
use testkit::servers::{Server, offered};

use super::raw::{self, Raw};
use super::{backend, backend_with, fresh, keys_of, plain};

const RULE: &str = "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
    <ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode>\
    <Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";

fn on<'a>(
    method: &'a str,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    body: &'a str,
) -> Raw<'a> {
    Raw {
        service: "s3",
        method,
        path,
        query,
        body,
    }
}

/// A bucket in which everything that is written is retained for a day.
async fn locked_bucket(server: &Server) -> String {
    let bucket = fresh();
    let settings = [("retention-days", "1")];
    let place = format!("{}/{bucket}/r", server.http());
    backend_with(&place, &keys_of(server), &plain(), &settings)
        .create()
        .await
        .unwrap();
    let path = format!("/{bucket}");
    raw::succeed(server, &on("PUT", &path, &[("object-lock", "")], RULE)).await;
    bucket
}

/// The store's list of versions: how many objects and how many delete markers.
async fn versions(server: &Server, bucket: &str) -> (usize, usize, String) {
    let path = format!("/{bucket}");
    let text = raw::succeed(server, &on("GET", &path, &[("versions", "")], "")).await;
    let count = |tag: &str| text.matches(tag).count();
    (count("<Version>"), count("<DeleteMarker>"), text)
}

#[tokio::test]
async fn removal_hides_locked_objects_and_their_content_stays() {
    for name in ["minio", "rgw"] {
        let Some(server) = offered(name) else {
            continue;
        };
        let bucket = locked_bucket(&server).await;
        let place = format!("{}/{bucket}/r", server.http());
        let backend = backend(&place, &keys_of(&server), &plain());
        let packs: Vec<Handle> = (1..4)
            .map(|number| Handle::new(FileKind::Pack, format!("{number:064x}")))
            .collect();
        for pack in &packs {
            backend.write(pack, "locked".into()).await.unwrap();
        }
        // One by one and in a batch: gone for everyone who asks for the name.
        backend.remove(&packs[0]).await.unwrap();
        let failed = backend.remove_many(&packs[1..]).await;
        assert!(failed.is_empty(), "{name}: {failed:?}");
        assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
        for pack in &packs {
            let error = backend.stat(pack).await.unwrap_err();
            assert!(error.is_not_found(), "{name}: {error:?}");
        }
        // Nothing has gone: the space is still taken, and the content can be had back.
        let (objects, markers, text) = versions(&server, &bucket).await;
        assert_eq!((objects, markers), (3, 3), "{name}: {text}");
        let first = &text[text.find("<Version>").unwrap()..];
        let (key, id) = (raw::inner(first, "Key"), raw::inner(first, "VersionId"));
        let path = format!("/{bucket}/{key}");
        let query = [("versionId", id.as_str())];
        let kept = raw::succeed(&server, &on("GET", &path, &query, "")).await;
        assert_eq!(kept, "locked");
        let (status, words) = raw::send(&server, &on("DELETE", &path, &query, "")).await;
        assert!(matches!(status, 400 | 403), "{name}: {status}: {words}");
        let words = words.to_ascii_lowercase();
        assert!(
            words.contains("worm") || words.contains("object lock"),
            "{name}: {words}"
        );
        // The name is free again: a later backup may need the same content.
        backend.write(&packs[0], "locked".into()).await.unwrap();
        assert_eq!(backend.read(&packs[0]).await.unwrap(), "locked");
        assert!(backend.can_lock_objects().await.unwrap());
    }
}

#[tokio::test]
async fn removing_the_markers_brings_removed_objects_back() {
    let Some(server) = offered("minio") else {
        return;
    };
    let bucket = locked_bucket(&server).await;
    let place = format!("{}/{bucket}/r", server.http());
    let backend = backend(&place, &keys_of(&server), &plain());
    let snapshot = Handle::new(FileKind::Snapshot, "ab".repeat(32));
    backend.write(&snapshot, "snapshot".into()).await.unwrap();
    backend.remove(&snapshot).await.unwrap();
    let (_, markers, text) = versions(&server, &bucket).await;
    assert_eq!(markers, 1, "{text}");
    let marker = &text[text.find("<DeleteMarker>").unwrap()..];
    let path = format!("/{bucket}/{}", raw::inner(marker, "Key"));
    let id = raw::inner(marker, "VersionId");
    let query = [("versionId", id.as_str())];
    raw::succeed(&server, &on("DELETE", &path, &query, "")).await;
    assert_eq!(backend.read(&snapshot).await.unwrap(), "snapshot");
}
