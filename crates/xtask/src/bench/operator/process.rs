//! The operator as a process of this machine: its start and end, memory and processor time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::servers::run::end_of;
use crate::workspace::read_text;

/// In which Linux tells processes' times to programs, whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used so far, and its memory.
#[derive(Clone, Copy)]
pub struct Sample {
    pub cpu_seconds: f64,
    pub resident_kib: u64,
    pub peak_kib: u64,
}

/// A running operator. It ends with this value.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    /// Starts a command that becomes the operator.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, Failure> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|source| Failure::Write {
                path: log.to_path_buf(),
                source,
            })?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|source| Failure::Start {
                program: "stash operator".to_owned(),
                source,
            })?;
        Ok(Self {
            child,
            log: log.to_path_buf(),
        })
    }

    pub fn sample(&self) -> Result<Sample, Failure> {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = read_text(&folder.join("status"))?;
        let stat = read_text(&folder.join("stat"))?;
        Ok(Sample {
            cpu_seconds: cpu_seconds(&stat),
            resident_kib: kib(&status, "VmRSS:"),
            peak_kib: kib(&status, "VmHWM:"),
        })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool, Failure> {
        let ended = self.child.try_wait().map_err(|source| Failure::Start {
            program: "stash operator".to_owned(),
            source,
        })?;
        Ok(ended.is_some())
    }

    pub fn end_of_log(&self) -> String {
        end_of(&self.log)
    }

    /// Asks it to end and waits for that, so that it gives up its Lease.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.ask_to_end();
        self.child
            .wait()
            .map(drop)
            .map_err(|source| Failure::Start {
                program: "stash operator".to_owned(),
                source,
            })
    }

    fn ask_to_end(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // One that has ended is not there to be asked.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// User and system time. The name of the program, in parentheses, may contain anything.
fn cpu_seconds(stat: &str) -> f64 {
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let field = |number: usize| {
        let text = after_name.split_whitespace().nth(number);
        text.and_then(|text| text.parse::<f64>().ok())
    };
    // Fields 14 and 15 of the line; the first after the name is number 3.
    (field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0)) / TICKS_PER_SECOND
}

fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_and_memory_are_read() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 500 0 0 0 250 50 0 0 20 0";
        assert!((cpu_seconds(stat) - 3.0).abs() < 1e-9);
        let status = "Name:\tstash\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:")), (1024, 2048));
    }
}
