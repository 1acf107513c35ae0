//! Live progress on a terminal, or restic's status messages under `--json`.
//!
//! Workers only add to atomic counters; one task looks at them a few times a second and draws.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::values::{clock, size};

/// How many current files are shown below the status line.
const SHOWN_FILES: usize = 4;

/// Counters of the work under way.
#[derive(Debug)]
pub struct Board {
    /// What the numbers are of: `backup`, `restore`, or the word for the steps.
    verb: &'static str,
    started: Instant,
    total_files: AtomicU64,
    total_bytes: AtomicU64,
    is_total_known: AtomicBool,
    files: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    current: Mutex<BTreeSet<String>>,
}

impl Board {
    /// A board for a verb.
    pub fn new(verb: &'static str) -> Arc<Self> {
        Arc::new(Self {
            verb,
            started: Instant::now(),
            total_files: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            is_total_known: AtomicBool::new(false),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            current: Mutex::new(BTreeSet::new()),
        })
    }

    /// What there is to do; `is_final` when it will not grow any more.
    pub fn set_total(&self, files: u64, bytes: u64, is_final: bool) {
        self.total_files.store(files, Ordering::Relaxed);
        self.total_bytes.store(bytes, Ordering::Relaxed);
        self.is_total_known.store(is_final, Ordering::Relaxed);
    }

    /// There is more to do; what is known is taken as the total.
    pub fn add_total(&self, files: u64, bytes: u64) {
        self.total_files.fetch_add(files, Ordering::Relaxed);
        self.total_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.is_total_known.store(true, Ordering::Relaxed);
    }

