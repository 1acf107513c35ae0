//! `stash validate`: checks manifests and starts nothing.

use std::path::PathBuf;

use api::manifest::{Problem, load_manifests};
use api::rules;
use clap::Args;
use serde_json::json;

use super::desired::Desired;
use super::load;
use crate::Context;
use crate::failure::{Failure, Outcome};

/// Check manifests without starting or writing anything
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stash validate /etc/stash")]
pub struct ValidateOptions {
    /// Manifests: files, folders, or `-`
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Tells every problem at once.
pub fn run(context: &Context, options: &ValidateOptions) -> Result<Outcome, Failure> {
    let Some(desired) = check(context, &options.paths)? else {
        return Ok(Outcome::Failed);
    };
    let counts = [
        (desired.repositories.len(), "Repository"),
        (desired.configurations.len(), "BackupConfiguration"),
        (desired.restores.len(), "RestoreSession"),
    ];
    if context.printer.is_json() {
        let counts: serde_json::Map<_, _> = counts
            .iter()
            .map(|(count, kind)| ((*kind).to_owned(), (*count).into()))
            .collect();
        context
            .printer
            .json(&json!({"message_type": "validated", "objects": counts}));
    } else {
        let counts: Vec<String> = counts
            .iter()
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        context
            .printer
            .message(&format!("The manifests are valid: {}", counts.join(", ")));
    }
    Ok(Outcome::Done)
}

/// Reads and checks manifests by the rules of the resources and by what one machine can do; `None` after every
/// problem has been told.
pub fn check(context: &Context, paths: &[PathBuf]) -> Result<Option<Desired>, Failure> {
    let documents = load::read(paths)?;
    let mut outcome = load_manifests(&documents);
    let mut problems = std::mem::take(&mut outcome.problems);
    problems.extend(rules::check_set(&outcome));
    for manifest in outcome.objects.iter().chain(&outcome.flawed) {
        let of_machine = rules::needs_cluster(&manifest.object);
        problems.extend(of_machine.into_iter().map(|it| manifest.locate(it)));
    }
    let count = problems.iter().filter(|problem| problem.is_error()).count();
    for problem in &problems {
        tell(context, problem);
    }
    if count == 0 {
        return Desired::resolve(outcome.objects).map(Some);
    }
    if !context.printer.is_json() {
        let word = if count == 1 {
            "1 problem was found"
        } else {
            &format!("{count} problems were found")
        };
        context
            .printer
            .error(&format!("{word}, nothing was started"), None);
    }
    Ok(None)
}

fn tell(context: &Context, problem: &Problem) {
    if context.printer.is_json() {
        let severity = if problem.is_error() {
            "error"
        } else {
            "warning"
        };
        context.printer.json(&json!({
            "message_type": "problem",
            "severity": severity,
            "file": problem.file,
            "document": problem.document,
            "line": problem.line,
            "object": problem.object,
            "path": problem.path,
            "message": problem.message,
            "fix": problem.fix,
        }));
    } else if problem.is_error() {
        context.printer.error(&problem.to_string(), None);
    } else {
        context.printer.warning(&problem.to_string());
    }
}
