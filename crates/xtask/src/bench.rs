//! `cargo xtask bench`: `stash` beside restic (and rustic, where installed) on generated data.
//!
//! Every round runs each engine on the same data, one after the other, so that a slow moment of the
//! machine hits all of them; the table holds the median time and the highest memory of the rounds.
//! `cargo xtask bench backends` measures throughput over the network instead, `bench operator` the operator on a real
//! Kubernetes.

pub mod measure;

mod backends;
mod corpus;
mod engine;
mod operator;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::bench::corpus::Corpora;
use crate::bench::engine::Engine;
use crate::bench::measure::Usage;
use crate::failure::Failure;
use crate::report;
use crate::workspace::Workspace;

/// How much is measured, and where.
#[derive(Args)]
pub struct BenchOptions {
    #[command(subcommand)]
    part: Option<Part>,
    /// How often every command is measured
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    /// Use little data (for backends, one round), and leave the document alone
    #[arg(long, global = true)]
    quick: bool,
    /// Folder for corpora and repositories [default: /dev/shm where it has room, else the temporary folder]
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
    /// Processors the engines may use, where `taskset` is installed; 0 means all
    #[arg(long, global = true, default_value_t = 2)]
    cores: usize,
}

#[derive(Subcommand)]
enum Part {
    /// Throughput to and from the test server of each backend, near and far
    Backends(backends::BackendsOptions),
    /// The operator with thousands of BackupConfigurations on a real Kubernetes
    Operator(operator::OperatorOptions),
}

/// What was measured once.
pub struct Measurement {
    pub corpus: &'static str,
    pub step: &'static str,
    pub engine: usize,
    pub usage: Usage,
}

/// Makes the corpora, measures, prints the table and writes it into `docs/performance.md`.
pub fn run(workspace: &Workspace, options: &BenchOptions) -> Result<(), Failure> {
    match &options.part {
        Some(Part::Backends(part)) => return backends::run(workspace, options, part),
        Some(Part::Operator(part)) => return operator::run(workspace, options.quick, part),
        None => {}
    }
    let engines = engine::all(workspace)?;
    let folder = scratch(options, 12 << 30)?;
    report::line(&format!("working in {}", folder.display()));
    let corpora = Corpora::prepare(&folder, options.quick)?;
    let pinned = engine::Pinned::new(options.cores);
    let mut measurements = Vec::new();
    for round in 1..=options.rounds.max(1) {
        for (index, engine) in engines.iter().enumerate() {
            report::line(&format!("round {round}: {}", engine.version()));
            let bench = Bench {
                engine,
                index,
                folder: &folder,
                pinned: &pinned,
            };
            bench.large_file(&corpora, &mut measurements)?;
            bench.small_files(&corpora, &mut measurements)?;
        }
    }
    let text = table::render(
        &engines,
        &measurements,
        &corpora,
        options.rounds.max(1),
        &pinned,
    );
    report::line(&text);
    if options.quick {
        return Ok(());
    }
    table::write(&workspace.path("docs/performance.md"), "bench", &text)
}

struct Bench<'a> {
    engine: &'a Engine,
    index: usize,
    folder: &'a Path,
    pinned: &'a engine::Pinned,
}

impl Bench<'_> {
    fn large_file(&self, corpora: &Corpora, found: &mut Vec<Measurement>) -> Result<(), Failure> {
        let name = "large file";
        self.prepare()?;
        self.step(name, "backup", &["backup", &text(&corpora.large())], found)?;
        self.step(
            name,
            "unchanged backup",
            &["backup", &text(&corpora.large())],
            found,
        )?;
        self.step(
            name,
            "restore",
            &["restore", "latest", "--target", &text(&self.target())],
            found,
        )?;
        self.step(name, "check", &["check"], found)?;
        self.clear()
    }

    fn small_files(&self, corpora: &Corpora, found: &mut Vec<Measurement>) -> Result<(), Failure> {
        let name = "small files";
        corpora.reset()?;
        self.prepare()?;
        self.step(name, "backup", &["backup", &text(&corpora.small())], found)?;
        self.step(
            name,
            "unchanged backup",
            &["backup", &text(&corpora.small())],
            found,
        )?;
        corpora.change()?;
        self.step(
            name,
            "backup, 1 % changed",
            &["backup", &text(&corpora.small())],
            found,
        )?;
        self.step(
            name,
            "restore",
            &["restore", "latest", "--target", &text(&self.target())],
            found,
        )?;
        self.step(name, "check", &["check"], found)?;
        self.clear()
    }

    fn step(
        &self,
        corpus: &'static str,
        step: &'static str,
        arguments: &[&str],
        found: &mut Vec<Measurement>,
    ) -> Result<(), Failure> {
        let command = self.engine.command(&self.repository(), arguments);
        let usage = measure::measure(&self.pinned.apply(command), &self.folder.join("usage.json"))?;
        report::line(&format!(
            "  {corpus}, {step}: {:.2} s wall, {:.2} s CPU, {} MiB",
            usage.wall_seconds,
            usage.cpu_seconds,
            usage.peak_kib / 1024
        ));
        found.push(Measurement {
            corpus,
            step,
            engine: self.index,
            usage,
        });
        Ok(())
    }

    fn prepare(&self) -> Result<(), Failure> {
        self.clear()?;
        let mut init = self.engine.command(&self.repository(), &["init"]);
        crate::command::output(&mut init).map(drop)
    }

    fn clear(&self) -> Result<(), Failure> {
        for folder in [self.repository(), self.target()] {
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(|source| Failure::Write {
                    path: folder,
                    source,
                })?;
            }
        }
        Ok(())
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    fn target(&self) -> PathBuf {
        self.folder.join("restored")
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The folder to work in. In memory where possible: the engines are measured, not the disk.
fn scratch(options: &BenchOptions, needed_bytes: u64) -> Result<PathBuf, Failure> {
    let parent = options.folder.clone().unwrap_or_else(|| {
        let memory = PathBuf::from("/dev/shm");
        let free = nix::sys::statvfs::statvfs(&memory)
            .map_or(0, |found| found.blocks_available() * found.fragment_size());
        if free >= needed_bytes || options.quick && free >= needed_bytes / 10 {
            memory
        } else {
            env::temp_dir()
        }
    });
    let folder = parent.join("stash-bench");
    fs::create_dir_all(&folder).map_err(|source| Failure::Write {
        path: folder.clone(),
        source,
    })?;
    Ok(folder)
}
