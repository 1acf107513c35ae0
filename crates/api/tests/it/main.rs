//! Tests of the public interface of `api`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails may end abruptly"
)]

mod bad_input;
mod cel;
mod definitions;
mod golden;
mod one_machine;
mod secrets;

use api::manifest::{LoadOutcome, Problem, SourceDocument, load_manifests};

/// Loads one text under the name `test.yaml`.
fn load(text: &str) -> LoadOutcome {
    load_manifests(&[SourceDocument {
        name: "test.yaml".to_owned(),
        text: text.to_owned(),
    }])
}

/// Every problem of a text: of single objects and between them.
fn problems(text: &str) -> Vec<Problem> {
    let outcome = load(text);
    let of_set = api::rules::check_set(&outcome);
    outcome.problems.into_iter().chain(of_set).collect()
}
