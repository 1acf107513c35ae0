//! What is wrong with a manifest: where, what was found there, and how to put it right.

use std::fmt;

/// Whether a problem stops anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing may be started.
    Error,
    /// Worth knowing; nothing is stopped.
    Warning,
}

/// One problem of one manifest. Values of Secrets never appear in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops anything.
    pub severity: Severity,
    /// Name of the file, empty when the problem was not found in a file.
    pub file: String,
    /// Which document of the file, from 1; 0 when unknown.
    pub document: usize,
    /// Line in the file, from 1; 0 when unknown.
    pub line: usize,
    /// Column of the line, from 1; 0 when unknown.
    pub column: usize,
    /// `Kind/name`, as far as known.
    pub object: String,
    /// Path of the field, such as `spec.backend.s3.bucket`; empty for the whole document.
    pub path: String,
    /// What stands there, unless it is absent or secret.
    pub value: Option<String>,
    /// What is wrong, as a fragment without full stop.
    pub message: String,
    /// What to do about it; may be empty.
    pub fix: String,
}

/// Longest value shown in a problem, in characters.
const MAX_VALUE_CHARS: usize = 80;

impl Problem {
    /// An error at a field, with no place in a file yet.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: String::new(),
            document: 0,
            line: 0,
            column: 0,
            object: String::new(),
            path: path.into(),
            value: None,
            message: message.into(),
            fix: String::new(),
        }
    }

    /// Names what stands there. Not for secrets; passwords in URLs are hidden and long texts cut.
    #[must_use]
    pub fn with_value(mut self, value: impl fmt::Display) -> Self {
        self.value = Some(shown(&value.to_string()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// Makes it a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether it stops anything.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    /// `file:line: document N: Kind/name spec.path: message (got `value`); fix`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(formatter, "{}:", self.file)?;
            match (self.line, self.column) {
                (0, _) => {}
                (line, 0) => write!(formatter, "{line}:")?,
                (line, column) => write!(formatter, "{line}:{column}:")?,
            }
            formatter.write_str(" ")?;
        }
        if self.document > 0 {
            write!(formatter, "document {}: ", self.document)?;
        }
        match (self.object.as_str(), self.path.as_str()) {
            ("", "") => {}
            (subject, "") | ("", subject) => write!(formatter, "{subject}: ")?,
            (object, path) => write!(formatter, "{object} {path}: ")?,
        }
        formatter.write_str(&self.message)?;
        if let Some(value) = &self.value {
            write!(formatter, " (got `{value}`)")?;
        }
        if !self.fix.is_empty() {
            write!(formatter, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// A value fit for a message: one line, not too long, without the password of a URL.
fn shown(value: &str) -> String {
    let mut text: String = value
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if let Some((scheme, rest)) = text.split_once("://") {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        if let Some(at) = rest[..end].rfind('@') {
            text = format!("{scheme}://***@{}", &rest[at + 1..]);
        }
    }
    if text.chars().count() > MAX_VALUE_CHARS {
        text = text.chars().take(MAX_VALUE_CHARS).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_place_object_field_message_value_and_fix() {
        let mut problem = Problem::new("spec.schedule", "the hour is wrong")
            .with_value("0 25 * * *")
            .with_fix("use 0 to 23");
        assert_eq!(
            problem.to_string(),
            "spec.schedule: the hour is wrong (got `0 25 * * *`); use 0 to 23"
        );
        problem.file = "a.yaml".to_owned();
        (problem.document, problem.line, problem.column) = (2, 14, 3);
        problem.object = "BackupConfiguration/home".to_owned();
        assert_eq!(
            problem.to_string(),
            "a.yaml:14:3: document 2: BackupConfiguration/home spec.schedule: the hour is wrong (got `0 25 * * *`); use 0 to 23"
        );
    }

    #[test]
    fn the_password_of_a_url_is_not_shown() {
        let problem =
            Problem::new("spec.backend.rest.url", "x").with_value("https://me:s3cret@host/path");
        assert_eq!(problem.value.as_deref(), Some("https://***@host/path"));
    }
}
