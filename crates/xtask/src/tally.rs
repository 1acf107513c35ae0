//! Counts what test runs say about themselves while passing their output on.
//!
//! A test that cannot run on this machine prints a line beginning with `SKIPPED:` (`testkit::skip`); such
//! lines are collected, so that a skip is never silent. Test binaries need `--show-output` for that.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::failure::Failure;
use crate::{command, report};

/// What the test runs added up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub binaries: usize,
    pub passed: usize,
    pub failed: usize,
    pub ignored: usize,
    pub skips: Vec<String>,
}

impl Tally {
    /// Runs a test command to its end, passing both of its streams on line by line.
    pub fn run(&mut self, command: &mut Command) -> Result<(), Failure> {
        let text = command::text_of(command);
        let start = |source| Failure::Start {
            program: text.clone(),
            source,
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let (lines, received) = mpsc::channel();
        let readers = [
            child
                .stdout
                .take()
                .map(|stream| read_lines(stream, false, lines.clone())),
            child
                .stderr
                .take()
                .map(|stream| read_lines(stream, true, lines)),
        ];
        for (line, is_error) in received {
            self.count(&line);
            if is_error {
                report::passed_on(&line);
            } else {
                report::line(&line);
            }
        }
        for reader in readers.into_iter().flatten() {
            // A reader ends with its stream; it has nothing that could fail.
            drop(reader.join());
        }
        let status = child.wait().map_err(start)?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::Status {
                command: text,
                status,
            })
        }
    }

    /// Says how many tests ran and names every skip.
    pub fn print(&self) {
        report::line(&format!(
            "tests: {} passed, {} failed, {} ignored in {} test binaries, {} skipped on this machine",
            self.passed,
            self.failed,
            self.ignored,
            self.binaries,
            self.skips.len()
        ));
        for skip in &self.skips {
            report::line(&format!("  skipped: {skip}"));
        }
    }

    fn count(&mut self, line: &str) {
        if let Some(reason) = line.trim_start().strip_prefix("SKIPPED:") {
            let reason = reason.trim().to_owned();
            if !self.skips.contains(&reason) {
                self.skips.push(reason);
            }
        }
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        self.binaries += 1;
        for part in result.split([';', '.']) {
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

fn read_lines(
    stream: impl Read + Send + 'static,
    is_error: bool,
    lines: mpsc::Sender<(String, bool)>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|read| read > 0)
        {
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches('\n')
                .to_owned();
            if lines.send((line, is_error)).is_err() {
                return;
            }
            bytes.clear();
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_test_binaries_are_added_up() {
        let mut tally = Tally::default();
        tally.count("test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        tally.count(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        tally.count("SKIPPED: device nodes: not root");
        tally.count("SKIPPED: device nodes: not root");
        assert_eq!(
            (tally.binaries, tally.passed, tally.failed, tally.ignored),
            (2, 13, 2, 3)
        );
        assert_eq!(tally.skips, ["device nodes: not root"]);
    }
}
