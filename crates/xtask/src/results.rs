//! The table of `docs/backends.md`: which backend passed what against which server.
//!
//! Tests add a JSON line for each thing that passed to the file named by `STASH_TEST_REPORT`:
//! `{"backend": "s3", "server": "MinIO 2026-02-12", "check": "cycle", "result": "passed"}`. A check is one of
//! [`COLUMNS`], or `auth:FORM`, a form of credentials that the server took. What was not run, or failed, leaves no line and so no word in the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;

use crate::failure::Failure;
use crate::report;
use crate::workspace::{Workspace, read_text, write_text};

const DOCUMENT: &str = "docs/backends.md";
const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";

/// Checks with a column of their own, and their headings.
const COLUMNS: &[(&str, &str)] = &[
    ("conformance", "conformance"),
    ("faults", "faults"),
    ("tls", "TLS with own CA"),
    ("cycle", "init to prune, `stash run`"),
    ("restic", "restic reads, adds, prunes"),
];

/// What a check of a form of credentials begins with.
const FORM: &str = "auth:";

/// The order of the backends.
const BACKENDS: &[&str] = &["local", "s3", "gcs", "azure", "swift", "b2", "rest"];

#[derive(Deserialize)]
struct Line {
    backend: String,
    server: String,
    check: String,
    result: String,
}

/// Backend and server with the checks that passed.
type Rows = BTreeMap<(usize, String), BTreeSet<String>>;

/// Writes the table anew from a file of results.
pub fn write(workspace: &Workspace, results: &Path) -> Result<(), Failure> {
    let rows = rows(&read_text(results)?, results)?;
    if rows.is_empty() {
        return Err(Failure::Refused(format!(
            "{} holds no result",
            results.display()
        )));
    }
    let path = workspace.path(DOCUMENT);
    let text = read_text(&path)?;
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        return Err(Failure::Refused(format!(
            "{DOCUMENT} lacks the lines {BEGIN} and {END}"
        )));
    };
    let (before, after) = (&text[..begin + BEGIN.len()], &text[end..]);
    write_text(&path, &format!("{before}\n\n{}\n{after}", render(&rows)))?;
    report::line(&format!("wrote the table of {DOCUMENT}"));
    Ok(())
}

fn rows(text: &str, file: &Path) -> Result<Rows, Failure> {
    let mut rows = Rows::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let line: Line = serde_json::from_str(line).map_err(|source| Failure::Json {
            command: file.display().to_string(),
            source,
        })?;
        let place = BACKENDS.iter().position(|name| *name == line.backend);
        let Some(place) = place.filter(|_| line.result == "passed") else {
            continue;
        };
        rows.entry((place, line.server))
            .or_default()
            .insert(line.check);
    }
    Ok(rows)
}

fn render(rows: &Rows) -> String {
    let headings: Vec<&str> = COLUMNS.iter().map(|(_, heading)| *heading).collect();
    let has_forms = rows.values().flatten().any(|check| check.starts_with(FORM));
    let (heading, rule) = if has_forms {
        (" credentials |", " --- |")
    } else {
        ("", "")
    };
    let mut text = format!(
        "| backend | server | {} |{heading}\n| --- | --- |{}{rule}\n",
        headings.join(" | "),
        " --- |".repeat(COLUMNS.len())
    );
    for ((backend, server), passed) in rows {
        let cells: Vec<&str> = COLUMNS
            .iter()
            .map(|(check, _)| {
                if passed.contains(*check) {
                    "yes"
                } else {
                    "–"
                }
            })
            .collect();
        let forms: Vec<&str> = passed
            .iter()
            .filter_map(|check| check.strip_prefix(FORM))
            .collect();
        let forms = match forms.as_slice() {
            _ if !has_forms => String::new(),
            [] => " – |".to_owned(),
            forms => format!(" {} |", forms.join(", ")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {server} | {} |{forms}",
            BACKENDS[*backend],
            cells.join(" | ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_only_what_passed() {
        let text = r#"{"backend":"s3","server":"MinIO 1","check":"cycle","result":"passed"}
{"backend":"s3","server":"MinIO 1","check":"auth:static keys","result":"passed"}
{"backend":"s3","server":"MinIO 1","check":"restic","result":"failed"}
{"backend":"local","server":"folder","check":"restic","result":"passed"}
"#;
        let table = render(&rows(text, Path::new("results")).unwrap());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2], "| local | folder | – | – | – | – | yes | – |");
        assert_eq!(
            lines[3],
            "| s3 | MinIO 1 | – | – | – | yes | – | static keys |"
        );
    }
}
