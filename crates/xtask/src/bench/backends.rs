//! `cargo xtask bench backends`: how fast `stash` and restic get data to and from each backend's test server.
//!
//! Every cell begins with a server that has no data. Both programs store and restore the same incompressible files,
//! in turn, with one connection, with several, and with the server as far away as another country.

mod cell;
mod place;
mod relay;
mod results;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::bench::backends::cell::{Bench, Corpus};
use crate::bench::backends::place::{BACKENDS, Backend};
use crate::bench::backends::results::Results;
use crate::bench::{BenchOptions, corpus, engine, scratch, table};
use crate::failure::Failure;
use crate::report;
use crate::servers::Guard;
use crate::workspace::Workspace;

const CORPUS_FILES: u64 = 16;
const CORPUS_BYTES: u64 = 256 << 20;
const QUICK_CORPUS_BYTES: u64 = 32 << 20;

/// What is measured.
#[derive(Args)]
pub struct BackendsOptions {
    /// Backends, for example `s3`; all without names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How many connections "several" are
    #[arg(long, default_value_t = 5)]
    connections: usize,
}

/// Under which condition a cell is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    One,
    Several,
    Far,
}

/// Measures, prints the table, and writes it into the document when everything was measured in full.
pub fn run(
    workspace: &Workspace,
    options: &BenchOptions,
    part: &BackendsOptions,
) -> Result<(), Failure> {
    let backends = chosen(&part.names)?;
    let mut engines = engine::all(workspace)?;
    engines.truncate(2);
    let folder = scratch(options, 2 << 30)?.join("backends");
    let bytes = if options.quick {
        QUICK_CORPUS_BYTES
    } else {
        CORPUS_BYTES
    };
    let corpus = prepare(&folder.join("corpus"), bytes)?;
    let rounds = if options.quick {
        1
    } else {
        options.rounds.max(1)
    };
    let pinned = engine::Pinned::new(options.cores);
    let mut results = Results::new(rounds, part.connections.max(1), bytes);
    let guard = Guard::of_servers()?;
    let bench = Bench {
        engines: &engines,
        pinned: &pinned,
        corpus: &corpus,
        folder: &folder,
        state: guard.state(),
        connections: part.connections.max(1),
    };
    let measured = backends
        .iter()
        .try_for_each(|backend| bench.backend(backend, rounds, &mut results));
    guard.dismiss(measured.is_ok())?;
    measured?;
    fs::remove_dir_all(&folder).map_err(|source| Failure::Write {
        path: folder.clone(),
        source,
    })?;
    let text = results.render(&backends, &engines, &pinned);
    report::line(&text);
    if results.failures() > 0 {
        return Err(Failure::Problems {
            check: "backups and restores",
            count: results.failures(),
        });
    }
    if options.quick || !part.names.is_empty() {
        return Ok(());
    }
    table::write(
        &workspace.path("docs/performance.md"),
        "bench backends",
        &text,
    )
}

fn chosen(names: &[String]) -> Result<Vec<&'static Backend>, Failure> {
    if names.is_empty() {
        return Ok(BACKENDS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            BACKENDS
                .iter()
                .find(|backend| backend.name == name)
                .ok_or_else(|| {
                    let known: Vec<&str> = BACKENDS.iter().map(|backend| backend.name).collect();
                    Failure::Refused(format!(
                        "there is no backend `{name}`; known are {}",
                        known.join(", ")
                    ))
                })
        })
        .collect()
}

fn prepare(folder: &Path, bytes: u64) -> Result<Corpus, Failure> {
    report::line("generating the corpus");
    corpus::write_incompressible(folder, CORPUS_FILES, bytes).map_err(|source| Failure::Write {
        path: folder.to_path_buf(),
        source,
    })?;
    Ok(Corpus {
        folder: PathBuf::from(folder),
        bytes,
    })
}
