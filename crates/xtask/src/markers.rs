//! Unfinished work left in sources.

use crate::failure::Failure;
use crate::report;
use crate::workspace::{Workspace, read_text};

/// Written in two halves so that this file does not find itself.
const MARKERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
];

/// Checks sources and scripts. A marker that names its issue (`(#12)`) passes.
pub fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut count = 0;
    for path in workspace.files(&["crates", "scripts", "examples"])? {
        let text = read_text(&path)?;
        for (number, line) in text.lines().enumerate() {
            if let Some(marker) = unfinished(line) {
                report::problem(&format!(
                    "{}:{}: unfinished work: `{marker}`",
                    workspace.name_of(&path),
                    number + 1
                ));
                count += 1;
            }
        }
    }
    if count == 0 {
        Ok(())
    } else {
        Err(Failure::Problems {
            check: "unfinished work",
            count,
        })
    }
}

fn unfinished(line: &str) -> Option<&'static str> {
    MARKERS.iter().copied().find(|marker| {
        line.match_indices(marker).any(|(start, _)| {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let before = line[..start].chars().next_back().is_some_and(is_word);
            let rest = &line[start + marker.len()..];
            let after = !marker.ends_with('(') && rest.starts_with(is_word);
            !before && !after && !rest.starts_with("(#")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_passes_only_with_its_issue() {
        let marker = MARKERS[0];
        assert_eq!(unfinished(&format!("// {marker}: later")), Some(marker));
        assert_eq!(unfinished(&format!("// {marker}(#12): later")), None);
        assert_eq!(unfinished(&format!("let {marker}S = 1;")), None);
    }
}
