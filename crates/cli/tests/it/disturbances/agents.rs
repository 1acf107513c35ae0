//! The processes of agents in Pods, as the node's kernel sees them.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::cluster::wait_for;

use crate::controllers::stage::PATIENCE;

/// An agent's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agent(Pid);

impl Agent {
    /// The one that runs in the Pod whose name begins so.
    pub fn of(namespace: &str, pod: &str) -> Self {
        wait_for(&format!("an agent in {pod}"), PATIENCE, || {
            Self::find(namespace, pod)
        })
    }

    fn find(namespace: &str, pod: &str) -> Option<Self> {
        let wanted = [
            format!("POD_NAMESPACE={namespace}\0"),
            format!("POD_NAME={pod}"),
        ];
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let number: i32 = entry.file_name().to_str()?.parse().ok()?;
            // Processes come and go.
            let arguments = fs::read(entry.path().join("cmdline")).ok()?;
            let mut arguments = arguments.split(|byte| *byte == 0);
            if !arguments.next()?.ends_with(b"/stash") || arguments.next()? != b"agent" {
                return None;
            }
            let variables = fs::read(entry.path().join("environ")).ok()?;
            let has = |wanted: &String| {
                let mut variables = variables.split_inclusive(|byte| *byte == 0);
                variables.any(|variable| variable.starts_with(wanted.as_bytes()))
            };
            wanted.iter().all(has).then(|| Self(Pid::from_raw(number)))
        })
    }

    /// Ends it without a warning.
    pub fn kill(self) {
        kill(self.0, Signal::SIGKILL).unwrap();
    }

    /// It does nothing any more, and does not hear that it is to end either. Whether it was still there.
    pub fn freeze(self) -> bool {
        kill(self.0, Signal::SIGSTOP).is_ok()
    }

    /// It goes on.
    pub fn thaw(self) {
        kill(self.0, Signal::SIGCONT).unwrap();
    }
}
