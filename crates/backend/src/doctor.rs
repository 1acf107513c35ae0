//! Finds out what works between here and a store, step by step: name, connection, certificate, clock, credentials,
//! every operation, speed. Nothing is left behind.
//!
//! A step that fails says what to do; steps that depend on it are left out. Objects are written as packs, in a
//! folder where restic and we only look at what the index names, under the SHA-256 of their content, so that
//! neither a running backup nor a server that verifies names is disturbed.

mod folder;
mod network;
mod objects;
mod remedy;
mod speed;
mod traces;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Backend, HttpOptions};

use traces::Traced;

pub use remedy::remedy;

/// How good or bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works.
    Fine,
    /// It could not be tried, for a reason that is no trouble.
    Skipped,
    /// It works less well than it could, or soon will not.
    Warning,
    /// Backups or restores will fail.
    Failed,
}

impl Severity {
    /// The word for it: `ok`, `skipped`, `warning` or `failed`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// What one step found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was tried, in a word or two: `name`, `connection`, `write` and so on.
    pub step: &'static str,
    /// How good or bad it is.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// How long the step took.
    pub took: Duration,
}

/// What is examined.
#[derive(Debug, Clone)]
pub struct DoctorOptions {
    /// The folder, where the store is one.
    pub folder: Option<PathBuf>,
    /// How the server is reached.
    pub http: HttpOptions,
    /// Bytes moved in each direction to measure the speed; 0 measures nothing.
    pub speed_bytes: usize,
    /// Whether objects may be written and removed.
    pub can_write: bool,
}

/// Examines a store and reports each finding as it is made. Returns the worst severity, or nothing when it was
/// interrupted; what was written until then is removed first.
///
/// The backend should give up soon: every retry is waited for.
pub async fn examine_until(
    backend: &dyn Backend,
    options: &DoctorOptions,
    report: &mut (dyn FnMut(&Finding) + Send),
    interrupted: impl Future<Output = ()> + Send,
) -> Option<Severity> {
    let traced = Traced::new(backend);
    let found = tokio::select! {
        found = examine(&traced, options, report) => Some(found),
        () = interrupted => None,
    };
    if found.is_none() {
        traced.remove_all().await;
    }
    found
}

/// As [`examine_until`], without an end before time.
pub async fn examine(
    backend: &dyn Backend,
    options: &DoctorOptions,
    report: &mut (dyn FnMut(&Finding) + Send),
) -> Severity {
    let mut findings = Findings {
        worst: Severity::Fine,
        report,
    };
    if let Some(folder) = &options.folder {
        folder::examine(folder, options.can_write, &mut findings).await;
    }
    if let Some(endpoint) = backend.endpoint()
        && !network::examine(&endpoint, &options.http, &mut findings).await
    {
        return findings.worst;
    }
    let Some(state) = objects::read_steps(backend, &mut findings).await else {
        return findings.worst;
    };
    if !options.can_write {
        findings.add(step("write").skipped("not tried, because nothing may be written"));
    } else if state.is_writable_now() {
        let rights = objects::write_steps(backend, state, &mut findings).await;
        if rights.can_write && rights.can_remove && options.speed_bytes > 0 {
            speed::measure(backend, options.speed_bytes, &mut findings).await;
        }
    } else {
        findings.add(
            step("write").skipped(
                "not tried, because there is no repository yet; the first session makes it",
            ),
        );
    }
    findings.worst
}

/// Collects findings and remembers the worst.
struct Findings<'a> {
    worst: Severity,
    report: &'a mut (dyn FnMut(&Finding) + Send),
}

impl Findings<'_> {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a finding is made where it is added"
    )]
    fn add(&mut self, finding: Finding) {
        if finding.severity != Severity::Skipped {
            self.worst = self.worst.max(finding.severity);
        }
        (self.report)(&finding);
    }
}

/// Begins a step: its time runs from here.
fn step(name: &'static str) -> Step {
    Step {
        name,
        start: tokio::time::Instant::now(),
    }
}

struct Step {
    name: &'static str,
    start: tokio::time::Instant,
}

impl Step {
    fn fine(self, message: impl Into<String>) -> Finding {
        self.finding(Severity::Fine, message.into(), None)
    }

    fn skipped(self, message: impl Into<String>) -> Finding {
        self.finding(Severity::Skipped, message.into(), None)
    }

    fn warning(self, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Warning, message.into(), Some(remedy.into()))
    }

    fn failed(self, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Failed, message.into(), Some(remedy.into()))
    }

    fn refused(self, error: &crate::BackendError) -> Finding {
        let message = remedy::told(error);
        self.finding(
            Severity::Failed,
            message,
            Some(remedy(error.kind, error.operation).to_owned()),
        )
    }

    fn finding(self, severity: Severity, message: String, remedy: Option<String>) -> Finding {
        Finding {
            step: self.name,
            severity,
            message,
            remedy,
            took: self.start.elapsed(),
        }
    }
}
