//! The real restic as oracle, cut off from the machine's own settings.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Scratch;

/// No oracle call of a test takes this long unless it hangs.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The restic binary, 0.18 or newer.
#[derive(Debug, Clone)]
pub struct Restic {
    binary: PathBuf,
}

impl Restic {
    /// `$RESTIC_BINARY`, else the one `scripts/test` installed, else that of the search path.
    pub fn find() -> Option<Self> {
        let installed =
            std::env::home_dir().map(|home| home.join(".cache/stash-testbed/restic/bin/restic"));
        let candidates = match std::env::var_os("RESTIC_BINARY") {
            Some(path) => vec![PathBuf::from(path)],
            None => installed
                .into_iter()
                .chain([PathBuf::from("restic")])
                .collect(),
        };
        candidates
            .into_iter()
            .find(|binary| is_new_enough(binary))
            .map(|binary| Self { binary })
    }

    /// As [`Restic::find`]; prints why the calling test is skipped where there is none.
    pub fn find_or_skip() -> Option<Self> {
        let found = Self::find();
        if found.is_none() {
            crate::skip(
                "no restic 0.18 or newer is installed; set RESTIC_BINARY or run scripts/test",
            );
        }
        found
    }

    /// The binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// restic for one repository; nothing is created yet.
    pub fn repository(&self, location: impl AsRef<OsStr>, password: &str) -> ResticRepository {
        ResticRepository {
            binary: self.binary.clone(),
            location: PathBuf::from(location.as_ref()),
            password: password.to_owned(),
            home: Scratch::new(),
            arguments: Vec::new(),
            variables: Vec::new(),
        }
    }
}

fn is_new_enough(binary: &Path) -> bool {
    let Ok(output) = Command::new(binary).arg("version").output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .split('.')
        .map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (0, 18))
}

/// restic with a repository, a password, a home and a cache of its own.
#[derive(Debug)]
pub struct ResticRepository {
    binary: PathBuf,
    location: PathBuf,
    password: String,
    home: Scratch,
    arguments: Vec<OsString>,
    variables: Vec<(String, String)>,
}

impl ResticRepository {
    /// Where the repository is.
    pub fn location(&self) -> &Path {
        &self.location
    }

    /// With arguments before those of every call, such as `--cacert FILE`.
    #[must_use]
    pub fn with_arguments<A: AsRef<OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter();
        self.arguments
            .extend(arguments.map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// With variables of its own: credentials and addresses of a backend.
    #[must_use]
    pub fn with_variables<'a>(
        mut self,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let variables = variables.into_iter();
        self.variables
            .extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// The command with its environment, for tests that drive the process themselves.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(&self.arguments)
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("TMPDIR", std::env::temp_dir())
            .env("RESTIC_CACHE_DIR", self.home.join("cache"))
            .env("RESTIC_REPOSITORY", &self.location)
            .env("RESTIC_PASSWORD", &self.password)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs restic to its end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> ResticOutput {
        finish(self.command(arguments), &[])
    }

    /// Runs restic to its end with this on its standard input.
    pub fn run_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> ResticOutput {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        finish(command, input)
    }

    /// Creates the repository.
    pub fn init(&self) {
        self.run(["init"]).assert_success();
    }

    /// Fails the test unless `restic check --read-data` finds nothing.
    pub fn assert_check_is_clean(&self) {
        let output = self.run(["check", "--read-data"]);
        output.assert_success();
        assert!(
            output.stdout_text().contains("no errors were found"),
            "{output}"
        );
    }
}

/// What restic left when it ended.
#[derive(Debug, Clone)]
pub struct ResticOutput {
    /// The exit code; 128 and the signal when it was killed.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    arguments: String,
}

impl ResticOutput {
    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }

    /// The lines of standard output that are JSON values.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.stdout_text()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Fails the test unless restic ended well.
    pub fn assert_success(&self) -> &Self {
        self.assert_code(0)
    }

    /// Fails the test unless restic ended with this code.
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self}");
        self
    }
}

impl std::fmt::Display for ResticOutput {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "restic {} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.arguments,
            self.code,
            self.stdout_text(),
            self.stderr_text()
        )
    }
}

fn finish(mut command: Command, input: &[u8]) -> ResticOutput {
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let arguments = words.join(" ");
    let mut child = command.spawn().expect("restic starts");
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            // restic may end before it has read everything.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input);
            }
        });
        let stdout = scope.spawn(move || read_all(stdout));
        let stderr = scope.spawn(move || read_all(stderr));
        let status = wait(&mut child);
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1);
        ResticOutput {
            code,
            stdout,
            stderr,
            arguments,
        }
    })
}

fn read_all(stream: Option<impl Read>) -> Vec<u8> {
    let mut data = Vec::new();
    if let Some(mut stream) = stream {
        stream
            .read_to_end(&mut data)
            .expect("the output of restic can be read");
    }
    data
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(status) = child.try_wait().expect("restic can be waited for") {
            return status;
        }
        if Instant::now() > deadline {
            // The exit code then tells of the signal.
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
}
