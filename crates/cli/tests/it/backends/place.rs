//! A copy of an example in a folder of its own, with the places of a test server in it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::servers::Server;
use testkit::{Restic, ResticRepository, Scratch};

/// A backend at a server.
pub struct Place {
    /// The folder of the example.
    pub backend: &'static str,
    /// Product and version.
    pub server: String,
    /// What stands in the example, and what takes its place.
    pub edits: Vec<(String, String)>,
    /// Lines added to the Secret's `stringData`.
    pub more_keys: Vec<(&'static str, String)>,
    /// The certificate that the server's is signed with.
    pub ca: Option<PathBuf>,
    /// Variables for our program and for restic on the repository.
    pub variables: Vec<(&'static str, String)>,
    /// The repository in restic's words.
    pub repository: String,
    /// Further arguments that restic needs; nothing when restic cannot reach this place.
    pub restic: Option<Vec<String>>,
    /// Texts that must never be shown.
    pub secrets: Vec<String>,
}

/// The copy and everything that was said.
pub struct Scene {
    pub place: Place,
    scratch: Scratch,
    password: String,
    told: RefCell<String>,
}

impl Scene {
    pub fn new(place: Place) -> Self {
        let scene = Self {
            place,
            scratch: Scratch::new(),
            password: format!("secret-password-{:016x}", rand::random::<u64>()),
            told: RefCell::default(),
        };
        fs::create_dir(scene.path("source")).unwrap();
        fs::create_dir(scene.path("manifests")).unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples/backends")
            .join(scene.place.backend);
        for entry in fs::read_dir(example).unwrap() {
            let entry = entry.unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            let path = scene.path("manifests").join(entry.file_name());
            fs::write(path, scene.edited(&text)).unwrap();
        }
        for (from, _) in scene
            .place
            .edits
            .iter()
            .filter(|(from, to)| !to.contains(from.as_str()))
        {
            let is_left = ["secret.yaml", "repository.yaml"].iter().any(|name| {
                let text = fs::read_to_string(scene.path("manifests").join(name)).unwrap();
                text.contains(from)
            });
            assert!(!is_left, "{from} is still in the example");
        }
        scene
    }

    /// The text of the example with the test's places in it.
    fn edited(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.place.edits {
            text = text.replace(from, to);
        }
        text = text
            .replace("choose-a-long-random-text", &self.password)
            .replace("/srv/data", &self.path("source").display().to_string());
        if text.contains("kind: Secret") {
            for (key, value) in &self.place.more_keys {
                text.push_str(&format!("  {key}: {value}\n"));
            }
            if let Some(ca) = &self.place.ca {
                text.push_str("  CA_CERT_DATA: |\n");
                for line in fs::read_to_string(ca).unwrap().lines() {
                    text.push_str(&format!("    {line}\n"));
                }
            }
        }
        text
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Everything that our program said so far.
    pub fn told(&self) -> String {
        self.told.borrow().clone()
    }

    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path("manifests").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// Runs our program as a user with manifests does; returns its standard output.
    pub fn stash<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        self.run(self.command(arguments))
    }

    /// As [`Self::stash`], where it must fail; returns everything that it said.
    pub fn stash_fails<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let mut command = self.command(arguments);
        let output = command.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = format!("{stdout}\n{stderr}\n");
        self.told.borrow_mut().push_str(&said);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        said
    }

    /// Runs our program as a user of restic's verbs does.
    pub fn on_repository<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let mut command = self.command(["--no-cache", "-r", &self.place.repository]);
        if let Some(ca) = &self.place.ca {
            command.arg("--cacert").arg(ca);
        }
        command
            .args(arguments)
            .env("RESTIC_PASSWORD", &self.password);
        command.envs(
            self.place
                .variables
                .iter()
                .map(|(name, value)| (name, value)),
        );
        self.run(command)
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stash"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.scratch.path())
            .env("STASH_STATE_DIR", self.path("state"))
            .envs(self.endpoints())
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        command
    }

