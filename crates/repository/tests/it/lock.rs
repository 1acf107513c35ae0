//! Locks beside the real restic, on one repository in a folder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use backend::{Backend, FileKind, LocalBackend};
use jiff::Timestamp;
use jiff::tz::Offset;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use repository::key::ScryptParams;
use repository::lock::{self, Lock, LockError, LockFile, LockKind, LockOptions, UnlockScope};
use repository::time::Time;
use repository::{CreateOptions, LockId, OpenOptions, Repository};
use testkit::{Restic, ResticRepository, Scratch};

const PASSWORD: &str = "password";
/// restic's exit code for a repository that others have locked.
const LOCKED: i32 = 11;

struct Shared {
    scratch: Scratch,
    repository: Repository,
    program: Restic,
    restic: ResticRepository,
}

impl Shared {
    /// A repository of ours and restic to use it; nothing where there is no restic.
    async fn new() -> Option<Self> {
        let program = Restic::find_or_skip()?;
        let scratch = Scratch::new();
        let folder = scratch.join("repository");
        let backend: Arc<dyn Backend> = Arc::new(LocalBackend::new(&folder));
        let options = CreateOptions {
            scrypt: Some(ScryptParams::FAST_FOR_TESTS),
            ..CreateOptions::default()
        };
        let repository = Repository::create(backend, &PASSWORD.to_owned().into(), &options)
            .await
            .unwrap();
        let restic = program.repository(&folder, PASSWORD);
        Some(Self {
            scratch,
            repository,
            program,
            restic,
        })
    }

    async fn acquire(&self, kind: LockKind) -> Result<Lock, LockError> {
        let options = LockOptions {
            username: "tester".to_owned(),
            ..LockOptions::default()
        };
        Lock::acquire(&self.repository, kind, &options).await
    }

    async fn locks(&self) -> Vec<(LockId, LockFile)> {
        let locks = lock::list(&self.repository).await.unwrap();
        locks
            .into_iter()
            .map(|(id, lock)| (id, lock.unwrap()))
            .collect()
    }

