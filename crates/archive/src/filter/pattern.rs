//! A pattern over whole paths and a list of them, with restic's rules.
//!
//! A pattern that begins with `/` is anchored; any other matches from any component on. A pattern matches
//! everything below what it matches. `**` stands for any number of components, also none. In a list `!`
//! takes back what patterns before it matched.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::filter::component::Component;
use crate::path::clean;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern {pattern:?}: unfinished `[…]` or `\\`, or an empty or misplaced range")]
pub struct PatternError {
    /// The pattern as given.
    pub pattern: String,
}

/// Whether upper and lower case differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Case {
    /// They differ.
    #[default]
    Sensitive,
    /// Patterns and paths are compared in lower case.
    Insensitive,
}

/// What a list says of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatternMatch {
    /// The path itself matches.
    pub is_match: bool,
    /// Something below the path may match, if the path is a directory.
    pub may_match_below: bool,
}

/// Patterns in the order given; without any, nothing matches.
#[derive(Debug, Clone, Default)]
pub struct PatternList {
    patterns: Vec<Pattern>,
    case: Case,
    has_negated: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    is_negated: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The beginning of an absolute path.
    Root,
    /// `**`
    Any,
    Name(Component),
}

impl PatternList {
    /// Compiles patterns; empty ones are left out. Fails with the first that is wrong.
    pub fn compile<P: AsRef<OsStr>>(patterns: &[P], case: Case) -> Result<Self, PatternError> {
        let patterns = patterns
            .iter()
            .map(AsRef::as_ref)
            .filter(|pattern| !pattern.is_empty())
            .map(|pattern| Pattern::compile(pattern, case))
            .collect::<Result<Vec<_>, _>>()?;
        let has_negated = patterns.iter().any(|pattern| pattern.is_negated);
        Ok(Self {
            patterns,
            case,
            has_negated,
        })
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a cleaned path matches.
    pub fn is_match(&self, path: &Path) -> bool {
        self.evaluate(path, false).is_match
    }

    /// Whether a cleaned path matches, and whether something below it may.
    pub fn matches(&self, path: &Path) -> PatternMatch {
        self.evaluate(path, true)
    }

    fn evaluate(&self, path: &Path, with_below: bool) -> PatternMatch {
        let mut result = PatternMatch::default();
        if self.patterns.is_empty() {
            return result;
        }
        let lower;
        let bytes = match self.case {
            Case::Sensitive => path.as_os_str().as_bytes(),
            Case::Insensitive => {
                lower = lower_case(path.as_os_str().as_bytes());
                &lower
            }
        };
        let names = split(bytes);
        for pattern in &self.patterns {
            let is_match = pattern.is_match(&names);
            if pattern.is_negated {
                result.is_match &= !is_match;
                result.may_match_below &= !is_match;
                continue;
            }
            result.is_match |= is_match;
            result.may_match_below |= !with_below || pattern.may_match_below(&names);
            if !self.has_negated && result.is_match && result.may_match_below {
                break;
            }
        }
        result
    }
}

impl Pattern {
    fn compile(text: &OsStr, case: Case) -> Result<Self, PatternError> {
        let error = || PatternError {
            pattern: text.to_string_lossy().into_owned(),
        };
        let lower;
        let bytes = match case {
            Case::Sensitive => text.as_bytes(),
            Case::Insensitive => {
                lower = lower_case(text.as_bytes());
                &lower
            }
        };
        let (is_negated, bytes) = match bytes.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        let cleaned = clean(Path::new(OsStr::from_bytes(bytes)))
            .into_os_string()
            .into_vec();
        let mut parts = Vec::new();
        for (position, part) in cleaned.split(|byte| *byte == b'/').enumerate() {
            parts.push(match part {
                b"" if position == 0 => Part::Root,
                // Only the pattern `/` has a second empty part; it means everything.
                b"" | b"**" => Part::Any,
                name => Part::Name(Component::compile(name).map_err(|_| error())?),
            });
        }
        Ok(Self { is_negated, parts })
    }

    fn is_match(&self, names: &[&[u8]]) -> bool {
        parts_match(&self.parts, names)
    }

    /// Whether the path leads towards what an anchored pattern names.
    fn may_match_below(&self, names: &[&[u8]]) -> bool {
        if self.parts.first() != Some(&Part::Root) {
            return true;
        }
        let names = match self.parts.iter().position(|part| *part == Part::Any) {
            Some(position) if names.len() >= position => &names[..position],
            _ => names,
        };
        let length = names.len().min(self.parts.len());
        parts_match(&self.parts[..length], names)
    }
}

/// Whether the parts match from the root on, or from any name on when they are not anchored.
fn parts_match(parts: &[Part], names: &[&[u8]]) -> bool {
    if parts.first() == Some(&Part::Root) {
        return prefix_matches(parts, names);
    }
    if parts.is_empty() {
        return names.is_empty();
    }
    let first = usize::from(names.first() == Some(&b"/".as_slice()));
    (first..=names.len()).any(|start| prefix_matches(parts, &names[start..]))
}

fn prefix_matches(parts: &[Part], names: &[&[u8]]) -> bool {
    let Some((part, parts)) = parts.split_first() else {
        return true;
    };
    if *part == Part::Any {
        return (0..=names.len()).any(|skipped| prefix_matches(parts, &names[skipped..]));
    }
    let Some((name, names)) = names.split_first() else {
        return false;
    };
    let fits = match part {
        Part::Root => *name == b"/",
        Part::Name(component) => component.matches(name),
        Part::Any => true,
    };
    fits && prefix_matches(parts, names)
}

/// The components of a cleaned path; an absolute one begins with `/`.
fn split(path: &[u8]) -> Vec<&[u8]> {
    if path == b"/" {
        return vec![path];
    }
    let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    if names.first().is_some_and(|first| first.is_empty()) {
        names[0] = b"/";
    }
    names
}

/// Character by character, as Go does it: bytes that are no text become U+FFFD.
fn lower_case(text: &[u8]) -> Vec<u8> {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let text = String::from_utf8_lossy(text);
    let lower: String = text
        .chars()
        .map(|character| character.to_lowercase().next().unwrap_or(character))
        .collect();
    lower.into_bytes()
}

#[cfg(test)]
mod tests;
