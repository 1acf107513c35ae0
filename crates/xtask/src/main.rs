//! The task runner: `cargo xtask COMMAND`.
//!
//! Owns the checks of this repository, the installation of the tools and servers that tests need, the
//! test run and the benchmark. It knows nothing about backups: it drives cargo and finished binaries.

mod failure;
mod report;
mod workspace;

mod command;
mod edges;
mod generated;
mod licences;
mod markers;
mod sizes;

mod bench;
mod ci;
mod cluster;
mod results;
mod servers;
mod suite;
mod tally;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::workspace::Workspace;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Checks, tools, tests and benchmarks of this repository"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every check that a commit must pass
    Ci {
        /// Leave out the tests and the documentation build
        #[arg(long)]
        fast: bool,
    },
    /// Install what the tests need, then run all of `ci`, the heavy tests and the quickstart
    Test {
        /// Leave out `scripts/quickstart`, which builds in release mode
        #[arg(long)]
        no_quickstart: bool,
    },
    /// Check the direction of dependencies between crates
    Edges,
    /// Check the length of source files
    Sizes,
    /// Check the licences of all dependencies
    Licences,
    /// Check for unfinished work left in sources
    Markers,
    /// Write the generated documents anew
    Generate {
        /// Only compare; fail when a document is not up to date
        #[arg(long)]
        check: bool,
    },
    /// Install the tools that tests compare with (restic)
    Tools,
    /// Install, start and stop the real servers that backend tests talk to
    Servers(servers::ServersOptions),
    /// Start and end a real Kubernetes for tests, on this machine
    Cluster(cluster::ClusterOptions),
    /// Write the table of docs/backends.md from the results that a test run left
    Results {
        /// The file that `STASH_TEST_REPORT` named during the tests
        file: PathBuf,
    },
    /// Measure `stash` against restic and write the table into docs/performance.md
    Bench(bench::BenchOptions),
    /// Run one command and write what it used as JSON (a helper of `bench`)
    #[command(hide = true)]
    Measure(bench::measure::MeasureOptions),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Failure> {
    if let Task::Measure(options) = task {
        return bench::measure::run_measured(&options);
    }
    let workspace = Workspace::locate()?;
    match task {
        Task::Ci { fast } => ci::run(&workspace, fast),
        Task::Test { no_quickstart } => suite::run(&workspace, no_quickstart),
        Task::Edges => edges::check(&workspace.metadata()?),
        Task::Sizes => sizes::check(&workspace),
        Task::Licences => licences::check(&workspace.metadata()?),
        Task::Markers => markers::check(&workspace),
        Task::Generate { check } => generated::run(&workspace, check),
        Task::Results { file } => results::write(&workspace, &file),
        Task::Tools => tools::install(&workspace).map(drop),
        Task::Servers(options) => servers::run(options),
        Task::Cluster(options) => cluster::run(&workspace, options),
        Task::Bench(options) => bench::run(&workspace, &options),
        Task::Measure(_) => Ok(()),
    }
}
