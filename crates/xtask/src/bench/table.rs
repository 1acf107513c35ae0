//! The table of results and its place in `docs/performance.md`.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::bench::Measurement;
use crate::bench::corpus::Corpora;
use crate::bench::engine::{Engine, Pinned};
use crate::bench::measure::Usage;
use crate::failure::Failure;
use crate::workspace::{read_text, write_text};
use crate::{command, report};

/// The whole generated part: conditions, then one row per corpus, step and quantity.
pub fn render(
    engines: &[Engine],
    found: &[Measurement],
    corpora: &Corpora,
    rounds: usize,
    pinned: &Pinned,
) -> String {
    let mut text = String::new();
    let versions: Vec<&str> = engines.iter().map(Engine::version).collect();
    let limit = pinned.cores().map_or("all processors".to_owned(), |cores| {
        format!("limited to {cores} processors")
    });
    let lines = [
        corpora.description(),
        format!("Machine: {}; engines {limit}.", machine()),
        format!(
            "Versions: {}. {rounds} interleaved round(s), local repository, `--no-cache`; times are the median of the rounds, CPU is user and system time together; memory is the peak resident set of the whole process, the highest of the rounds.",
            versions.join(", ")
        ),
    ];
    for line in lines {
        text.push_str(&line);
        text.push_str("\n\n");
    }
    let names: Vec<&str> = engines.iter().map(Engine::name).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "| corpus | step | quantity | {} | stash / restic |",
        names.join(" | ")
    );
    let _ = writeln!(
        text,
        "| --- | --- | --- |{}",
        " ---: |".repeat(engines.len() + 1)
    );
    for (corpus, step) in steps(found) {
        let usages: Vec<Usage> = (0..engines.len())
            .map(|engine| combined(found, corpus, step, engine))
            .collect();
        for (quantity, of, digits) in QUANTITIES {
            let values: Vec<f64> = usages.iter().map(of).collect();
            let cells: Vec<String> = values
                .iter()
                .map(|value| format!("{value:.digits$}"))
                .collect();
            let ratio = values[1] / values[0];
            let _ = writeln!(
                text,
                "| {corpus} | {step} | {quantity} | {} | {ratio:.2} |",
                cells.join(" | ")
            );
        }
    }
    text
}

type Quantity = (&'static str, fn(&Usage) -> f64, usize);

const QUANTITIES: [Quantity; 3] = [
    ("wall, s", |usage| usage.wall_seconds, 2),
    ("CPU, s", |usage| usage.cpu_seconds, 2),
    (
        "memory, MiB",
        |usage| f64::from(u32::try_from(usage.peak_kib / 1024).unwrap_or(u32::MAX)),
        0,
    ),
];

/// Puts the text between the markers of a part of the document and leaves the rest alone.
pub fn write(path: &Path, part: &str, text: &str) -> Result<(), Failure> {
    let (begin, end) = (
        format!("<!-- {part}: begin -->"),
        format!("<!-- {part}: end -->"),
    );
    let document = read_text(path)?;
    let parts = document
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = parts else {
        return Err(Failure::Refused(format!(
            "{} lacks `{begin}` and `{end}`",
            path.display()
        )));
    };
    write_text(path, &format!("{before}{begin}\n\n{text}\n{end}{after}"))?;
    report::line(&format!("wrote {}", path.display()));
    Ok(())
}

/// Corpus and step of every measurement, each once, in the order they ran.
fn steps(found: &[Measurement]) -> Vec<(&'static str, &'static str)> {
    let mut steps = Vec::new();
    for measurement in found {
        let step = (measurement.corpus, measurement.step);
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

/// The median of the times and the highest memory of all rounds.
fn combined(found: &[Measurement], corpus: &str, step: &str, engine: usize) -> Usage {
    let of = |quantity: fn(&Usage) -> f64| {
        let mut values: Vec<f64> = found
            .iter()
            .filter(|one| one.corpus == corpus && one.step == step && one.engine == engine)
            .map(|one| quantity(&one.usage))
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let peak_kib = found
        .iter()
        .filter(|one| one.corpus == corpus && one.step == step && one.engine == engine)
        .map(|one| one.usage.peak_kib)
        .max()
        .unwrap_or(0);
    Usage {
        wall_seconds: of(|usage| usage.wall_seconds),
        cpu_seconds: of(|usage| usage.cpu_seconds),
        peak_kib,
    }
}

/// Processor, number of processors, memory and kernel.
pub fn machine() -> String {
    let field = |file: &str, name: &str| {
        read_text(Path::new(file)).ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
            Some(line.split_once(':')?.1.trim().to_owned())
        })
    };
    let processor =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory_kib: u64 = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = command::output(Command::new("uname").arg("-sr")).unwrap_or_default();
    format!(
        "{processor}, {cores} processors, {} GiB of memory, {}",
        (memory_kib + (1 << 19)) >> 20,
        kernel.trim()
    )
}
