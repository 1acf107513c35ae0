//! `stash run`: becomes the controller of this machine, or runs everything once.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::controller::{Controller, Mode};
use super::desired::Desired;
use super::get::StateDirectory;
use super::state::StateStore;
use super::validate;
use crate::Context;
use crate::failure::{Failure, Outcome};

/// Act on manifests: back up on schedule, restore on demand
///
/// Reads Secrets, Repositories, BackupConfigurations and RestoreSessions from files, folders or `-` (stdin),
/// checks all of them before anything starts, and then runs sessions by their schedules until it is stopped.
/// Status and history lie in the state directory; `stash get` and `stash describe` show them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stash run /etc/stash          until stopped\n  stash run --once /etc/stash   each configuration once, then exit with the result\n  cat all.yaml | stash run -"
)]
pub struct RunOptions {
    /// Manifests: files, folders, or `-`
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Run each configuration and each restore once, and exit with the result
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    directory: StateDirectory,
}

/// Checks the manifests, takes the state directory, and hands over to the controller.
pub async fn run(context: &Arc<Context>, options: RunOptions) -> Result<Outcome, Failure> {
    let Some(desired) = validate::check(context, &options.paths)? else {
        return Ok(Outcome::Failed);
    };
    if desired.is_idle() {
        return Err(Failure::new(
            "The manifests ask for nothing: there is no BackupConfiguration and no RestoreSession",
        )
        .with_hint("See `examples/quickstart` for a complete set."));
    }
    let directory = options.directory.path()?;
    let store = StateStore::open_owned(&directory).map_err(|error| {
        Failure::from(error)
            .with_hint("Name another directory with `--state-dir`, or stop the other `stash run`.")
    })?;
    let controller = Controller::new(Arc::clone(context), Arc::new(store), desired);
    controller
        .run(if options.once {
            Mode::Once
        } else {
            Mode::Forever
        })
        .await
}

impl Desired {
    /// Whether nothing would ever run.
    fn is_idle(&self) -> bool {
        self.configurations.is_empty() && self.restores.is_empty()
    }
}
