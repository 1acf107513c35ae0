//! One version of a name, whatever happened, and none after it was removed.

use backend::{Backend, ErrorKind, FileKind, Handle};
use bytes::Bytes;
use serde_json::json;

use super::server::{name_of, place_or_skip};
use super::{assert_kind, write};

#[tokio::test]
async fn removing_deletes_every_version_and_every_marker() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let bucket_id = place.bucket_id().await;
    let handles: Vec<Handle> = (0..12)
        .map(|number| Handle::new(FileKind::Pack, name_of(number)))
        .collect();
    for (number, handle) in handles.iter().enumerate() {
        let name = format!("r/{}", handle.path());
        for version in 0..=number % 3 {
            place
                .upload(&name, format!("version {version}").as_bytes())
                .await;
        }
        if number % 2 == 0 {
            let wish = json!({"bucketId": bucket_id, "fileName": name});
            place.call("b2_hide_file", wish).await;
        }
        if number % 4 == 0 {
            place.upload(&name, b"above the marker").await;
        }
    }
    let neighbour = format!("r/{}x", handles[0].path());
    place.upload(&neighbour, b"not ours").await;
    backend.remove(&handles[0]).await.unwrap();
    backend.remove(&handles[1]).await.unwrap();
    backend.remove(&handles[0]).await.unwrap();
    let failed = backend.remove_many(&handles).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(place.versions("").await, [format!("{neighbour} upload")]);
}

#[tokio::test]
async fn a_write_over_hidden_remains_leaves_one_version() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let handle = Handle::new(FileKind::Pack, name_of(1));
    let name = format!("r/{}", handle.path());
    let bucket_id = place.bucket_id().await;
    for _ in 0..2 {
        place.upload(&name, b"content").await;
    }
    place
        .call(
            "b2_hide_file",
            json!({"bucketId": bucket_id, "fileName": name}),
        )
        .await;
    assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
    assert_eq!(
        backend.stat(&handle).await.unwrap_err().kind,
        ErrorKind::NotFound
    );
    backend
        .write(&handle, Bytes::from_static(b"content"))
        .await
        .unwrap();
    assert_eq!(place.versions("").await, [format!("{name} upload")]);
    assert_eq!(backend.read(&handle).await.unwrap(), "content");
}

#[tokio::test]
async fn a_lost_answer_leaves_one_version_and_the_next_attempt_finds_it() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.backend();
    backend.create().await.unwrap();
    let handle = Handle::new(FileKind::Snapshot, name_of(1));
    let data = Bytes::from_static(b"content");
    place.fail("upload", json!({"mode": "lost"})).await;
    let error = backend.write(&handle, data.clone()).await.unwrap_err();
    assert_kind(&error, ErrorKind::Temporary, "");
    let error = backend.write(&handle, data.clone()).await.unwrap_err();
    assert_kind(&error, ErrorKind::AlreadyExists, "exists");
    assert_eq!(backend.read(&handle).await.unwrap(), data);
    assert_eq!(place.versions("").await.len(), 1);

    place.fail("upload", json!({"mode": "cut"})).await;
    let error = write(&place, &backend).await.unwrap_err();
    assert_kind(&error, ErrorKind::Temporary, "");
    assert_eq!(place.versions("").await.len(), 1);
    write(&place, &backend).await.unwrap();
}

#[tokio::test]
async fn writers_of_the_same_contents_leave_one_version() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    place.backend().create().await.unwrap();
    let writers = [place.backend(), place.backend(), place.backend()];
    for number in 0..12 {
        let handle = Handle::new(FileKind::Pack, name_of(number));
        let results = futures::future::join_all(
            writers
                .iter()
                .map(|writer| writer.write(&handle, Bytes::from_static(b"the same for all"))),
        )
        .await;
        assert!(results.iter().any(Result::is_ok), "{results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error:?}");
        }
        assert_eq!(writers[0].read(&handle).await.unwrap(), "the same for all");
    }
    assert_eq!(place.versions("").await.len(), 12);
}

#[tokio::test]
async fn of_two_configs_the_first_stays() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    place.backend().create().await.unwrap();
    for round in 0..12 {
        let config = Handle::config();
        let prefix = format!("round-{round}");
        let writers = [place.at(&prefix), place.at(&prefix), place.at(&prefix)];
        let contents = ["one", "two", "three"].map(|text| Bytes::from_static(text.as_bytes()));
        let attempts = writers
            .iter()
            .zip(&contents)
            .map(|(writer, content)| writer.write(&config, content.clone()));
        let results = futures::future::join_all(attempts).await;
        let won: Vec<&Bytes> = contents
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_ok())
            .map(|(content, _)| content)
            .collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(writers[0].read(&Handle::config()).await.unwrap(), won[0]);
        assert_eq!(place.versions(&prefix).await.len(), 1);
    }
}

#[tokio::test]
async fn large_files_are_uploaded_in_parts_and_nothing_unfinished_stays() {
    let Some(place) = place_or_skip().await else {
        return;
    };
    let backend = place.with("r", |options| options.large_file_bytes = Some(500));
    backend.create().await.unwrap();
    let data: Bytes = (0..4_321_u32)
        .map(|number| number.to_le_bytes()[0])
        .collect();
    let handle = Handle::new(FileKind::Pack, name_of(1));

    // A crash of a day ago, one of this moment, and a file of somebody else.
    let bucket_id = place.bucket_id().await;
    let mut started = Vec::new();
    for (name, info) in [
        ("r/old", "stash"),
        ("r/new", "stash"),
        ("r/foreign", "theirs"),
    ] {
        let wish = json!({
            "bucketId": bucket_id, "fileName": name, "contentType": "b2/x-auto", "fileInfo": {info: "1"},
        });
        let file = place.call("b2_start_large_file", wish).await;
        started.push(file["fileId"].clone());
    }
    for file in [&started[0], &started[2]] {
        place
            .admin("age", json!({"fileId": file, "millis": 90_000_000}))
            .await;
    }

    for (operation, status, kind) in [
        ("part", 503, ErrorKind::Temporary),
        ("part", 401, ErrorKind::PermissionDenied),
        ("b2_get_upload_part_url", 503, ErrorKind::Temporary),
    ] {
        place.fail(operation, json!({"status": status})).await;
        let error = backend.write(&handle, data.clone()).await.unwrap_err();
        assert_kind(&error, kind, "");
        let names = place.versions("r/data").await;
        assert!(names.is_empty(), "{operation} left {names:?}");
    }
    place
        .fail("b2_finish_large_file", json!({"mode": "lost"}))
        .await;
    let error = backend.write(&handle, data.clone()).await.unwrap_err();
    assert_kind(&error, ErrorKind::Temporary, "");
    let error = backend.write(&handle, data.clone()).await.unwrap_err();
    assert_kind(&error, ErrorKind::AlreadyExists, "");

    assert_eq!(backend.read(&handle).await.unwrap(), data);
    assert_eq!(
        backend.read_range(&handle, 199, 202).await.unwrap(),
        data.slice(199..401)
    );
    assert_eq!(backend.stat(&handle).await.unwrap().size_bytes, 4_321);
    backend.remove(&handle).await.unwrap();
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(place.versions("r/data").await.len(), 1);
    let names = place.versions("").await;
    assert!(!names.contains(&"r/old start".to_owned()), "{names:?}");
    assert!(names.contains(&"r/new start".to_owned()), "{names:?}");
    assert!(names.contains(&"r/foreign start".to_owned()), "{names:?}");
    backend.remove(&handle).await.unwrap();
    assert!(place.versions("r/data").await.is_empty());
}
