//! A process that stops the servers or the cluster of a test run however the run ends.
//!
//! It holds the reading end of a pipe and lives in a process group of its own: when the test run ends,
//! fails, is interrupted or killed, the pipe closes and the guard stops the servers.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{processes, run, testbed};
use crate::failure::Failure;
use crate::report;

/// What a run that went well says before it ends; without it the logs are kept.
const DONE: &str = "done";

/// What a guard looks after.
pub struct Ward {
    /// The task that has the hidden verb `guard`.
    pub task: &'static str,
    /// How the folders of test runs are named, before the id of the process.
    pub prefix: &'static str,
    /// Stops everything of a run whose folder is locked, and returns how many processes there were. Logs stay.
    pub stop: fn(&Path) -> Result<usize, Failure>,
}

/// The servers of a test run.
pub const SERVERS: Ward = Ward {
    task: "servers",
    prefix: "test-",
    stop: |state| {
        let stopped = processes::stop_all(state)?;
        run::clear(state)?;
        Ok(stopped)
    },
};

/// A posted guard. Dropping it leaves the servers to be stopped too, without waiting for that.
pub struct Guard {
    state: PathBuf,
    child: Child,
    command: String,
}

impl Guard {
    /// [`Guard::post`] for servers.
    pub fn of_servers() -> Result<Self, Failure> {
        Self::post(&SERVERS)
    }

    /// Chooses a folder for a test run, posts the guard, and cleans up after runs that could not do so
    /// themselves.
    pub fn post(ward: &Ward) -> Result<Self, Failure> {
        let testbed = testbed()?;
        sweep(ward, &testbed)?;
        let state = testbed.join(format!("{}{}", ward.prefix, std::process::id()));
        drop(run::lock(&state)?);
        let command = format!("cargo xtask {} guard", ward.task);
        let start = |source| Failure::Start {
            program: command.clone(),
            source,
        };
        let child = Command::new(env::current_exe().map_err(start)?)
            .args([ward.task, "guard", "--state"])
            .arg(&state)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        Ok(Self {
            state,
            child,
            command,
        })
    }

    /// The folder of the run.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Lets the guard stop the servers and waits for it. The logs are removed when all `went_well`.
    pub fn dismiss(mut self, went_well: bool) -> Result<(), Failure> {
        if let Some(mut pipe) = self.child.stdin.take()
            && went_well
        {
            // A guard that is gone already shows in its exit status.
            drop(pipe.write_all(DONE.as_bytes()));
        }
        let status = self.child.wait().map_err(|source| Failure::Start {
            program: self.command.clone(),
            source,
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::Status {
                command: self.command,
                status,
            })
        }
    }
}

/// The guard itself: waits for the end of standard input, then stops everything.
pub fn stand_guard(ward: &Ward, state: &Path) -> Result<(), Failure> {
    let mut said = String::new();
    // A pipe that breaks has ended too.
    drop(io::stdin().read_to_string(&mut said));
    let _lock = run::lock(state)?;
    let stopped = (ward.stop)(state)?;
    report::line(&format!("{}: stopped {stopped} process(es)", ward.task));
    if said == DONE {
        return remove(state);
    }
    report::line(&format!(
        "logs of the {}: {}",
        ward.task,
        state.join("logs").display()
    ));
    Ok(())
}

/// Stops and removes what earlier test runs left: their logs, and servers whose guard was killed too.
fn sweep(ward: &Ward, testbed: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(testbed).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.strip_prefix(ward.prefix))
        else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let state = entry.path();
            let _lock = run::lock(&state)?;
            (ward.stop)(&state)?;
            remove(&state)?;
        }
    }
    Ok(())
}

fn remove(state: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(state).map_err(|source| Failure::Write {
        path: state.to_path_buf(),
        source,
    })
}
