//! `cargo xtask cluster up|down|status|…`: a real Kubernetes of one node on this machine, for tests.
//!
//! Owns building its programs, the images, starting everything in namespaces of its own and taking it down without a
//! trace, also after a crash. What is common with other servers (processes, logs, folders of runs, the cache) comes
//! from `servers`; how tests use a cluster is in `testkit::cluster`.

mod layout;

mod archive;
mod helm;
mod images;
mod programs;

mod certificates;
mod components;
mod settings;

mod control_groups;
mod machine;
mod namespaces;

mod api;
mod bring_up;
mod offer;
mod take_down;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::bring_up::Clock;
use self::layout::Layout;
use self::take_down::Logs;
use crate::failure::Failure;
use crate::report;
use crate::servers::guard::{self, Guard, Ward};
use crate::servers::run::lock;
use crate::servers::{processes, testbed};
use crate::workspace::Workspace;

#[derive(Args)]
pub struct ClusterOptions {
    #[command(subcommand)]
    verb: Verb,
    /// Folder of the cluster: everything it writes is below [default: ~/.cache/stash-testbed/run-cluster]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Build what is missing and start a cluster; one that runs gets the image of `stash` anew
    Up {
        /// The program for the image of `stash` [default: built from this workspace]
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// End the cluster and remove everything of it, also after a crash
    Down,
    /// Show what runs, since when, and whether the node is Ready
    Status,
    /// Load images (docker-archive tarballs) into the running cluster; without any, `stash` is built and loaded
    Image {
        /// Tarballs
        files: Vec<PathBuf>,
    },
    /// Kill one program of the cluster, for tests of disturbances
    Stop {
        /// For example `kubelet` or `kube-apiserver`
        program: String,
    },
    /// Start a stopped program again
    Start {
        /// For example `kubelet` or `kube-apiserver`
        program: String,
    },
    /// End the cluster when standard input ends (a helper of `test`)
    #[command(hide = true)]
    Guard,
}

/// The variable that names the file of a cluster to tests.
pub const VARIABLE: &str = "STASH_TEST_CLUSTER";

pub use bring_up::build;
pub use components::AUDIT_LOG;
pub use settings::AUDITED;

/// How a cluster of a test run ends.
pub const WARD: Ward = Ward {
    task: "cluster",
    prefix: "cluster-test-",
    stop: |state| take_down::stop(&Layout::new(state)?, Logs::Keep),
};

/// Runs `cargo xtask cluster`.
pub fn run(workspace: &Workspace, options: ClusterOptions) -> Result<(), Failure> {
    let state = match options.state {
        Some(state) => std::path::absolute(&state).map_err(|source| Failure::Read {
            path: state,
            source,
        })?,
        None => testbed()?.join("run-cluster"),
    };
    let layout = Layout::new(&state)?;
    match options.verb {
        Verb::Up { program } => up(workspace, &layout, program),
        Verb::Down => down(&layout),
        Verb::Status => status(&layout),
        Verb::Image { files } => image(workspace, &layout, &files),
        Verb::Stop { program } => stop(&layout, &program),
        Verb::Start { program } => start(&layout, &program),
        Verb::Guard => guard::stand_guard(&WARD, &state),
    }
}

/// Whether tests use another cluster; the variables are those of `testkit::cluster`.
pub fn is_given() -> bool {
    ["KUBECONFIG", "STASH_TEST_IMAGE"]
        .iter()
        .all(|name| std::env::var_os(name).is_some())
}

/// Fails where the machine cannot run a cluster, and says why.
pub fn check_machine() -> Result<(), Failure> {
    programs::check_machine()
}

/// Starts a cluster in the folder of a guard, with all that tests use beside it, and returns the file that they read.
pub fn bring_up(workspace: &Workspace, guard: &Guard) -> Result<PathBuf, Failure> {
    helm::install()?;
    bring_up_with(workspace, guard, None)
}

/// The same without what only tests use; `program` is for the image of `stash`.
pub fn bring_up_with(
    workspace: &Workspace,
    guard: &Guard,
    program: Option<PathBuf>,
) -> Result<PathBuf, Failure> {
    up(workspace, &Layout::new(guard.state())?, program)?;
    Ok(offer::file(guard.state()))
}

fn up(workspace: &Workspace, layout: &Layout, program: Option<PathBuf>) -> Result<(), Failure> {
    let clock = Clock::start();
    let prepared = bring_up::prepare(workspace, program)?;
    clock.say("programs and images prepared");
    let _lock = lock(layout.state())?;
    if is_running(layout)? {
        bring_up::load_stash(layout, prepared.stash())?;
        clock.say("the cluster runs already; image of stash loaded");
    } else {
        take_down::stop(layout, Logs::Remove)?;
        if let Err(failure) = bring_up::start(layout, &prepared) {
            take_down::stop(layout, Logs::Keep)?;
            report::line(&format!("logs: {}", layout.path("logs").display()));
            return Err(failure);
        }
    }
    report::line(&format!(
        "for tests: export {VARIABLE}={}",
        offer::file(layout.state()).display()
    ));
    report::line(&format!(
        "for people: export KUBECONFIG={}\n  nsenter --net={} {} get pods --all-namespaces",
        layout.kubeconfig("admin"),
        layout.network().display(),
        prepared.kubectl().display(),
    ));
    Ok(())
}

fn down(layout: &Layout) -> Result<(), Failure> {
    let clock = Clock::start();
    if !layout.state().is_dir() {
        report::line("there is no cluster");
        return Ok(());
    }
    let _lock = lock(layout.state())?;
    let stopped = take_down::stop(layout, Logs::Remove)?;
    clock.say(&format!("stopped {stopped} process(es)"));
    Ok(())
}

fn status(layout: &Layout) -> Result<(), Failure> {
    let now = processes::seconds_since_boot();
    let mut running = 0;
    for (process, runs) in processes::list(layout.state())? {
        running += usize::from(runs);
        let state = if runs {
            format!(
                "running for {} s",
                now.saturating_sub(process.started_second())
            )
        } else {
            "dead".to_owned()
        };
        report::line(&format!(
            "{:24} {:>8}  {state}",
            process.product, process.pid
        ));
    }
    let node = match running {
        0 => "there is no cluster".to_owned(),
        _ if api::node_is_ready(layout) => format!("node {} is Ready", layout::NODE),
        _ => format!("node {} is not Ready", layout::NODE),
    };
    report::line(&format!("{node} ({})", layout.state().display()));
    Ok(())
}

fn image(workspace: &Workspace, layout: &Layout, files: &[PathBuf]) -> Result<(), Failure> {
    expect_cluster(layout)?;
    if files.is_empty() {
        let program = bring_up::build(workspace)?;
        return bring_up::load_stash(layout, &program);
    }
    files
        .iter()
        .try_for_each(|file| bring_up::load(layout, file))
}

fn stop(layout: &Layout, program: &str) -> Result<(), Failure> {
    expect_cluster(layout)?;
    let _lock = lock(layout.state())?;
    components::check_name(program)?;
    processes::kill_product(layout.state(), program)
}

fn start(layout: &Layout, program: &str) -> Result<(), Failure> {
    expect_cluster(layout)?;
    let _lock = lock(layout.state())?;
    let running = processes::list(layout.state())?;
    if running
        .iter()
        .any(|(process, runs)| *runs && process.product == program)
    {
        return Err(Failure::Refused(format!("{program} runs already")));
    }
    let programs = programs::install()?;
    bring_up::start_again(layout, &programs, program)
}

fn expect_cluster(layout: &Layout) -> Result<(), Failure> {
    if offer::file(layout.state()).is_file() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "there is no cluster in {}: `cargo xtask cluster up` starts one",
        layout.state().display()
    )))
}

/// Whether all programs of a cluster that once came up still run.
fn is_running(layout: &Layout) -> Result<bool, Failure> {
    let all = processes::list(layout.state())?;
    let alive = |name: &str| all.iter().any(|(one, runs)| *runs && one.product == name);
    let is_complete = Path::is_file(&offer::file(layout.state()));
    Ok(is_complete && components::ALL.iter().all(|name| alive(name)))
}
