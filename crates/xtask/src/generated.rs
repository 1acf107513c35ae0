//! Documents that are generated from the code and committed with it.
//!
//! `docs/reference/cli.md` is what `stash` says about itself: the help of every verb. What a cluster gets is printed by
//! `stash` too.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::failure::Failure;
use crate::workspace::{Workspace, read_text, write_text};
use crate::{command, report};

/// Writes the generated documents, or compares them with what would be written.
pub fn run(workspace: &Workspace, is_check: bool) -> Result<(), Failure> {
    let mut stale = 0;
    for (name, text) in documents(workspace)? {
        let path = workspace.path(&name);
        if is_check {
            if !path.is_file() || read_text(&path)? != text {
                report::problem(&format!(
                    "{name} is not up to date; run `cargo xtask generate`"
                ));
                stale += 1;
            }
        } else {
            write_text(&path, &text)?;
            report::line(&format!("wrote {name}"));
        }
    }
    if stale == 0 {
        Ok(())
    } else {
        Err(Failure::Problems {
            check: "generated files",
            count: stale,
        })
    }
}

fn documents(workspace: &Workspace) -> Result<Vec<(String, String)>, Failure> {
    command::run(&mut workspace.cargo(&[
        "build",
        "--quiet",
        "--package",
        "cli",
        "--bin",
        "stash",
    ]))?;
    let stash = workspace.target_folder()?.join("debug/stash");
    Ok(vec![
        ("docs/reference/cli.md".to_owned(), command_line(&stash)?),
        (
            "deploy/chart/files/crds.yaml".to_owned(),
            output_of(&stash, &["crds", "--output=yaml"])?,
        ),
        (
            "deploy/plain/roles.yaml".to_owned(),
            output_of(&stash, &["roles"])?,
        ),
        (
            "deploy/chart/files/cluster-role-rules.yaml".to_owned(),
            output_of(&stash, &["roles", "--rules-of=ClusterRole"])?,
        ),
        (
            "deploy/chart/files/role-rules.yaml".to_owned(),
            output_of(&stash, &["roles", "--rules-of=Role"])?,
        ),
    ])
}

/// One section per verb, in the order of the help.
fn command_line(stash: &Path) -> Result<String, Failure> {
    let mut text = String::from(
        "# The command line of `stash`\n\nGenerated from the program by `cargo xtask generate`; do not edit.\n",
    );
    let mut open = vec![Vec::new()];
    while let Some(verbs) = open.pop() {
        let help = help_of(stash, &verbs)?;
        let mut inner: Vec<Vec<String>> = subcommands(&help)
            .into_iter()
            .map(|verb| verbs.iter().cloned().chain([verb]).collect())
            .collect();
        let title = [&["stash".to_owned()], verbs.as_slice()].concat().join(" ");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## `{title}`\n\n```text\n{}\n```\n",
            help.trim_end()
        );
        inner.reverse();
        open.append(&mut inner);
    }
    Ok(text)
}

/// What the program prints.
fn output_of(stash: &Path, arguments: &[&str]) -> Result<String, Failure> {
    command::output(Command::new(stash).args(arguments))
}

/// The long help, independent of this machine's terminal and environment.
fn help_of(stash: &Path, verbs: &[String]) -> Result<String, Failure> {
    let mut help = Command::new("env");
    help.arg("-i")
        .arg("HOME=/root")
        .arg("COLUMNS=100")
        .arg(stash)
        .args(verbs)
        .arg("--help");
    let text = command::output(&mut help)?;
    Ok(text
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n"))
}

/// The verbs listed under `Commands:`, without `help` itself.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_from_the_help_without_their_wrapped_descriptions() {
        let help = "About\n\nCommands:\n  init    Create\n          more text\n  backup  Save\n  help    Print\n\nOptions:\n  -h";
        assert_eq!(subcommands(help), ["init", "backup"]);
    }
}
