//! The processes of a run: what was started, whether it still lives, and stopping exactly that.
//!
//! Each server leads a process group and carries the folder of its run in its environment. A process is
//! ours when it is a recorded one (same id, same start time), belongs to the group of one, or carries the
//! mark: so nothing is missed after a crash between starting and recording, or when a server forks away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::offers::{load_json, save_json};
use crate::failure::Failure;

/// The variable that marks every process of a run; its value is the folder of the run.
pub const MARK: &str = "STASH_TESTBED_RUN";
/// How long a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(20);

/// A started process, the leader of its group.
#[derive(Clone, Serialize, Deserialize)]
pub struct Recorded {
    /// The product that started it.
    pub product: String,
    pub pid: i32,
    /// When it started, in the kernel's ticks since boot: tells it from a later process of that id.
    pub started: u64,
}

fn file(state: &Path) -> PathBuf {
    state.join("processes.json")
}

/// Remembers a process that was just started.
pub fn record(state: &Path, product: &str, pid: i32) -> Result<(), Failure> {
    let started = Entry::read(pid).map_or(0, |entry| entry.started);
    let mut all: Vec<Recorded> = load_json(&file(state))?;
    all.push(Recorded {
        product: product.to_owned(),
        pid,
        started,
    });
    save_json(&file(state), &all)
}

/// Whether all processes that a product started still run. A product may offer a program only, and then
/// has none.
pub fn is_alive(state: &Path, product: &str) -> Result<bool, Failure> {
    let all: Vec<Recorded> = load_json(&file(state))?;
    Ok(all
        .iter()
        .filter(|recorded| recorded.product == product)
        .all(Recorded::runs))
}

/// Stops every process of the run and returns how many there were.
pub fn stop_all(state: &Path) -> Result<usize, Failure> {
    end_all(state, &[Signal::SIGTERM, Signal::SIGKILL])
}

/// Kills every process of the run, for what has nothing to save, and returns how many there were.
pub fn kill_all(state: &Path) -> Result<usize, Failure> {
    end_all(state, &[Signal::SIGKILL])
}

/// What was started by this run, and which of it still lives.
pub fn list(state: &Path) -> Result<Vec<(Recorded, bool)>, Failure> {
    let all: Vec<Recorded> = load_json(&file(state))?;
    Ok(all
        .into_iter()
        .map(|recorded| {
            let runs = recorded.runs();
            (recorded, runs)
        })
        .collect())
}

fn end_all(state: &Path, signals: &[Signal]) -> Result<usize, Failure> {
    let all: Vec<Recorded> = load_json(&file(state))?;
    let stopped = stop(state, &all, true, signals)?;
    save_json(&file(state), &Vec::<Recorded>::new())?;
    Ok(stopped)
}

/// Stops what one product started, and forgets it.
pub fn stop_product(state: &Path, product: &str) -> Result<(), Failure> {
    end_product(state, product, &[Signal::SIGTERM, Signal::SIGKILL])
}

/// Kills what one product started, and forgets it.
pub fn kill_product(state: &Path, product: &str) -> Result<(), Failure> {
    end_product(state, product, &[Signal::SIGKILL])
}

fn end_product(state: &Path, product: &str, signals: &[Signal]) -> Result<(), Failure> {
    let all: Vec<Recorded> = load_json(&file(state))?;
    let (ours, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|recorded| recorded.product == product);
    stop(state, &ours, false, signals)?;
    save_json(&file(state), &others)
}

/// Sends the processes one signal after the other and waits after each for their end.
fn stop(
    state: &Path,
    recorded: &[Recorded],
    marked_too: bool,
    signals: &[Signal],
) -> Result<usize, Failure> {
    // Kept over all looks: a child without the mark belongs to nobody once its leader has ended.
    let mut ours: BTreeMap<i32, u64> = BTreeMap::new();
    let mut remaining = Vec::new();
    for signal in signals {
        let deadline = Instant::now() + GRACE;
        let mut told = BTreeSet::new();
        loop {
            ours.extend(living(state, recorded, marked_too));
            remaining = ours
                .iter()
                .filter(|(pid, started)| {
                    Entry::read(**pid).is_some_and(|entry| entry.started == **started)
                })
                .map(|(pid, _)| *pid)
                .collect();
            if remaining.is_empty() {
                return Ok(ours.len());
            }
            for pid in &remaining {
                if told.insert(*pid) {
                    // It may have ended since it was seen; the next look tells.
                    let _ = kill(Pid::from_raw(*pid), *signal);
                }
            }
            if Instant::now() > deadline {
                break;
            }
            thread::sleep(POLL);
        }
    }
    Err(Failure::Refused(format!(
        "processes {remaining:?} do not end"
    )))
}

