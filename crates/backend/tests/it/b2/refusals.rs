//! Wrong, limited and expired keys, missing buckets, busy servers: the right kind, the right words, no secret.

use std::time::Duration;

use backend::{Backend, BackendError, ErrorKind, FileKind, Handle};
use bytes::Bytes;
use serde_json::json;

use super::server::{Place, name_of, place_or_skip};
use super::{assert_kind, write};
use crate::results::form_works;

/// The failure of each method.
async fn failures(backend: &impl Backend) -> Vec<BackendError> {
    let handle = Handle::new(FileKind::Pack, name_of(1));
    let data = Bytes::from_static(b"content");
    let many = backend.remove_many(std::slice::from_ref(&handle)).await;
    let mut found: Vec<BackendError> = many.into_iter().map(|(_, error)| error).collect();
    found.extend([
        backend.list(FileKind::Pack).await.unwrap_err(),
        backend.list(FileKind::Config).await.unwrap_err(),
        backend.stat(&handle).await.unwrap_err(),
        backend.read(&handle).await.unwrap_err(),
        backend.read_range(&handle, 1, 2).await.unwrap_err(),
        backend.write(&handle, data).await.unwrap_err(),
        backend.remove(&handle).await.unwrap_err(),
    ]);
    assert_eq!(found.len(), 8);
    found
}

#[tokio::test]
async fn a_missing_bucket_is_said_by_every_method_and_made_by_create() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    for error in failures(&backend).await {
        assert_kind(&error, ErrorKind::PlaceNotFound, &place.bucket);
    }
    backend.create().await.unwrap();
    let handle = write(&place, &backend).await.unwrap();
    backend.remove(&handle).await.unwrap();
    // Deleted behind our back: said again, and the new one of the same name is found.
    place.delete_bucket().await;
    let error = backend.list(FileKind::Pack).await.unwrap_err();
    assert_kind(&error, ErrorKind::PlaceNotFound, "");
    backend.create().await.unwrap();
    write(&place, &backend).await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_vanishes_is_not_taken_for_a_missing_object() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let handle = Handle::new(FileKind::Pack, name_of(1));
    for method in 0..4 {
        let backend = place.backend();
        backend.create().await.unwrap();
        backend.list(FileKind::Pack).await.unwrap();
        place.delete_bucket().await;
        let error = match method {
            0 => backend.read(&handle).await.unwrap_err(),
            1 => backend.stat(&handle).await.unwrap_err(),
            2 => backend.remove(&handle).await.unwrap_err(),
            _ => write(&place, &backend).await.unwrap_err(),
        };
        assert_kind(&error, ErrorKind::PlaceNotFound, "");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_at_once() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    place.backend().create().await.unwrap();
    for key in [
        (place.key_id.as_str(), "K-wrong"),
        ("unknown", place.key.as_str()),
    ] {
        let backend = place.with_key(&place.bucket, key);
        for error in failures(&backend).await {
            assert_kind(&error, ErrorKind::Unauthenticated, "do not belong together");
        }
        let error = backend.create().await.unwrap_err();
        assert_kind(&error, ErrorKind::Unauthenticated, "");
    }
}

/// A repository of the restricted bucket, as one of the server's limited keys sees it.
fn limited(place: &Place, key: &str, prefix: &str) -> impl Backend {
    let server = &place.server;
    let text = format!("{}:{prefix}", server.value("restricted_bucket"));
    let id = server.value(&format!("{key}_key_id"));
    place.with_key(&text, (id, server.value(&format!("{key}_key"))))
}

