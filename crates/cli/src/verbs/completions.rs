//! `stash completions`: shell completion scripts.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Context;
use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stash completions bash > /etc/bash_completion.d/stash")]
pub struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(context: &Context, options: &CompletionsOptions) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Arguments::command(),
        "stash",
        &mut script,
    );
    context.printer.raw(&script)?;
    Ok(Outcome::Done)
}
