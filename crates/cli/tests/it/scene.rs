//! The bench as the tests of messages and exit codes use it: from beside the source, byte for byte, with a deadline.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Restic, ResticRepository};

use crate::support::Bench;

/// No call of a test takes this long unless it hangs.
const TIMEOUT: Duration = Duration::from_mins(3);

/// A bench whose programs start beside the source, so that snapshots hold `/source`.
pub struct Scene {
    bench: Bench,
}

impl std::ops::Deref for Scene {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Scene {
    /// An empty source and no repository yet.
    pub fn empty() -> Self {
        let scene = Self::new();
        fs::remove_dir_all(scene.repository()).unwrap();
        scene
    }

    /// An empty source and an empty repository.
    pub fn new() -> Self {
        Self {
            bench: Bench::new(2),
        }
    }

    /// A repository and a snapshot of a few files, by us.
    pub fn with_snapshot() -> Self {
        let scene = Self::new();
        scene.write("notes.txt", b"first\n");
        scene.write("folder/big.bin", &testkit::Random::new(7).bytes(2 << 20));
        scene.back_up();
        scene
    }

    /// Writes a file of the source.
    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Our binary in the scratch folder with nothing but its own environment.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.bench.command(arguments);
        command.current_dir(self.scratch.path());
        command
    }

    /// Runs our binary to its end.
    pub fn stash<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        run(self.command(arguments), &[])
    }

    /// The same with this on its standard input.
    pub fn stash_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        run(command, input)
    }

    /// Backs up the source by us.
    pub fn back_up(&self) -> Output {
        let output = self.stash(["backup", "source", "--json"]);
        output.assert_code(0);
        output
    }

    /// restic on the same repository; none, with a line that says so, where there is no restic.
    pub fn beside(&self) -> Option<ResticRepository> {
        Some(self.bench.restic(&Restic::find_or_skip()?))
    }
}

/// What our binary left when it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; 128 and the signal when it was killed.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    arguments: String,
}

impl Output {
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// The JSON lines of both streams.
    pub fn messages(&self) -> Vec<Value> {
        let text = self.stdout_text() + &self.stderr_text();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The only message of a type.
    pub fn message(&self, message_type: &str) -> Value {
        let mut found = self.messages();
        found.retain(|message| message["message_type"] == message_type);
        assert_eq!(found.len(), 1, "{message_type}: {self}");
        found.remove(0)
    }

    /// Fails the test unless it ended with this code and without a panic.
    pub fn assert_code(&self, code: i32) -> &Self {
        self.assert_no_panic();
        assert_eq!(self.code, code, "{self}");
        self
    }

    pub fn assert_no_panic(&self) -> &Self {
        assert!(!self.stderr_text().contains("panicked"), "{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "stash {} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.arguments,
            self.code,
            self.stdout_text(),
            self.stderr_text()
        )
    }
}

/// Runs a command to its end; one that hangs is killed and fails by its exit code.
pub fn run(mut command: Command, input: &[u8]) -> Output {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let arguments = words.join(" ");
    let mut child = command.spawn().unwrap();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The program may end before it has read everything.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input);
            }
        });
        let stdout = scope.spawn(move || read(stdout));
        let stderr = scope.spawn(move || read(stderr));
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(3));
        };
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1);
        Output {
            code,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
            arguments,
        }
    })
}

fn read(stream: Option<impl std::io::Read>) -> Vec<u8> {
    let mut data = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut data).unwrap();
    }
    data
}
