//! How far a host is: counted by the engine, shown as an entry of the session's status.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api::v1beta1::HostProgress;
use archive::restore::{RestoreAction, RestoreProgress};
use archive::save::{BackupProgress, ItemDone};
use jiff::Timestamp;
use repository::tree::NodeKind;

use crate::backup::time;

/// Counts, from many threads at once.
#[derive(Debug, Default)]
pub(super) struct Board {
    label: Mutex<Label>,
    files_done: AtomicU64,
    bytes_done: AtomicU64,
    files_total: AtomicU64,
    bytes_total: AtomicU64,
    is_total_known: AtomicBool,
}

#[derive(Debug, Default, Clone)]
struct Label {
    step: String,
    path: Option<String>,
    since: Option<Instant>,
}

impl Board {
    /// Another step begins; its counts are its own.
    pub fn begin(&self, step: &str, path: Option<&str>) {
        // A count that comes late from the step before is not worth an ordering.
        for counter in [
            &self.files_done,
            &self.bytes_done,
            &self.files_total,
            &self.bytes_total,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
        self.is_total_known.store(false, Ordering::Relaxed);
        *self.label() = Label {
            step: step.to_owned(),
            path: path.map(str::to_owned),
            since: Some(Instant::now()),
        };
    }

    fn label(&self) -> std::sync::MutexGuard<'_, Label> {
        self.label
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The entry as it is now, but for who writes it.
    pub fn entry(&self, now: Timestamp) -> HostProgress {
        let label = self.label().clone();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut entry = HostProgress {
            step: label.step,
            updated_at: Some(time(now)),
            ..HostProgress::default()
        };
        if let Some(path) = label.path {
            let counts = Counts {
                files: (read(&self.files_done), read(&self.files_total)),
                bytes: (read(&self.bytes_done), read(&self.bytes_total)),
                is_total_known: self.is_total_known.load(Ordering::Relaxed),
            };
            let elapsed = label.since.map(|since| since.elapsed()).unwrap_or_default();
            entry.path = Some(path);
            counts.show(elapsed, &mut entry);
        }
        entry
    }
}

/// Done and total.
struct Counts {
    files: (u64, u64),
    bytes: (u64, u64),
    is_total_known: bool,
}

impl Counts {
    fn show(&self, elapsed: Duration, entry: &mut HostProgress) {
        let number = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
        entry.files_done = number(self.files.0);
        entry.bytes_done = number(self.bytes.0);
        if self.files.1 > 0 {
            entry.files_total = number(self.files.1);
            entry.bytes_total = number(self.bytes.1);
        }
        let milliseconds = u64::try_from(elapsed.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let speed = self.bytes.0.saturating_mul(1000) / milliseconds;
        entry.bytes_per_second = number(speed);
        if !self.is_total_known {
            return;
        }
        let (done, total) = if self.bytes.1 > 0 {
            self.bytes
        } else {
            self.files
        };
        let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
        entry.percent = i32::try_from(percent).ok();
        let left = self.bytes.1.saturating_sub(self.bytes.0);
        entry.seconds_left = left.checked_div(speed).and_then(number);
    }
}

impl BackupProgress for Board {
    fn wants_scan(&self) -> bool {
        true
    }

    fn scanned(&self, files: u64, bytes: u64, is_done: bool) {
        self.files_total.store(files, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
        self.is_total_known.store(is_done, Ordering::Relaxed);
    }

    fn item_done(&self, item: &ItemDone<'_>) {
        if item.kind == NodeKind::File {
            self.files_done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bytes_done(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl RestoreProgress for Board {
    fn planned(&self, files: u64, bytes: u64) {
        self.files_total.fetch_add(files, Ordering::Relaxed);
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
        self.is_total_known.store(true, Ordering::Relaxed);
    }

    fn bytes_done(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn item(&self, _path: &[u8], _action: RestoreAction, _bytes: u64) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_speed_and_time_left_follow_from_the_counts() {
        let mut counts = Counts {
            files: (3, 10),
            bytes: (2_000, 10_000),
            is_total_known: false,
        };
        let mut entry = HostProgress::default();
        counts.show(Duration::from_secs(4), &mut entry);
        assert_eq!(entry.bytes_per_second, Some(500));
        assert_eq!((entry.percent, entry.seconds_left), (None, None));
        counts.is_total_known = true;
        counts.show(Duration::from_secs(4), &mut entry);
        assert_eq!((entry.percent, entry.seconds_left), (Some(20), Some(16)));
        // Files that grow while they are read.
        counts.bytes.0 = 12_000;
        counts.show(Duration::from_secs(4), &mut entry);
        assert_eq!((entry.percent, entry.seconds_left), (Some(100), Some(0)));
    }

    #[test]
    fn nothing_to_do_is_all_done() {
        let board = Board::default();
        board.begin("Backing up", Some("/empty"));
        board.scanned(0, 0, true);
        let entry = board.entry(Timestamp::UNIX_EPOCH);
        assert_eq!(entry.percent, Some(100));
        board.begin("Applying the retention policy", None);
        let entry = board.entry(Timestamp::UNIX_EPOCH);
        assert_eq!((entry.percent, entry.path), (None, None));
    }
}