#[tokio::test]
async fn limited_keys_work_within_their_limits_and_say_them_outside() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let prefix = format!("{}{}", place.server.value("key_prefix"), place.bucket);
    for key in ["bucket", "prefix"] {
        let backend = limited(&place, key, &prefix);
        backend.create().await.unwrap();
        let handle = write(&place, &backend).await.unwrap();
        assert_eq!(backend.read(&handle).await.unwrap(), "content");
        assert_eq!(backend.stat(&handle).await.unwrap().size_bytes, 7);
        assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 1);
        assert!(
            backend
                .remove_many(std::slice::from_ref(&handle))
                .await
                .is_empty()
        );
        let handle = write(&place, &backend).await.unwrap();
        backend.remove(&handle).await.unwrap();
        form_works("b2", &place.server, &format!("key limited to a {key}"));
    }
    let restricted = place.server.value("restricted_bucket").to_owned();
    let key = (
        place.server.value("bucket_key_id"),
        place.server.value("bucket_key"),
    );
    let elsewhere = place.with_key(&place.bucket, key);
    for error in failures(&elsewhere).await {
        assert_kind(&error, ErrorKind::PermissionDenied, &restricted);
    }
    let error = elsewhere.create().await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, &restricted);
    for error in failures(&limited(&place, "prefix", "elsewhere")).await {
        assert_kind(&error, ErrorKind::PermissionDenied, "allowed/");
    }
}

#[tokio::test]
async fn a_key_limited_to_exactly_the_repository_removes_many() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let prefix = place.server.value("key_prefix").to_owned();
    let backend = limited(&place, "prefix", prefix.trim_end_matches('/'));
    let handles = [
        write(&place, &backend).await.unwrap(),
        write(&place, &backend).await.unwrap(),
    ];
    let failed = backend.remove_many(&handles).await;
    assert!(failed.is_empty(), "{failed:?}");
    for handle in &handles {
        assert!(backend.stat(handle).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn a_capability_that_is_missing_is_named() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let prefix = format!("capabilities/{}", place.bucket);
    let keeper = limited(&place, "no_delete", &prefix);
    let handle = write(&place, &keeper).await.unwrap();
    let error = keeper.remove(&handle).await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, "deleteFiles");
    let failed = keeper.remove_many(std::slice::from_ref(&handle)).await;
    assert_kind(&failed[0].1, ErrorKind::PermissionDenied, "deleteFiles");
    let absent = Handle::new(FileKind::Pack, "ab".repeat(32));
    let error = keeper.remove(&absent).await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, "deleteFiles");

    let reader = limited(&place, "read_only", &prefix);
    assert_eq!(reader.read(&handle).await.unwrap(), "content");
    let error = write(&place, &reader).await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, "writeFiles");
    limited(&place, "bucket", &prefix)
        .remove(&handle)
        .await
        .unwrap();

    let (id, key) = place.make_key(&["listBuckets", "listFiles"]).await;
    let lister = place.with_key(&place.bucket, (&id, &key));
    let error = lister.create().await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, "writeBuckets");
    place.backend().create().await.unwrap();
    let error = lister.read(&handle).await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, "readFiles");
    let (id, key) = place.make_key(&["listFiles"]).await;
    let blind = place.with_key(&place.bucket, (&id, &key));
    let error = blind.list(FileKind::Pack).await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, "listBuckets");
}

#[tokio::test]
async fn a_protected_file_is_refused_in_words() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let refusal = json!({"status": 403, "code": "access_denied", "message": "Access Denied"});
    place.fail("b2_delete_file_version", refusal).await;
    let handle = write(&place, &backend).await.unwrap();
    let error = backend.remove(&handle).await.unwrap_err();
    assert_kind(&error, ErrorKind::PermissionDenied, "retention");
    backend.remove(&handle).await.unwrap();
}

#[tokio::test]
async fn of_many_removals_each_failure_is_told_and_the_others_are_done() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let mut handles = Vec::new();
    for _ in 0..6 {
        handles.push(write(&place, &backend).await.unwrap());
    }
    let refusal = json!({"status": 503, "code": "service_error", "retryAfter": 2});
    place.fail("b2_list_file_versions", refusal.clone()).await;
    let failed = backend.remove_many(&handles).await;
    assert_eq!(failed.len(), handles.len());
    for (handle, error) in failed {
        assert_kind(&error, ErrorKind::Temporary, "service_error");
        assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(error.object, handle.to_string());
    }
    assert_eq!(backend.list(FileKind::Pack).await.unwrap().len(), 6);
    place.fail("b2_delete_file_version", refusal).await;
    let failed = backend.remove_many(&handles).await;
    assert_eq!(failed.len(), 1, "{failed:?}");
    let left = backend.list(FileKind::Pack).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].name, failed[0].0.name());
}

