//! The only place of the task runner that prints. Nobody has to read it to the end: a closed pipe stops no task.

use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

use crate::failure::Failure;

/// Announces a step.
pub fn step(name: &str) {
    line(&format!("\n== {name}"));
}

/// Says how a step ended.
pub fn done(name: &str, took: Duration) {
    line(&format!("== {name}: ok ({:.1} s)", took.as_secs_f64()));
}

/// A plain line.
pub fn line(text: &str) {
    write_line(&mut io::stdout().lock(), text);
}

/// Something that a check found and that fails it.
pub fn problem(text: &str) {
    line(&format!("error: {text}"));
}

/// Something worth knowing that fails nothing.
pub fn warning(text: &str) {
    line(&format!("warning: {text}"));
}

/// A line of a child process, passed on to standard error.
pub fn passed_on(text: &str) {
    write_line(&mut io::stderr().lock(), text);
}

/// The failure of the whole task, with the chain of its causes.
pub fn failure(failure: &Failure) {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    write_line(&mut io::stderr().lock(), &format!("error: {text}"));
}

/// One call per line, so that the lines of several threads stay whole.
fn write_line(out: &mut impl Write, text: &str) {
    drop(out.write_all(format!("{text}\n").as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_stops_nothing() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        write_line(&mut writer, "to nobody");
        assert!(writer.write_all(b"x").is_err(), "the pipe is closed");
    }
}
