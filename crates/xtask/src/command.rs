//! Running other programs.

use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Runs a program to its end with the terminal of the task runner; standard input is empty.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| Failure::Start {
            program: program_of(command),
            source,
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Status {
            command: text_of(command),
            status,
        })
    }
}

/// Runs a program and returns what it wrote to standard output.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Failure::Start {
            program: program_of(command),
            source,
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Failure::Status {
            command: text_of(command),
            status: output.status,
        })
    }
}

/// Whether a program can be started at all and ends well.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command line as a person would type it, without quoting.
pub fn text_of(command: &Command) -> String {
    let mut text = program_of(command);
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

fn program_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
