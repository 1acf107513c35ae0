//! `stash unlock`: removes locks whose owners are gone.

use clap::Args;
use repository::lock::{self, UnlockScope};

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::open;

/// Remove locks that other processes left behind
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stash -r /srv/backup unlock")]
pub struct UnlockOptions {
    /// Remove all locks, also those of processes that are at work: their backups may be damaged
    #[arg(long)]
    remove_all: bool,
}

/// Removes stale locks, or all.
pub async fn run(context: &Context, options: &UnlockOptions) -> Result<Outcome, Failure> {
    let repository = open::open(context).await?;
    let scope = if options.remove_all {
        UnlockScope::All
    } else {
        UnlockScope::Stale
    };
    let removed = lock::unlock(&repository, scope).await?;
    if !removed.is_empty() {
        context
            .printer
            .message(&format!("Successfully removed {} locks", removed.len()));
    }
    Ok(Outcome::Done)
}
