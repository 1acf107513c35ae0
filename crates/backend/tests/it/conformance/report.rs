//! What came out of the checks, for the table in `docs/backends.md`.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinError;

use super::subject::{Extent, Subject};
use crate::results;

pub enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// What came out of all checks of one backend on one server.
#[derive(Default)]
pub struct Results {
    outcomes: Vec<(Group, &'static str, Outcome)>,
    time: Duration,
}

/// The columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Conformance,
    Faults,
}

impl Results {
    /// Takes an outcome in and records it.
    pub fn add(
        &mut self,
        subject: &Subject,
        (group, check): (Group, &'static str),
        outcome: Outcome,
        time: Duration,
    ) {
        record(subject, check, &outcome, time);
        self.time += time;
        self.outcomes.push((group, check, outcome));
    }

    /// Records each group that passed, and returns all that failed.
    pub fn finish(self, subject: &Subject) -> Vec<String> {
        let has_passed = |wanted: Group| {
            let mut group = self
                .outcomes
                .iter()
                .filter(|(group, ..)| *group == wanted)
                .map(|(_, _, outcome)| outcome);
            group
                .clone()
                .any(|outcome| matches!(outcome, Outcome::Passed))
                && !group.any(|outcome| matches!(outcome, Outcome::Failed(_)))
        };
        let network = subject.network.as_ref();
        let is_secure = network.is_some_and(|network| network.origin.starts_with("https:"));
        let columns = [
            (Group::Conformance, "conformance", true),
            (Group::Conformance, "tls", is_secure),
            // A few faults are not all of them.
            (Group::Faults, "faults", subject.extent == Extent::Whole),
        ];
        for (group, column, is_meant) in columns {
            if is_meant && has_passed(group) {
                record(subject, column, &Outcome::Passed, self.time);
            }
        }
        self.outcomes
            .into_iter()
            .filter_map(|(_, check, outcome)| match outcome {
                Outcome::Failed(reason) => Some(format!("{check}: {reason}")),
                Outcome::Passed | Outcome::Skipped(_) => None,
            })
            .collect()
    }
}

/// Writes a line, and says on the terminal what was skipped.
fn record(subject: &Subject, check: &str, outcome: &Outcome, time: Duration) {
    let (word, detail) = match outcome {
        Outcome::Passed => ("passed", ""),
        Outcome::Skipped(reason) => ("skipped", reason.as_str()),
        Outcome::Failed(reason) => ("failed", reason.as_str()),
    };
    if let Outcome::Skipped(reason) = outcome {
        println!(
            "not applicable: {check} of {} on {}: {reason}",
            subject.backend, subject.server
        );
    }
    results::append(&json!({
        "backend": subject.backend,
        "server": subject.title,
        "entry": subject.server,
        "check": check,
        "result": word,
        "detail": detail,
        "seconds": time.as_secs_f32(),
    }));
}

/// Why a check panicked.
pub fn words_of(error: JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "it panicked".to_owned())
}
