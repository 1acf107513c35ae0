//! The tools that tests compare with, installed for the user in `~/.cache/stash-testbed`.

pub mod debian;
pub mod release;
mod restic;

pub use restic::Restic;

use crate::failure::Failure;
use crate::report;
use crate::workspace::Workspace;

/// Installs whatever is missing and returns the restic to compare with.
pub fn install(workspace: &Workspace) -> Result<Restic, Failure> {
    let restic = Restic::install(workspace)?;
    report::line(&format!(
        "{} at {}",
        restic.version(),
        restic.program().display()
    ));
    Ok(restic)
}