    /// Some more is done.
    pub fn add(&self, files: u64, bytes: u64) {
        self.files.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One more file could not be done.
    pub fn add_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Work on a file began.
    pub fn begin(&self, path: String) {
        let mut current = self.current.lock();
        if current.len() < 64 {
            current.insert(path);
        }
    }

    /// Work on a file ended.
    pub fn end(&self, path: &str) {
        self.current.lock().remove(path);
    }

    /// Since when.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn state(&self) -> State {
        State {
            elapsed: self.started.elapsed(),
            total_files: self.total_files.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            is_total_known: self.is_total_known.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            current: self
                .current
                .lock()
                .iter()
                .take(SHOWN_FILES)
                .cloned()
                .collect(),
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    elapsed: Duration,
    total_files: u64,
    total_bytes: u64,
    is_total_known: bool,
    files: u64,
    bytes: u64,
    errors: u64,
    current: Vec<String>,
}

impl State {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn share(&self) -> f64 {
        if self.total_bytes > 0 {
            (self.bytes as f64 / self.total_bytes as f64).min(1.0)
        } else if self.total_files > 0 {
            (self.files as f64 / self.total_files as f64).min(1.0)
        } else {
            0.0
        }
    }

    fn bytes_per_second(&self) -> u64 {
        let milliseconds = u64::try_from(self.elapsed.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        u64::try_from(u128::from(self.bytes) * 1000 / u128::from(milliseconds)).unwrap_or(u64::MAX)
    }

    /// Time left, once there is enough to go by.
    fn remaining(&self) -> Option<Duration> {
        let share = self.share();
        let is_meaningful = self.is_total_known && share > 0.01 && self.elapsed.as_secs() >= 2;
        is_meaningful.then(|| self.elapsed.mul_f64((1.0 - share) / share))
    }

    /// The lines for a terminal: `[1:23] 42.00%  1234 files 5.600 GiB, total …, 0 errors ETA 2:11`.
    fn lines(&self) -> Vec<String> {
        let mut line = format!("[{}]", clock(self.elapsed));
        if self.is_total_known {
            line.push_str(&format!(" {:.2}%", self.share() * 100.0));
        }
        line.push_str(&format!("  {} files", self.files));
        if self.bytes > 0 {
            line.push_str(&format!(
                " {}, {}/s",
                size(self.bytes),
                size(self.bytes_per_second())
            ));
        }
        if self.total_files > 0 {
            line.push_str(&format!(", total {} files", self.total_files));
            if self.total_bytes > 0 {
                line.push_str(&format!(" {}", size(self.total_bytes)));
            }
        }
        if self.errors > 0 {
            line.push_str(&format!(", {} errors", self.errors));
        }
        if let Some(remaining) = self.remaining() {
            line.push_str(&format!(" ETA {}", clock(remaining)));
        }
        std::iter::once(line)
            .chain(self.current.iter().cloned())
            .collect()
    }

    /// restic's status message of `backup` and `restore`; zeros are left out.
    fn json(&self, verb: &str) -> serde_json::Value {
        let mut value = serde_json::json!({"message_type": "status", "percent_done": self.share()});
        let (files, bytes) = match verb {
            "restore" => ("files_restored", "bytes_restored"),
            _ => ("files_done", "bytes_done"),
        };
        for (field, number) in [
            ("seconds_elapsed", self.elapsed.as_secs()),
            (
                "seconds_remaining",
                self.remaining()
                    .filter(|_| verb != "restore")
                    .map_or(0, |span| span.as_secs()),
            ),
            ("total_files", self.total_files),
            (files, self.files),
            ("total_bytes", self.total_bytes),
            (bytes, self.bytes),
            (
                "error_count",
                if verb == "restore" { 0 } else { self.errors },
            ),
        ] {
            if number != 0 {
                value[field] = number.into();
            }
        }
        if !self.current.is_empty() {
            value["current_files"] = self.current.clone().into();
        }
        value
    }
}

/// The task that draws a board.
#[derive(Debug)]
pub struct Display {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts drawing, if there is a terminal or `--json` to draw for.
    pub fn start(context: &Arc<Context>, board: &Arc<Board>) -> Self {
        let stop = CancellationToken::new();
        let pause = match (context.printer.is_json(), context.printer.has_live_status()) {
            (true, _) => Duration::from_secs(1),
            (false, true) => Duration::from_millis(200),
            (false, false) => return Self { stop, task: None },
        };
        let (context, board, stopped) = (Arc::clone(context), Arc::clone(board), stop.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    () = tokio::time::sleep(pause) => {}
                }
                let state = board.state();
                if context.printer.is_json() {
                    if !context.global.quiet {
                        context.printer.json(&state.json(board.verb));
                    }
                } else {
                    context.printer.status(&state.lines());
                }
            }
            context.printer.clear_status();
        });
        Self {
            stop,
            task: Some(task),
        }
    }

    /// Stops drawing and removes what was drawn.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A drawing task that panicked has nothing to say that the result does not.
            let _ = task.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            elapsed: Duration::from_secs(83),
            total_files: 100,
            total_bytes: 4 << 30,
            is_total_known: true,
            files: 25,
            bytes: 1 << 30,
            errors: 0,
            current: vec!["/srv/a".into()],
        }
    }

    #[test]
    fn a_line_tells_time_share_speed_total_and_what_is_left() {
        assert_eq!(
            state().lines(),
            [
                "[1:23] 25.00%  25 files 1.000 GiB, 12.337 MiB/s, total 100 files 4.000 GiB ETA 4:09",
                "/srv/a"
            ]
        );
    }

    #[test]
    fn no_share_is_claimed_before_the_total_is_known() {
        let line = State {
            is_total_known: false,
            ..state()
        }
        .lines()
        .remove(0);
        assert!(!line.contains('%') && !line.contains("ETA"), "{line}");
    }

    #[test]
    fn json_has_restics_fields() {
        let value = state().json("backup");
        assert_eq!(value["message_type"], "status");
        assert_eq!(value["percent_done"], 0.25);
        assert_eq!(value["files_done"], 25);
        assert_eq!(state().json("restore")["bytes_restored"], 1u64 << 30);
    }
}
