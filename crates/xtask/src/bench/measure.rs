//! What one process used.
//!
//! A helper process (`xtask measure`) starts exactly one child and asks the kernel what its children
//! used; the helper is small, so its own memory never becomes the measured peak.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};

use crate::command;
use crate::failure::Failure;
use crate::workspace::{read_text, write_text};

/// The arguments of the helper process.
#[derive(Args)]
pub struct MeasureOptions {
    /// File to write the result to
    #[arg(long)]
    into: PathBuf,
    /// The command to run
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Wall clock, user and system time together, and the peak of resident memory.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_kib: u64,
}

/// Runs a command through the helper; its output is dropped, its failure is ours.
pub fn measure(measured: &Command, into: &Path) -> Result<Usage, Failure> {
    let program = env::current_exe().map_err(|source| Failure::Start {
        program: "cargo xtask measure".to_owned(),
        source,
    })?;
    let mut helper = Command::new(program);
    helper.arg("measure").arg("--into").arg(into).arg("--");
    helper.arg(measured.get_program()).args(measured.get_args());
    for (name, value) in measured.get_envs() {
        match value {
            Some(value) => helper.env(name, value),
            None => helper.env_remove(name),
        };
    }
    helper.stdout(Stdio::null());
    command::run(&mut helper)?;
    let text = read_text(into)?;
    let value: Value = serde_json::from_str(&text).map_err(|source| Failure::Json {
        command: "cargo xtask measure".to_owned(),
        source,
    })?;
    Ok(Usage {
        wall_seconds: value["wall_seconds"].as_f64().unwrap_or(f64::NAN),
        cpu_seconds: value["cpu_seconds"].as_f64().unwrap_or(f64::NAN),
        peak_kib: value["peak_kib"].as_u64().unwrap_or(0),
    })
}

/// The helper process.
pub fn run_measured(options: &MeasureOptions) -> Result<(), Failure> {
    let Some((program, arguments)) = options.command.split_first() else {
        return Err(Failure::Refused("no command to measure".to_owned()));
    };
    let started = Instant::now();
    command::run(Command::new(program).args(arguments))?;
    let wall_seconds = started.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|errno| Failure::Refused(format!("asking what the command used: {errno}")))?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of CPU time are far below 2^52 microseconds"
    )]
    let cpu_seconds = micros as f64 / 1e6;
    let found = json!({
        "wall_seconds": wall_seconds,
        "cpu_seconds": cpu_seconds,
        "peak_kib": usage.max_rss(),
    });
    write_text(&options.into, &found.to_string())
}
