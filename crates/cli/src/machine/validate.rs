//! `stash validate`: checks manifests and starts nothing.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::desired::Desired;
use super::load;
use crate::Context;
use crate::failure::{Failure, Outcome};

/// Check manifests without starting or writing anything
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stash validate examples/quickstart")]
pub struct ValidateOptions {
    /// Manifests: files, folders, or `-`
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Tells every problem at once.
pub fn run(context: &Context, options: &ValidateOptions) -> Result<Outcome, Failure> {
    let Some(desired) = check(context, &options.paths)? else { return Ok(Outcome::Failed) };
    let counts = [
        (desired.repositories.len(), "Repository"),
        (desired.configurations.len(), "BackupConfiguration"),
        (desired.restores.len(), "RestoreSession"),
    ];
    if context.printer.is_json() {
        let counts: serde_json::Map<_, _> =
            counts.iter().map(|(count, kind)| ((*kind).to_owned(), (*count).into())).collect();
        context.printer.json(&json!({"message_type": "validated", "objects": counts}));
    } else {
        let counts: Vec<String> = counts.iter().map(|(count, kind)| format!("{count} {kind}")).collect();
        context.printer.message(&format!("The manifests are valid: {}", counts.join(", ")));
    }
    Ok(Outcome::Done)
}

/// Reads and checks manifests by the rules of the resources and by what one machine can do; `None` after every
/// problem has been told.
pub fn check(context: &Context, paths: &[PathBuf]) -> Result<Option<Desired>, Failure> {
    let documents = load::read(paths)?;
    let outcome = api::manifest::load_for_one_machine(&documents);
    for warning in &outcome.warnings {
        if context.printer.is_json() {
            context.printer.json(&json!({"message_type": "warning", "message": warning.to_string()}));
        } else {
            context.printer.warning(&warning.to_string());
        }
    }
    if outcome.problems.is_empty() {
        return Desired::resolve(outcome.objects).map(Some);
    }
    for problem in &outcome.problems {
        if context.printer.is_json() {
            context.printer.json(&json!({"message_type": "problem", "message": problem.to_string()}));
        } else {
            context.printer.error(&problem.to_string(), None);
        }
    }
    if !context.printer.is_json() {
        let count = outcome.problems.len();
        context.printer.error(&format!("{count} problems were found, nothing was started"), None);
    }
    Ok(None)
}
