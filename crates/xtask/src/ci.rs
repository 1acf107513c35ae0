//! Every check that a commit must pass.

use std::time::Instant;

use crate::failure::Failure;
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{command, edges, generated, licences, markers, report, sizes};

const TESTS: [&str; 5] = [
    "test",
    "--workspace",
    "--no-fail-fast",
    "--",
    "--show-output",
];

/// Runs the checks; a fast run leaves out tests and the documentation build.
pub fn run(workspace: &Workspace, fast: bool) -> Result<(), Failure> {
    static_checks(workspace)?;
    if fast {
        return Ok(());
    }
    let mut tally = Tally::default();
    step("tests", || tally.run(&mut workspace.cargo(&TESTS)))?;
    tally.print();
    documents(workspace)
}

/// Format, edges, sizes, licences, markers, clippy, generated files.
pub fn static_checks(workspace: &Workspace) -> Result<(), Failure> {
    step("format", || {
        command::run(&mut workspace.cargo(&["fmt", "--all", "--check"]))
    })?;
    let metadata = workspace.metadata()?;
    step("crate edges", || edges::check(&metadata))?;
    step("file sizes", || sizes::check(workspace))?;
    step("licences", || licences::check(&metadata))?;
    step("unfinished work", || markers::check(workspace))?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    step("clippy", || command::run(&mut workspace.cargo(&clippy)))?;
    step("generated files", || generated::run(workspace, true))
}

/// Builds the documentation of all crates; a broken link fails.
pub fn documents(workspace: &Workspace) -> Result<(), Failure> {
    let mut doc = workspace.cargo(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    step("documentation", || command::run(&mut doc))
}

/// Runs one step with its name and its time.
pub fn step(name: &str, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    report::step(name);
    let started = Instant::now();
    work()?;
    report::done(name, started.elapsed());
    Ok(())
}
