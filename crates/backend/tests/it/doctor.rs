//! What the doctor says of folders and of servers that cannot be used.

use std::fs;
use std::path::{Path, PathBuf};

use backend::doctor::{DoctorOptions, Finding, Severity, examine};
use backend::{Backend, HttpOptions, LocalBackend, RestBackend, RestOptions, Variables};
use testkit::Scratch;

fn options(folder: Option<PathBuf>) -> DoctorOptions {
    DoctorOptions {
        folder,
        http: HttpOptions::default(),
        speed_bytes: 1 << 20,
        can_write: true,
    }
}

async fn findings(backend: &dyn Backend, options: &DoctorOptions) -> (Severity, Vec<Finding>) {
    let mut found = Vec::new();
    let worst = examine(backend, options, &mut |finding| found.push(finding.clone())).await;
    (worst, found)
}

fn severity_of(found: &[Finding], step: &str) -> Option<Severity> {
    found
        .iter()
        .filter(|finding| finding.step == step)
        .map(|finding| finding.severity)
        .max()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn a_folder_with_a_repository_is_examined_whole_and_left_as_it_was() {
    let scratch = Scratch::new();
    let folder = scratch.join("repository");
    let backend = LocalBackend::new(&folder);
    backend.create().await.unwrap();
    backend
        .write(&backend::Handle::config(), "config".into())
        .await
        .unwrap();
    let (worst, found) = findings(&backend, &options(Some(folder.clone()))).await;
    assert!(worst <= Severity::Warning, "{found:?}");
    for step in [
        "folder",
        "write",
        "read",
        "range",
        "names",
        "fresh list",
        "remove",
        "upload",
        "download",
    ] {
        assert_eq!(
            severity_of(&found, step),
            Some(Severity::Fine),
            "{step}: {found:?}"
        );
    }
    assert_eq!(files(&folder), [folder.join("config")]);
}

#[tokio::test]
async fn a_folder_that_does_not_exist_yet_is_not_made() {
    let scratch = Scratch::new();
    let folder = scratch.join("a/b");
    let (worst, found) =
        findings(&LocalBackend::new(&folder), &options(Some(folder.clone()))).await;
    assert!(worst <= Severity::Warning, "{found:?}");
    assert_eq!(
        severity_of(&found, "write"),
        Some(Severity::Skipped),
        "{found:?}"
    );
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_unknown_host_and_a_closed_port_end_the_examination_with_a_remedy() {
    for (url, step) in [
        ("http://host.invalid/", "name"),
        ("http://127.0.0.1:1/", "connection"),
    ] {
        let rest = RestOptions::parse(url, &Variables::new()).unwrap();
        let backend = RestBackend::new(rest, &HttpOptions::default()).unwrap();
        let (worst, found) = findings(&backend, &options(None)).await;
        assert_eq!(worst, Severity::Failed);
        let last = found.last().unwrap();
        assert_eq!(
            (last.step, last.severity),
            (step, Severity::Failed),
            "{found:?}"
        );
        assert!(last.remedy.is_some());
    }
}
