//! The binary with a repository of its own, cut off from the machine's settings, and restic beside it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend::{Backend, LocalBackend};
use repository::key::ScryptParams;
use repository::{CreateOptions, OpenOptions, Repository};
use secrecy::SecretString;
use serde_json::Value;
use testkit::{Random, Restic, ResticRepository, Scratch};

pub const PASSWORD: &str = "correct horse battery staple";

/// A scratch folder with a place for the source, and a repository that `stash` works on.
pub struct Bench {
    pub scratch: Scratch,
    home: Scratch,
}

impl Bench {
    /// Creates the repository with a cheap key, so that opening it costs no half second each time.
    pub fn new(version: u32) -> Self {
        let bench = Self {
            scratch: Scratch::new(),
            home: Scratch::new(),
        };
        bench.scratch.folder("source");
        let options = CreateOptions {
            scrypt: Some(ScryptParams::FAST_FOR_TESTS),
            version: Some(version),
            ..CreateOptions::default()
        };
        let backend: Arc<dyn Backend> = Arc::new(LocalBackend::new(bench.repository()));
        block_on(Repository::create(
            backend,
            &SecretString::from(PASSWORD),
            &options,
        ))
        .unwrap();
        bench
    }

    pub fn source(&self) -> PathBuf {
        self.scratch.join("source")
    }

    pub fn repository(&self) -> PathBuf {
        self.scratch.join("repository")
    }

    /// restic on the same repository.
    pub fn restic(&self, restic: &Restic) -> ResticRepository {
        restic.repository(self.repository(), PASSWORD)
    }

    /// The repository opened in this process.
    pub async fn open(&self) -> Repository {
        let backend: Arc<dyn Backend> = Arc::new(LocalBackend::new(self.repository()));
        let password = SecretString::from(PASSWORD);
        Repository::open(backend, &password, &OpenOptions::default())
            .await
            .unwrap()
    }

    /// `stash`, started in the source folder.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        // A binary built otherwise (for release, or by another toolchain) is judged by the same tests.
        let binary = std::env::var_os("STASH_TEST_BINARY")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_stash").into());
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("RESTIC_REPOSITORY", self.repository())
            .env("RESTIC_PASSWORD", PASSWORD)
            .current_dir(self.source())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `stash` to its end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Ended {
        Ended::of(&mut self.command(arguments))
    }

    /// Backs the source folder up and gives the summary message.
    pub fn back_up(&self, more: &[&str]) -> Value {
        let output = self.run([&["backup", "--json", "."], more].concat());
        output.assert_code(0);
        output.summary()
    }

    /// Restores a snapshot into a fresh folder of this name.
    pub fn restore(&self, snapshot: &str, name: &str) -> PathBuf {
        let target = self.scratch.join(name);
        let _ = fs::remove_dir_all(&target);
        let folder = target.to_str().unwrap();
        self.run(["restore", snapshot, "--target", folder])
            .assert_code(0);
        target
    }

    /// Ids of all snapshots, oldest first.
    pub fn snapshots(&self) -> Vec<String> {
        ids(&self
            .run(["snapshots", "--json", "--no-lock"])
            .assert_code(0)
            .json())
    }

    /// How many locks there are. Files still under a temporary name are none.
    pub fn locks(&self) -> usize {
        self.files_in("locks")
            .iter()
            .filter(|path| path.file_name().is_some_and(|name| name.len() == 64))
            .count()
    }

    /// Every file of the repository but its locks, with its content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
        self.names().into_iter().map(read).collect()
    }

    /// Every file of the repository but its locks, sorted.
    pub fn names(&self) -> Vec<PathBuf> {
        let locks = self.repository().join("locks");
        let mut found = self.files_in("");
        found.retain(|path| !path.starts_with(&locks));
        found
    }

    /// The files in a folder of the repository, sorted. What goes away meanwhile may be missing.
    pub fn files_in(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.repository().join(folder), &mut found);
        found.sort();
        found
    }
}

/// What `stash` left when it ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

impl Ended {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().expect("stash starts");
        Self::new(&output, &format!("{command:?}"))
    }

    pub fn new(output: &Output, command: &str) -> Self {
        let status = output.status;
        let ended = Self {
            code: status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal))
                .unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            command: command.to_owned(),
        };
        assert!(
            !ended.stderr.contains("panicked") && ended.code != 101 && ended.code != 134,
            "{ended}"
        );
        ended
    }

    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Fails the test unless one of the streams holds this.
    pub fn assert_says(&self, part: &str) -> &Self {
        assert!(self.text().contains(part), "`{part}` is missing: {self}");
        self
    }

    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// The last summary message.
    pub fn summary(&self) -> Value {
        summary(&self.stdout).unwrap_or_else(|| panic!("no summary: {self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}

/// The last summary message among JSON lines.
pub fn summary(lines: &str) -> Option<Value> {
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .rfind(|message| message["message_type"] == "summary")
}

/// The ids in a list of snapshots.
pub fn ids(list: &Value) -> Vec<String> {
    let one = |snapshot: &Value| snapshot["id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(one).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Copies a folder with all metadata; the copy replaces what was there.
pub fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cannot copy {}", from.display());
}

/// Waits until something has happened.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "{what} did not happen within a minute"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Fills a folder with a few large incompressible files and many small ones; the same names each time.
pub fn fill(folder: &Path, random: &mut Random, large_bytes: usize, small_files: usize) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..4 {
        let content = random.bytes(large_bytes / 4);
        fs::write(folder.join(format!("large-{number}")), content).unwrap();
    }
    for number in 0..small_files {
        let inner = folder.join(format!("folder-{}", number % 10));
        fs::create_dir_all(&inner).unwrap();
        let length = random.index(4000);
        fs::write(inner.join(format!("small-{number}")), random.text(length)).unwrap();
    }
}
