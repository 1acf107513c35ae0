//! The programs that are measured and how they are called.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::tools::Restic;
use crate::workspace::Workspace;
use crate::{command, report};

/// A program that speaks restic's command line on a repository.
pub struct Engine {
    name: &'static str,
    program: PathBuf,
    version: String,
}

/// All engines present: restic first, because the ratios refer to it, then `stash`, then rustic.
pub fn all(workspace: &Workspace) -> Result<Vec<Engine>, Failure> {
    let restic = Restic::install(workspace)?;
    let stash = release(workspace)?;
    let mut engines = vec![
        Engine {
            name: "restic",
            program: restic.program().to_path_buf(),
            version: restic.version().to_owned(),
        },
        Engine {
            name: "stash",
            version: version_of(&stash)?,
            program: stash,
        },
    ];
    let third = PathBuf::from("rustic");
    if let Ok(version) = version_of(&third) {
        engines.push(Engine {
            name: "rustic",
            program: third,
            version,
        });
    }
    Ok(engines)
}

/// Builds `stash` as users run it.
pub fn release(workspace: &Workspace) -> Result<PathBuf, Failure> {
    report::line("building stash in release mode");
    command::run(&mut workspace.cargo(&[
        "build",
        "--release",
        "--package",
        "cli",
        "--bin",
        "stash",
    ]))?;
    Ok(workspace.target_folder()?.join("release/stash"))
}

impl Engine {
    /// The short name, as a column heading.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Name and version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A command on a repository, with the bench's password and without any cache: the repositories are
    /// local, where a cache only costs.
    pub fn command(&self, repository: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let prefix = if self.name == "rustic" {
            "RUSTIC"
        } else {
            "RESTIC"
        };
        command.env(format!("{prefix}_REPOSITORY"), repository);
        command.env(format!("{prefix}_PASSWORD"), "bench");
        command.args(arguments).arg("--no-cache");
        if self.name == "rustic" && arguments.first() == Some(&"restore") {
            // rustic takes the target as a positional argument.
            let target = arguments.last().copied().unwrap_or_default();
            return self.rustic_restore(repository, target);
        }
        command
    }

    fn rustic_restore(&self, repository: &Path, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("RUSTIC_REPOSITORY", repository)
            .env("RUSTIC_PASSWORD", "bench");
        command.args(["restore", "latest", target, "--no-cache"]);
        command
    }
}

/// Keeps the engines on some of the processors, so that results of machines can be compared.
pub struct Pinned {
    cores: usize,
}

impl Pinned {
    /// Pins to the first processors, where `taskset` is installed; 0 does not pin.
    pub fn new(cores: usize) -> Self {
        let last = cores.saturating_sub(1);
        let can_pin = cores > 0
            && command::succeeds(Command::new("taskset").args([
                "-c",
                &format!("0-{last}"),
                "true",
            ]));
        if cores > 0 && !can_pin {
            report::warning("`taskset` cannot limit the processors here; all are used");
        }
        Self {
            cores: if can_pin { cores } else { 0 },
        }
    }

    /// The number of processors the engines have; `None` means all.
    pub fn cores(&self) -> Option<usize> {
        (self.cores > 0).then_some(self.cores)
    }

    /// The same command on the chosen processors.
    pub fn apply(&self, command: Command) -> Command {
        if self.cores == 0 {
            return command;
        }
        let cores = format!("0-{}", self.cores - 1);
        started_by("taskset", &["-c", &cores], &command)
    }
}

/// The same command, started by another program.
pub fn started_by(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(arguments);
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            outer.env(name, value);
        }
    }
    outer
}

fn version_of(program: &Path) -> Result<String, Failure> {
    let text = command::output(Command::new(program).arg("--version"))?;
    let words: Vec<&str> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .take(2)
        .collect();
    Ok(words.join(" "))
}
