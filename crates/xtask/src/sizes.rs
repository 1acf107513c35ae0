//! The length of source files and the names of modules.
//!
//! Lines of inline tests do not count; files of tests are left out.

use std::path::Path;

use crate::failure::Failure;
use crate::report;
use crate::workspace::{Workspace, read_text};

const LIMIT: usize = 600;
const WORTH_SPLITTING: usize = 400;
const VAGUE_NAMES: &[&str] = &[
    "common", "util", "utils", "helpers", "helper", "misc", "mod",
];

/// Checks every Rust file below `crates/`.
pub fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut count = 0;
    for path in workspace.files(&["crates"])? {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = workspace.name_of(&path);
        if has_vague_name(&path) {
            report::problem(&format!(
                "{name}: the name says nothing about what the module is for"
            ));
            count += 1;
        }
        if is_test(&path) {
            continue;
        }
        let lines = lines_without_tests(&read_text(&path)?);
        if lines > LIMIT {
            report::problem(&format!(
                "{name}: {lines} lines without tests, the limit is {LIMIT}"
            ));
            count += 1;
        } else if lines > WORTH_SPLITTING {
            report::warning(&format!(
                "{name}: {lines} lines without tests, consider splitting it"
            ));
        }
    }
    if count == 0 {
        Ok(())
    } else {
        Err(Failure::Problems {
            check: "file sizes",
            count,
        })
    }
}

fn has_vague_name(path: &Path) -> bool {
    path.file_stem()
        .is_some_and(|stem| VAGUE_NAMES.iter().any(|vague| stem == *vague))
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
        || path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
}

/// Counts the lines outside of `#[cfg(test)] mod … { … }` blocks, relying on rustfmt's indentation:
/// such a block ends at a closing brace as deep as its attribute.
fn lines_without_tests(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let opens = line.trim() == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|next| next.trim_start().starts_with("mod ") && next.ends_with('{'));
        if !opens {
            count += 1;
            continue;
        }
        let end = format!("{}}}", " ".repeat(indent));
        for inner in lines.by_ref() {
            if inner == end {
                break;
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_tests_do_not_count() {
        let text =
            "//! x\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n";
        assert_eq!(lines_without_tests(text), 4);
    }

    #[test]
    fn a_module_of_tests_in_another_file_counts_as_its_two_lines() {
        assert_eq!(
            lines_without_tests("fn a() {}\n#[cfg(test)]\nmod tests;\n"),
            3
        );
    }
}
