//! Work on many items by all cores, on plain threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Threads that work on the CPU.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// Does something for every index below `count`, in no particular order. Stops taking new ones when told.
pub(super) fn for_each(
    count: usize,
    is_stopped: impl Fn() -> bool + Sync,
    work: impl Fn(usize) + Sync,
) {
    let next = AtomicUsize::new(0);
    let run = || {
        while !is_stopped() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            work(index);
        }
    };
    let helpers = threads().min(count).saturating_sub(1);
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(run);
        }
        run();
    });
}

/// As [`for_each`], and keeps what came out of each item; an item that was not reached has nothing.
pub(super) fn map<R: Send>(
    count: usize,
    is_stopped: impl Fn() -> bool + Sync,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<Option<R>> {
    let results = Mutex::new((0..count).map(|_| None).collect::<Vec<_>>());
    for_each(count, is_stopped, |index| {
        let result = work(index);
        results.lock()[index] = Some(result);
    });
    results.into_inner()
}
