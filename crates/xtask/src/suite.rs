//! The whole test run behind `scripts/test`: the checks of `ci`, every test including the heavy ones and
//! those that need servers or a cluster, and the quickstart of the README.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::ci::{documents, static_checks, step};
use crate::failure::Failure;
use crate::servers::{self, Guard};
use crate::tally::Tally;
use crate::tools::Restic;
use crate::workspace::{Workspace, write_text};
use crate::{cluster, report, tools};

/// Installs the tools, runs everything and says at its end what it did.
pub fn run(workspace: &Workspace, no_quickstart: bool) -> Result<(), Failure> {
    let started = Instant::now();
    report::step("tools");
    let restic = tools::install(workspace)?;

    static_checks(workspace)?;

    let mut tally = Tally::default();
    let tested = with_servers(workspace, &restic, &mut tally);
    let mut examples = workspace.cargo(&["test", "--workspace", "--doc"]);
    let documented = step("tests of the documentation", || tally.run(&mut examples));
    tally.print();
    tested.and(documented)?;

    documents(workspace)?;

    if !no_quickstart {
        quickstart(workspace, &mut tally)?;
    }

    report::step("summary");
    report::line(
        "checked: format, crate edges, file sizes, licences, unfinished work, clippy, generated files, documentation",
    );
    tally.print();
    report::line(&format!("compared with: {}", restic.version()));
    report::line(&format!("restic:        {}", restic.program().display()));
    report::line(&format!(
        "build results: {}",
        workspace.target_folder()?.display()
    ));
    report::line(&format!("took:          {} s", started.elapsed().as_secs()));
    Ok(())
}

/// The README's first command, here and on a cluster of its own where this machine can run one.
fn quickstart(workspace: &Workspace, tally: &mut Tally) -> Result<(), Failure> {
    // One build serves everything; a user's quickstart builds for speed, which takes minutes more.
    let program = workspace.target_folder()?.join("debug/stash");
    let command = || {
        let mut command = Command::new(workspace.path("scripts/quickstart"));
        command
            .current_dir(workspace.root())
            .env("STASH_QUICKSTART_PROGRAM", &program);
        command
    };
    let mut here = command();
    step("quickstart", || tally.run(&mut here))?;
    // A machine that cannot run one is among the skips already; a given cluster is not ours to install into.
    if cluster::is_given() || cluster::check_machine().is_err() {
        return Ok(());
    }
    let guard = Guard::post(&cluster::WARD)?;
    let mut there = command();
    there
        .arg("--cluster")
        .env_remove("KUBECONFIG")
        .env("STASH_QUICKSTART_CLUSTER", guard.state());
    let shown = step("quickstart on a cluster", || tally.run(&mut there));
    let ended = guard.dismiss(shown.is_ok());
    shown.and(ended)
}

/// Runs all tests while the servers run; the guard stops those however this ends.
fn with_servers(workspace: &Workspace, restic: &Restic, tally: &mut Tally) -> Result<(), Failure> {
    report::step("servers");
    let guard = Guard::of_servers()?;
    let started = Instant::now();
    for outcome in servers::bring_up(guard.state(), &[])? {
        if let Some(reason) = outcome.skipped {
            tally
                .skips
                .push(format!("server {}: {reason}", outcome.product));
        }
    }
    report::done("servers", started.elapsed());

    let results = workspace.target_folder()?.join("backends.jsonl");
    write_text(&results, "")?;
    let all = ["test", "--workspace", "--all-targets", "--no-fail-fast"];
    let mut tests = workspace.cargo(&all);
    let cluster = bring_up_cluster(workspace, tally)?;
    if let Some((_, file)) = &cluster {
        tests.env(cluster::VARIABLE, file);
    }
    tests
        .args(["--", "--include-ignored", "--show-output"])
        .env("STASH_TEST_SERVERS", servers::file(guard.state()))
        .env("STASH_TEST_REPORT", &results)
        .env("RUST_TEST_THREADS", side_by_side().to_string());
    restic.offer_to(&mut tests);
    let tested = step("tests, heavy ones included", || tally.run(&mut tests));
    report::line(&format!(
        "for the table of docs/backends.md: cargo xtask results {}",
        results.display()
    ));
    let ended = cluster.map_or(Ok(()), |(guard, _)| guard.dismiss(tested.is_ok()));
    let stopped = guard.dismiss(tested.is_ok());
    tested.and(ended).and(stopped)
}

/// How many tests run at once: those with servers and a cluster wait for most of their time.
fn side_by_side() -> usize {
    std::thread::available_parallelism().map_or(2, NonZero::get) + 2
}

/// Starts a Kubernetes where this machine can run one; a machine that cannot is counted among the skips, a cluster that
/// does not come up is a failure. The guard ends it however the tests end.
fn bring_up_cluster(
    workspace: &Workspace,
    tally: &mut Tally,
) -> Result<Option<(Guard, PathBuf)>, Failure> {
    report::step("cluster");
    if cluster::is_given() {
        report::line("the tests use the cluster of KUBECONFIG");
        return Ok(None);
    }
    if let Err(reason) = cluster::check_machine() {
        let skip = format!("cluster: {reason}");
        report::line(&skip);
        tally.skips.push(skip);
        return Ok(None);
    }
    let guard = Guard::post(&cluster::WARD)?;
    match cluster::bring_up(workspace, &guard) {
        Ok(file) => Ok(Some((guard, file))),
        Err(failure) => {
            guard.dismiss(false)?;
            Err(failure)
        }
    }
}
