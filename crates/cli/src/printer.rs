//! The only place that writes to stdout and stderr.
//!
//! stdout is data, stderr is everything else. A closed pipe ends the output quietly.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors and results only.
    Quiet,
    /// What happened.
    Normal,
    /// Each decision.
    Verbose,
    /// Each file.
    Debug,
}

/// Writes results, messages and progress.
#[derive(Debug)]
pub struct Printer {
    is_json: bool,
    verbosity: Verbosity,
    has_colour: bool,
    is_terminal: bool,
    status_lines: Mutex<usize>,
    is_closed: AtomicBool,
}

/// Emphasis; never the only carrier of a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Headings and totals.
    Bold,
    /// Good news.
    Green,
    /// Something to look at.
    Yellow,
    /// Bad news.
    Red,
    /// Less important.
    Dim,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Dim => "2",
        }
    }
}

impl Printer {
    /// A printer for this process. `no_color` is whether `NO_COLOR` is set to anything but the empty text.
    pub fn new(is_json: bool, verbosity: Verbosity, no_color: bool) -> Self {
        let is_terminal = io::stderr().is_terminal() && io::stdout().is_terminal();
        Self {
            is_json,
            verbosity,
            has_colour: is_terminal && !no_color,
            is_terminal,
            status_lines: Mutex::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Whether JSON lines were asked for.
    pub const fn is_json(&self) -> bool {
        self.is_json
    }

    /// How much is said.
    pub const fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Whether a live status may be drawn.
    pub const fn has_live_status(&self) -> bool {
        self.is_terminal
            && !self.is_json
            && matches!(
                self.verbosity,
                Verbosity::Normal | Verbosity::Verbose | Verbosity::Debug
            )
    }

    /// The text in a style, where the terminal shows it.
    pub fn style(&self, style: Style, text: &str) -> String {
        if self.has_colour && style != Style::Plain {
            format!("\u{1b}[{}m{text}\u{1b}[0m", style.code())
        } else {
            text.to_owned()
        }
    }

    /// A line of data on stdout.
    pub fn data(&self, line: &str) {
        self.clear_status();
        self.write_line(&mut io::stdout().lock(), line);
    }

    /// Raw data on stdout. That the reader has gone is no error.
    pub fn raw(&self, data: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(data).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done,
        }
    }

    /// Whether the reader of stdout has gone, so that there is no use in producing more.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// A JSON line on stdout.
    pub fn json(&self, value: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(value) {
            self.write_line(&mut io::stdout().lock(), &line);
        }
    }

    /// A JSON line on stderr: errors and warnings.
    pub fn json_error(&self, value: &impl Serialize) {
        self.clear_status();
        if let Ok(line) = serde_json::to_string(value) {
            write_all(&mut io::stderr().lock(), line.as_bytes(), true);
        }
    }

    fn write_line(&self, out: &mut impl Write, line: &str) {
        if !write_all(out, line.as_bytes(), true) {
            self.is_closed.store(true, Ordering::Relaxed);
        }
    }

    /// A line for people, on stdout as restic does for results of verbs; nothing under `--quiet` or `--json`.
    pub fn message(&self, line: &str) {
        if !self.is_json && self.verbosity >= Verbosity::Normal {
            self.data(line);
        }
    }

    /// A line for people who asked for more.
    pub fn verbose(&self, line: &str) {
        if !self.is_json && self.verbosity >= Verbosity::Verbose {
            self.data(line);
        }
    }

    /// A line on stderr that is no data and no trouble; nothing under `--quiet` or `--json`.
    pub fn note(&self, line: &str) {
        if !self.is_json && self.verbosity >= Verbosity::Normal {
            self.clear_status();
            write_all(&mut io::stderr().lock(), line.as_bytes(), true);
        }
    }

    /// A warning on stderr; under `--json` the caller prints its JSON form instead.
    pub fn warning(&self, line: &str) {
        self.clear_status();
        let word = self.style(Style::Yellow, "Warning:");
        write_all(
            &mut io::stderr().lock(),
            format!("{word} {line}").as_bytes(),
            true,
        );
    }

    /// An error on stderr, and its hint on a line of its own after a blank one.
    pub fn error(&self, line: &str, hint: Option<&str>) {
        self.clear_status();
        let word = self.style(Style::Red, "Error:");
        let mut text = format!("{word} {line}");
        if let Some(hint) = hint {
            text.push_str("\n\n");
            text.push_str(hint);
        }
        write_all(&mut io::stderr().lock(), text.as_bytes(), true);
    }

    /// Replaces the live status by these lines.
    pub fn status(&self, lines: &[String]) {
        if !self.has_live_status() {
            return;
        }
        let mut shown = self
            .status_lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Lines that are too long are cut by the terminal: wrapped ones could not be erased by their number.
        let mut text = erase(*shown) + "\u{1b}[?7l";
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("\u{1b}[?7h");
        *shown = lines.len();
        write_all(&mut io::stderr().lock(), text.as_bytes(), false);
    }

    /// Removes the live status.
    pub fn clear_status(&self) {
        let mut shown = self
            .status_lines
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *shown > 0 {
            write_all(&mut io::stderr().lock(), erase(*shown).as_bytes(), false);
            *shown = 0;
        }
    }
}

fn erase(lines: usize) -> String {
    "\u{1b}[1A\u{1b}[2K".repeat(lines)
}

/// Writes and says whether that went well. Nobody is left to tell when the reader has gone.
fn write_all(out: &mut impl Write, data: &[u8], with_newline: bool) -> bool {
    let mut line = data.to_vec();
    if with_newline {
        line.push(b'\n');
    }
    out.write_all(&line).and_then(|()| out.flush()).is_ok()
}
