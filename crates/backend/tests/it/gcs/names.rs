//! Nothing but what Google's own tools would find: the names of Google's servers, which lead to the front, and the
//! identity of the machine.

use std::fs;

use backend::{Backend, ErrorKind, FileKind, GcsBackend, Handle};
use serde_json::Value;
use testkit::Scratch;
use testkit::servers::offered;

use super::front::Front;
use super::{fresh_bucket, object, options, shown};

const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

fn backend(front: &Front, bucket: &str, pairs: &[(&str, &str)]) -> GcsBackend {
    let mut all = vec![("GOOGLE_PROJECT_ID", "project")];
    all.extend(pairs);
    let options = options(&format!("{bucket}:/"), &all);
    GcsBackend::new(options, &front.as_google()).unwrap()
}

async fn works(backend: &GcsBackend) {
    assert_eq!(
        backend.endpoint().unwrap(),
        "https://storage.googleapis.com"
    );
    backend.create().await.unwrap();
    let (handle, data) = object(FileKind::Key, "a key");
    backend.write(&handle, data.clone()).await.unwrap();
    assert_eq!(backend.read(&handle).await.unwrap(), data);
}

/// As the file may leave it out.
fn without_token_uri(text: &str) -> String {
    let mut text: Value = serde_json::from_str(text).unwrap();
    text.as_object_mut().unwrap().remove("token_uri");
    text.to_string()
}

#[tokio::test]
async fn a_machine_or_pod_of_googles_needs_no_credentials() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let front = Front::before(&server);
    let home = Scratch::new();
    let home = [("HOME", home.path().to_str().unwrap())];
    works(&backend(&front, &fresh_bucket(), &home)).await;
    assert_eq!(front.asked(), 1);
    assert!(front.paths().iter().any(|path| path == METADATA));
    front.is_somebody_else();
    let elsewhere = backend(&front, &fresh_bucket(), &home);
    let error = elsewhere.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent);
    let text = shown(&error);
    assert!(text.contains("no credentials are configured"), "{text}");
}

#[tokio::test]
async fn a_login_on_this_machine_is_used_and_nothing_else_when_it_is_broken() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let front = Front::before(&server);
    let home = Scratch::new();
    let folder = home.join(".config/gcloud");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("application_default_credentials.json");
    fs::write(&file, without_token_uri(&front.authorized_user())).unwrap();
    let home = [("HOME", home.path().to_str().unwrap())];
    works(&backend(&front, &fresh_bucket(), &home)).await;
    assert_eq!(front.asked(), 1);
    fs::write(&file, "{").unwrap();
    let broken = backend(&front, &fresh_bucket(), &home);
    let error = broken.stat(&Handle::config()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Permanent);
    assert!(shown(&error).contains(file.to_str().unwrap()));
    assert!(!front.paths().iter().any(|path| path == METADATA));
}

#[tokio::test]
async fn a_key_without_a_token_address_is_exchanged_at_googles() {
    let Some(server) = offered("fake-gcs") else {
        return;
    };
    let front = Front::before(&server);
    let text = without_token_uri(&front.service_account());
    let pairs = [("GOOGLE_SERVICE_ACCOUNT_JSON_KEY", text.as_str())];
    works(&backend(&front, &fresh_bucket(), &pairs)).await;
    assert_eq!(front.asked(), 1);
}
