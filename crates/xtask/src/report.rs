//! The only place of the task runner that prints.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the printer of the task runner"
)]

use std::error::Error;
use std::time::Duration;

use crate::failure::Failure;

/// Announces a step.
pub fn step(name: &str) {
    println!("\n== {name}");
}

/// Says how a step ended.
pub fn done(name: &str, took: Duration) {
    println!("== {name}: ok ({:.1} s)", took.as_secs_f64());
}

/// A plain line.
pub fn line(text: &str) {
    println!("{text}");
}

/// Something that a check found and that fails it.
pub fn problem(text: &str) {
    println!("error: {text}");
}

/// Something worth knowing that fails nothing.
pub fn warning(text: &str) {
    println!("warning: {text}");
}

/// A line of a child process, passed on to standard error.
pub fn passed_on(text: &str) {
    eprintln!("{text}");
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
    eprintln!("error: {text}");
}
