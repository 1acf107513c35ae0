//! What was measured, and its table.

use std::fmt::Write;

use crate::bench::backends::Setting;
use crate::bench::backends::cell::ONE_WAY;
use crate::bench::backends::place::Backend;
use crate::bench::engine::{Engine, Pinned};
use crate::bench::table::machine;

/// Wall clock of one measurement, in seconds.
#[derive(Clone, Copy)]
pub struct Times {
    pub backup: f64,
    pub restore: f64,
}

/// Everything measured so far.
pub struct Results {
    rounds: usize,
    connections: usize,
    bytes: u64,
    cells: Vec<Cell>,
    left_out: Vec<LeftOut>,
}

struct Cell {
    backend: &'static str,
    setting: Setting,
    engine: usize,
    times: Times,
}

struct LeftOut {
    backend: &'static str,
    setting: Setting,
    engine: usize,
    /// Nothing where a program failed.
    reason: Option<String>,
}

impl Results {
    /// Nothing yet, of so many rounds with so much data.
    pub fn new(rounds: usize, connections: usize, bytes: u64) -> Self {
        Self {
            rounds,
            connections,
            bytes,
            cells: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// The setting as the table names it.
    pub fn label(&self, setting: Setting) -> String {
        let many = self.connections;
        let away = 2 * ONE_WAY.as_millis();
        match setting {
            Setting::One => "1 connection".to_owned(),
            Setting::Several => format!("{many} connections"),
            Setting::Far => format!("{many} connections, {away} ms away"),
        }
    }

    pub fn add(&mut self, backend: &'static str, setting: Setting, engine: usize, times: Times) {
        self.cells.push(Cell {
            backend,
            setting,
            engine,
            times,
        });
    }

    /// Remembers why something has no numbers.
    pub fn leave_out(
        &mut self,
        backend: &'static str,
        setting: Setting,
        engine: usize,
        reason: String,
    ) {
        self.left_out.push(LeftOut {
            backend,
            setting,
            engine,
            reason: Some(reason),
        });
    }

    /// Remembers that a program failed.
    pub fn fail(&mut self, backend: &'static str, setting: Setting, engine: usize) {
        self.left_out.push(LeftOut {
            backend,
            setting,
            engine,
            reason: None,
        });
    }

    /// How often a program failed.
    pub fn failures(&self) -> usize {
        let failed = |one: &&LeftOut| one.reason.is_none();
        self.left_out.iter().filter(failed).count()
    }

    /// Whether there is no point in measuring it again.
    pub fn is_left_out(&self, backend: &str, setting: Setting, engine: usize) -> bool {
        self.left_out
            .iter()
            .any(|one| (one.backend, one.setting, one.engine) == (backend, setting, engine))
    }

    /// Conditions, the table, and what must be known to read it.
    pub fn render(&self, backends: &[&Backend], engines: &[Engine], pinned: &Pinned) -> String {
        let versions: Vec<&str> = engines.iter().map(Engine::version).collect();
        let limit = pinned.cores().map_or("all processors".to_owned(), |cores| {
            format!("limited to {cores} processors")
        });
        let mut text = format!(
            "Incompressible files of {} MiB in all, stored in an empty repository of a server without other data, and restored; the time includes opening the repository, about half a second for deriving the key. Machine: {}, which the servers share; engines {limit}.\n\nVersions: {}. Median of {} round(s), the programs in turn; `--no-cache`, the connections by `--option`. *{} ms away*: through a relay that delays each way by {} ms and limits nothing, checked before each run by the time of a request and after it by the bytes it carried.\n\n",
            self.bytes >> 20,
            machine(),
            versions.join(", "),
            self.rounds,
            2 * ONE_WAY.as_millis(),
            ONE_WAY.as_millis(),
        );
        text.push_str("| backend | connections | backup: restic, MB/s | stash, MB/s | stash / restic | restore: restic, MB/s | stash, MB/s | stash / restic |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
        for backend in backends {
            for setting in [Setting::One, Setting::Several, Setting::Far] {
                self.row(&mut text, backend, setting);
            }
        }
        self.notes(&mut text, backends);
        text
    }

    fn row(&self, text: &mut String, backend: &Backend, setting: Setting) {
        let speed = |engine: usize, step: fn(&Times) -> f64| {
            self.megabytes_per_second(backend.name, setting, engine, step)
        };
        let mut cells = Vec::new();
        for step in [|times: &Times| times.backup, |times: &Times| times.restore] {
            let (restic, stash) = (speed(0, step), speed(1, step));
            let ratio = restic.zip(stash).map(|(restic, stash)| stash / restic);
            cells.extend([shown(restic, 0), shown(stash, 0), shown(ratio, 2)]);
        }
        // A row of a setting that does not exist for this backend would only hold dashes.
        if cells.iter().any(|cell| cell != NOTHING) || self.has_reason(backend.name, setting) {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                backend.title(),
                self.label(setting),
                cells.join(" | ")
            );
        }
    }

    fn has_reason(&self, backend: &str, setting: Setting) -> bool {
        self.left_out
            .iter()
            .any(|one| (one.backend, one.setting) == (backend, setting))
    }

    fn notes(&self, text: &mut String, backends: &[&Backend]) {
        let known = backends
            .iter()
            .filter_map(|backend| Some(format!("- {}.", backend.note?)));
        let reasons = self.left_out.iter().map(|one| {
            let label = self.label(one.setting);
            let reason = one.reason.as_deref().unwrap_or("the program failed");
            format!("- {}, {label}, left out: {reason}.", one.backend)
        });
        let notes: Vec<String> = known.chain(reasons).collect();
        if !notes.is_empty() {
            let _ = writeln!(text, "\n{}", notes.join("\n"));
        }
    }

    /// By the median of the times; nothing unless every round was measured.
    fn megabytes_per_second(
        &self,
        backend: &str,
        setting: Setting,
        engine: usize,
        step: fn(&Times) -> f64,
    ) -> Option<f64> {
        let mut seconds: Vec<f64> = self
            .cells
            .iter()
            .filter(|cell| (cell.backend, cell.setting, cell.engine) == (backend, setting, engine))
            .map(|cell| step(&cell.times))
            .collect();
        seconds.sort_by(f64::total_cmp);
        if seconds.len() < self.rounds {
            return None;
        }
        let megabytes = f64::from(u32::try_from(self.bytes / 1_000_000).unwrap_or(u32::MAX));
        seconds
            .get(seconds.len() / 2)
            .map(|median| megabytes / median)
    }
}

const NOTHING: &str = "–";

fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or(NOTHING.to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: f64) -> Times {
        Times {
            backup: seconds,
            restore: seconds / 2.0,
        }
    }

    #[test]
    fn the_speed_is_that_of_the_median_and_only_of_finished_rounds() {
        let mut results = Results::new(3, 5, 100_000_000);
        let speed = |results: &Results| {
            results.megabytes_per_second("s3", Setting::One, 1, |times| times.backup)
        };
        for seconds in [50.0, 2.0] {
            results.add("s3", Setting::One, 1, times(seconds));
        }
        assert_eq!(speed(&results), None);
        results.add("s3", Setting::One, 1, times(1.0));
        assert_eq!(shown(speed(&results), 0), "50");
    }

    #[test]
    fn a_cell_left_out_keeps_its_row_and_says_why() {
        let mut results = Results::new(1, 5, 100_000_000);
        let backend = &crate::bench::backends::place::BACKENDS[1];
        results.add(backend.name, Setting::One, 0, times(2.0));
        results.leave_out(backend.name, Setting::One, 1, "stash: no way".to_owned());
        let mut text = String::new();
        results.row(&mut text, backend, Setting::One);
        results.row(&mut text, backend, Setting::Far);
        results.notes(&mut text, &[backend]);
        assert_eq!(
            text,
            "| s3 (MinIO) | 1 connection | 50 | – | – | 100 | – | – |\n\n- s3, 1 connection, left out: stash: no way.\n"
        );
    }
}
