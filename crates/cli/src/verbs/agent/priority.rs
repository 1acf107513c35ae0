//! Working more gently than the application beside us: `nice`, as the user asked for in `runtimeSettings`.

use clap::Args;
use rustix::process::{Pid, getpriority_process, setpriority_process};

/// How gently to work.
#[derive(Debug, Args)]
pub struct PriorityOptions {
    /// Added to the nice value of this process
    #[arg(
        long,
        env = "NICE_ADJUSTMENT",
        value_name = "NUMBER",
        allow_negative_numbers = true
    )]
    nice: Option<i32>,
    /// Class of disk accesses: follows `--nice`, see below
    #[arg(long, env = "IONICE_CLASS", value_name = "CLASS", hide = true)]
    ionice_class: Option<i32>,
    /// Level within the class
    #[arg(long, env = "IONICE_CLASS_DATA", value_name = "LEVEL", hide = true)]
    ionice_class_data: Option<i32>,
}

/// Applies what was asked for; what the system refuses is told and does not stop the work.
pub fn apply(options: &PriorityOptions) {
    if let Some(adjustment) = options.nice {
        for thread in threads() {
            if let Err(error) = adjust(thread, adjustment) {
                tracing::warn!(%error, adjustment, "cannot change the nice value");
                break;
            }
        }
    }
    if options.ionice_class.is_some() || options.ionice_class_data.is_some() {
        // The kernel derives the priority of disk accesses from the nice value unless a class is set, and there is no
        // safe call to set one.
        tracing::warn!(
            "ionice is not applied as such: the priority of disk accesses follows the nice value"
        );
    }
}

fn adjust(thread: Pid, adjustment: i32) -> Result<(), rustix::io::Errno> {
    let present = getpriority_process(Some(thread))?;
    setpriority_process(Some(thread), (present + adjustment).clamp(-20, 19))
}

/// On Linux each thread has a nice value of its own, which those that it starts inherit.
fn threads() -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_becomes_nicer() {
        // A thread of its own, so that no other test is slowed down.
        let nice = std::thread::spawn(|| {
            let me = Pid::from_raw(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            assert!(threads().contains(&me));
            adjust(me, 3).unwrap();
            let first = getpriority_process(Some(me)).unwrap();
            adjust(me, 100).unwrap();
            (first, getpriority_process(Some(me)).unwrap())
        });
        let (first, second) = nice.join().unwrap();
        assert!(first >= 3, "{first}");
        assert_eq!(second, 19);
    }
}
