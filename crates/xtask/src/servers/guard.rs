//! A process that stops the servers of a test run however the run ends.
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

/// A posted guard. Dropping it leaves the servers to be stopped too, without waiting for that.
pub struct Guard {
    state: PathBuf,
    child: Child,
}

impl Guard {
    /// Chooses a folder for a test run, posts the guard, and cleans up after runs that could not do so
    /// themselves.
    pub fn post() -> Result<Self, Failure> {
        let testbed = testbed()?;
        sweep(&testbed)?;
        let state = testbed.join(format!("test-{}", std::process::id()));
        drop(run::lock(&state)?);
        let start = |source| Failure::Start {
            program: "cargo xtask servers guard".to_owned(),
            source,
        };
        let child = Command::new(env::current_exe().map_err(start)?)
            .args(["servers", "guard", "--state"])
            .arg(&state)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(start)?;
        Ok(Self { state, child })
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
            program: "cargo xtask servers guard".to_owned(),
            source,
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::Status {
                command: "cargo xtask servers guard".to_owned(),
                status,
            })
        }
    }
}

/// The guard itself: waits for the end of standard input, then stops everything.
pub fn stand_guard(state: &Path) -> Result<(), Failure> {
    let mut said = String::new();
    // A pipe that breaks has ended too.
    drop(io::stdin().read_to_string(&mut said));
    let _lock = run::lock(state)?;
    let stopped = processes::stop_all(state)?;
    run::clear(state)?;
    report::line(&format!("servers: stopped {stopped} process(es)"));
    if said == DONE {
        return remove(state);
    }
    report::line(&format!(
        "logs of the servers: {}",
        state.join("logs").display()
    ));
    Ok(())
}

/// Stops and removes what earlier test runs left: their logs, and servers whose guard was killed too.
fn sweep(testbed: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(testbed).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix("test-")) else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let state = entry.path();
            let _lock = run::lock(&state)?;
            processes::stop_all(&state)?;
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
