//! Repository strings as restic spells them, and what is around a service.

use std::path::Path;

use backend::storage::{Location, OpenOptions, open};
use backend::{ErrorKind, FileKind, Handle, Operation, ReadOnlyExcept, Variables};
use bytes::Bytes;
use secrecy::SecretString;

fn variables() -> Variables {
    let values = [
        ("AWS_ACCESS_KEY_ID", "an-access-key"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-key"),
        ("GOOGLE_ACCESS_TOKEN", "a-token"),
        ("ST_AUTH", "http://localhost:8080/auth/v1.0"),
        ("ST_USER", "a-user"),
        ("ST_KEY", "a-swift-key"),
        ("AZURE_ACCOUNT_NAME", "an-account"),
        ("AZURE_ACCOUNT_KEY", "YW4tYWNjb3VudC1rZXk="),
        ("B2_ACCOUNT_ID", "an-account"),
        ("B2_ACCOUNT_KEY", "an-account-key"),
    ];
    Variables::new().or(values.map(|(name, value)| (name.to_owned(), SecretString::from(value))))
}

fn parse(repository: &str, extended: &[(&str, &str)]) -> Result<Location, backend::SetupError> {
    let extended: Vec<(String, String)> = extended
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Location::parse(repository, &variables(), &extended)
}

#[test]
fn every_service_is_known_by_its_scheme() {
    for (repository, scheme) in [
        ("s3:https://host:9000/bucket/path", "s3"),
        ("s3:s3.amazonaws.com/bucket", "s3"),
        ("gs:bucket:/path", "gs"),
        ("azure:container:/path", "azure"),
        ("swift:container:/path", "swift"),
        ("b2:bucket:path", "b2"),
        ("rest:https://host:8000/path/", "rest"),
        ("local:folder", "local"),
        ("/srv/backup", "local"),
        ("backup", "local"),
    ] {
        let location = parse(repository, &[]).unwrap();
        assert_eq!(location.scheme(), scheme, "{repository}");
        let backend = open(location, &OpenOptions::default()).unwrap();
        assert_eq!(backend.endpoint().is_some(), scheme != "local");
    }
}

#[test]
fn a_folder_may_have_a_colon_in_its_name_where_that_is_no_scheme() {
    for (repository, path) in [
        ("/srv/a:b", "/srv/a:b"),
        ("./s3:x", "./s3:x"),
        ("../a:b", "../a:b"),
        ("local:a:b", "a:b"),
    ] {
        let location = parse(repository, &[]).unwrap();
        assert_eq!(location.folder(), Some(Path::new(path)), "{repository}");
    }
}

#[test]
fn what_is_no_repository_is_refused_with_a_remedy_and_without_its_password() {
    for repository in [
        "",
        "local:",
        "s4:host/bucket",
        "sftp:user@host:/path",
        "rclone:remote:path",
        "opendal:s3",
        "https://user:a-password@host/",
        "rest:ftp://user:a-password@host/",
    ] {
        let error = parse(repository, &[]).unwrap_err();
        assert!(error.hint.is_some(), "{repository}");
        assert!(
            !format!("{error} {error:?}").contains("a-password"),
            "{repository}"
        );
    }
}

#[test]
fn options_reach_their_service_and_only_theirs() {
    let options = [
        ("s3.storage-class", "STANDARD_IA"),
        ("s3.connections", "3"),
        ("rest.connections", "7"),
        ("local.connections", "9"),
    ];
    for (repository, connections) in [
        ("s3:https://host/bucket", 3),
        ("rest:http://host/", 7),
        ("/srv/backup", 9),
        ("b2:bucket:path", 5),
    ] {
        let location = parse(repository, &options).unwrap();
        let backend = open(location, &OpenOptions::default()).unwrap();
        assert_eq!(backend.connections(), connections, "{repository}");
    }
    match parse("s3:https://host/bucket", &options).unwrap() {
        Location::S3(s3) => assert_eq!(s3.storage_class.as_deref(), Some("STANDARD_IA")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn options_that_do_not_exist_are_named() {
    for (name, value) in [
        ("s3.storage-clas", "X"),
        ("s5.connections", "1"),
        ("connections", "1"),
        ("s3.connections", "many"),
    ] {
        let error = parse("s3:https://host/bucket", &[(name, value)]).unwrap_err();
        assert!(error.message.contains(name), "{error}");
    }
    let error = parse("/srv/backup", &[("local.connections", "0")]).unwrap_err();
    assert!(error.message.contains("local.connections"), "{error}");
}

#[tokio::test]
async fn a_folder_is_counted_and_kept_from_changes_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let path = path.to_str().unwrap();
    let writable = OpenOptions::default();
    let backend = open(parse(path, &[]).unwrap(), &writable).unwrap();
    backend.create().await.unwrap();
    let handle = Handle::new(FileKind::Snapshot, "ab".repeat(32));
    backend
        .write(&handle, Bytes::from_static(b"content"))
        .await
        .unwrap();
    let counts = writable.http.meter.counts();
    assert_eq!(counts[&Operation::Write].sent_bytes, 7);

    let read_only = OpenOptions {
        read_only: Some(ReadOnlyExcept::Nothing),
        ..OpenOptions::default()
    };
    let backend = open(parse(path, &[]).unwrap(), &read_only).unwrap();
    let error = backend.remove(&handle).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ReadOnly);
    assert_eq!(backend.read(&handle).await.unwrap(), "content");
}