/// The processes of the run that have not ended: their ids and start times.
fn living(state: &Path, recorded: &[Recorded], marked_too: bool) -> Vec<(i32, u64)> {
    let mark = format!("{MARK}={}", state.display());
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    Entry::all()
        .filter(|entry| entry.pid != own)
        .filter(|entry| {
            let is_marked = || entry.carries(&mark);
            let in_group = recorded.iter().any(|one| {
                if one.pid == entry.pid {
                    one.started == entry.started
                } else {
                    one.pid == entry.group && (one.runs() || is_marked())
                }
            });
            in_group || marked_too && is_marked()
        })
        .map(|entry| (entry.pid, entry.started))
        .collect()
}

/// How long the machine runs.
pub fn seconds_since_boot() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.')
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_default()
}

impl Recorded {
    /// When it started, in seconds since boot. The kernel shows user space 100 ticks per second on all machines.
    pub fn started_second(&self) -> u64 {
        self.started / 100
    }

    fn runs(&self) -> bool {
        Entry::read(self.pid).is_some_and(|entry| entry.started == self.started)
    }
}

/// What the kernel says about a process; one that only waits to be collected does not count.
struct Entry {
    pid: i32,
    group: i32,
    started: u64,
}

impl Entry {
    fn all() -> impl Iterator<Item = Self> {
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(Self::read)
    }

    fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// proc_pid_stat(5): the name in parentheses may hold anything; state, parent and group follow it,
    /// the start time is the 22nd field.
    fn parse(pid: i32, text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    fn carries(&self, mark: &str) -> bool {
        fs::read(format!("/proc/{}/environ", self.pid)).is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell with two children, which it has started when this returns; killed with them at the end.
    struct Server(Child);

    impl Server {
        fn start(state: Option<&Path>) -> Self {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 600 >&2 & sleep 600 >&2 & echo started; wait"]);
            command
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            if let Some(state) = state {
                command.env(MARK, state);
            }
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            assert_eq!(line, "started\n");
            Self(child)
        }

        fn pid(&self) -> i32 {
            i32::try_from(self.0.id()).unwrap()
        }

        fn runs(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            if self.runs() {
                let _ = nix::sys::signal::killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
                drop(self.0.wait());
            }
        }
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b (c) S 1 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let entry = Entry::parse(7, text).unwrap();
        assert_eq!((entry.group, entry.started), (5, 4242));
        assert!(Entry::parse(7, &text.replace(") S", ") Z")).is_none());
    }

    #[test]
    fn a_server_and_its_children_are_stopped_and_nobody_else() {
        let state = tempfile::tempdir().unwrap();
        let mut ours = Server::start(None);
        let mut stranger = Server::start(None);
        record(state.path(), "a", ours.pid()).unwrap();
        assert!(is_alive(state.path(), "a").unwrap());
        assert_eq!(stop_all(state.path()).unwrap(), 3);
        assert!(!ours.runs());
        assert!(stranger.runs());
    }

    #[test]
    fn a_server_that_was_never_recorded_is_found_by_its_mark() {
        let state = tempfile::tempdir().unwrap();
        let mut forgotten = Server::start(Some(state.path()));
        assert_eq!(stop_all(state.path()).unwrap(), 3);
        assert!(!forgotten.runs());
    }

    #[test]
    fn a_process_that_took_over_the_id_is_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let mut stranger = Server::start(None);
        let recycled = [Recorded {
            product: "a".to_owned(),
            pid: stranger.pid(),
            started: 1,
        }];
        save_json(&file(state.path()), &recycled).unwrap();
        assert!(!is_alive(state.path(), "a").unwrap());
        assert_eq!(stop_all(state.path()).unwrap(), 0);
        assert!(stranger.runs());
    }
}