#[tokio::test]
async fn a_failed_upload_takes_another_address_next_time() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    write(&place, &backend).await.unwrap();
    let refusal = json!({"status": 503, "code": "service_unavailable", "retryAfter": 7});
    place.fail("upload", refusal).await;
    let error = write(&place, &backend).await.unwrap_err();
    assert_kind(&error, ErrorKind::Temporary, "service_unavailable");
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
    write(&place, &backend).await.unwrap();

    place
        .admin("expire", json!({"uploads": place.bucket}))
        .await;
    let error = write(&place, &backend).await.unwrap_err();
    assert_kind(&error, ErrorKind::Temporary, "expired_auth_token");
    for _ in 0..2 {
        write(&place, &backend).await.unwrap();
    }
    // Many at once: each has an address of its own, or the server refuses.
    let all = (0..24).map(|_| write(&place, &backend));
    for result in futures::future::join_all(all).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn caps_and_busy_servers_have_their_kinds() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let handle = write(&place, &backend).await.unwrap();
    for (status, code, kind, words) in [
        (
            403,
            "storage_cap_exceeded",
            ErrorKind::NoSpace,
            "Caps & Alerts",
        ),
        (403, "cap_exceeded", ErrorKind::NoSpace, "cap for storage"),
        (429, "too_many_requests", ErrorKind::Temporary, "429"),
        (408, "request_timeout", ErrorKind::Temporary, "408"),
        (500, "internal_error", ErrorKind::Temporary, "500"),
    ] {
        place
            .fail("upload", json!({"status": status, "code": code}))
            .await;
        let error = write(&place, &backend).await.unwrap_err();
        assert_kind(&error, kind, words);
    }
    for (status, code, kind, words) in [
        (
            403,
            "transaction_cap_exceeded",
            ErrorKind::Permanent,
            "midnight UTC",
        ),
        (429, "too_many_requests", ErrorKind::Temporary, "429"),
        (503, "service_error", ErrorKind::Temporary, "503"),
    ] {
        let refusal = json!({"status": status, "code": code, "retryAfter": 3});
        place.fail("b2_list_file_names", refusal.clone()).await;
        let error = backend.list(FileKind::Pack).await.unwrap_err();
        assert_kind(&error, kind, words);
        assert_eq!(error.retry_after, Some(Duration::from_secs(3)));
        place.fail("download", refusal.clone()).await;
        let error = backend.read(&handle).await.unwrap_err();
        assert_kind(&error, kind, words);
    }
    // An answer without a body, asked for again in words.
    let refusal = json!({"status": 403, "code": "transaction_cap_exceeded"});
    place.fail("download", refusal.clone()).await;
    place.fail("b2_list_file_names", refusal).await;
    let error = write(&place, &backend).await.unwrap_err();
    assert_kind(&error, ErrorKind::Permanent, "midnight UTC");
    assert_eq!(backend.read(&handle).await.unwrap(), "content");
}

#[tokio::test]
async fn no_secret_appears_in_any_error_or_debug_output() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let handle = write(&place, &backend).await.unwrap();
    // A server that repeats what it was given.
    let words = format!("the key {} is not liked", place.key);
    let mut texts = vec![format!("{backend:?}"), backend.location()];
    for operation in [
        "b2_list_file_names",
        "download",
        "upload",
        "b2_list_file_versions",
    ] {
        for status in [400, 401, 403, 500] {
            let refusal = json!({"status": status, "code": "some", "message": words});
            place.fail(operation, refusal).await;
            let error = match operation {
                "b2_list_file_names" => backend.list(FileKind::Pack).await.unwrap_err(),
                "download" => backend.read(&handle).await.unwrap_err(),
                "upload" => write(&place, &backend).await.unwrap_err(),
                _ => backend.remove(&handle).await.unwrap_err(),
            };
            assert!(
                format!("{error:?}").contains("*** is not liked"),
                "{error:?}"
            );
            texts.push(format!("{error} {error:?} {:?}", error.source));
        }
    }
    let elsewhere = place.with_key(&place.bucket, (&place.key_id, "K-wrong-secret"));
    for error in failures(&elsewhere).await {
        texts.push(format!("{error} {error:?}"));
    }
    for text in texts {
        for secret in [place.key.as_str(), "K-wrong-secret", "upload_", "4_"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}
