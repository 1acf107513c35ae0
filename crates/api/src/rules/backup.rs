//! The rules of a BackupConfiguration and of a BackupSession.

use std::error::Error;

use crate::arguments::{self, ArgumentError};
use crate::duration::GoDuration;
use crate::problem::Problem;
use crate::rules::hooks::check_backup_hooks;
use crate::schedule::Schedule;
use crate::suggest::nearest;
use crate::v1beta1::{
    BackupConfiguration, BackupSession, BackupTarget, RepositoryRef, RetentionPolicy, RetryConfig,
    Snapshotter,
};

/// Every problem of one BackupConfiguration that its schema does not find.
pub fn check_backup_configuration(configuration: &BackupConfiguration) -> Vec<Problem> {
    let spec = &configuration.spec;
    let mut problems = Vec::new();
    problems.extend(check_repository_ref(&spec.repository, spec.driver));
    problems.extend(check_schedule("spec.schedule", &spec.schedule));
    problems.extend(
        spec.target
            .iter()
            .flat_map(|target| check_target("spec.target", target)),
    );
    problems.extend(check_arguments(
        arguments::backup(spec.target.as_ref()).err(),
    ));
    problems.extend(check_retention_policy(
        "spec.retentionPolicy",
        &spec.retention_policy,
    ));
    problems.extend(check_time_out(spec.time_out));
    problems.extend(spec.retry_config.iter().flat_map(check_retry));
    if let Some(limit) = spec.backup_history_limit.filter(|limit| *limit < 0) {
        problems.push(
            Problem::new("spec.backupHistoryLimit", "the number must be at least 0")
                .with_value(limit)
                .with_fix("use 0 or more"),
        );
    }
    problems.extend(check_backup_hooks(spec.hooks.as_ref()));
    problems
}

/// Every problem of one BackupSession that its schema does not find.
pub fn check_backup_session(session: &BackupSession) -> Vec<Problem> {
    let invoker = &session.spec.invoker;
    let mut problems = Vec::new();
    let kinds = ["BackupConfiguration", "BackupBatch"];
    if !kinds.contains(&invoker.kind.as_str()) {
        let fix = match nearest(&invoker.kind, kinds) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "use `BackupConfiguration` or `BackupBatch`".to_owned(),
        };
        problems.push(
            Problem::new("spec.invoker.kind", "not a kind that starts sessions")
                .with_value(&invoker.kind)
                .with_fix(fix),
        );
    }
    if invoker.name.is_empty() {
        problems.push(
            Problem::new("spec.invoker.name", "the field is required").with_fix("name the invoker"),
        );
    }
    problems
}

/// Every problem of a retention policy at a path; a policy that keeps nothing is one.
pub fn check_retention_policy(path: &str, policy: &RetentionPolicy) -> Vec<Problem> {
    let mut problems: Vec<Problem> = policy
        .counts()
        .iter()
        .filter(|(_, count)| *count < 0)
        .map(|(name, count)| {
            Problem::new(format!("{path}.{name}"), "the number must be at least 0")
                .with_value(count)
                .with_fix("use 0 or more")
        })
        .collect();
    if problems.is_empty() && !policy.keeps_something() {
        problems.push(
            Problem::new(path, "the policy keeps nothing, so that every snapshot would be removed").with_fix(
                "set at least one of `keepLast`, `keepHourly`, `keepDaily`, `keepWeekly`, `keepMonthly`, `keepYearly`, `keepTags`",
            ),
        );
    }
    problems
}

pub(super) fn check_repository_ref(
    repository: &RepositoryRef,
    driver: Option<Snapshotter>,
) -> Option<Problem> {
    (repository.name.is_empty() && driver != Some(Snapshotter::VolumeSnapshotter)).then(|| {
        Problem::new("spec.repository.name", "the field is required")
            .with_fix("name the Repository to use")
    })
}

fn check_schedule(path: &str, schedule: &str) -> Option<Problem> {
    if schedule.is_empty() {
        return None;
    }
    let error = Schedule::parse(schedule).err()?;
    let mut message = format!("not a schedule: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    Some(Problem::new(path, message).with_value(schedule).with_fix(
        "write five fields such as `0 2 * * *`, a name such as `@daily`, or `@every 1h30m`",
    ))
}

fn check_target(path: &str, target: &BackupTarget) -> Vec<Problem> {
    let mut problems = Vec::new();
    if target.reference.is_none() && target.paths.is_empty() {
        problems.push(
            Problem::new(path, "the target has neither `ref` nor `paths`").with_fix(
                "add `ref` for an object of a cluster, or `paths` for directories of this machine",
            ),
        );
    }
    for (position, text) in target.paths.iter().enumerate() {
        let message = if !text.starts_with('/') {
            "the path must be absolute"
        } else if text.split('/').any(|segment| segment == "..") {
            "the path must not contain `..`"
        } else if target.paths[..position]
            .iter()
            .any(|earlier| is_same_path(earlier, text))
        {
            "the path is listed twice"
        } else {
            continue;
        };
        problems.push(
            Problem::new(format!("{path}.paths[{position}]"), message)
                .with_value(text)
                .with_fix("list each directory once, with its full path"),
        );
    }
    if let Some(reference) = &target.reference {
        for (name, value) in [("kind", &reference.kind), ("name", &reference.name)] {
            if value.is_empty() {
                problems.push(
                    Problem::new(format!("{path}.ref.{name}"), "the field is required")
                        .with_fix("name the target"),
                );
            }
        }
    }
    problems
}

/// What is wrong with the flags of a target.
pub(super) fn check_arguments(errors: Option<Vec<ArgumentError>>) -> impl Iterator<Item = Problem> {
    let errors = errors.into_iter().flatten();
    errors.map(|error| Problem::new("spec.target.args", error.to_string()))
}

fn is_same_path(left: &str, right: &str) -> bool {
    let segments = |text: &str| -> Vec<String> {
        text.split('/')
            .filter(|segment| !matches!(*segment, "" | "."))
            .map(str::to_owned)
            .collect()
    };
    segments(left) == segments(right)
}

pub(super) fn check_time_out(time_out: Option<GoDuration>) -> Option<Problem> {
    time_out
        .filter(|time_out| !time_out.is_positive())
        .map(|time_out| {
            Problem::new("spec.timeOut", "the time must be longer than nothing")
                .with_value(time_out)
                .with_fix("write a duration such as `2h`, or remove the field for no limit")
        })
}

fn check_retry(retry: &RetryConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    if retry.max_retry < 0 {
        problems.push(
            Problem::new("spec.retryConfig.maxRetry", "the number must be at least 0")
                .with_value(retry.max_retry)
                .with_fix("use 0 or more"),
        );
    }
    if let Some(delay) = retry.delay.filter(|delay| delay.nanoseconds() < 0) {
        problems.push(
            Problem::new("spec.retryConfig.delay", "the time must not be negative")
                .with_value(delay)
                .with_fix("write a duration such as `5m`"),
        );
    }
    problems
}
