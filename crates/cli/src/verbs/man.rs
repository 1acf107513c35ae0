//! `stash man`: manual pages, one per verb.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::Context;
use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};

/// Write the manual pages into a folder, or print the main one
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stash man | man -l -\n  stash man /usr/local/share/man/man1")]
pub struct ManOptions {
    /// Folder for `stash.1`, `stash-backup.1` and the others
    folder: Option<PathBuf>,
}

/// Writes or prints the pages.
pub fn run(context: &Context, options: &ManOptions) -> Result<Outcome, Failure> {
    let command = Arguments::command();
    if let Some(folder) = &options.folder {
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(command, folder))
            .map_err(|error| {
                Failure::new(format!(
                    "Cannot write manual pages into {}: {error}",
                    folder.display()
                ))
            })?;
        return Ok(Outcome::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    context.printer.raw(&page)?;
    Ok(Outcome::Done)
}
