//! Ending a cluster without a trace, in whatever state it is.
//!
//! Nothing is asked to end by itself: all that it would save goes away with it.

use std::fs;
use std::io;

use super::layout::Layout;
use super::machine::Machine;
use super::{control_groups, namespaces};
use crate::failure::Failure;
use crate::servers::{processes, testbed};

/// What remains of the state folder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    Keep,
    Remove,
}

/// Ends everything and returns how many processes there were; the caller holds the folder's lock.
pub fn stop(layout: &Layout, logs: Logs) -> Result<usize, Failure> {
    // First what would start containers anew; containers themselves carry no mark, but are in the group.
    let stopped = processes::kill_all(layout.state())? + control_groups::remove(layout)?;
    namespaces::remove(layout)?;
    Machine::new(&testbed()?).leave(layout)?;
    clear(layout, logs)?;
    Ok(stopped)
}

/// Removes everything but the lock, which somebody may wait for.
fn clear(layout: &Layout, logs: Logs) -> Result<(), Failure> {
    let failed = |source| Failure::Write {
        path: layout.state().to_path_buf(),
        source,
    };
    for entry in fs::read_dir(layout.state()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == "lock" || name == "logs" && logs == Logs::Keep {
            continue;
        }
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        let removed = if is_folder {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lock_and_the_logs_that_somebody_wants_remain() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let left = |logs| {
            for folder in ["logs", "lib/containerd"] {
                fs::create_dir_all(layout.path(folder)).unwrap();
            }
            for file in ["lock", "cluster.json", "logs/etcd.log"] {
                fs::write(layout.path(file), "").unwrap();
            }
            clear(&layout, logs).unwrap();
            let mut names: Vec<_> = fs::read_dir(layout.state())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            names
        };
        assert_eq!(left(Logs::Keep), ["lock", "logs"]);
        assert_eq!(left(Logs::Remove), ["lock"]);
    }
}
