//! The licences of everything that is linked in or used to build.

use serde_json::Value;

use crate::failure::Failure;
use crate::report;

/// Licences that may be combined with Apache-2.0 in one binary. MPL-2.0 is file-scoped.
const ACCEPTED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Checks the licence expression of every package that cargo resolved.
pub fn check(metadata: &Value) -> Result<(), Failure> {
    let mut count = 0;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("?");
        let version = package["version"].as_str().unwrap_or("?");
        match package["license"].as_str() {
            Some(expression) if is_accepted(expression) => {}
            Some(expression) => {
                report::problem(&format!(
                    "{name} {version}: licence `{expression}` is not accepted"
                ));
                count += 1;
            }
            None => {
                report::problem(&format!("{name} {version} declares no licence"));
                count += 1;
            }
        }
    }
    if count == 0 {
        Ok(())
    } else {
        Err(Failure::Problems {
            check: "licences",
            count,
        })
    }
}

/// Evaluates an SPDX expression; the old form `MIT/Apache-2.0` means a choice.
fn is_accepted(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        words: &words,
        next: 0,
    };
    parser.any() && parser.next == words.len()
}

struct Parser<'a> {
    words: &'a [&'a str],
    next: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> bool {
        let mut accepted = self.all();
        while self.take("OR") {
            accepted |= self.all();
        }
        accepted
    }

    fn all(&mut self) -> bool {
        let mut accepted = self.one();
        while self.take("AND") {
            accepted &= self.one();
        }
        accepted
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let accepted = self.any();
            return self.take(")") && accepted;
        }
        let Some(word) = self.words.get(self.next) else {
            return false;
        };
        self.next += 1;
        let mut licence = (*word).to_owned();
        if self.take("WITH")
            && let Some(exception) = self.words.get(self.next)
        {
            self.next += 1;
            licence = format!("{licence} WITH {exception}");
        }
        ACCEPTED.contains(&licence.as_str())
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.next) == Some(&word);
        self.next += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_needs_one_accepted_licence() {
        assert!(is_accepted("GPL-3.0-only OR MIT"));
        assert!(is_accepted("MIT/Apache-2.0"));
        assert!(is_accepted(
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"
        ));
    }

    #[test]
    fn a_combination_needs_all_of_them() {
        assert!(is_accepted("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!is_accepted("MIT AND GPL-3.0-only"));
        assert!(!is_accepted("GPL-3.0-only WITH Classpath-exception-2.0"));
        assert!(!is_accepted(""));
    }
}
