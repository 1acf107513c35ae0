//! Working more gently than the application beside us: `nice` and `ionice`, as the user asked for in
//! `runtimeSettings`.

use clap::Args;
use ioprio::{BePriorityLevel, Class, Priority, RtPriorityLevel, Target};
use rustix::process::{Pid, getpriority_process, setpriority_process};

/// The level within a class of disk accesses where none is given, as the command `ionice` has it.
const LEVEL: i32 = 4;

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
    /// Class of disk accesses: 0 none, 1 real time, 2 best effort, 3 idle
    #[arg(
        long,
        env = "IONICE_CLASS",
        value_name = "CLASS",
        allow_negative_numbers = true
    )]
    ionice_class: Option<i32>,
    /// Level within the classes 1 and 2, from 0, the most favoured, to 7
    #[arg(
        long,
        env = "IONICE_CLASS_DATA",
        value_name = "LEVEL",
        allow_negative_numbers = true
    )]
    ionice_class_data: Option<i32>,
}

/// Applies what was asked for; what the system refuses is told and does not stop the work.
pub fn apply(options: &PriorityOptions) {
    if let Some(adjustment) = options.nice
        && let Err(error) = each_thread(|thread| adjust(thread, adjustment))
    {
        tracing::warn!(%error, adjustment, "cannot change the nice value");
    }
    let (class, level) = (options.ionice_class, options.ionice_class_data);
    if class.is_none() && level.is_none() {
        return;
    }
    let Some(priority) = of_disk(class, level) else {
        tracing::warn!(class, level, "there is no such priority of disk accesses");
        return;
    };
    if let Err(error) = each_thread(|thread| set_of_disk(thread, priority)) {
        tracing::warn!(%error, class, level, "cannot change the priority of disk accesses");
    }
}

fn adjust(thread: Pid, adjustment: i32) -> Result<(), rustix::io::Errno> {
    let present = getpriority_process(Some(thread))?;
    setpriority_process(Some(thread), (present + adjustment).clamp(-20, 19))
}

/// The priority of disk accesses that was asked for, if there is such a one. A level without a class means best
/// effort.
fn of_disk(class: Option<i32>, level: Option<i32>) -> Option<Priority> {
    let level = u8::try_from(level.unwrap_or(LEVEL)).ok()?;
    match class.unwrap_or(2) {
        0 => Some(Priority::standard()),
        1 => RtPriorityLevel::from_level(level).map(|it| Priority::new(Class::Realtime(it))),
        2 => BePriorityLevel::from_level(level).map(|it| Priority::new(Class::BestEffort(it))),
        3 => Some(Priority::new(Class::Idle)),
        _ => None,
    }
}

fn set_of_disk(thread: Pid, priority: Priority) -> std::io::Result<()> {
    let thread = ioprio::Pid::from_raw(thread.as_raw_nonzero().get());
    ioprio::set_priority(Target::Process(thread), priority).map_err(std::io::Error::other)
}

/// On Linux each thread has priorities of its own, which those that it starts inherit. The first refusal ends it.
fn each_thread<E>(change: impl Fn(Pid) -> Result<(), E>) -> Result<(), E> {
    threads().into_iter().try_for_each(change)
}

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

    #[test]
    fn a_level_alone_means_best_effort_and_a_class_alone_its_middle() {
        let of = |class, level| of_disk(class, level).and_then(Priority::class);
        assert_eq!(of_disk(Some(4), None), None);
        assert_eq!(of_disk(Some(2), Some(8)), None);
        assert_eq!(of_disk(Some(0), Some(7)), Some(Priority::standard()));
        assert_eq!(
            of(None, Some(7)),
            Some(Class::BestEffort(BePriorityLevel::lowest()))
        );
        assert_eq!(
            of(Some(2), None),
            Some(Class::BestEffort(BePriorityLevel::fallback()))
        );
        assert_eq!(
            of(Some(1), Some(0)),
            Some(Class::Realtime(RtPriorityLevel::highest()))
        );
        assert_eq!(of(Some(3), Some(5)), Some(Class::Idle));
    }

    #[test]
    fn a_thread_and_those_it_starts_access_the_disk_more_gently() {
        let of_thread = || {
            let me = ioprio::Pid::from_raw(rustix::thread::gettid().as_raw_nonzero().get());
            ioprio::get_priority(Target::Process(me)).unwrap()
        };
        let (before, own, child) = std::thread::spawn(move || {
            let me = Pid::from_raw(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let before = of_thread();
            set_of_disk(me, Priority::new(Class::Idle)).unwrap();
            let child = std::thread::spawn(of_thread).join().unwrap();
            (before, of_thread(), child)
        })
        .join()
        .unwrap();
        assert_ne!(before.class(), Some(Class::Idle));
        assert_eq!(own.class(), Some(Class::Idle));
        assert_eq!(child.class(), Some(Class::Idle));
    }
}