    /// Waits until there is a lock, which somebody is about to take.
    async fn wait_for_lock(&self) -> LockFile {
        loop {
            if let Some((_, lock)) = self.locks().await.pop() {
                return lock;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A restic backup that holds its shared lock until its input ends.
    fn start_backup(&self) -> Child {
        let mut command = self.restic.command(["backup", "--stdin", "--quiet"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"the beginning")
            .unwrap();
        child
    }

    fn backup(&self) -> i32 {
        self.restic
            .run_with_input(["backup", "--stdin", "--quiet"], b"content")
            .code
    }

    fn prune(&self) -> i32 {
        self.restic.run(["prune", "--quiet"]).code
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// A process id that was in use and is not any more.
fn dead_pid() -> i64 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    i64::from(child.id())
}

#[tokio::test]
async fn our_exclusive_lock_keeps_restic_out_and_our_shared_lock_only_its_prune() {
    let Some(shared) = Shared::new().await else {
        return;
    };
    let exclusive = shared.acquire(LockKind::Exclusive).await.unwrap();
    assert_eq!((shared.backup(), shared.prune()), (LOCKED, LOCKED));
    exclusive.release().await.unwrap();
    let ours = shared.acquire(LockKind::Shared).await.unwrap();
    assert_eq!((shared.backup(), shared.prune()), (0, LOCKED));
    ours.release().await.unwrap();
    assert_eq!((shared.backup(), shared.prune()), (0, 0));
    shared.restic.assert_check_is_clean();
}

#[tokio::test]
async fn restic_reads_our_lock_file_and_its_unlock_leaves_us_alone() {
    let Some(shared) = Shared::new().await else {
        return;
    };
    let ours = shared.acquire(LockKind::Shared).await.unwrap();
    let read = shared
        .restic
        .run(["cat", "lock", &ours.id().to_hex(), "--no-lock"])
        .assert_success()
        .json();
    assert_eq!(read["pid"], std::process::id());
    assert_eq!(read["username"], "tester");
    assert_eq!(read["exclusive"], false);
    // restic's probe is a hangup signal to this very process.
    shared.restic.run(["unlock"]).assert_success();
    assert_eq!(shared.locks().await.len(), 1);
    ours.ensure_held().unwrap();
    ours.release().await.unwrap();
}

#[tokio::test]
async fn a_running_restic_backup_keeps_our_exclusive_lock_out_but_not_our_shared_one() {
    let Some(shared) = Shared::new().await else {
        return;
    };
    let mut backup = shared.start_backup();
    let theirs = shared.wait_for_lock().await;
    assert_eq!(theirs.pid, i64::from(backup.id()));
    match shared.acquire(LockKind::Exclusive).await {
        Err(LockError::Locked {
            exclusive: false,
            pid,
            ..
        }) => assert_eq!(pid, theirs.pid),
        other => panic!("{other:?}"),
    }
    let ours = shared.acquire(LockKind::Shared).await.unwrap();
    drop(backup.stdin.take());
    assert!(backup.wait().unwrap().success());
    ours.release().await.unwrap();
    shared
        .acquire(LockKind::Exclusive)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_restic_that_prunes_keeps_us_out_until_it_is_done() {
    let Some(shared) = Shared::new().await else {
        return;
    };
    let mut prune = shared.restic.command(["prune", "--quiet"]).spawn().unwrap();
    // It waits 200 ms after writing its lock, which is ample time to stop it.
    let theirs = shared.wait_for_lock().await;
    signal(&prune, Signal::SIGSTOP);
    assert!(theirs.exclusive);
    for kind in [LockKind::Shared, LockKind::Exclusive] {
        assert!(matches!(
            shared.acquire(kind).await,
            Err(LockError::Locked {
                exclusive: true,
                ..
            })
        ));
    }
    signal(&prune, Signal::SIGCONT);
    let options = LockOptions {
        retry_for: Duration::from_mins(1),
        ..LockOptions::default()
    };
    let ours = Lock::acquire(&shared.repository, LockKind::Shared, &options)
        .await
        .unwrap();
    assert!(prune.wait().unwrap().success());
    ours.release().await.unwrap();
}

#[tokio::test]
async fn restic_waits_for_our_lock_when_told_to() {
    let Some(shared) = Shared::new().await else {
        return;
    };
    let ours = shared.acquire(LockKind::Exclusive).await.unwrap();
    let mut waiting = shared
        .restic
        .command(["prune", "--retry-lock", "60s"])
        .spawn()
        .unwrap();
    let stdout = BufReader::new(waiting.stdout.take().unwrap());
    let mut lines = stdout.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("waiting up to")));
    ours.release().await.unwrap();
    lines.for_each(drop);
    assert!(waiting.wait().unwrap().success());
}

#[tokio::test]
async fn after_a_restic_was_killed_we_go_on_without_manual_work() {
    let Some(shared) = Shared::new().await else {
        return;
    };
    let mut backup = shared.start_backup();
    shared.wait_for_lock().await;
    backup.kill().unwrap();
    backup.wait().unwrap();
    // restic itself would ask for `unlock` here.
    assert_eq!(shared.prune(), LOCKED);
    shared
        .acquire(LockKind::Exclusive)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    assert_eq!(shared.prune(), 0);
}

#[tokio::test]
async fn we_and_restic_call_the_same_locks_stale() {
    let Some(shared) = Shared::new().await else {
        return;
    };
    let here = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let own = i64::from(std::process::id());
    for (hostname, pid, age_minutes) in [
        ("elsewhere", own, 29),
        ("elsewhere", own, 31),
        ("elsewhere", dead_pid(), 0),
        (here.as_str(), dead_pid(), 0),
        (here.as_str(), own, 29),
        (here.as_str(), own, 31),
        (here.as_str(), 0, 1),
        (here.as_str(), -1, 1),
        ("", dead_pid(), 1),
    ] {
        for exclusive in [false, true] {
            let time = Timestamp::now() - Duration::from_mins(age_minutes);
            let time = Time::new(time, Offset::UTC);
            let file = LockFile {
                time,
                exclusive,
                hostname: hostname.to_owned(),
                pid,
                ..LockFile::default()
            };
            let text = serde_json::to_vec(&file).unwrap();
            shared
                .repository
                .save_unpacked(FileKind::Lock, &text)
                .await
                .unwrap();
        }
    }
    // So that the probe of our process does not end it.
    shared.acquire(LockKind::Shared).await.unwrap_err();

    let copy = shared.scratch.join("copy");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(shared.restic.location())
        .arg(&copy)
        .status();
    assert!(status.unwrap().success());
    shared
        .program
        .repository(&copy, PASSWORD)
        .run(["unlock"])
        .assert_success();
    lock::unlock(&shared.repository, UnlockScope::Stale)
        .await
        .unwrap();

    let names = async |repository: &Repository| -> BTreeSet<LockId> {
        lock::list(repository)
            .await
            .unwrap()
            .into_iter()
            .map(|(id, _)| id)
            .collect()
    };
    let backend: Arc<dyn Backend> = Arc::new(LocalBackend::new(&copy));
    let password = PASSWORD.to_owned().into();
    let unlocked_by_restic = Repository::open(backend, &password, &OpenOptions::default())
        .await
        .unwrap();
    let left = names(&shared.repository).await;
    assert_eq!(left, names(&unlocked_by_restic).await);
    assert_eq!(left.len(), 8);
}
