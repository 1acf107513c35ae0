//! The local backend where the system refuses: full, read-only and closed folders, on real filesystems.

use std::path::{Path, PathBuf};
use std::process::Command;

use backend::{Backend, BackendError, ErrorKind, FileKind, Handle, LocalBackend};
use bytes::Bytes;
use rustix::thread::set_thread_res_uid;

use crate::local::{created, name};

/// A filesystem of its own, unmounted on drop.
struct Mount(PathBuf);

impl Mount {
    /// Nothing, with a line that says why, where this process may not mount.
    fn tmpfs(path: &Path, options: &str) -> Option<Self> {
        let result = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(path)
            .output();
        match result {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            Ok(output) => {
                println!(
                    "SKIPPED: cannot mount: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("SKIPPED: cannot mount: {error}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_no_part_of_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::tmpfs(folder.path(), "size=1m") else {
        return;
    };
    let backend = LocalBackend::new(folder.path());
    backend.create().await.unwrap();
    let pack = Handle::new(FileKind::Pack, name('a'));
    let error = backend
        .write(&pack, Bytes::from(vec![1; 2_000_000]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSpace);
    assert!(error.to_string().contains("no space is left"), "{error}");
    assert!(backend.list(FileKind::Pack).await.unwrap().is_empty());
    assert_eq!(
        std::fs::read_dir(folder.path().join("data/aa"))
            .unwrap()
            .count(),
        0
    );
    backend
        .write(&pack, Bytes::from(vec![1; 500_000]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_read_only_mount_is_told_and_can_still_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(folder.path(), "size=4m") else {
        return;
    };
    let backend = LocalBackend::new(folder.path());
    backend.create().await.unwrap();
    backend
        .write(&Handle::config(), Bytes::from_static(b"config"))
        .await
        .unwrap();
    mount.remount("ro");
    assert_eq!(backend.read(&Handle::config()).await.unwrap(), "config");
    let lock = Handle::new(FileKind::Lock, name('a'));
    assert_eq!(
        backend
            .write(&lock, Bytes::from_static(b"x"))
            .await
            .unwrap_err()
            .kind,
        ErrorKind::ReadOnly
    );
    assert_eq!(
        backend.remove(&Handle::config()).await.unwrap_err().kind,
        ErrorKind::ReadOnly
    );
    let below = LocalBackend::new(folder.path().join("new"));
    assert_eq!(below.create().await.unwrap_err().kind, ErrorKind::ReadOnly);
}

/// Runs as another user when this is root, who is refused nothing.
fn as_ordinary_user<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                // Applies to this thread, and to those that the runtime starts from it.
                let nobody = rustix::process::Uid::from_raw(65_534);
                set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(work())
        });
        thread.join().unwrap()
    })
}

#[test]
fn refused_permission_is_told_and_never_looks_like_absence() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (folder, backend) = runtime.block_on(created());
    runtime
        .block_on(backend.write(&Handle::config(), Bytes::from_static(b"config")))
        .unwrap();
    let close = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    close(folder.path(), 0o755);
    close(backend.root(), 0o000);
    let kinds = as_ordinary_user(async || {
        let kind = |error: BackendError| error.kind;
        [
            backend.stat(&Handle::config()).await.map_err(kind).err(),
            backend.read(&Handle::config()).await.map_err(kind).err(),
            backend.list(FileKind::Key).await.map_err(kind).err(),
            backend
                .write(&Handle::new(FileKind::Key, name('a')), Bytes::new())
                .await
                .map_err(kind)
                .err(),
            backend.create().await.map_err(kind).err(),
        ]
    });
    close(backend.root(), 0o700);
    assert_eq!(kinds, [Some(ErrorKind::PermissionDenied); 5]);
}

#[test]
fn a_repeated_write_does_not_count_before_the_folder_is_durable() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (folder, backend) = runtime.block_on(created());
    let set = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let keys = backend.root().join("keys");
    set(folder.path(), 0o755);
    set(backend.root(), 0o755);
    // Files can be made in it, but it cannot be opened to be synced.
    set(&keys, 0o333);
    let handle = Handle::new(FileKind::Key, name('a'));
    let kinds = as_ordinary_user(async || {
        let write = || backend.write(&handle, Bytes::from_static(b"key"));
        [write().await, write().await].map(|result| result.unwrap_err().kind)
    });
    assert_eq!(kinds, [ErrorKind::PermissionDenied; 2]);
    set(&keys, 0o777);
    let kind = as_ordinary_user(async || {
        let write = backend.write(&handle, Bytes::from_static(b"key"));
        write.await.unwrap_err().kind
    });
    assert_eq!(kind, ErrorKind::AlreadyExists);
}
