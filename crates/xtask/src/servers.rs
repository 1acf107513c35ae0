//! `cargo xtask servers up|down|status`: the real servers that backend tests talk to, on loopback only.
//!
//! Owns installing them (pinned, below `~/.cache/stash-testbed/servers`), starting them with a generated
//! certificate authority, and the file that tells tests where they listen (`testkit::servers` reads it).
//! What a server is good for, and its traps, belongs to the tests of the backend.
//!
//! # To add a server
//!
//! 1. Write `servers/NAME.rs` with a `pub const PRODUCT: Product`: its name, the entries it offers, which
//!    other products it needs, and two functions.
//!    - `install` puts the program into the cache and returns its folder. [`Installer`] has the usual
//!      ways: a Python environment from a committed `servers/NAME.txt`, `npm` with its Node.js, `go install`,
//!      or [`Installer::once`] for anything else. They lock, resume after an interruption and do nothing the
//!      second time.
//!    - `start` gets a [`Run`]: free ports, a data folder, certificates, `spawn` and `wait_until_ready`.
//!      It returns one [`Server`] per listening server, with everything a test must know in `values`.
//! 2. Add the module and its `PRODUCT` to [`PRODUCTS`] below.
//!
//! Every process must be started with [`Run::spawn`]: it gets a process group and a marker of its own,
//! which is how `down` finds it (and its children), also after this program was killed.
//! An error from `install` or `start` means "skipped on this machine, for this reason", unless somebody
//! asked for the product by name.

pub mod authority;
mod bring_up;
mod curl;
mod debian_root;
mod garage;
pub mod guard;
pub mod installer;
mod offers;
pub mod processes;
mod renew;
pub mod run;

mod azurite;
mod b2;
mod fake_gcs;
mod keystone;
mod minio;
mod moto;
mod nfs;
mod rclone;
mod rest_server;
mod rgw;
mod swift;
mod swift_keystone;

use std::env;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

pub use self::bring_up::bring_up;
pub use self::guard::Guard;
pub use self::installer::Installer;
pub use self::minio::program as minio_program;
pub use self::offers::{Server, file, load_json, save_json};
pub use self::renew::{Servers, renew};
pub use self::run::Run;
use crate::failure::Failure;
use crate::report;

/// All products, in the order in which they are reported.
const PRODUCTS: &[&Product] = &[
    &minio::PRODUCT,
    &moto::PRODUCT,
    &fake_gcs::PRODUCT,
    &azurite::PRODUCT,
    &swift::PRODUCT,
    &keystone::PRODUCT,
    &swift_keystone::PRODUCT,
    &rest_server::PRODUCT,
    &rclone::PRODUCT,
    &b2::PRODUCT,
    &rgw::PRODUCT,
    &nfs::PRODUCT,
    &garage::PRODUCT,
];

/// A server program: where it comes from and how it is started.
pub struct Product {
    /// What it is called on the command line and in reports.
    pub name: &'static str,
    /// The pinned version; part of the name of its folder in the cache.
    pub version: &'static str,
    /// The entries it writes into the file for the tests; each can be asked for by name too.
    pub offers: &'static [&'static str],
    /// Products whose entries it reads when it starts.
    pub needs: &'static [&'static str],
    /// Puts it into the cache and returns its folder there.
    pub install: fn(&Installer) -> Result<PathBuf, Failure>,
    /// Starts all its servers from the folder that `install` returned.
    pub start: fn(&Run, &Path) -> Result<Vec<Server>, Failure>,
}

#[derive(Args)]
pub struct ServersOptions {
    #[command(subcommand)]
    verb: Verb,
    /// Folder of this run: list of servers, certificates, data, logs [default: ~/.cache/stash-testbed/run]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Install and start servers; without names, all that this machine can run
    Up {
        /// Products or entries, for example `minio` or `rest-server-tls`
        names: Vec<String>,
    },
    /// Stop every server of this run, also after a crash
    Down,
    /// Show what runs and where it listens
    Status,
    /// Stop the servers when standard input ends (a helper of `test`)
    #[command(hide = true)]
    Guard,
}

/// Runs `cargo xtask servers`.
pub fn run(options: ServersOptions) -> Result<(), Failure> {
    let state = match options.state {
        Some(state) => std::path::absolute(&state).map_err(|source| Failure::Read {
            path: state,
            source,
        })?,
        None => testbed()?.join("run"),
    };
    match options.verb {
        Verb::Up { names } => up(&state, &names),
        Verb::Down => down(&state),
        Verb::Status => status(&state),
        Verb::Guard => guard::stand_guard(&guard::SERVERS, &state),
    }
}

/// The folder of everything that is installed for tests: `~/.cache/stash-testbed`.
pub fn testbed() -> Result<PathBuf, Failure> {
    env::var_os("HOME")
        .map(|home| PathBuf::from(home).join(".cache/stash-testbed"))
        .ok_or_else(|| Failure::Refused("HOME is not set".to_owned()))
}

fn up(state: &Path, names: &[String]) -> Result<(), Failure> {
    let outcomes = bring_up(state, names)?;
    let skipped = outcomes.iter().filter(|one| one.skipped.is_some()).count();
    report::line(&format!(
        "servers: {} running, {skipped} skipped on this machine",
        outcomes.len() - skipped
    ));
    report::line(&format!(
        "for tests: export STASH_TEST_SERVERS={}",
        file(state).display()
    ));
    let failed = outcomes
        .iter()
        .filter(|one| one.skipped.is_some() && one.asked_for)
        .count();
    if failed > 0 {
        return Err(Failure::Problems {
            check: "servers asked for by name",
            count: failed,
        });
    }
    Ok(())
}

fn down(state: &Path) -> Result<(), Failure> {
    let _lock = run::lock(state)?;
    let stopped = processes::stop_all(state)?;
    run::clear(state)?;
    report::line(&format!("stopped {stopped} process(es)"));
    Ok(())
}

fn status(state: &Path) -> Result<(), Failure> {
    let offers = offers::Offers::load(state)?;
    for (name, server) in &offers.servers {
        let alive = processes::is_alive(state, &server.process)?;
        report::line(&format!(
            "{name:20} {} {}: {} {}",
            server.product,
            server.version,
            if alive { "running" } else { "dead" },
            server.addresses()
        ));
    }
    report::line(&format!(
        "{} server(s) in {}",
        offers.servers.len(),
        file(state).display()
    ));
    Ok(())
}