    /// Where a service with a fixed address is: not part of a manifest.
    fn endpoints(&self) -> impl Iterator<Item = (&str, &str)> {
        const NAMES: [&str; 3] = ["STORAGE_EMULATOR_HOST", "AZURE_ENDPOINT", "B2_ENDPOINT"];
        let variables = self.place.variables.iter();
        variables
            .filter(|(name, _)| NAMES.contains(name))
            .map(|(name, value)| (*name, value.as_str()))
    }

    fn run(&self, mut command: Command) -> String {
        let output = command.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        self.told
            .borrow_mut()
            .push_str(&format!("{stdout}\n{stderr}\n"));
        assert!(
            output.status.success(),
            "{command:?}: {}\n{stdout}\n{stderr}",
            output.status
        );
        stdout
    }

    pub fn snapshots(&self) -> usize {
        let text = self.on_repository(["snapshots", "--json"]);
        serde_json::from_str::<Vec<serde_json::Value>>(&text)
            .unwrap()
            .len()
    }

    /// Restores the latest snapshot's source into a folder by a RestoreSession.
    pub fn restore(&self, folder: &str) {
        let target = self.path(folder);
        let source = self.path("source");
        let whole = self.path("restore-target");
        let name = self.place.backend;
        let text = format!(
            "apiVersion: stash.appscode.com/v1beta1
kind: RestoreSession
metadata: {{name: {name}-restore, namespace: demo}}
spec:
  repository: {{name: {name}-repository}}
  target:
    args: [--target={}]
    rules: [{{paths: [{}]}}]
",
            whole.display(),
            source.display()
        );
        let file = self.path("restore.yaml");
        fs::write(&file, text).unwrap();
        let manifests = self.path("manifests");
        self.stash([
            "run".as_ref(),
            "--once".as_ref(),
            manifests.join("secret.yaml").as_os_str(),
            manifests.join("repository.yaml").as_os_str(),
            file.as_os_str(),
        ]);
        fs::rename(super::below(&whole, &source), target).unwrap();
    }

    /// restic on the same repository, where it can reach it.
    pub fn restic(&self, restic: &Restic) -> Option<ResticRepository> {
        let Some(arguments) = &self.place.restic else {
            testkit::skip(format!("stock restic does not reach {}", self.place.server));
            return None;
        };
        let variables = self.place.variables.iter();
        let repository = restic
            .repository(&self.place.repository, &self.password)
            .with_arguments(arguments)
            .with_variables(variables.map(|(name, value)| (*name, value.as_str())));
        Some(match &self.place.ca {
            Some(ca) => repository.with_arguments(["--cacert".as_ref(), ca.as_os_str()]),
            None => repository,
        })
    }

    /// No key, password or token in anything that was printed, nor in the state that was kept.
    pub fn assert_no_secret_was_shown(&self) {
        let mut shown = self.told();
        for entry in fs::read_dir(self.path("state")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                shown.push_str(&String::from_utf8_lossy(&fs::read(path).unwrap()));
            }
        }
        for secret in self.place.secrets.iter().chain([&self.password]) {
            assert!(
                !shown.contains(secret.as_str()),
                "{secret} was shown or kept"
            );
        }
        self.passed("secrets");
    }

    /// Notes a result for the table of `docs/backends.md`.
    pub fn passed(&self, check: &str) {
        let Some(report) = std::env::var_os("STASH_TEST_REPORT") else {
            return;
        };
        let line = serde_json::json!({
            "backend": self.place.backend,
            "server": self.place.server,
            "check": check,
            "result": "passed",
        });
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(report)
            .unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// What stands in an example, and what takes its place.
pub fn edits<const N: usize>(pairs: [(&str, String); N]) -> Vec<(String, String)> {
    pairs
        .into_iter()
        .map(|(from, to)| (from.to_owned(), to))
        .collect()
}

/// A name that no other test uses.
pub fn fresh(word: &str) -> String {
    format!("{word}-{:012x}", rand::random::<u64>() & 0xffff_ffff_ffff)
}

/// What every place at a server begins with.
pub fn at(backend: &'static str, server: &Server) -> Place {
    Place {
        backend,
        server: server.title(),
        edits: Vec::new(),
        more_keys: Vec::new(),
        ca: server.has_https().map(|_| server.ca().to_owned()),
        variables: Vec::new(),
        repository: String::new(),
        restic: Some(Vec::new()),
        secrets: Vec::new(),
    }
}
