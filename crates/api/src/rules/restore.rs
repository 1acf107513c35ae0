//! The rules of a RestoreSession.

use std::collections::HashMap;

use crate::arguments;
use crate::problem::Problem;
use crate::rules::backup::{check_arguments, check_repository_ref, check_time_out};
use crate::rules::hooks::check_restore_hooks;
use crate::v1beta1::{RestoreSession, Rule};

/// Every problem of one RestoreSession that its schema does not find.
pub fn check_restore_session(session: &RestoreSession) -> Vec<Problem> {
    let spec = &session.spec;
    let mut problems = Vec::new();
    problems.extend(check_repository_ref(&spec.repository, spec.driver));
    problems.extend(check_time_out(spec.time_out));
    problems.extend(check_restore_hooks(spec.hooks.as_ref()));
    if !spec.rules.is_empty() {
        problems.push(
            Problem::new("spec.rules", "this is the old place of the rules")
                .with_fix("move them to `spec.target.rules`")
                .as_warning(),
        );
    }
    let of_target = spec
        .target
        .iter()
        .flat_map(|target| with_paths("spec.target.rules", &target.rules));
    let rules: Vec<_> = of_target
        .chain(with_paths("spec.rules", &spec.rules))
        .collect();
    problems.extend(check_rules(&rules));
    let arguments = arguments::restore(spec.target.as_ref()).err();
    problems.extend(check_arguments(arguments));
    problems
}

fn with_paths<'a>(
    list: &'static str,
    rules: &'a [Rule],
) -> impl Iterator<Item = (String, &'a Rule)> {
    rules
        .iter()
        .enumerate()
        .map(move |(position, rule)| (format!("{list}[{position}]"), rule))
}

/// The rules of both places are in force together, so that they are checked together.
fn check_rules(rules: &[(String, &Rule)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut for_the_rest: Option<&str> = None;
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for (path, rule) in rules {
        if !rule.snapshots.is_empty() && !rule.paths.is_empty() {
            problems.push(
                Problem::new(path, "a rule may have `snapshots` or `paths`, not both")
                    .with_fix("keep `snapshots` for certain snapshots, or `paths` for the latest ones of these paths"),
            );
        }
        if !rule.include.is_empty() && !rule.exclude.is_empty() {
            problems.push(
                Problem::new(path, "a rule may have `include` or `exclude`, not both")
                    .with_fix("keep `include` for what comes back, or `exclude` for what does not"),
            );
        }
        if rule.target_hosts.is_empty() {
            match for_the_rest {
                Some(first) => problems.push(
                    Problem::new(
                        path,
                        format!("a second rule without `targetHosts`, after {first}"),
                    )
                    .with_fix("name the hosts of one of the two"),
                ),
                None => for_the_rest = Some(path),
            }
        }
        for (position, host) in rule.target_hosts.iter().enumerate() {
            if let Some(first) = taken.insert(host, path) {
                let message = if first == path {
                    "the host is listed twice in this rule".to_owned()
                } else {
                    format!("the host has a rule already, {first}")
                };
                problems.push(
                    Problem::new(format!("{path}.targetHosts[{position}]"), message)
                        .with_value(host)
                        .with_fix("list each host once"),
                );
            }
        }
    }
    problems
}
