//! What the doctor says of folders and of servers that cannot be used.

use std::fs;
use std::path::{Path, PathBuf};

use backend::doctor::{DoctorOptions, Finding, Severity, examine, examine_until};
use backend::{
    Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, HttpOptions, LocalBackend,
    Operation, RestBackend, RestOptions, Variables,
};
use bytes::Bytes;
use testkit::stub::{StubServer, reply};
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend, Scratch};

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

/// A store that has a server and needs no folders. The server only answers.
#[derive(Debug)]
struct Service(FaultBackend, StubServer);

#[async_trait::async_trait]
impl Backend for Service {
    fn location(&self) -> String {
        self.0.location()
    }

    fn connections(&self) -> usize {
        self.0.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.0.create().await
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        self.0.stat(handle).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        self.0.list(kind).await
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        self.0.read(handle).await
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        self.0.read_range(handle, offset, length).await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        self.0.write(handle, data).await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.0.remove(handle).await
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.1.url())
    }
}

/// A store with a repository in it, or an empty one.
fn service(has_repository: bool) -> (MemoryBackend, FaultBackend, Service) {
    let memory = MemoryBackend::new();
    if has_repository {
        memory.put(&Handle::config(), "config");
    }
    let faults = FaultBackend::new(memory.clone());
    let stub = StubServer::start(|_| async { reply(200, "text/plain", "") });
    (memory, faults.clone(), Service(faults, stub))
}

fn of_service() -> DoctorOptions {
    let mut options = options(None);
    options.http.use_proxies = false;
    options.speed_bytes = 24 << 20;
    options
}

#[tokio::test]
async fn an_empty_place_is_examined_whole_and_stays_empty() {
    let (memory, _, service) = service(false);
    let (_, found) = findings(&service, &of_service()).await;
    for step in ["write", "range", "remove", "upload"] {
        assert_eq!(severity_of(&found, step), Some(Severity::Fine), "{found:?}");
    }
    assert!(memory.handles().is_empty());
}

#[tokio::test]
async fn an_empty_place_in_which_nothing_can_be_removed_gets_no_pack() {
    let (memory, faults, service) = service(false);
    let denied = Effect::Fail(ErrorKind::PermissionDenied);
    // What is absent can be removed, as in stores that look first.
    faults.inject(Fault::new(denied).on(Operation::Remove).at(Calls::From(2)));
    let (worst, found) = findings(&service, &of_service()).await;
    assert_eq!(worst, Severity::Failed, "{found:?}");
    assert_eq!(faults.count(Operation::Write, FileKind::Pack), 0);
    assert!(memory.handles_of(FileKind::Pack).is_empty());
}

#[tokio::test]
async fn the_speed_is_not_measured_where_what_was_written_stays() {
    let (_memory, faults, service) = service(true);
    let denied = Effect::Fail(ErrorKind::PermissionDenied);
    faults.inject(Fault::new(denied).on(Operation::Remove).at(Calls::From(2)));
    let (_, found) = findings(&service, &of_service()).await;
    assert_eq!(severity_of(&found, "remove"), Some(Severity::Failed));
    assert_eq!(severity_of(&found, "upload"), None, "{found:?}");
}

#[tokio::test]
async fn what_a_failed_write_stored_is_removed() {
    let (memory, faults, service) = service(true);
    let lost = Effect::LoseAcknowledgement(ErrorKind::Permanent);
    faults.inject(Fault::new(lost).on(Operation::Write));
    let (_, found) = findings(&service, &of_service()).await;
    assert_eq!(severity_of(&found, "write"), Some(Severity::Failed));
    assert_eq!(memory.handles(), [Handle::config()]);
}

#[tokio::test]
async fn uploads_end_before_they_are_removed_also_when_one_fails() {
    let (memory, faults, service) = service(true);
    let broken = Effect::Fail(ErrorKind::Permanent);
    // The first two are the trial and its second writer.
    faults.inject(Fault::new(broken).on(Operation::Write).at(Calls::Nth(3)));
    let (_, found) = findings(&service, &of_service()).await;
    assert_eq!(severity_of(&found, "upload"), Some(Severity::Failed));
    assert_eq!(faults.count(Operation::Write, FileKind::Pack), 2 + 6);
    assert_eq!(memory.handles(), [Handle::config()]);
}

#[tokio::test]
async fn an_interrupted_examination_leaves_nothing() {
    let (memory, faults, service) = service(true);
    let hang = Fault::new(Effect::Hang).on(Operation::Read);
    faults.inject(hang.of(FileKind::Pack));
    let interrupted = async {
        while faults.count(Operation::Read, FileKind::Pack) == 0 {
            tokio::task::yield_now().await;
        }
    };
    let found = examine_until(&service, &of_service(), &mut |_| {}, interrupted).await;
    assert_eq!(found, None);
    assert_eq!(memory.handles(), [Handle::config()]);
}

#[tokio::test]
async fn an_empty_lock_that_is_there_already_shows_that_locks_can_be_written() {
    use sha2::Digest;
    let (memory, faults, service) = service(true);
    let denied = Fault::new(Effect::Fail(ErrorKind::PermissionDenied));
    faults.inject(denied.on(Operation::Remove).of(FileKind::Pack));
    let name = hex::encode(sha2::Sha256::digest(b""));
    memory.put(&Handle::new(FileKind::Lock, name), "");
    let (worst, found) = findings(&service, &of_service()).await;
    assert_eq!(severity_of(&found, "write"), Some(Severity::Fine));
    assert_eq!(worst, Severity::Warning, "{found:?}");
}
